"""The budgets in force while plans flow through the waves.

The plan that every wave has is in force everywhere. Inside the waves that have a newer one, that
plan is rescaled to the money those waves have under the older: so totals stay exact in every state,
and money crosses from one wave to another when both have the plan that moves it. Where a plan
spends less or more in total, each wave's part of that leaves or comes with the wave's own step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

import pandas as pd

from liftloop.core.allocation.constraints import Book, ReachCap, Rules, book, covered
from liftloop.core.money.currencies import budget_unit
from liftloop.core.money.whole_units import in_whole_units
from liftloop.core.policy import Cell, Policy, from_cents
from liftloop.core.rollout.staged_budgets import Limits, Room, blend, change_inside, land
from liftloop.pipeline.plan.reach import caps_by_frequency
from liftloop.pipeline.plan.rules import Frozen, Slow, rules_of
from liftloop.settings.schema import Settings

Level = tuple[Collection[str], Policy]


@dataclass(frozen=True, slots=True)
class StageInputs:
    """What a stage's budgets are made under.

    Attributes
    ----------
    in_force
        What steps are measured from.
    frozen, slow
        Cells that may not move today, and cells that get no raise.
    fixed
        Cells that no plan of the stream has moved: rescaling does not move them either.
    in_steps
        Whether a cell moves by at most a step; what goes back to protect may go at once.
    """

    settings: Settings
    in_force: Policy
    frozen: Frozen
    facts: Mapping[str, pd.DataFrame]
    as_of: date
    slow: Slow = field(default_factory=dict)
    fixed: frozenset[Cell] = frozenset()
    in_steps: bool = True

    def rules(self) -> Rules:
        """The configured rules, for the total in force."""
        rules = rules_of(self.settings, self.in_force, self.frozen, self.slow, as_of=self.as_of)
        held = self.in_force.as_dict()
        caps = caps_by_frequency(
            self.settings, cells=rules.cells, facts=self.facts, as_of=self.as_of
        )
        reach = tuple(ReachCap(cell, max(caps[cell], held[cell])) for cell in sorted(caps))
        return replace(rules, total=self.in_force.total, reach=reach)

    def groups(self, rules: Rules, total: Decimal) -> Book:
        """The rules in cents; shares of the total are of ``total``."""
        return book(replace(rules, total=total), incumbent=self.in_force)

    def limits(self, rules: Rules, most: Decimal) -> Limits:
        """Floor and cap of each cell that has any: configured, of reach, frozen today, or without a
        raise because it does not spend what it has. ``most``: the largest total of all plans."""
        held = self.in_force.as_dict()
        found: dict[Cell, tuple[Decimal, Decimal]] = {}
        for limit in rules.limits:
            inside = covered(rules.cells, [limit.segment], [limit.channel])
            for cell in (c for c, here in zip(rules.cells, inside, strict=True) if here):
                low, high = found.get(cell, (Decimal(0), most))
                cap = high if limit.cap is None else min(high, limit.cap)
                found[cell] = (max(low, limit.floor), cap)
        for cell, cap in (
            *((reach.cell, reach.cap) for reach in rules.reach),
            *((slow.cell, held[slow.cell]) for slow in rules.no_raise),
        ):
            low, high = found.get(cell, (Decimal(0), most))
            found[cell] = (low, max(min(high, cap), low))
        for freeze in rules.frozen:
            inside = covered(rules.cells, [freeze.segment], [freeze.channel])
            for cell in (c for c, here in zip(rules.cells, inside, strict=True) if here):
                found[cell] = (held[cell], held[cell])
        return {**found, **{cell: (held[cell], held[cell]) for cell in self.fixed if cell in held}}


def stage_budgets(base: StageInputs, levels: Sequence[Level]) -> Policy:
    """The budgets in force while segments follow plans of different age.

    Parameters
    ----------
    levels
        (segments that follow this plan or a newer one, its budgets for all segments), the oldest
        plan first; the first entry counts for every segment.

    Raises
    ------
    InfeasibleBudget
        When floors, caps, steps and what may not move leave no room for them.
    """
    rules, older = base.rules(), levels[0][1]
    limits = base.limits(rules, max(base.in_force.total, *(plan.total for _, plan in levels)))
    groups = base.groups(rules, older.total)
    step = base.settings.budget.max_step if base.in_steps else None
    policy = land(older, in_force=base.in_force, max_step=step, bounds=limits, groups=groups)
    for segments, plan in levels[1:]:
        change = change_inside(policy, plan, segments, older, limits)
        groups = base.groups(rules, policy.total + from_cents(change))
        policy = blend(
            policy,
            plan,
            segments,
            room=Room(base.in_force, step, limits, groups),
            older=older,
        ).policy
        older = plan
    unit = budget_unit(base.settings.account.currency)
    return in_whole_units(policy, unit, written=groups if base.in_steps else None)
