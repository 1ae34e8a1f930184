"""Holdout lifts per cell and period, with the noise that covariates explain taken out.

The raw lift of a cell-day is (mean revenue per treated user - mean per control user) x treated
users. Chance makes the arms differ before the test already; where the feed has covariates (``x_``
columns, measured before), LightGBM predicts what difference in outcome that chance difference
makes, and a share theta of the prediction is taken out (CUPED; Deng, Xu, Kohavi and Walker 2013,
equation 4, with a machine-learned covariate as in Guo et al. 2021). Predictions are made for blocks
of days by fits that did not see them. A channel whose lifts do not become less noisy out of block
is left as it is, so the adjustment cannot hurt.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arms.checks import sound_holdout
from liftloop.core.arrays import Array, Index, cell_places, coded, days_of, joined, summed
from models.gbm.booster import BoosterParameters
from models.lift.imputed_spend import CELL, daily_spend
from models.lift.variance_reduction import Adjustment, adjust

BOOSTER = BoosterParameters(rounds=40, learning_rate=0.1, leaves=7, min_leaf=100, l2=10.0)


@dataclass(frozen=True, slots=True)
class LiftConfig:
    """How lifts are measured.

    Periods of ``period_days`` are counted backwards from as_of. ``smoothing`` periods to each side
    share one estimate of the variance per user: a period's own would be low where its mean is low
    by chance, and weighting by it would bias lifts. A cell-day counts when strata that hold at
    least ``min_coverage`` of its treated users have both arms. Without ``mend_spend`` days that no
    report tells of count as days without spend.
    """

    period_days: int = 7
    smoothing: int = 2
    min_coverage: float = 0.5
    blocks: int = 2
    adjust: bool = True
    booster: BoosterParameters = BOOSTER
    max_rows: int = 60_000
    mend_spend: bool = True


def weekly_lifts(
    *,
    holdout: pd.DataFrame,
    performance: pd.DataFrame,
    sales: pd.DataFrame | None = None,
    as_of: date,
    config: LiftConfig | None = None,
    daily: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Incremental revenue per day of every cell and period that has a holdout.

    Parameters
    ----------
    holdout, performance, sales
        The feeds. Rows on or after ``as_of`` are not looked at.
    as_of
        The first unknown day; periods are aligned backwards from it.
    config
        Default: :class:`LiftConfig`.
    daily
        ``daily_spend`` of ``performance``, where it is known already.

    Returns
    -------
    One row a cell and period, oldest first: segment, channel, period_start, period_end (inclusive),
    days (with both arms), users (both arms, mean per day), spend (mean per day of the period), lift
    (incremental revenue per day, adjusted) with standard_error, raw_lift with raw_standard_error.
    Money in account currency. A cell without both arms has no rows: it borrows from the others.
    """
    config = config or LiftConfig()
    rows = contrasts(holdout, as_of=as_of, config=config)
    if rows.empty:
        return _empty()
    adjustment = (
        adjust(
            rows,
            sales=sales,
            as_of=as_of,
            blocks=config.blocks,
            booster=config.booster,
            max_rows=config.max_rows,
        )
        if config.adjust
        else Adjustment.none(len(rows))
    )
    days = _cell_days(rows, adjustment, config)
    lifts = _periods(days, rows, as_of=as_of, config=config)
    if lifts.empty:
        return _empty()
    if daily is None:
        daily = daily_spend(performance, as_of=as_of, mend=config.mend_spend)
    lifts.insert(6, "spend", _period_spend(lifts, daily))
    return lifts


def variance_reduction(lifts: pd.DataFrame) -> float:
    """Share of the lifts' variance that the covariates took out: 1 - sum se^2 / sum raw se^2."""
    raw = float((lifts["raw_standard_error"] ** 2).sum())
    return 1.0 - float((lifts["standard_error"] ** 2).sum()) / raw if raw > 0 else 0.0


def _empty() -> pd.DataFrame:
    columns = {name: pd.Series(dtype="str") for name in CELL}
    columns |= {name: pd.Series(dtype="datetime64[us]") for name in ("period_start", "period_end")}
    numbers = ("days", "users", "spend", "lift", "standard_error", "raw_lift", "raw_standard_error")
    return pd.DataFrame(columns | {name: pd.Series(dtype="float64") for name in numbers})


