"""Feeds as a rollout's daily facts: one row a day, one column a segment."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.daily_panels import Daily
from models.evidence import daily_spend
from models.lift import LiftConfig, weekly_lifts

Array = NDArray[np.float64]
KNOWN_SHARE = 0.8  # of a segment's spend: so much must have a lift on a day that counts
COVERED_DAYS = 0.5  # of the days: so often must a cell have a lift to be part of its segment's
DAYS_ALIKE = 14  # to each side share one estimate of the variance per user


def daily_facts(
    *,
    holdout: pd.DataFrame,
    performance: pd.DataFrame,
    sales: pd.DataFrame,
    segments: Collection[str],
    first: date,
    as_of: date,
    adjust: bool = True,
) -> Daily:
    """Facts of ``segments`` from ``first`` to the day before ``as_of``.

    A segment's lift is the sum over its channels. A cell that has no lift on a day counts with its
    mean over the days it has, as long as cells with a lift hold ``KNOWN_SHARE`` of the segment's
    spend (that fills a gap with no news, and never with an effect); below that the day is unknown.

    Parameters
    ----------
    holdout, performance, sales
        The feeds, as known on ``as_of``. Not changed.
    adjust
        Whether lifts are adjusted for covariates of the holdout.
    """
    names = tuple(sorted(set(segments)))
    days = pd.date_range(first, as_of - timedelta(days=1), name="date")
    spend = daily_spend(_of(performance, names, days), as_of=as_of).reindex(days)
    by_segment = spend.T.groupby(level="segment").sum(min_count=1).T.reindex(columns=names)
    sold = _of(sales, names, days) if len(sales) else sales
    if len(sold):
        dates = pd.to_datetime(sold["date"]).dt.normalize()
        revenue = sold["revenue"].astype(float)
        table = revenue.groupby([dates, sold["segment"]]).sum(min_count=1).unstack()
        sold_by_day = table.reindex(index=days, columns=names).to_numpy(float)
    else:
        sold_by_day = np.full((len(days), len(names)), np.nan)
    lift, error = _lifts(holdout, performance, sold, names, days, spend, as_of, adjust)
    return Daily(first, names, lift, error, sold_by_day, by_segment.to_numpy(float))


def _of(rows: pd.DataFrame, names: tuple[str, ...], days: pd.DatetimeIndex) -> pd.DataFrame:
    dates = pd.to_datetime(rows["date"]).dt.normalize()
    return rows[(rows["segment"].isin(names) & dates.between(days[0], days[-1])).to_numpy()]


def _lifts(
    holdout: pd.DataFrame, performance: pd.DataFrame, sales: pd.DataFrame, names: tuple[str, ...],
    days: pd.DatetimeIndex, spend: pd.DataFrame, as_of: date, adjust: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Lift and standard error per day and segment, over its channels."""
    unknown = np.full((len(days), len(names)), np.nan)
    mine = _of(holdout, names, days) if len(holdout) else holdout
    if mine.empty:
        return unknown, unknown.copy()
    covariates = any(str(name).startswith("x_") for name in mine.columns)
    rows = weekly_lifts(
        holdout=mine, performance=performance, sales=sales, as_of=as_of,
        config=LiftConfig(period_days=1, smoothing=DAYS_ALIKE, adjust=adjust and covariates),
    )  # fmt: skip
    wide = rows.pivot_table(
        index="period_start", columns=["segment", "channel"], values=["lift", "standard_error"]
    ).reindex(days)
    lift, error = unknown, unknown.copy()
    held = spend.mean()
    for column, name in enumerate(names):
        paid = held[name] if name in held.index.get_level_values(0) else pd.Series(dtype=float)
        if ("lift", name) not in wide.columns.droplevel(2):
            continue
        cells = wide["lift"][name]
        cells = cells.loc[:, cells.notna().mean() >= COVERED_DAYS]
        if cells.empty or not paid.sum() > 0:
            continue
        errors = wide["standard_error"][name][cells.columns]
        weight = paid.reindex(cells.columns).fillna(0.0) / paid.sum()
        known = (cells.notna() * weight).sum(axis=1) >= KNOWN_SHARE
        total = cells.fillna(cells.mean()).sum(axis=1)
        spread = np.sqrt((errors.fillna(errors.mean()) ** 2).sum(axis=1))
        lift[:, column] = np.where(known, total, np.nan)
        error[:, column] = np.where(known, spread, np.nan)
    return lift, error
