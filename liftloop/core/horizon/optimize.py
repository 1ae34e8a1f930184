"""The search for a horizon's best budgets: curves, rules and season as one concave programme.

Demand of the horizon's days is a weight on every cell's response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import Rules
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import spends
from liftloop.core.curves.protocol import ResponseCurves, WeightedCurves
from liftloop.core.errors import ConfigurationError
from liftloop.core.horizon.constraints import DatedGroup, HorizonRules, Totals
from liftloop.core.horizon.interior_point import InteriorSolution, Programme, maximize
from liftloop.core.horizon.response import Adstock, HorizonResponse, MarginalTable, adstock
from liftloop.core.policy import Cell, Policy, to_cents


@dataclass(frozen=True, slots=True)
class Horizon:
    """The days of a plan: from ``start`` on so many ``periods`` of so many ``days``."""

    start: date
    periods: int = 13
    days: int = 7

    @property
    def all_days(self) -> int:
        """How many days there are in all periods."""
        return self.periods * self.days


@dataclass(frozen=True, slots=True, eq=False)
class HorizonOutlook:
    """What spend will earn over a horizon.

    Attributes
    ----------
    curves
        What cells respond with at demand 1.
    season
        date, segment, index (1 is the year's mean), and, if known, standard_error, and reference:
        the demand the curves speak of. A day or segment not in it has demand 1.
    elasticity
        By how much the response follows demand: revenue is multiplied by
        (index / reference) ** elasticity.
    effective
        Effective spend on the day before the horizon, in the order of ``curves.cells``, (n_cells,);
        None: that of the budgets in force, held for long.
    seed
        For the draws of the season's uncertainty.
    """

    curves: ResponseCurves
    season: pd.DataFrame | None = None
    elasticity: float = 1.0
    effective: Array | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class HorizonLimits:
    """What a plan of several periods keeps to.

    Attributes
    ----------
    rules
        As for ``allocate``; they hold in every period, steps against the period before. A cell that
        gets no raise never gets more than in the period before.
    first
        The rules of the first period where they are stricter, such as a freeze for it alone; for
        the same cells and the same total. None: ``rules``.
    totals
        Total daily budget of each period; None: the rules' total in all.
    shift
        The share by which a period's total may differ from its own; the sum over the horizon stays.
        0 fixes every period's total.
    dated
        Least amounts of groups that hold in some periods.
    """

    rules: Rules
    first: Rules | None = None
    totals: Sequence[Decimal] | None = None
    shift: float = 0.0
    dated: tuple[DatedGroup, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HorizonDemand:
    """Demand by cell and day; days past the end have the mean of the last period.

    Attributes
    ----------
    index
        Demand against the year's mean, (n_cells, n_days).
    weight
        What the response is multiplied by, (n_cells, n_days): (index / reference) ** elasticity.
    error
        Standard error of log weight, (n_cells, n_days).
    segment
        The number of each cell's segment, (n_cells,).
    seed
        For the draws.
    """

    index: Array
    weight: Array
    error: Array
    segment: NDArray[np.intp]
    seed: int

    @classmethod
    def of(cls, outlook: HorizonOutlook, horizon: Horizon, *, beyond: int) -> HorizonDemand:
        """Of the horizon's days and ``beyond`` days after it, where the mean of the last period
        goes on.

        Raises
        ------
        ConfigurationError
            For an index that is not positive.
        """
        cells, season, days = outlook.curves.cells, outlook.season, horizon.all_days
        names = sorted({cell.segment for cell in cells})
        number = {name: place for place, name in enumerate(names)}
        segment = np.array([number[cell.segment] for cell in cells], dtype=np.intp)
        index, error = np.ones((len(names), days)), np.zeros((len(names), days))
        reference = np.ones((len(names), days))
        if season is not None and len(season):
            dates = [pd.Timestamp(horizon.start + timedelta(days=day)) for day in range(days)]
            index = _wide(season, "index", names, dates, missing=1.0)
            if "reference" in season:
                reference = _wide(season, "reference", names, dates, missing=1.0)
            if not ((index > 0) & (reference > 0)).all():
                raise ConfigurationError(
                    "A season index is not above 0.", fix="correct the index; 1 is the usual day."
                )
            if "standard_error" in season:
                error = _wide(season, "standard_error", names, dates, missing=0.0) / index

        def whole(values: Array) -> Array:
            rest = np.repeat(values[:, -horizon.days :].mean(axis=1)[:, None], beyond, axis=1)
            return np.asarray(np.concatenate([values, rest], axis=1)[segment])

        weight = (index / reference) ** outlook.elasticity
        error = abs(outlook.elasticity) * error
        return cls(whole(index), whole(weight), whole(error), segment, outlook.seed)

    def drawn(self, day: int, draws: int) -> Array:
        """Weights of a day in each draw (n_draws, n_cells). A draw errs alike on all days of a
        segment, so that the error of a total is not averaged away."""
        shape = (draws, int(self.segment.max()) + 1)
        normal = np.random.default_rng(self.seed).standard_normal(shape)[:, self.segment]
        error = self.error[:, day]
        return np.asarray(self.weight[:, day] * np.exp(error * normal - error**2 / 2))

    def mean(self, spend: Array, span: slice) -> float:
        """The mean demand of some days, weighted by ``spend`` (n_cells,)."""
        level = self.index[:, span].mean(axis=1)
        return float(np.average(level, weights=spend)) if spend.sum() > 0 else float(level.mean())


def _wide(
    season: pd.DataFrame,
    column: str,
    names: Sequence[str],
    dates: Sequence[pd.Timestamp],
    *,
    missing: float,
) -> Array:
    wide = season.assign(date=pd.to_datetime(season["date"])).pivot(
        index="segment", columns="date", values=column
    )
    wide = wide.reindex(index=list(names), columns=list(dates)).astype(float).fillna(missing)
    return np.asarray(wide.to_numpy(dtype=np.float64))


ROUNDINGS = (1, 3, 9, 27)  # samples of a curve averaged where its kinks keep the search going
BRANCHES = 6  # rounds of choosing which small budgets step by a share of their own


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What a horizon's plan rests on. Arrays of curves are in the order of ``curves.cells``."""

    curves: ResponseCurves
    rules: Rules
    incumbent: Policy
    bounds: HorizonRules
    adstock: Adstock
    demand: HorizonDemand
    before: Array
    after: Array
    unknown: tuple[Cell, ...]

    @classmethod
    def of(
        cls,
        outlook: HorizonOutlook,
        limits: HorizonLimits,
        horizon: Horizon,
        *,
        incumbent: Policy,
    ) -> World:
        curves, rules = outlook.curves, limits.rules
        planned = limits.totals or [rules.total] * horizon.periods
        totals = Totals.of([to_cents(total) for total in planned], shift=limits.shift)
        known = set(curves.cells)
        unknown = tuple(cell for cell in rules.cells if cell not in known)
        bounds = HorizonRules.of(
            rules,
            first=limits.first or rules,
            totals=totals,
            incumbent=incumbent,
            unknown=unknown,
            dated=limits.dated,
        )
        stock = adstock(curves.carryover, periods=horizon.periods, days=horizon.days)
        beyond = stock.mix.shape[1] - horizon.all_days
        demand = HorizonDemand.of(outlook, horizon, beyond=beyond)
        steady = allocate(
            curves=WeightedCurves(curves, demand.weight[:, -horizon.days :].mean(axis=1)),
            rules=replace(rules, total=_mean_total(totals), max_step=None),
            incumbent=incumbent,
        ).policy
        before = outlook.effective
        if before is None:
            before = spends(incumbent, curves)
        return cls(
            curves, rules, incumbent, bounds, stock, demand, before, spends(steady, curves), unknown
        )

    def _places(self) -> NDArray[np.intp]:
        """Of each rules' cell in the curves, -1 without."""
        where = {cell: number for number, cell in enumerate(self.curves.cells)}
        return np.array([where.get(cell, -1) for cell in self.rules.cells], dtype=np.intp)

    def best(self) -> tuple[Array, float]:
        """The optimum before rounding, (n rules' cells, n_periods), and its distance."""
        place = self._places()
        seen = place >= 0
        n, periods = self.bounds.low.shape
        held = self.bounds.written.before / 100
        wished = np.clip(
            np.repeat(held[:, None], periods, axis=1), self.bounds.low, self.bounds.high
        )
        if not seen.any():
            return wished, 0.0
        inner = place[seen]
        sharp = self._response(inner, self.bounds.low[seen], self.bounds.high[seen])

        def derivatives(response: HorizonResponse, spend: Array) -> tuple[Array, Array]:
            gradient, hessian = np.zeros((n, periods)), np.zeros((n, periods, periods))
            gradient[seen], hessian[seen] = response.derivatives(spend[seen])
            return gradient, hessian

        def search(programme: Programme, start: Array) -> InteriorSolution:
            """Curves with kinks may never settle: then a little rounder, and rounder still."""
            for width in (0, *ROUNDINGS):
                response = sharp.rounded(width) if width else sharp
                found = maximize(
                    programme=programme,
                    derivatives=partial(derivatives, response),
                    start=start,
                    unit=unit,
                )
                if found.settled:
                    break
                if width == 0:
                    self.bounds.refuse_together(programme)
            return found

        unit = float(self.bounds.totals.planned.mean()) / 100 / n or 1.0
        # which budgets step by a share of their own depends on the answer: start from the budgets
        # in force, and choose again until nothing changes
        sums = wished.sum(axis=0)
        start = wished * np.where(sums > 0, self.bounds.totals.planned / 100, 1.0)
        start /= np.where(sums > 0, sums, 1.0)
        small = self.bounds.small(start)
        large = np.column_stack([held, start[:, :-1]]) >= small
        for _ in range(BRANCHES):
            found = search(self.bounds.programme(large, small), wished)
            wished = found.spend
            chosen, used = large, small
            small = self.bounds.small(wished)
            large = np.column_stack([held, wished[:, :-1]]) >= small
            same = (large == chosen).all() and np.allclose(small, used, rtol=1e-4)
            if self.rules.max_step is None or same:
                break
        return wished, found.gap

    def _response(self, inner: NDArray[np.intp], low: Array, high: Array) -> HorizonResponse:
        before, after = self.before[inner], self.after[inner]

        def marginal(spend: Array) -> Array:
            whole = np.zeros(len(self.curves.cells))
            whole[inner] = spend
            return self.curves.mean_marginal(whole)[inner]

        least = np.minimum.reduce([low.min(axis=1), before, after])
        most = np.maximum.reduce([high.max(axis=1), before, after])
        usual = np.maximum(np.maximum(before, after), 1e-3 * max(float(after.mean()), 1e-9))
        stock = self.adstock
        return HorizonResponse(
            Adstock(
                stock.mix[inner],
                stock.start[inner],
                stock.after[inner],
                stock.count[inner],
                stock.inside,
            ),
            MarginalTable.of(marginal, low=least, high=most, offset=usual / 4),
            self.demand.weight[inner] * stock.count[inner],
            before,
            after,
        )


def _mean_total(totals: Totals) -> Decimal:
    return Decimal(int(totals.planned.mean())) / 100
