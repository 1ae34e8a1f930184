"""Feeds as a rollout's daily facts: one row a day, one column a segment."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from typing import cast

import numpy as np
import pandas as pd

from liftloop.core.arms.checks import sound_holdout
from liftloop.core.arrays import Array
from liftloop.core.inference.panels import Daily
from models.lift.holdout_lifts import LiftConfig, weekly_lifts
from models.lift.imputed_spend import daily_spend

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
) -> Daily:
    """Facts of ``segments`` from ``first`` to the day before ``as_of``.

    A segment's lift is the sum over its channels. A cell that has no lift on a day counts with its
    mean over the days it has, as long as cells with a lift hold ``KNOWN_SHARE`` of the segment's
    spend (that fills a gap with no news, and never with an effect); below that the day is unknown.

    Parameters
    ----------
    holdout, performance, sales
        The feeds, as known on ``as_of``. Not changed.
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
    # what is usual for the arms is judged on all days, not on those of a rollout alone
    mine = _of(sound_holdout(holdout, as_of=as_of), names, days) if len(holdout) else holdout
    rows = _cell_lifts(mine, performance, sold, as_of=as_of)
    lift, error = _lifts(rows, names, days, spend)
    return Daily(first, names, lift, error, sold_by_day, by_segment.to_numpy(float))


def _of(rows: pd.DataFrame, names: tuple[str, ...], days: pd.DatetimeIndex) -> pd.DataFrame:
    dates = pd.to_datetime(rows["date"]).dt.normalize()
    return rows[(rows["segment"].isin(names) & dates.between(days[0], days[-1])).to_numpy()]


def _cell_lifts(
    holdout: pd.DataFrame, performance: pd.DataFrame, sales: pd.DataFrame, *, as_of: date
) -> pd.DataFrame:
    """The lift of each cell and day, a row each; no row without a holdout. They are adjusted for
    covariates where the holdout has some."""
    if holdout.empty:
        return holdout
    covariates = any(str(name).startswith("x_") for name in holdout.columns)
    return weekly_lifts(
        holdout=holdout,
        performance=performance,
        sales=sales,
        as_of=as_of,
        config=LiftConfig(period_days=1, smoothing=DAYS_ALIKE, adjust=covariates),
    )


def _lifts(
    rows: pd.DataFrame, names: tuple[str, ...], days: pd.DatetimeIndex, spend: pd.DataFrame
) -> tuple[Array, Array]:
    """Lift and standard error per day and segment, over its channels."""
    unknown = np.full((len(days), len(names)), np.nan)
    if rows.empty:
        return unknown, unknown.copy()
    channels = sorted(set(rows["channel"].astype(str)) | set(spend.columns.get_level_values(1)))
    day = days.get_indexer(pd.DatetimeIndex(rows["period_start"]))
    segment = pd.Index(names).get_indexer(cast(pd.Index, rows["segment"].astype(str)))
    channel = pd.Index(channels).get_indexer(cast(pd.Index, rows["channel"].astype(str)))
    inside = (day >= 0) & (segment >= 0)
    shape = (len(days), len(names), len(channels))
    lifts, errors = np.full(shape, np.nan), np.full(shape, np.nan)
    where = (day[inside], segment[inside], channel[inside])
    lifts[where] = rows["lift"].to_numpy(float)[inside]
    errors[where] = rows["standard_error"].to_numpy(float)[inside]
    every = pd.MultiIndex.from_product([names, channels])
    paid = spend.mean().reindex(every).fillna(0.0).to_numpy(float).reshape(shape[1:])
    return _of_segments(lifts, errors, paid)


def _of_segments(lifts: Array, errors: Array, paid: Array) -> tuple[Array, Array]:
    """Lift and standard error per day and segment, from those of its cells (n_days, n_segments,
    n_channels) and what the cells spend (n_segments, n_channels)."""
    there = np.isfinite(lifts)
    days = there.sum(axis=0)
    counted = days >= COVERED_DAYS * len(lifts)
    means = np.where(there, lifts, 0.0).sum(axis=0) / np.maximum(days, 1)
    known_errors = np.isfinite(errors)
    usual = np.where(known_errors, errors, 0.0).sum(axis=0)
    usual = usual / np.maximum(known_errors.sum(axis=0), 1)
    whole = paid.sum(axis=1, keepdims=True)
    weight = np.where(whole > 0, paid / np.where(whole > 0, whole, 1.0), 0.0)
    known = (there * counted * weight).sum(axis=2) >= KNOWN_SHARE - 1e-12
    total = (np.where(there, lifts, means) * counted).sum(axis=2)
    spread = np.sqrt((np.where(known_errors, errors, usual) ** 2 * counted).sum(axis=2))
    return np.where(known, total, np.nan), np.where(known, spread, np.nan)
