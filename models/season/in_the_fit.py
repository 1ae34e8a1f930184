"""Season in a fit of curves: demand multiplies what spend earns.

A period with a demand index d earns ``d^e`` times what the curves say, so curves are those of
demand 1 (an offset of their log return). Whether response follows demand at all is asked of the
randomized evidence: e is 0, 1/2 or 1, whichever has the highest posterior odds (Kass and Raftery
1995). The index is taken as known; its own error is small beside a lift's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array, days_of
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.policy import Cell
from models.lift.evidence import Claims, Evidence, Test, period_mean
from models.season.demand import SeasonConfig, season_index


@dataclass(frozen=True, slots=True, eq=False)
class FitSeason:
    """``index``: demand by day (rows) and segment (columns), 1 on the year's mean; ``coming``: its
    mean over the next cycle by segment; ``elasticity`` of the response to it."""

    index: pd.DataFrame
    coming: dict[str, float]
    elasticity: float = 1.0

    def factor(self, cells: tuple[Cell, ...]) -> Array:
        """By what the coming cycle multiplies each cell's revenue (n_cells,)."""
        demand = np.array([self.coming.get(cell.segment, 1.0) for cell in cells])
        return np.asarray(demand**self.elasticity)


def known_season(sales: pd.DataFrame | None, *, as_of: date, cycle_days: int) -> FitSeason | None:
    """The season of sales; None where less than a year and a day is known, as its yearly part
    cannot be told from growth then."""
    if sales is None or sales.empty:
        return None
    known = np.datetime64(as_of, "D") - days_of(sales["date"]).min()
    if known.astype(int) <= SeasonConfig().year_days:
        return None
    try:
        found = season_index(sales=sales, as_of=as_of, days_ahead=cycle_days)
    except InsufficientEvidence:
        return None
    if not found.yearly:
        return None
    wide = found.index.pivot(index="date", columns="segment", values="index")
    ahead = wide[wide.index >= pd.Timestamp(as_of)].iloc[:cycle_days]
    return FitSeason(wide, {str(name): float(value) for name, value in ahead.mean().items()})


def mean_coming(index: pd.DataFrame, *, start: date, days: int) -> pd.Series:
    """Mean of ``index`` by segment over ``days`` days from ``start``; index: date, segment, index.
    Empty where no such day is in it."""
    when = pd.to_datetime(index["date"])
    first, end = pd.Timestamp(start), pd.Timestamp(start + timedelta(days=days))
    return index[(when >= first) & (when < end)].groupby("segment")["index"].mean()


def with_season(evidence: Evidence, season: FitSeason, *, days: pd.DatetimeIndex) -> Evidence:
    """The evidence with the demand of its lifts, claims and randomized tests. A segment or day
    without an index has demand 1. Sales contrasts stay as they are: they are to be taken from sales
    that were divided by the index."""
    index = season.index.reindex(index=days, columns=list(evidence.segments)).fillna(1.0)
    by_cell = index.to_numpy(dtype=np.float64)[:, evidence.segment_of]
    running = np.concatenate([np.zeros((1, by_cell.shape[1])), np.cumsum(by_cell, axis=0)])

    def demand(rows: Evidence | Claims) -> Array:
        mean = period_mean(running, rows.cell, rows.first, rows.last)
        return np.asarray(mean**season.elasticity)

    def of_test(test: Test) -> Test:
        span = slice(max(test.last - round(test.days) + 1, 0), max(test.last + 1, 0))
        if not test.randomized or not len(by_cell[span]):
            return test
        mean = by_cell[span][:, test.where].mean(axis=0)
        return replace(test, portion=test.portion * mean**season.elasticity)

    claims = evidence.claims
    return replace(
        evidence,
        demand=demand(evidence),
        claims=claims if claims is None else replace(claims, demand=demand(claims)),
        tests=tuple(of_test(test) for test in evidence.tests),
    )


def at_usual_demand(evidence: Evidence) -> Evidence:
    """Lifts as they would have been at demand 1, for a model that cannot take it in."""
    if evidence.demand is None:
        return evidence
    return replace(
        evidence,
        lift=evidence.lift / evidence.demand,
        noise=evidence.noise / evidence.demand,
        demand=None,
    )


def usual_sales(sales: pd.DataFrame, season: FitSeason) -> pd.DataFrame:
    """Sales divided by the index of their day and segment; the frame is not changed."""
    index = season.index.stack()
    asked = pd.MultiIndex.from_arrays(
        [pd.to_datetime(sales["date"]).dt.normalize(), sales["segment"].astype(str)]
    )
    value = index.reindex(asked).fillna(1.0).to_numpy()
    return sales.assign(revenue=sales["revenue"].astype(float) / value)


def in_coming_cycle(curves: SaturatingCurves, season: FitSeason) -> SaturatingCurves:
    """Curves of demand 1 as those of the coming cycle."""
    return replace(
        curves, marginal_at_zero=curves.marginal_at_zero * season.factor(curves.cells)[None, :]
    )
