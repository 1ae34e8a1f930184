"""Sales as a season sees them: logs of days and segments, and covariates in standard units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.errors import InsufficientEvidence

FEWEST_DAYS = 21


@dataclass(frozen=True, slots=True, eq=False)
class SalesHistory:
    """Log revenue (n_days, n_segments), nan where it is not positive; ``usable`` and ``noise``
    (n_segments,): whether enough days sell, and the standard deviation from day to day."""

    first: date
    segments: tuple[str, ...]
    log: Array
    usable: NDArray[np.bool_]
    noise: Array

    @property
    def days(self) -> int:
        return len(self.log)

    @classmethod
    def of(cls, sales: pd.DataFrame, as_of: date) -> SalesHistory:
        when: Any = (
            pd.to_datetime(sales["date"]) if len(sales) else pd.Series([], dtype="datetime64[ns]")
        )
        rows = sales.assign(date=when)[(when < pd.Timestamp(as_of)).to_numpy()]
        first = rows["date"].min() if len(rows) else pd.Timestamp(as_of)
        days = (pd.Timestamp(as_of) - first).days
        if days < FEWEST_DAYS:
            raise InsufficientEvidence(
                f"A season needs {FEWEST_DAYS} days of sales; there are {days}.",
                fix="Deliver more of the sales feed.",
            )
        wide = rows.pivot_table(index="date", columns="segment", values="revenue", aggfunc="sum")
        wide = wide.reindex(pd.date_range(first, periods=days)).astype(float)
        values = wide.to_numpy()
        log = np.log(np.where(values > 0, values, np.nan))
        usable = np.isfinite(log).sum(axis=0) >= max(FEWEST_DAYS, 0.8 * days)
        if not usable.any():
            raise InsufficientEvidence(
                "No segment sells on most of its days: no season can be seen.",
                fix="Deliver sales of whole segments and days.",
            )
        # from week to week the same weekday differs by noise alone, nearly
        change = (log[7:] - log[:-7]) / np.sqrt(2)
        spread = np.nanmedian(np.abs(change[:, usable]), axis=0) / 0.6745
        noise = np.ones(log.shape[1])
        noise[usable] = np.maximum(spread, 1e-3)
        return cls(first.date(), tuple(map(str, wide.columns)), log, usable, noise)

    def until(self, days: int) -> SalesHistory:
        """The same without the last days."""
        return replace(self, log=self.log[:days])


def standard_covariates(
    sales: pd.DataFrame,
    ahead: pd.DataFrame | None,
    names: Sequence[str],
    known: SalesHistory,
    as_of: date,
    days_ahead: int,
) -> Array:
    """Covariates of all days in standard units (n_days, n_segments, n_names); 0, the mean, where
    unknown."""
    dates = pd.date_range(known.first, periods=known.days + days_ahead)
    found = np.zeros((len(dates), len(known.segments), len(names)))
    if not names or ahead is None:
        return found
    keys = ["date", "segment"]
    past = sales.assign(date=pd.to_datetime(sales["date"]))
    past = past[past["date"] < pd.Timestamp(as_of)]
    coming = ahead.assign(date=pd.to_datetime(ahead["date"]))
    coming = coming[coming["date"] >= pd.Timestamp(as_of)]
    rows = pd.concat([past[[*keys, *names]], coming[[*keys, *names]]])
    for number, name in enumerate(names):
        wide = rows.pivot_table(index="date", columns="segment", values=name, aggfunc="mean")
        wide = wide.reindex(index=dates, columns=list(known.segments)).astype(float)
        seen = wide.iloc[: known.days].to_numpy()
        if not np.isfinite(seen).any():
            continue
        mean, spread = np.nanmean(seen), np.nanstd(seen)
        if spread > 0:
            found[:, :, number] = ((wide - mean) / spread).fillna(0.0).to_numpy()
    return found