def contrasts(holdout: pd.DataFrame, *, as_of: date, config: LiftConfig) -> pd.DataFrame:
    """One row a cell-day and stratum with both arms that are sound by
    ``liftloop.core.arms.checks``: users, means and variances per user of each
    arm (suffix ``_t``, ``_c``), ``period`` counted backwards, ``treated_all`` (treated users of the
    cell-day in every stratum), covariates as ``x_..._t`` and ``x_..._c``."""
    holdout = sound_holdout(holdout, as_of=as_of)
    covariates = [name for name in holdout.columns if str(name).startswith("x_")]
    numbers = {
        name: holdout[name].to_numpy(dtype=np.float64)
        for name in ("users", "revenue", "revenue_sq", *covariates)
    }
    days = days_of(holdout["date"])
    known = (days < np.datetime64(as_of, "D")) & (numbers["users"] > 0)
    known &= np.isfinite(numbers["revenue"]) & np.isfinite(numbers["revenue_sq"])
    users = np.where(known, numbers.pop("users"), 1.0)
    mean = numbers.pop("revenue") / users
    # a sum of squares below its least possible value is rounding
    squares = np.maximum(numbers.pop("revenue_sq") - users * mean**2, 0.0)
    values = {"users": users, "mean": mean, "squares": squares, **numbers}
    age = (np.datetime64(as_of, "D") - days).astype(np.intp)
    (segment, segments), (channel, channels) = coded(holdout["segment"]), coded(holdout["channel"])
    stratum, strata = (
        coded(holdout["stratum"])
        if "stratum" in holdout.columns
        else (np.zeros(len(holdout), dtype=np.intp), pd.Index(["all"]))
    )
    span = int(age[known].max(initial=0)) + 1
    cell_day = joined((age, span), (segment, len(segments)), (channel, len(channels)))
    key = joined((cell_day, 1), (stratum, len(strata)))
    arm = holdout["arm"]
    treated, control = (
        np.flatnonzero(known & (arm == a).to_numpy()) for a in ("treated", "control")
    )
    pairs = pd.DataFrame({"key": key[treated], "t": treated}).merge(
        pd.DataFrame({"key": key[control], "c": control}), on="key"
    )
    t, c = pairs["t"].to_numpy(), pairs["c"].to_numpy()
    found, place = np.unique(cell_day[treated], return_inverse=True)
    everyone = np.bincount(place, weights=users[treated], minlength=len(found))
    both = pd.DataFrame(
        {
            "date": days[t].astype("datetime64[us]"),
            **{
                name: pd.Categorical.from_codes(codes[t], names)
                for name, codes, names in (
                    ("segment", segment, segments),
                    ("channel", channel, channels),
                    ("stratum", stratum, strata),
                )
            },
            **{f"{name}_t": column[t] for name, column in values.items()},
            **{f"{name}_c": column[c] for name, column in values.items()},
            "treated_all": everyone[np.searchsorted(found, cell_day[t])],
            "period": (age[t] - 1) // config.period_days,
        }
    )
    return _with_variances(both, config.smoothing)


