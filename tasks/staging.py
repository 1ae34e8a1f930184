"""The budgets of a rollout's stage: the plan inside the exposed segments, under the same rules, and
planned anew there where rescaling alone would lose what the plan gains as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.allocation import allocate
from liftloop.core.blending import Limits, blend, land
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import gain
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.interacting import separable_at
from liftloop.core.policy import Policy
from liftloop.core.rules import Freeze, ReachCap, Rules, book, covered, limits_inside
from tasks.planning import Frozen, Slow, rules_of
from tasks.reach import caps_by_frequency

OUTSIDE = "waits for the rollout"


@dataclass(frozen=True, slots=True)
class Staged:
    """Budgets of a stage, and what is to be said of them. ``problem`` says why there are none; the
    policy is then the one in force."""

    policy: Policy
    words: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Base:
    """What a stage's budgets are made from.

    ``frozen``, ``facts`` and ``slow`` are as of :func:`tasks.planning.plan_budgets`; ``curves``
    None where no response is known.
    """

    settings: Settings
    incumbent: Policy
    challenger: Policy
    in_force: Policy
    curves: ResponseCurves | None
    frozen: Frozen
    facts: Mapping[str, pd.DataFrame]
    as_of: date
    slow: Slow = field(default_factory=dict)

    def rules(self) -> Rules:
        """The configured rules, for the total in force: a rollout moves no money in or out."""
        rules = rules_of(self.settings, self.in_force, self.frozen, self.slow)
        held = self.in_force.as_dict()
        caps = caps_by_frequency(
            self.settings, cells=rules.cells, facts=self.facts, as_of=self.as_of
        )
        reach = tuple(ReachCap(cell, max(caps[cell], held[cell])) for cell in sorted(caps))
        return replace(rules, total=self.in_force.total, reach=reach)

    def limits(self, rules: Rules) -> Limits:
        """Floor and cap of each cell that has any: configured, of reach, frozen today, or without a
        raise because it does not spend what it has."""
        held = self.in_force.as_dict()
        found = limits_inside(rules, proposed=self.challenger, incumbent=self.incumbent)
        for reach in rules.reach:
            low, high = found.get(reach.cell, (Decimal(0), self.in_force.total))
            found[reach.cell] = (low, max(min(high, reach.cap), low))
        for slow in rules.no_raise:
            low, high = found.get(slow.cell, (Decimal(0), self.in_force.total))
            found[slow.cell] = (low, max(min(high, held[slow.cell]), low))
        for freeze in rules.frozen:
            inside = covered(rules.cells, [freeze.segment], [freeze.channel])
            for cell in (cell for cell, here in zip(rules.cells, inside, strict=True) if here):
                found[cell] = (held[cell], held[cell])
        return found

    def gain(self, policy: Policy) -> float:
        """Expected profit a day over the incumbent."""
        assert self.curves is not None
        margin = self.settings.budget.margin
        return gain(self.curves, policy=policy, incumbent=self.incumbent, margin=margin).mean


def stage_budgets(base: Base, exposed: Collection[str]) -> Staged:
    """The budgets in force while ``exposed`` follow the challenger and all others the incumbent.

    Where a response is known and profit is the objective, the exposed segments must gain by
    themselves: rescaled budgets that do not are planned anew, inside the set under its own total.
    """
    rules = base.rules()
    limits = base.limits(rules)
    try:
        mixed = blend(
            base.incumbent,
            base.challenger,
            exposed,
            in_force=base.in_force,
            max_step=base.settings.budget.max_step,
            bounds=limits,
            groups=book(rules, incumbent=base.in_force),
        )
    except InfeasibleBudget as conflict:
        return Staged(base.in_force, problem=str(conflict))
    waits = _waiting(mixed.waiting)
    if base.curves is None or base.settings.budget.objective != "expected_profit":
        return _moving(base, mixed.policy, waits)
    own = base.gain(mixed.policy)
    if own > 0:
        return _moving(base, mixed.policy, waits)
    return _planned_anew(base, rules, limits, set(exposed), own, waits)


def _waiting(amount: Decimal) -> str:
    """What the whole plan moves between the exposed segments and the others."""
    if amount == 0:
        return ""
    if amount > 0:
        return f"{amount:,.2f} a day more come into these segments once it has proved itself."
    return f"{-amount:,.2f} a day leave these segments once it has proved itself."


def _moving(base: Base, policy: Policy, words: str) -> Staged:
    """A first stage that moves nothing is none."""
    if policy.version == base.incumbent.version:
        why = "Inside the canary segments the plan moves nothing: the budgets stay."
        return Staged(base.in_force, problem=why)
    return Staged(policy, words)


def _planned_anew(
    base: Base, rules: Rules, limits: Limits, exposed: set[str], own: float, waits: str
) -> Staged:
    """The best budgets of the exposed segments alone; every other cell is frozen, so that each rule
    keeps its meaning."""
    assert base.curves is not None
    outside = {cell.segment for cell in rules.cells} - exposed
    held = [cell for cell, (low, high) in limits.items() if low == high]
    frozen = (
        *rules.frozen,
        *(Freeze(segment, "*", OUTSIDE) for segment in sorted(outside)),
        *(Freeze(cell.segment, cell.channel, "not moved by the plan") for cell in held),
    )
    margin = base.settings.budget.margin
    try:
        found = allocate(
            curves=separable_at(base.curves, base.in_force),
            rules=replace(rules, frozen=frozen),
            incumbent=base.in_force,
            margin=margin,
        ).policy
    except InfeasibleBudget as conflict:
        return Staged(base.in_force, problem=str(conflict))
    anew = base.gain(found)
    currency = base.settings.account.currency
    if anew <= 0 or found.version == base.incumbent.version:
        return Staged(
            base.in_force,
            problem="Within the exposed segments alone the plan gains nothing, not even when their "
            "budgets are planned anew under their own total: the budgets stay.",
        )
    return Staged(
        found,
        f"{waits} Rescaled to these segments the plan would earn {own:+z,.0f} {currency} a day, so "
        f"their budgets are planned anew under their own total ({anew:+z,.0f} {currency}).",
    )


def full_budgets(base: Base) -> Staged:
    """The challenger in all segments, within a step of the budgets in force."""
    rules = base.rules()
    try:
        policy = land(
            base.challenger,
            in_force=base.in_force,
            max_step=base.settings.budget.max_step,
            bounds=base.limits(rules),
            groups=book(rules, incumbent=base.in_force),
        )
    except InfeasibleBudget as conflict:
        return Staged(base.in_force, problem=str(conflict))
    if policy.version == base.challenger.version:
        return Staged(policy)
    return Staged(policy, "Some cells are more than a step away from it: they go as far as one.")
