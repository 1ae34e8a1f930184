"""What each rule costs, in money: the best plan is found again without the rule.

That is exact for the one rule, unlike a shadow price, which holds for the first unit only. Costs of
several rules do not add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.allocate import Allocation, allocate
from liftloop.core.allocation.constraints import Rules, limit_name
from liftloop.core.curves.gain import spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Policy

MOST_RULES = 12  # each costs a plan


@dataclass(frozen=True, slots=True)
class RuleCost:
    """``amount``: expected profit a day (account currency, >= 0) that the rule keeps away."""

    rule: str
    amount: float

    @property
    def words(self) -> str:
        return f"{self.rule} costs about {self.amount:,.0f} a day."


def rule_costs(
    *,
    curves: ResponseCurves,
    rules: Rules,
    incumbent: Policy,
    allocation: Allocation,
    margin: float = 1.0,
) -> tuple[RuleCost, ...]:
    """The rules that cost anything, the dearest first.

    At most twelve rules are tried, in their order of writing; one that is not tried is not in the
    answer. The total stays what it is.

    Parameters
    ----------
    allocation
        The best plan under all ``rules``.
    """
    kept = _profit(curves, allocation.policy, margin)
    found = []
    for number, (name, freer) in enumerate(_without_one(rules)):
        if number == MOST_RULES:
            break
        try:
            plan = allocate(curves=curves, rules=freer, incumbent=incumbent, margin=margin)
        except InfeasibleBudget:  # cannot be: fewer rules than a plan that exists
            continue
        amount = _profit(curves, plan.policy, margin) - kept
        if amount >= 0.5:  # less is nothing in words, and may be rounding to the cent
            found.append(RuleCost(name, amount))
    return tuple(sorted(found, key=lambda cost: -cost.amount))


def _profit(curves: ResponseCurves, policy: Policy, margin: float) -> float:
    revenue = np.asarray(curves.mean_revenue(spends(policy, curves)))
    return margin * float(revenue.sum()) - float(policy.total)


def _without_one(rules: Rules) -> Iterator[tuple[str, Rules]]:
    """Each rule's name as it begins a sentence, and the rules without it."""
    for at, limit in enumerate(rules.limits):
        where = _where(limit.segment, limit.channel)
        others = rules.limits[:at], rules.limits[at + 1 :]
        if limit.floor > 0:
            freer = (*others[0], replace(limit, floor=Decimal(0)), *others[1])
            yield f"The floor on {where}", replace(rules, limits=freer)
        if limit.cap is not None:
            freer = (*others[0], replace(limit, cap=None), *others[1])
            yield f"The cap on {where}", replace(rules, limits=freer)
    yield from _without_group(rules)
    for at, freeze in enumerate(rules.frozen):
        rest = (*rules.frozen[:at], *rules.frozen[at + 1 :])
        where = _where(freeze.segment, freeze.channel)
        yield f"Keeping {where} ({freeze.reason})", replace(rules, frozen=rest)
    yield from _without_no_raise(rules)
    if rules.reach:
        yield "The frequency cap", replace(rules, reach=())


def _without_group(rules: Rules) -> Iterator[tuple[str, Rules]]:
    """Without the limit on what moves at once, and without each group's minimum and maximum."""
    if rules.max_moved is not None:
        name = f"Moving at most {rules.max_moved:.0%} of the money at once"
        yield name, replace(rules, max_moved=None)
    first = sorted(enumerate(rules.groups), key=lambda one: not one[1].may_keep)
    for at, group in first:  # a plan has such limits only where they hold it
        before, after = rules.groups[:at], rules.groups[at + 1 :]
        if group.minimum > 0 or group.minimum_share > 0:
            loose = replace(group, minimum=Decimal(0), minimum_share=0.0)
            yield f"The minimum of {group.name}", replace(rules, groups=(*before, loose, *after))
        if group.maximum is not None or group.maximum_share is not None:
            loose = replace(group, maximum=None, maximum_share=None)
            name = f"The maximum of {group.name}"
            if group.may_keep:
                name = f"The {limit_name(group)}"
            yield name, replace(rules, groups=(*before, loose, *after))


def _without_no_raise(rules: Rules) -> Iterator[tuple[str, Rules]]:
    """Without each of the reasons for which cells get no raise."""
    slow = tuple(held for held in rules.no_raise if not isinstance(held.pace, str))
    harmed = tuple(held for held in rules.no_raise if isinstance(held.pace, str))
    if slow:
        count = len(slow)
        which = f"the {count} cells that do" if count > 1 else f"{slow[0].cell}, which does"
        yield f"No raise for {which} not spend what they have", replace(rules, no_raise=harmed)
    if harmed:
        count = len(harmed)
        which = f"the {count} cells" if count > 1 else str(harmed[0].cell)
        yield f"No raise for {which}: a test harms an outcome", replace(rules, no_raise=slow)


def _where(segment: str, channel: str) -> str:
    if segment == channel == "*":
        return "every cell"
    if segment == "*":
        return channel
    return segment if channel == "*" else f"{segment} x {channel}"