def _with_variances(both: pd.DataFrame, smoothing: int) -> pd.DataFrame:
    """Add the variance per user: of the day's own arms (``var_t``, ``var_c``) and ``var``, that of
    both arms of the cell and stratum over the periods around."""
    users_t, users_c = both["users_t"].to_numpy(float), both["users_c"].to_numpy(float)
    squares = both["squares_t"].to_numpy(float) + both["squares_c"].to_numpy(float)
    period = both["period"].to_numpy()
    if len(both) == 0:
        return both.assign(var_t=0.0, var_c=0.0, var=0.0)
    groups, group = np.unique(_codes(both, *CELL, "stratum"), return_inverse=True)
    shape = (len(groups), int(period.max()) + 1 + 2 * smoothing)
    slot = group * shape[1] + period + smoothing
    sums, counts = (
        np.bincount(slot, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
        for values in (squares, users_t + users_c - 2)
    )
    width = 2 * smoothing + 1
    pooled = [_window(cast(Array, each), width)[group, period] for each in (sums, counts)]
    overall = squares.sum() / max(float((users_t + users_c).sum()), 1.0)
    smooth = np.where(pooled[0] > 0, pooled[0] / np.maximum(pooled[1], 1.0), overall)
    own = {
        f"var_{arm}": both[f"squares_{arm}"].to_numpy(float)
        / np.maximum(both[f"users_{arm}"].to_numpy(float), 1.0)
        for arm in ("t", "c")
    }
    return both.assign(**own, var=smooth)


def _window(values: Array, width: int) -> Array:
    """Sums over ``width`` neighbours along the last axis: (n, m) to (n, m - width + 1)."""
    running = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    return np.asarray(running[:, width:] - running[:, :-width])


@dataclass(frozen=True, slots=True, eq=False)
class CellDays:
    """Cell-days (n,), ordered by day: ``group`` numbers their cell and period; ``users``; lifts per
    day, raw and adjusted, with variances."""

    group: Index
    users: Array
    raw: Array
    raw_var: Array
    lift: Array
    lift_var: Array

    def only(self, keep: NDArray[np.bool_]) -> CellDays:
        return CellDays(*(getattr(self, part.name)[keep] for part in fields(self)))


def _cell_days(rows: pd.DataFrame, adjustment: Adjustment, config: LiftConfig) -> CellDays:
    """Strata summed to cell-days."""
    users_t, users_c = rows["users_t"].to_numpy(float), rows["users_c"].to_numpy(float)
    gap = rows["mean_t"].to_numpy(float) - rows["mean_c"].to_numpy(float)
    var = rows["var"].to_numpy(float) * (1 / users_t + 1 / users_c)
    exact = rows["var_t"].to_numpy(float) / users_t + rows["var_c"].to_numpy(float) / users_c
    periods = int(rows["period"].max()) + 1
    group = joined((_codes(rows, *CELL), 1), (rows["period"].to_numpy(), periods))
    day = days_of(rows["date"]).astype(np.int64)
    _, first, place = np.unique(
        joined((day - day.min(), 1), (group, int(group.max()) + 1)),
        return_index=True,
        return_inverse=True,
    )
    sums = summed(
        place,
        treated=users_t,
        users=users_t + users_c,
        raw=users_t * gap,
        raw_var=users_t**2 * np.where(exact > 0, exact, var),
        lift=users_t * (gap - adjustment.taken_out),
        lift_var=users_t**2 * var * adjustment.variance_kept,
    )
    # treated users of a stratum without control count like the others
    everyone, treated = rows["treated_all"].to_numpy(float)[first], sums.pop("treated")
    scale = everyone / treated
    days = CellDays(
        group[first],
        sums["users"],
        sums["raw"] * scale,
        sums["raw_var"] * scale**2,
        sums["lift"] * scale,
        sums["lift_var"] * scale**2,
    )
    return days.only(treated / everyone >= config.min_coverage)


def _codes(rows: pd.DataFrame, *names: str) -> Index:
    """One number for the categories of several columns."""
    columns = [rows[name].cat for name in names]
    return joined(*((cast(Index, c.codes.to_numpy()), len(c.categories)) for c in columns))


def _periods(
    days: CellDays, rows: pd.DataFrame, *, as_of: date, config: LiftConfig
) -> pd.DataFrame:
    """Cell-days averaged to periods, oldest first."""
    usable = days.only(np.isfinite(days.lift_var) & (days.lift_var > 0))
    groups, place, count = np.unique(usable.group, return_inverse=True, return_counts=True)
    names = ("users", "raw", "raw_var", "lift", "lift_var")
    sums = summed(place, **{name: getattr(usable, name) for name in names})
    spread = np.sqrt(day_inflation(usable, config.period_days))
    segments, channels = (rows[name].cat.categories for name in CELL)
    cell, period = np.divmod(groups, int(rows["period"].max()) + 1)
    start = np.datetime64(as_of, "us") - (period + 1) * np.timedelta64(config.period_days, "D")
    lifts = pd.DataFrame(
        {
            "segment": segments.take(cell // len(channels)),
            "channel": channels.take(cell % len(channels)),
            "period_start": start,
            "period_end": start + np.timedelta64(config.period_days - 1, "D"),
            "days": count.astype(float),
            "users": sums["users"] / count,
            "lift": sums["lift"] / count,
            "standard_error": spread * np.sqrt(sums["lift_var"]) / count,
            "raw_lift": sums["raw"] / count,
            "raw_standard_error": spread * np.sqrt(sums["raw_var"]) / count,
        }
    )
    return lifts.iloc[np.lexsort((cell, -period))].reset_index(drop=True)


def day_inflation(days: CellDays, period_days: int) -> float:
    """By how much the variance of a period's mean exceeds that of independent days, at least 1.

    The same users stay in an arm, so its days share their luck. Days that share a part r of their
    variance spread around their period's mean by 1 - r of it only; r is that shortfall, pooled over
    all periods, less what chance or a roughly reported ``revenue_sq`` (a tenth) may explain.
    """
    standard = days.lift / np.sqrt(days.lift_var)
    _, place, count = np.unique(days.group, return_inverse=True, return_counts=True)
    mean = summed(place, standard=standard)["standard"] / count
    inside = count[place] >= 2
    count_of = count[place][inside].astype(float)
    freedom = float(inside.sum() - (1.0 / count_of).sum())
    if period_days < 2 or freedom < 30:
        return 1.0
    within = float(((standard - mean[place])[inside] ** 2).sum()) / freedom
    doubt = max(float(np.sqrt(2.0 / freedom)), 0.1)
    shared = float(np.clip(1.0 - within - doubt, 0.0, 0.95))
    return 1.0 + (float(count_of.mean()) - 1.0) * shared


def _period_spend(lifts: pd.DataFrame, daily: pd.DataFrame) -> Array:
    """Mean spend per day of each row's period, over the days that ``daily`` covers."""
    if daily.empty:
        return np.zeros(len(lifts))
    cells = cast(pd.MultiIndex, daily.columns)
    column = cell_places(lifts["segment"], lifts["channel"], cells)
    running = np.concatenate([np.zeros((1, daily.shape[1])), np.cumsum(daily.to_numpy(), axis=0)])
    begin = np.datetime64(daily.index[0], "D")
    starts, ends = (days_of(lifts[f"period_{at}"]) - begin for at in ("start", "end"))
    first = np.clip(starts.astype(np.intp), 0, len(daily))
    last = np.clip(ends.astype(np.intp) + 1, 0, len(daily))
    spent = np.where(column >= 0, running[last, column] - running[first, column], 0.0)
    result: Any = spent / np.maximum(last - first, 1)
    return np.asarray(result, dtype=np.float64)
