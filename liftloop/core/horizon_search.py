"""The search for a horizon's best budgets: curves, rules and season as one concave programme."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.allocation import allocate
from liftloop.core.curves import Array, ResponseCurves, WeightedCurves
from liftloop.core.decide import spends
from liftloop.core.horizon_response import Adstock, HorizonResponse, MarginalTable, adstock
from liftloop.core.horizon_rules import HorizonRules, Totals
from liftloop.core.horizon_season import Demand
from liftloop.core.interior import Answer, Programme, maximize
from liftloop.core.policy import Cell, Policy
from liftloop.core.rules import Rules

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
    demand: Demand
    before: Array
    after: Array
    unknown: tuple[Cell, ...]

    @classmethod
    def of(
        cls,
        curves: ResponseCurves,
        rules: Rules,
        first: Rules,
        incumbent: Policy,
        totals: Totals,
        start: date,
        days: int,
        season: pd.DataFrame | None,
        elasticity: float,
        effective: Array | None,
        seed: int,
    ) -> World:
        known = set(curves.cells)
        unknown = tuple(cell for cell in rules.cells if cell not in known)
        bounds = HorizonRules.of(
            rules, first=first, totals=totals, incumbent=incumbent, unknown=unknown
        )
        periods = len(totals.planned)
        stock = adstock(curves.carryover, periods=periods, days=days)
        demand = Demand.of(
            season,
            cells=curves.cells,
            start=start,
            days=periods * days,
            beyond=stock.mix.shape[1] - periods * days,
            last=days,
            elasticity=elasticity,
            seed=seed,
        )
        steady = allocate(
            curves=WeightedCurves(curves, demand.weight[:, -days:].mean(axis=1)),
            rules=replace(rules, total=_mean_total(totals), max_step=None),
            incumbent=incumbent,
        ).policy
        before = spends(incumbent, curves) if effective is None else effective
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

        def search(programme: Programme, start: Array) -> Answer:
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
