"""Stretches of days on which a segment that always sells sold nothing: a feed that broke, not a
market. Learned from, they would say that spend does nothing.

A stretch counts where so many days of nothing in a row have a chance below one in a million by the
share of days without sales at other times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

CHANCE = 1e-6
LEAST_DAYS = 3  # shorter stretches are closing days
MOSTLY = 0.5  # of a segment's days have sales, or nothing is said of it
SHOWN = 3


@dataclass(frozen=True, slots=True)
class EmptyStretch:
    """A segment, and the first and the last day of a stretch without sales."""

    segment: str
    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


def empty_stretches(sales: pd.DataFrame) -> tuple[EmptyStretch, ...]:
    """The stretches of a sales feed (date, segment, revenue), by segment and day.

    Days without a row are no days without sales: a feed that is late is told elsewhere.
    """
    found: list[EmptyStretch] = []
    if sales.empty:
        return ()
    rows = sales.assign(date=pd.to_datetime(sales["date"]))
    daily = rows.groupby(["segment", "date"], observed=True)["revenue"].sum().sort_index()
    for segment, series in daily.groupby(level=0, observed=True):
        days = series.index.get_level_values("date")
        none = series.to_numpy(dtype=float) == 0
        if none.all() or none.mean() > MOSTLY:
            continue
        steps = np.diff(np.concatenate([[0], none.astype(int), [0]]))
        for first, after in zip(
            np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True
        ):
            begin, end = int(first), int(after)
            length = end - begin
            others = np.delete(none, np.arange(begin, end))
            share = (others.sum() + 1) / (len(others) + 2)
            if length >= LEAST_DAYS and share**length < CHANCE:
                found.append(EmptyStretch(str(segment), days[begin].date(), days[end - 1].date()))
    return tuple(found)


def without_empty_stretches(sales: pd.DataFrame) -> pd.DataFrame:
    """The feed without the days of its empty stretches; the same frame where it has none."""
    found = empty_stretches(sales)
    if not found:
        return sales
    day = pd.to_datetime(sales["date"])
    hit = np.zeros(len(sales), dtype=bool)
    for one in found:
        inside = (day >= pd.Timestamp(one.first)) & (day <= pd.Timestamp(one.last))
        hit |= (inside & (sales["segment"].astype(str) == one.segment)).to_numpy()
    return sales[~hit]


def empty_sentences(found: Iterable[EmptyStretch]) -> list[str]:
    """The stretches in a sentence, with what to do; [] where there is none."""
    stretches = list(found)
    if not stretches:
        return []
    named = ", ".join(f"{one.segment} from {one.first} to {one.last}" for one in stretches[:SHOWN])
    more = f" and {len(stretches) - SHOWN} more" if len(stretches) > SHOWN else ""
    return [
        f"Sales are 0 in {named}{more}: a feed that broke, it seems, so nothing is learned from "
        "these days. Deliver them again."
    ]
