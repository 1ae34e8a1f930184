"""Budgets of the coming weeks by the settings' rules: commitments on their dates, and the limits of
the guardrails on plans in every period."""

from __future__ import annotations

from dataclasses import replace

from liftloop.core.allocation.constraints import Rules
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.guardrails.plan import ROUNDING
from liftloop.core.horizon.optimize import Horizon, HorizonLimits, HorizonOutlook
from liftloop.core.horizon.plan import HorizonPlan, plan_horizon
from liftloop.core.policy import Policy
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.plan.rules import dated_commitments, limits_within_reach, rules_of
from liftloop.pipeline.plan.total import parks, what_pays
from liftloop.settings.schema import Settings

TRIES = 7  # halvings of the step, where more would move at once than is allowed


def plan_ahead(
    settings: Settings,
    outlook: HorizonOutlook,
    horizon: Horizon,
    holds: Holds,
    *,
    incumbent: Policy,
    shift: float = 0.0,
) -> tuple[HorizonPlan, Rules]:
    """The plan of every period, and the rules that hold in all of them.

    Where a period would move more of the money than ``[guardrails] total_change`` allows, all
    periods take smaller steps: the largest with which none does.

    Parameters
    ----------
    incumbent
        The budgets in force before the horizon.
    shift
        As of :class:`HorizonLimits`.

    Raises
    ------
    InfeasibleBudget
        With the rules that cannot hold together.
    """
    unknown = set(incumbent.cells) - set(outlook.curves.cells)
    rules = rules_of(settings, incumbent, holds.lasting, holds.no_raise)
    rules = what_pays(settings, curves=outlook.curves, rules=rules, incumbent=incumbent)
    first = rules_of(settings, incumbent, holds.frozen, holds.no_raise)
    first = replace(first, total=rules.total) if parks(settings) else first
    rules, first = (
        replace(one, groups=(*one.groups, *limits_within_reach(settings, one, incumbent, unknown)))
        for one in (rules, first)
    )
    promised = dated_commitments(settings, horizon)

    def planned(step: float | None) -> HorizonPlan:
        limits = HorizonLimits(
            replace(rules, max_step=step),
            replace(first, max_step=step),
            shift=shift,
            dated=promised,
        )
        return plan_horizon(
            outlook,
            limits,
            horizon,
            incumbent=incumbent,
            margin=settings.budget.margin,
        )

    most = settings.guardrails.total_change
    found = planned(rules.max_step)
    if rules.max_step is None or _most_moved(found) <= most + ROUNDING:
        return found, rules
    low, high = 0.0, rules.max_step
    for _ in range(TRIES):
        step = (low + high) / 2
        try:
            smaller = planned(step)
        except InfeasibleBudget:  # such a step does not reach what other rules ask for
            low = step
            continue
        if _most_moved(smaller) > most + ROUNDING:
            high = step
        else:
            low, found = step, smaller
    return found, rules


def _most_moved(plan: HorizonPlan) -> float:
    """The largest share of the money that moves from one period to the next."""
    return max(period.share_moved for period in plan.periods)
