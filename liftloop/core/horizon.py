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
import pandas as pd

from liftloop.core.curves import Array, ResponseCurves
from liftloop.core.decide import Estimate, share_moved, spends
from liftloop.core.errors import ConfigurationError
from liftloop.core.horizon_rules import Totals, whole_cents
from liftloop.core.horizon_search import World
from liftloop.core.horizon_words import period_sentence, whole_sentence
from liftloop.core.policy import Policy, to_cents
from liftloop.core.rules import Rules


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
    first: Rules | None = None,
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
        As for ``allocate``; they hold in every period, steps against the period before. A cell that
        gets no raise never gets more than in the period before.
    incumbent
        The budgets in force before ``start``.
    start, periods, days
        The first day, how many periods, and the days of each.
    first
        The rules of the first period where they are stricter, such as a freeze for it alone; for
        the same cells and the same total. Default: ``rules``.
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
    world = World.of(
        curves, rules, first or rules, incumbent, room, start, days, season, elasticity, effective,
        seed,
    )  # fmt: skip
    spend, gap = world.best()
    policies = whole_cents(
        rules, spend, first=first, totals=room, incumbent=incumbent, unknown=world.unknown
    )
    return replace(_told(world, policies, start=start, days=days, margin=margin), gap=gap)


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
