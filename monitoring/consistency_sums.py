"""Feeds laid out by day and subject: the arrays on which feeds are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.grouping import days_of

Numbers = NDArray[np.float64]
Names = tuple[str, ...]
WEEK = 7


@dataclass(frozen=True, slots=True)
class Daily:
    """Sums of a feed: ``sums`` by column, each (day, subject), NaN where nothing was told; the last
    row is the day before the look."""

    subjects: tuple[Names, ...]
    sums: dict[str, Numbers]
    as_of: date

    def day(self, row: int) -> date:
        """The day of a row."""
        rows = len(next(iter(self.sums.values())))
        return (np.datetime64(self.as_of, "D") - (rows - row)).astype(object)

    def per_day(self, column: str, rows: slice) -> Numbers:
        """Mean of the days told within ``rows``, (subject,); 0 where none was."""
        part = self.sums[column][rows]
        told = np.isfinite(part).sum(axis=0)
        return np.asarray(np.nansum(part, axis=0) / np.maximum(told, 1))

    def pooled(self, values: Numbers, by: Sequence[int]) -> dict[Names, float]:
        """``values`` (subject,) summed over the subjects that agree in the name parts ``by``."""
        found: dict[Names, float] = {}
        for subject, value in zip(self.subjects, values, strict=True):
            name = tuple(subject[part] for part in by)
            found[name] = found.get(name, 0.0) + float(value)
        return found


def daily(
    feed: pd.DataFrame | None, by: Sequence[str], columns: Sequence[str], *, as_of: date, days: int
) -> Daily:
    """Lay out the ``days`` days before ``as_of``; all rows of a day and subject are summed."""
    if feed is None or feed.empty:
        return Daily((), {name: np.full((days, 0), np.nan) for name in columns}, as_of)
    row = days_of(feed["date"]).astype(np.int64) - np.datetime64(as_of, "D").astype(np.int64) + days
    inside = (row >= 0) & (row < days)
    plain = pd.DataFrame({name: feed[name].astype(str).to_numpy() for name in by})
    for name in columns:
        plain[name] = feed[name].to_numpy().astype(np.float64)
    plain = plain.assign(row=row)[inside]
    # what one row does not say, the day of its subject does not say
    summed = plain.groupby([*by, "row"], observed=True)[list(columns)].sum(skipna=False)
    wide = summed.unstack("row").reindex(columns=pd.MultiIndex.from_product([columns, range(days)]))
    subjects = tuple(n if isinstance(n, tuple) else (n,) for n in wide.index)
    return Daily(subjects, {name: wide[name].to_numpy().T for name in columns}, as_of)
