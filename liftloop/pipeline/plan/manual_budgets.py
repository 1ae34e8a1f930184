"""Whether budgets that a person puts in force keep the rules that every plan keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.constraints import BoundRule, Cents, Rules, book, money
from liftloop.core.allocation.infeasibility import conflicting, describe
from liftloop.core.policy import Cell, Policy, to_cents
from liftloop.pipeline.plan.no_spend_days import dark_cells
from liftloop.pipeline.plan.rules import Frozen, configured_rules, rules_of
from liftloop.settings.schema import Settings


def broken_by_hand(
    settings: Settings,
    *,
    target: Policy,
    incumbent: Policy,
    frozen: Frozen = (),
    on: date | None = None,
) -> tuple[str, ...]:
    """The rules that budgets set by hand break, each with the cell and the amounts; () where they
    keep all.

    The rules are a plan's: total, floors, caps, groups, shares, frozen cells and steps. A step does
    not bind a cell that has nothing in force (somebody starts it), nor one that is farther than a
    step from its own floor or cap. Of a total that a cycle cannot reach, what it can reach is right
    as well.

    Parameters
    ----------
    target
        The budgets to be set, for all cells.
    incumbent
        The budgets in force; where there are none yet, ``target`` itself: then no step binds.
    frozen
        (segment, channel, why) of cells that may not move today.
    on
        The day they take effect, for commitments and days without spend; None: none holds.
    """
    incumbent = _over(incumbent, target)
    rules = rules_of(settings, incumbent, frozen, as_of=on)
    totals = {to_cents(rules.total), to_cents(settings.budget.total or incumbent.total)}
    found = _rules_broken(
        rules,
        target=target,
        incumbent=incumbent,
        totals=sorted(totals),
        most=settings.budget.total_is == "ceiling",
    )
    dark = dark_cells(settings, target, on) if on is not None else {}
    spent = [
        f"days without spend {why}: {cell} would get {money(to_cents(amount))}"
        for cell, amount in target.budgets
        if amount > 0 and (why := dark.get(cell))
    ]
    return (*found.values(), *spent)


def money_rules_broken(settings: Settings, *, target: Policy, incumbent: Policy) -> tuple[str, ...]:
    """The rules on amounts alone that budgets decided earlier break today: more than the total that
    is set, floors, caps, groups and shares. What the budgets in force break as well, they may."""
    found = []
    for policy in (target, incumbent):
        whole = _over(policy, incumbent if policy is target else target)
        rules = replace(
            configured_rules(settings, whole, ()),
            frozen=(),
            max_step=None,
            total=settings.budget.total or whole.total,
        )
        most = [0, to_cents(rules.total)]
        found.append(_rules_broken(rules, target=whole, incumbent=whole, totals=most, most=True))
    ours, theirs = found
    return tuple(words for place, words in ours.items() if place not in theirs)


def total_conflicts(settings: Settings, *, incumbent: Policy) -> tuple[str, ...]:
    """The rules that cannot hold together with the total of the settings, whatever steps lead
    there; () where they can."""
    rules = configured_rules(settings, incumbent, ())
    rules = replace(rules, total=settings.budget.total or incumbent.total, max_step=None)
    written = book(rules, incumbent=incumbent)
    return describe(conflicting(written), written.cells)


def _over(policy: Policy, other: Policy) -> Policy:
    """The policy with the cells of another one that it lacks, at nothing."""
    return Policy.of(dict.fromkeys(other.cells, Decimal(0)) | policy.as_dict())


def _rules_broken(
    rules: Rules, *, target: Policy, incumbent: Policy, totals: Sequence[int], most: bool
) -> dict[int, str]:
    """A sentence for each broken rule, by its place among the rules. ``totals``: those that are
    right, the largest last; with ``most`` anything up to it is."""
    written = book(rules, incumbent=incumbent)
    amounts = target.as_dict()
    cents = [to_cents(amounts.get(cell, Decimal(0))) for cell in written.cells]
    found: dict[int, str] = {}
    for place, rule in enumerate(written.rules):
        if rule.kind == "total":
            spent = sum(cents)
            if spent > totals[-1] or (not most and spent not in totals):
                found[place] = f"{_total_words(totals, most)}: theirs is {money(spent)}"
        elif rule.members is not None:
            spent = sum(
                amount for amount, inside in zip(cents, rule.members, strict=True) if inside
            )
            if not int(rule.low[0]) <= spent <= int(rule.high[0]):
                found[place] = f"{rule.label}: it would get {money(spent)}"
        else:
            low, high = _widened(rule, written.rules, written.before)
            words = _cells(rule, written.cells, cents, low, high)
            if words:
                found[place] = words
    return found


def _total_words(totals: Sequence[int], most: bool) -> str:
    if most:
        return f"the total of at most {money(totals[-1])}"
    return f"the total of {' or '.join(money(total) for total in totals)}"


def _widened(rule: BoundRule, rules: Sequence[BoundRule], before: Cents) -> tuple[Cents, Cents]:
    """The bounds of a rule on cells; of steps, as far as they bind a person."""
    if rule.kind != "step":
        return rule.low, rule.high
    low, high = rule.low, np.where(before == 0, np.iinfo(np.int64).max, rule.high)
    for other in rules:
        if other.kind == "cap":
            low = np.minimum(low, other.high)
        elif other.kind == "floor":
            high = np.maximum(high, other.low)
    return low, high


def _cells(
    rule: BoundRule, cells: Sequence[Cell], cents: Sequence[int], low: Cents, high: Cents
) -> str:
    outside = [n for n, amount in enumerate(cents) if not int(low[n]) <= amount <= int(high[n])]
    if not outside:
        return ""
    first = outside[0]
    bound = int(low[first]) if cents[first] < int(low[first]) else int(high[first])
    edge = "at least" if cents[first] < int(low[first]) else "at most"
    words = f"{cells[first]} would get {money(cents[first])}, {edge} {money(bound)} is allowed"
    others = len(outside) - 1
    more = f", and {others} more {'cell' if others == 1 else 'cells'}" if others else ""
    label = rule.label.split(" (all cells together")[0]
    return f"{label}: {words}{more}"
