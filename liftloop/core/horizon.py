"""Budgets over time: a plan for every period of a horizon, with carry-over and season.

Maximize margin x incremental revenue - spend over the horizon and what it leaves behind. Revenue
of a cell on day t is ``demand_t ** elasticity x f(a_t)``, a_t its effective spend. What is carried
past the end counts as what it will earn while budgets go on as the best steady plan; so a horizon's
last period is planned like any other, and a market at rest keeps its flat plan.
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

from liftloop.core.allocation import allocate
from liftloop.core.curves import Array, ResponseCurves
from liftloop.core.decide import Estimate, share_moved, spends
from liftloop.core.errors import ConfigurationError
from liftloop.core.horizon_response import Adstock, HorizonResponse, MarginalTable, adstock
from liftloop.core.horizon_rules import HorizonRules, Totals, whole_cents
from liftloop.core.horizon_season import Demand, Seasoned
from liftloop.core.horizon_words import period_sentence, whole_sentence
from liftloop.core.interior import Answer, Programme, maximize
from liftloop.core.policy import Cell, Policy, to_cents
from liftloop.core.rules import Rules

ROUNDINGS = (1, 3, 9, 27)  # samples of a curve averaged where its kinks keep the search going
BRANCHES = 6  # rounds of choosing which small budgets step by a share of their own


@dataclass(frozen=True, slots=True)
class PeriodPlan:
    """One period, ``start`` to ``end`` (inclusive).

    Attributes
    ----------
    policy
        Daily budgets, exact to the cent.
    revenue
        Expected incremental revenue, mean per day of the period, with its 90 % interval.
    demand
        The mean demand of the period's days, weighted by spend; 1 is the year's mean.
    share_moved
        Of the money, against the period before.
    sentence
        What happens, in plain words.
    """

    start: date
    end: date
    policy: Policy
    revenue: Estimate
    demand: float
    share_moved: float
    sentence: str


@dataclass(frozen=True, slots=True)
class HorizonPlan:
    """All periods, and what they come to (amounts over the whole horizon, account currency).

    Attributes
    ----------
    spend
        The budgets of all days.
    revenue
        Expected incremental revenue of the horizon's days.
    beyond
        What the effective spend at the end still earns after it.
    gain
        Profit (with what is carried beyond) over holding the budgets in force all the time.
    gap
        How far from the optimum the search ended, as a share; above 1e-6 it did not settle.
    """

    periods: tuple[PeriodPlan, ...]
    spend: Decimal
    revenue: Estimate
    beyond: Estimate
    gain: Estimate
    sentence: str
    gap: float = 0.0


def plan_horizon(
    *,
    curves: ResponseCurves,
    rules: Rules,
    incumbent: Policy,
    start: date,
    periods: int = 13,
    days: int = 7,
    season: pd.DataFrame | None = None,
    elasticity: float = 1.0,
    effective: Array | None = None,
    totals: Sequence[Decimal] | None = None,
    shift: float = 0.0,
    margin: float = 1.0,
    seed: int = 0,
) -> HorizonPlan:
    """The budgets of every period that earn most over the whole horizon under ``rules``.

    Parameters
    ----------
    curves
        What cells respond with at demand 1. A cell of the rules without a curve keeps its budget.
    rules
        As for ``allocate``; they hold in every period, steps against the period before.
    incumbent
        The budgets in force before ``start``.
    start, periods, days
        The first day, how many periods, and the days of each.
    season
        date, segment, index (1 is the year's mean), and, if known, standard_error, and reference:
        the demand the curves speak of. A day or segment not in it has demand 1.
    elasticity
        By how much the response follows demand: revenue is multiplied by
        (index / reference) ** elasticity.
    effective
        Effective spend on the day before ``start``, in the order of ``curves.cells``, (n_cells,);
        default: the budgets in force, held for long.
    totals
        Total daily budget of each period; default: the rules' total in all.
    shift
        The share by which a period's total may differ from its own; the sum over the horizon stays.
        0 fixes every period's total.
    margin
        Profit per unit of revenue, before the spend.
    seed
        For the draws of the season's uncertainty.

    Raises
    ------
    InfeasibleBudget
        With the period and the rules that cannot hold together.
    ConfigurationError
        For a horizon, a shift or totals that make no sense.
    """
    if periods < 1 or days < 1:
        raise ConfigurationError(
            f"A horizon of {periods} periods of {days} days.", fix="plan at least one day."
        )
    if not 0 <= shift <= 1:
        raise ConfigurationError(f"A shift of {shift}.", fix="give a share from 0 to 1.")
    if totals is not None and len(totals) != periods:
        raise ConfigurationError(
            f"{len(totals)} totals for {periods} periods.", fix="give a total for each period."
        )
    room = Totals.of([to_cents(t) for t in totals or [rules.total] * periods], shift=shift)
    world = _World.of(
        curves, rules, incumbent, room, start, days, season, elasticity, effective, seed
    )
    spend, gap = world.best()
    policies = whole_cents(rules, spend, totals=room, incumbent=incumbent, unknown=world.unknown)
    return replace(world.told(policies, start=start, days=days, margin=margin), gap=gap)


@dataclass(frozen=True, slots=True, eq=False)
class _World:
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
        incumbent: Policy,
        totals: Totals,
        start: date,
        days: int,
        season: pd.DataFrame | None,
        elasticity: float,
        effective: Array | None,
        seed: int,
    ) -> _World:
        known = set(curves.cells)
        unknown = tuple(cell for cell in rules.cells if cell not in known)
        bounds = HorizonRules.of(rules, totals=totals, incumbent=incumbent, unknown=unknown)
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
            curves=Seasoned(curves, demand.weight[:, -days:].mean(axis=1)),
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

    def draws(self, policies: Sequence[Policy]) -> tuple[Array, Array]:
        """Revenue of each day in each draw (n_draws, n_days), all cells of the rules together; and
        what the level at the end earns beyond it (n_draws,)."""
        within = set(self.rules.cells)
        counted = np.array([cell in within for cell in self.curves.cells])
        spend = np.array([spends(policy, self.curves) for policy in policies]).T
        levels = self.adstock.levels(spend, before=self.before, after=self.after)
        alone = self.adstock.after * self.after[:, None]  # what would be there without the horizon
        inside = self.adstock.inside
        daily = []
        for day in range(inside):
            drawn = self.curves.draw_revenue(levels[:, day])[:, counted]
            daily.append((drawn * self.demand.drawn(day, len(drawn))[:, counted]).sum(axis=1))
        beyond = np.zeros(len(daily[0]))
        for day in range(inside, levels.shape[1]):
            more = self.curves.draw_revenue(levels[:, day])
            more = (more - self.curves.draw_revenue(alone[:, day])) * self.adstock.count[:, day]
            beyond += (more * self.demand.drawn(day, len(more)))[:, counted].sum(axis=1)
        return np.array(daily).T, beyond

    def told(
        self, policies: Sequence[Policy], *, start: date, days: int, margin: float
    ) -> HorizonPlan:
        """The plan with its expectations and words."""
        daily, beyond = self.draws(policies)
        held, left = self.draws([self.incumbent] * len(policies))
        found = []
        previous = self.incumbent
        for number, policy in enumerate(policies):
            first = start + timedelta(days=number * days)
            span = slice(number * days, (number + 1) * days)
            demand = self.demand.mean(spends(policy, self.curves), span)
            found.append(
                PeriodPlan(
                    start=first,
                    end=first + timedelta(days=days - 1),
                    policy=policy,
                    revenue=Estimate.of(daily[:, span].mean(axis=1)),
                    demand=demand,
                    share_moved=share_moved(policy, previous),
                    sentence=period_sentence(policy, before=previous, demand=demand),
                )
            )
            previous = policy
        spent = sum((policy.total for policy in policies), Decimal(0)) * days
        more = spent - self._held_total() * days * len(policies)
        gain = margin * (daily.sum(axis=1) + beyond - held.sum(axis=1) - left) - float(more)
        total = Estimate.of(daily.sum(axis=1))
        return HorizonPlan(
            periods=tuple(found),
            spend=spent,
            revenue=total,
            beyond=Estimate.of(beyond),
            gain=Estimate.of(gain),
            sentence=whole_sentence(
                [plan.policy for plan in found], revenue=total, gain=Estimate.of(gain)
            ),
        )

    def _held_total(self) -> Decimal:
        held = self.incumbent.as_dict()
        return sum((held.get(cell, Decimal(0)) for cell in self.rules.cells), Decimal(0))


def _mean_total(totals: Totals) -> Decimal:
    return Decimal(int(totals.planned.mean())) / 100
