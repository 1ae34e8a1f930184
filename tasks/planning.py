"""From the configuration and what was learned to a plan: settings become the core's small rules,
the core decides, and its answer gets words. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.allocation import allocate
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import Estimate, share_moved
from liftloop.core.explain import explain_moves
from liftloop.core.policy import Cell, Policy
from liftloop.core.rules import Rules, resolve_rules

Frozen = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is proposed: the budgets, their expected gain in profit a day over those in force, one
    sentence a cell, and the sentence of the whole."""

    policy: Policy
    gain: Estimate
    words: Mapping[Cell, str]
    reason: str


def plan_budgets(
    settings: Settings,
    *,
    curves: ResponseCurves | None,
    incumbent: Policy,
    frozen: Frozen,
    as_of: date,
    facts: Mapping[str, pd.DataFrame],
) -> Plan:
    """The plan for ``as_of``.

    Parameters
    ----------
    curves
        The champion's; None keeps the budgets in force.
    incumbent
        The budgets in force before ``as_of``.
    frozen
        (segment, channel, why) of what may not move today, beside what the settings freeze.
    facts
        The feeds as known on ``as_of``; ``performance`` says how many people a cell reaches.

    Raises
    ------
    InfeasibleBudget
        With a smallest set of rules that cannot hold together.
    """
    if curves is None:
        reason = "No response is known yet: the budgets stay until there is randomized evidence."
        return Plan(incumbent, Estimate(0.0, 0.0, 0.0), {}, reason)
    margin = settings.budget.margin
    found = allocate(
        curves=curves,
        rules=rules_of(settings, incumbent, frozen),
        incumbent=incumbent,
        margin=margin,
    )
    words = explain_moves(allocation=found, curves=curves, incumbent=incumbent, margin=margin)
    reason = _reason(found.policy, incumbent, found.expected_gain, settings.account.currency)
    return Plan(found.policy, found.expected_gain, words, reason)


def rules_of(settings: Settings, incumbent: Policy, frozen: Frozen) -> Rules:
    """The configured rules for the cells of the policy in force, and what is frozen today."""
    budget = settings.budget
    return resolve_rules(
        cells=incumbent.cells,
        total=budget.total or incumbent.total,
        limits=[(x.segment, x.channel, x.floor, x.cap) for x in budget.limits],
        groups=[(g.name, g.segments, g.channels, g.minimum, g.maximum) for g in budget.groups],
        frozen=[*((f.segment, f.channel, "frozen") for f in budget.frozen), *frozen],
        max_step=budget.max_step,
    )


def _reason(policy: Policy, incumbent: Policy, gain: Estimate, currency: str) -> str:
    if policy.version == incumbent.version:
        return "No move pays under the rules: the budgets stay."
    return (
        f"Moving {share_moved(policy, incumbent):.1%} of the money is expected to earn "
        f"{gain.mean:+,.0f} {currency} profit a day (9 times in 10 between {gain.low:+,.0f} and "
        f"{gain.high:+,.0f})."
    )
