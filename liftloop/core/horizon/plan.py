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

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.curves.gain import Estimate, share_moved, spends
from liftloop.core.errors import ConfigurationError
from liftloop.core.horizon.constraints import whole_cents
from liftloop.core.horizon.optimize import Horizon, HorizonLimits, HorizonOutlook, World
from liftloop.core.horizon.words import period_sentence, whole_sentence
from liftloop.core.policy import Policy


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
    outlook: HorizonOutlook,
    limits: HorizonLimits,
    horizon: Horizon,
    *,
    incumbent: Policy,
    margin: float = 1.0,
) -> HorizonPlan:
    """The budgets of every period that earn most over the whole horizon within the limits.

    A cell of the rules without a curve keeps its budget.

    Parameters
    ----------
    incumbent
        The budgets in force before the horizon.
    margin
        Profit per unit of revenue, before the spend.

    Raises
    ------
    InfeasibleBudget
        With the period and the rules that cannot hold together.
    ConfigurationError
        For a horizon, a shift or totals that make no sense.
    """
    periods, days, shift, totals = horizon.periods, horizon.days, limits.shift, limits.totals
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
    world = World.of(outlook, limits, horizon, incumbent=incumbent)
    spend, gap = world.best()
    policies = whole_cents(
        limits.rules,
        spend,
        first=limits.first,
        bounds=world.bounds,
        incumbent=incumbent,
        unknown=world.unknown,
    )
    told = _told(world, policies, start=horizon.start, days=days, margin=margin)
    return replace(told, gap=gap)


def _draws(world: World, policies: Sequence[Policy]) -> tuple[Array, Array]:
    """Revenue of each day in each draw (n_draws, n_days), all cells of the rules together; and
    what the level at the end earns beyond it (n_draws,)."""
    within = set(world.rules.cells)
    counted = np.array([cell in within for cell in world.curves.cells])
    spend = np.array([spends(policy, world.curves) for policy in policies]).T
    levels = world.adstock.levels(spend, before=world.before, after=world.after)
    alone = world.adstock.after * world.after[:, None]  # what would be there without the horizon
    inside = world.adstock.inside
    daily = []
    for day in range(inside):
        drawn = world.curves.draw_revenue(levels[:, day])[:, counted]
        daily.append((drawn * world.demand.drawn(day, len(drawn))[:, counted]).sum(axis=1))
    beyond = np.zeros(len(daily[0]))
    for day in range(inside, levels.shape[1]):
        more = world.curves.draw_revenue(levels[:, day])
        more = (more - world.curves.draw_revenue(alone[:, day])) * world.adstock.count[:, day]
        beyond += (more * world.demand.drawn(day, len(more)))[:, counted].sum(axis=1)
    return np.array(daily).T, beyond


def _told(
    world: World, policies: Sequence[Policy], *, start: date, days: int, margin: float
) -> HorizonPlan:
    """The plan with its expectations and words."""
    daily, beyond = _draws(world, policies)
    held, left = _draws(world, [world.incumbent] * len(policies))
    found = []
    previous = world.incumbent
    for number, policy in enumerate(policies):
        first = start + timedelta(days=number * days)
        span = slice(number * days, (number + 1) * days)
        demand = world.demand.mean(spends(policy, world.curves), span)
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
    more = spent - _held_total(world) * days * len(policies)
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


def _held_total(world: World) -> Decimal:
    held = world.incumbent.as_dict()
    return sum((held.get(cell, Decimal(0)) for cell in world.rules.cells), Decimal(0))
