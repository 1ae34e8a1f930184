"""The facts of the last weeks as arrays over days, segments and channels: what triage looks at.

Days are aligned backwards from ``as_of``: first the reference weeks, then the current ones. What
was not reported is nan, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.policy import Cell

MEASURES = ("spend", "impressions", "clicks", "conversions", "revenue")
YEAR = 364  # days: the same weekday a year before
CELL = ["segment", "channel"]


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """``reference_days`` before, ``current_days`` up to ``as_of``: whole weeks, so that each
    weekday weighs alike."""

    current_days: int = 28
    reference_days: int = 56

    @property
    def days(self) -> int:
        return self.reference_days + self.current_days


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Arrays over (day, segment, channel) or (day, segment); nan where nothing was reported.

    Attributes
    ----------
    reference : so many of the days are the reference
    performance : by measure: spend, impressions, clicks, conversions, revenue (as attributed)
    users, arm_revenue, arm_conversions : both arms of the holdout together
    sold, orders : first-party sales
    sold_before : ``sold`` of the same weekdays a year before; all nan where that is not known
    covariates : by name, (day, segment): the ``x_`` columns of sales
    lift, noise : incremental revenue per day and its standard error
    predicted : what the champion says of the spend that was spent
    """

    as_of: date
    reference: int
    segments: tuple[str, ...]
    channels: tuple[str, ...]
    performance: Mapping[str, Array]
    users: Array
    arm_revenue: Array
    arm_conversions: Array
    sold: Array
    orders: Array
    sold_before: Array
    covariates: Mapping[str, Array]
    lift: Array
    noise: Array
    predicted: Array

    @property
    def days(self) -> int:
        return len(self.sold)

    def day(self, index: int) -> date:
        return self.as_of - timedelta(days=self.days - index)

    def cells(self, *, segments: Sequence[int], channels: Sequence[int]) -> tuple[Cell, ...]:
        return tuple(Cell(self.segments[s], self.channels[c]) for s in segments for c in channels)


def days_of(dates: pd.Series) -> pd.Series:
    """Days as datetimes; what is so already is not parsed again."""
    if pd.api.types.is_datetime64_any_dtype(dates):
        return dates
    return pd.to_datetime(dates, errors="coerce")


@dataclass(frozen=True, slots=True, eq=False)
class _Axes:
    """Where a row of a feed belongs: its day, and its place on each of the named axes."""

    end: pd.Timestamp
    days: int
    names: Mapping[str, pd.Index]

    def place(
        self, frame: pd.DataFrame, *, shift: int = 0
    ) -> tuple[tuple[NDArray[np.intp], ...], NDArray[np.bool_]]:
        """Indices of each row, and which rows lie inside."""
        age = (self.end - days_of(frame["date"])).dt.days.to_numpy(dtype=float) - shift
        day = self.days - age
        inside = (day >= 0) & (day < self.days)
        found = [np.where(inside, day, 0).astype(np.intp)]
        for name, index in self.names.items():
            where = index.get_indexer(cast(pd.Index, frame[name].astype(str)))
            inside &= where >= 0
            found.append(where)
        return tuple(found), inside

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.days, *(len(index) for index in self.names.values()))

    def fill(
        self, frame: pd.DataFrame | None, columns: Sequence[str], *, shift: int = 0
    ) -> list[Array]:
        """Sums of each column by place; nan where there is no row (a missing column: all nan)."""
        if frame is None or frame.empty:
            return [np.full(self.shape, np.nan) for _ in columns]
        where, inside = self.place(frame, shift=shift)
        flat = np.ravel_multi_index(tuple(w[inside] for w in where), self.shape)
        size = int(np.prod(self.shape))
        count = np.bincount(flat, minlength=size)
        made = []
        for column in columns:
            if column not in frame.columns:
                made.append(np.full(self.shape, np.nan))
                continue
            values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)[inside]
            total = np.bincount(flat, weights=values, minlength=size)
            made.append(np.where(count > 0, total, np.nan).reshape(self.shape))
        return made


def watch(
    frames: Mapping[str, pd.DataFrame],
    *,
    as_of: date,
    measured: pd.DataFrame | None = None,
    config: WatchConfig | None = None,
) -> Watched:
    """Lay the feeds out.

    Parameters
    ----------
    frames : the feeds ``performance``, ``holdout`` and ``sales``; missing or empty ones are nan
    as_of : nothing on or after this day is looked at
    measured : one row a day and cell: date, segment, channel, lift, standard_error, and predicted
        (incremental revenue that day by the champion's curves at the spend that was spent; may be
        nan); None: nothing was measured

    Returns
    -------
    Watched
        Segments and channels of performance and holdout inside the window, sorted by name.
    """
    rule = config or WatchConfig()
    performance, holdout, sales = (frames.get(n) for n in ("performance", "holdout", "sales"))
    end = pd.Timestamp(as_of)
    segments, channels = _names((performance, holdout), CELL, end, rule.days)
    if sales is not None and len(sales):
        segments = segments.union(_names((sales,), ["segment"], end, rule.days)[0])
    cells = _Axes(end, rule.days, {"segment": segments, "channel": channels})
    places = _Axes(end, rule.days, {"segment": segments})
    arms = cells.fill(holdout, ("users", "revenue", "conversions"))
    lift, noise, predicted = cells.fill(measured, ("lift", "standard_error", "predicted"))
    found = cells.fill(performance, MEASURES)
    sold, orders = places.fill(sales, ("revenue", "orders"))
    known = [] if sales is None else [c for c in sales.columns if str(c).startswith("x_")]
    return Watched(
        as_of=as_of,
        reference=rule.reference_days,
        segments=tuple(segments),
        channels=tuple(channels),
        performance=dict(zip(MEASURES, found, strict=True)),
        users=arms[0],
        arm_revenue=arms[1],
        arm_conversions=arms[2],
        sold=sold,
        orders=orders,
        sold_before=places.fill(sales, ("revenue",), shift=YEAR)[0],
        covariates=dict(zip(known, places.fill(sales, known), strict=True)),
        lift=lift,
        noise=noise,
        predicted=predicted,
    )


def _names(
    frames: Sequence[pd.DataFrame | None], columns: list[str], end: pd.Timestamp, days: int
) -> list[pd.Index]:
    """What each column holds inside the window, over all frames, sorted."""
    found: list[set[str]] = [set() for _ in columns]
    for frame in frames:
        if frame is None or frame.empty:
            continue
        when = days_of(frame["date"])
        inside = ((when < end) & (when >= end - timedelta(days=days))).to_numpy()
        for names, column in zip(found, columns, strict=True):
            names |= set(frame[column][inside].dropna().astype(str).unique())
    return [pd.Index(sorted(names), dtype=object) for names in found]


def mean_of(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean over what is known; nan, without a warning, where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
