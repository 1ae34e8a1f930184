"""What the loop's own budget changes did to first-party sales, as rows beside the lift tests.

For each of the largest segments: how much its sales changed from an early to a late stretch of the
known weeks, against what the change of all segments together would have been,

    y_s = dR_s - (R_s / R) dR,      expected  dE_s - (R_s / R) dE

with E what the curves say the cells earn. What shocks all segments in proportion to their sales,
season among it, cancels (difference in differences with shares as weights; Card and Krueger 1994),
and no segment's gain is taken for another's loss. All these rows together count for one less than
there are segments, as they add up to nothing.

What it assumes. Nothing here is randomized: that a segment's *mix* of channels is not moved by what
is about to happen to its own demand. Its *total* may be: budgets that follow demand move sales in
proportion to the segment's own spend, and of that one direction (a shared elasticity, normal around
0) nothing is learned; its covariance is taken out. A slow drift of a segment's own sales is noise
that follows itself (an autoregression), and counts as such. Covariates are not caused by spend.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array, coded, days_of, joined, present, summed
from models.gbm.booster import BoosterParameters, TrainingRows, cross_fit
from models.lift.evidence import Evidence, Test

TREES = BoosterParameters(rounds=100, learning_rate=0.05, leaves=7, min_leaf=40, l2=5.0)


@dataclass(frozen=True, slots=True)
class SalesConfig:
    """At most ``weeks`` are looked at, and none below ``fewest_weeks``; the stretches are thirds.
    ``segments``: how many of the largest have a row. ``follow``: the standard deviation of the
    elasticity with which sales follow a segment's total spend for other reasons than response. The
    noise all segments share counts for ``shared`` weeks of a segment's own. A segment counts that
    tells of ``least_told`` of the days, and of ``fewest_days`` in each week. Trees need
    ``fewest_rows``, and predict blocks of ``block_days``."""

    weeks: int = 26
    fewest_weeks: int = 9
    segments: int = 40
    follow: float = 1.0
    shared: float = 20.0
    least_told: float = 0.8
    fewest_days: int = 4
    fewest_rows: int = 600
    block_days: int = 28
    booster: BoosterParameters = TREES


CONFIG = SalesConfig()


def sales_contrasts(
    *,
    sales: pd.DataFrame,
    evidence: Evidence,
    days: pd.DatetimeIndex,
    fade_per_day: float,
    config: SalesConfig = CONFIG,
) -> tuple[Test, ...]:
    """The contrasts of sales, per day of the late stretch.

    Parameters
    ----------
    sales
        date, segment, revenue and any covariates ``x_...``; days that are not in ``days``, and
        segments that lack many, are not looked at. Not changed.
    evidence
        Gathered; its ``spend`` has a row for each of ``days``.
    fade_per_day
        As of the lift tests.

    Returns
    -------
    One test a segment, ``gain`` in account currency a day; none where fewer than two segments or
    too few weeks are complete.
    """
    sold_weeks = weeks_of_sales(sales, days, config)
    if sold_weeks is None:
        return ()
    weekly, begin, names = sold_weeks
    third = len(weekly) // 3
    end = begin + 7 * len(weekly) - 1
    early_spend = evidence.spend[begin : begin + 7 * third].mean(axis=0)
    late_spend = evidence.spend[end + 1 - 7 * third : end + 1].mean(axis=0)
    column = names.get_indexer(cast(pd.Index, list(evidence.segments)))[evidence.segment_of]
    where = np.flatnonzero(column >= 0)
    actual, otherwise = late_spend[where], early_spend[where]
    share = weekly.sum(axis=0) / weekly.sum()
    sold = weekly.mean(axis=0)
    change = weekly[-third:].mean(axis=0) - weekly[:third].mean(axis=0)
    error = sold * _relative_error(weekly, third, config)
    rows = np.array([s for s in np.argsort(-sold, kind="stable") if s in column[where]], dtype=int)
    rows = rows[: config.segments]
    rows = rows[(error[rows] > 0) & (share[rows] < 1)]
    if len(rows) == 0:
        return ()
    own = (column[where][None, :] == rows[:, None]).astype(float)
    gain, portion = _without_followers(
        gain=change[rows] - share[rows] * change.sum(),
        portion=own - share[rows, None],
        following=config.follow * _moved(evidence, where, actual, otherwise, column, sold)[rows],
        scale=np.sqrt(1 - share[rows]) / error[rows],
    )
    fade = float(np.exp(-fade_per_day * (len(days) - 1 - end)))
    return tuple(
        Test(
            name=f"sales of {names[s]}",
            where=where,
            actual=actual,
            otherwise=otherwise,
            days=1.0,
            gain=float(gain[number]),
            standard_error=float(error[s]),
            weight=fade * float(1 - share[s]),
            last=end,
            portion=portion[number],
            randomized=False,
        )
        for number, s in enumerate(rows)
    )


def weeks_of_sales(
    sales: pd.DataFrame, days: pd.DatetimeIndex, config: SalesConfig = CONFIG
) -> tuple[Array, int, pd.Index[str]] | None:
    """What each segment sold a day in whole weeks, the oldest first (weeks, segments), what
    covariates explain taken out; the place in ``days`` of the first day of them, and the segments'
    names. None where that is too little."""
    wide = _complete(sales, days, config)
    if wide is None:
        return None
    revenue = wide.to_numpy() * np.exp(-_explained(sales, wide, config))
    weekly = revenue.reshape(-1, 7, revenue.shape[1]).mean(axis=1)
    end = int(days.get_indexer(wide.index[-1:])[0])
    return weekly, end - 7 * len(weekly) + 1, wide.columns


def without_covariates(
    sales: pd.DataFrame, *, as_of: date, config: SalesConfig = CONFIG
) -> pd.DataFrame:
    """date, segment, revenue of the weeks that count, what covariates explain taken out: the same
    contrasts as ``sales`` has, without fitting trees anew for each fit of curves."""
    if sales.empty:
        return sales[["date", "segment", "revenue"]]
    first = days_of(sales["date"]).min()
    wide = _complete(sales, pd.date_range(first, as_of, inclusive="left"), config)
    if wide is None:
        return sales[["date", "segment", "revenue"]].iloc[:0]
    told = pd.DataFrame(
        wide.to_numpy() * np.exp(-_explained(sales, wide, config)), wide.index, wide.columns
    )
    long = cast(pd.Series, told.rename_axis("date").rename_axis("segment", axis=1).stack())
    return long.rename("revenue").reset_index()


def _complete(
    sales: pd.DataFrame, days: pd.DatetimeIndex, config: SalesConfig
) -> pd.DataFrame | None:
    """Daily revenue of whole weeks up to the last day with sales (days, segments), of the segments
    that have nearly all of the days and sell in each week; None where that is too little."""
    if len(days) == 0 or sales.empty:
        return None
    dates, revenue = days_of(sales["date"]), sales["revenue"].to_numpy(dtype=np.float64)
    begin, end = (day.to_datetime64().astype("datetime64[D]") for day in (days[0], days[-1]))
    rows = (dates >= begin) & (dates <= end) & ~np.isnan(revenue)
    if not rows.any():
        return None
    begin, end = dates[rows].min(), dates[rows].max()
    segment, segments = coded(sales["segment"][rows].astype(str))
    place = joined(((dates[rows] - begin).astype(np.intp), 1), (segment, len(segments)))
    span = pd.date_range(pd.Timestamp(begin).as_unit("us"), end)
    sold = np.full(len(span) * len(segments), np.nan)
    sold[present(place)] = summed(place, revenue=revenue[rows])["revenue"]
    wide = pd.DataFrame(sold.reshape(len(span), -1), span, segments.rename("segment"))
    weeks = min(len(span) // 7, config.weeks)
    if weeks < config.fewest_weeks:
        return None
    wide = wide.iloc[-7 * weeks :]
    values = wide.to_numpy()
    by_week = values.reshape(weeks, 7, -1)
    whole = np.isfinite(values).mean(axis=0) >= config.least_told
    whole &= (np.isfinite(by_week).sum(axis=1) >= config.fewest_days).all(axis=0)
    whole &= (np.nansum(by_week, axis=1) > 0).all(axis=0)
    if whole.sum() < 2:
        return None
    found = wide.loc[:, whole]
    return found if np.isfinite(found.to_numpy()).all() else _mended(found)


def _mended(wide: pd.DataFrame) -> pd.DataFrame:
    """Late and lost days filled with what the segment sold on the other days of the week, by the
    other segments' rhythm; a day of which no segment tells, with the week's mean."""
    values = wide.to_numpy()
    rhythm = pd.DataFrame(values / np.nanmean(values, axis=0)).mean(axis=1).fillna(1.0).to_numpy()
    rhythm = np.where(rhythm > 0, rhythm, 1.0)[:, None]
    level = np.nanmean((values / rhythm).reshape(-1, 7, values.shape[1]), axis=1)
    filled = np.where(np.isfinite(values), values, np.repeat(level, 7, axis=0) * rhythm)
    return pd.DataFrame(filled, wide.index, wide.columns)


def _explained(sales: pd.DataFrame, wide: pd.DataFrame, config: SalesConfig) -> Array:
    """What covariates explain of log revenue beyond the segment's mean and the day's, shape of
    ``wide``; predicted for blocks of days that the trees have not seen. Nothing where that does not
    predict them better."""
    names = [name for name in sales.columns if str(name).startswith("x_")]
    none = np.zeros(wide.shape)
    if not names or wide.size < config.fewest_rows:
        return none
    values = wide.to_numpy()
    target = _apart(np.log(np.where(values > 0, values, np.nan))).ravel()
    rows = sales.assign(
        date=pd.to_datetime(sales["date"]).dt.normalize(), segment=sales["segment"].astype(str)
    )
    rows = rows[rows["date"] >= wide.index[0]]
    table = rows.pivot_table(index="date", columns="segment", values=names, aggfunc="mean")
    features = np.column_stack(
        [
            _apart(
                table[name].reindex(index=wide.index, columns=wide.columns).to_numpy(dtype=float)
            ).ravel()
            for name in names
            if name in table
        ]
    )
    block = np.repeat(np.arange(len(wide)) // config.block_days, wide.shape[1])
    seen = np.isfinite(target)
    folds = [
        (np.flatnonzero(seen & (block != turn)), np.flatnonzero(block == turn))
        for turn in np.unique(block)
    ]
    if len(folds) < 3 or not np.isfinite(features).any():
        return none
    told = cross_fit(TrainingRows(features, np.where(seen, target, 0.0)), folds, config.booster)
    better = ((target - told)[seen] ** 2).mean() < (target[seen] ** 2).mean()
    return told.reshape(wide.shape) if better else none


def _apart(values: Array) -> Array:
    """Values (days, segments) less their segment's mean and their day's; nan stays."""
    mean = np.ma.masked_invalid(values)
    left = mean - mean.mean(axis=0) - mean.mean(axis=1)[:, None] + mean.mean()
    return np.asarray(left.filled(np.nan), dtype=np.float64)


def _relative_error(weekly: Array, third: int, config: SalesConfig) -> Array:
    """Standard error of each segment's change between stretches of ``third`` weeks, as a share of
    its sales, from ``weekly`` (W, S).

    Weekly logs of shares around their mean; variance and lag-one correlation of a segment shrunk to
    those of all. A stretch of weeks that follow each other says less than their number, by
    (1 + r) / (1 - r) (Bayley and Hammersley 1946); r by its known bias upwards (Kendall 1954).
    """
    weeks = len(weekly)
    log = np.log(weekly) - np.log(weekly.sum(axis=1))[:, None]
    residual = log - log.mean(axis=0)
    squares = (residual**2).sum(axis=0)
    products = (residual[1:] * residual[:-1]).sum(axis=0)
    own = weeks / (weeks + config.shared)
    variance = (own * squares + (1 - own) * squares.mean()) / (weeks - 1)
    lag = own * products / np.maximum(squares, 1e-300)
    lag = lag + (1 - own) * products.sum() / max(squares.sum(), 1e-300)
    lag = np.clip(lag + (1 + 3 * lag) / weeks, 0.0, 0.9)
    return np.asarray(np.sqrt(variance * 2 / third * (1 + lag) / (1 - lag)))


def _moved(
    evidence: Evidence,
    where: NDArray[np.intp],
    actual: Array,
    otherwise: Array,
    column: NDArray[np.intp],
    sold: Array,
) -> Array:
    """By how much a segment's sales would have risen against all others' (n_segments,), money a
    day, had they followed its total spend in proportion."""
    size, of = evidence.size[where], column[where]
    late = np.bincount(of, weights=actual * size, minlength=len(sold))
    early = np.bincount(of, weights=otherwise * size, minlength=len(sold))
    grown = np.where(late + early > 0, 2 * (late - early) / np.maximum(late + early, 1e-300), 0.0)
    return np.asarray(sold * (grown - np.average(grown, weights=sold)))


def _without_followers(
    *, gain: Array, portion: Array, following: Array, scale: Array
) -> tuple[Array, Array]:
    """``gain`` (n,) and ``portion`` (n, cells) after which independent errors 1 / ``scale`` say
    what errors with the covariance diag(scale^-2) + following following' said before: both times
    its inverse root, in which only one direction differs."""
    along = following * scale
    length = float(np.linalg.norm(along))
    if length == 0:
        return gain, portion
    along = along / length
    kept = 1.0 / np.sqrt(1.0 + length**2)

    def turned(values: Array) -> Array:
        inside = scale[:, None] * values
        inside = inside - (1 - kept) * np.outer(along, along @ inside)
        return np.asarray(inside / scale[:, None])

    return turned(gain[:, None])[:, 0], turned(portion)
