"""The money rules of a plan, resolved to cells in whole cents, and which of them cannot hold
together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from liftloop.core.allocation.rule_patterns import (
    Freeze,
    Group,
    Limit,
    NoRaise,
    ReachCap,
    Rules,
    covered,
)
from liftloop.core.arrays import Mask
from liftloop.core.errors import ConfigurationError
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

Cents = NDArray[np.int64]
Kind = Literal[
    "floor",
    "cap",
    "frozen",
    "unknown",
    "step",
    "no_raise",
    "frequency",
    "minimum",
    "maximum",
    "moved",
    "total",
]
NO_EVIDENCE = "no evidence yet: keeps its budget"
HARMFUL = "no raise while its test harms an outcome"
ENDLESS = np.iinfo(np.int64).max // 4
__all__ = [
    "Freeze",
    "Group",
    "Limit",
    "NoRaise",
    "ReachCap",
    "Rules",
    "book",
    "covered",
    "resolve_rules",
]


def money(cents: int) -> str:
    """Cents as people write money: 1,234.50."""
    return amount_words(from_cents(cents))


def resolve_rules(
    *,
    cells: Iterable[Cell],
    total: Decimal,
    limits: Iterable[tuple[str, str, Decimal, Decimal | None]] = (),
    groups: Iterable[Group] = (),
    frozen: Iterable[tuple[str, str] | tuple[str, str, str]] = (),
    max_step: float | None = 0.25,
) -> Rules:
    """Rules from plain tuples, checked. Frequency caps and cells that get no raise are not among
    them: a cycle's facts add them.

    Parameters
    ----------
    cells
        The cells the plan is about, in any order; each once.
    total
        Daily budget of all cells together, account currency.
    limits
        (segment, channel, floor, cap); ``"*"`` for all, cap None for no cap.
    groups
        Least and most of cells together.
    frozen
        (segment, channel) or (segment, channel, reason).
    max_step
        See :class:`Rules`.

    Raises
    ------
    ConfigurationError
        For a negative amount, a step below zero, or no cell at all.
    """
    known = tuple(sorted(set(cells)))
    if not known:
        raise ConfigurationError("There is no cell to give a budget.", fix="ingest performance.")
    resolved = Rules(
        cells=known,
        total=total,
        limits=tuple(Limit(*limit) for limit in limits),
        groups=tuple(groups),
        frozen=tuple(Freeze(*freeze) for freeze in frozen),
        max_step=max_step,
    )
    amounts = [total, *(limit.floor for limit in resolved.limits)]
    amounts += [limit.cap for limit in resolved.limits if limit.cap is not None]
    amounts += [group.minimum for group in resolved.groups]
    amounts += [group.maximum for group in resolved.groups if group.maximum is not None]
    parts = [part for g in resolved.groups for part in (g.minimum_share, g.maximum_share or 0.0)]
    if any(not 0 <= part <= 1 for part in parts):
        raise ConfigurationError("A share is outside 0 to 1.", fix="correct the share.")
    if any(not amount.is_finite() or amount < 0 for amount in amounts):
        raise ConfigurationError("A budget rule has a negative amount.", fix="correct the amount.")
    if max_step is not None and not max_step >= 0:
        raise ConfigurationError(f"max_step is {max_step}.", fix="give a share of at least 0.")
    return resolved


def limit_name(group: Group) -> str:
    """A limit on the share that a group may grow to, in words."""
    return f"limit of {group.maximum_share or 1.0:.0%} for {group.name}"


@dataclass(frozen=True, slots=True, eq=False)
class BoundRule:
    """One named rule in cents: cell-wise bounds (``low``, ``high``), or a bound on the sum of the
    cells in ``members`` (``low[0]``, ``high[0]``)."""

    kind: Kind
    label: str
    low: Cents
    high: Cents
    members: Mask | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """All rules as bounds on whole cents.

    ``low``, ``high`` (n_cells,) combine the cell-wise ones; ``membership`` (n_groups, n_cells),
    ``group_low``, ``group_high`` (n_groups,) are the groups'. ``most_raised`` is what all raises
    together may come to, None for no limit. Contradictions are still in there.
    """

    cells: tuple[Cell, ...]
    before: Cents
    total: int
    low: Cents
    high: Cents
    membership: Mask
    group_low: Cents
    group_high: Cents
    group_names: tuple[str, ...]
    rules: tuple[BoundRule, ...]
    most_raised: int | None = None
    moved_label: str = ""


def step_cents(before: Cents, max_step: float, *, average: Decimal) -> Cents:
    """The most a cell may change in a cycle, whole cents: ``max_step`` of its budget in force or of
    a tenth of the average cell's (cents), whichever is more. Computed in decimals, rounded down."""
    share, least = Decimal(str(max_step)), average / 10
    return np.array([int(share * max(Decimal(int(b)), least)) for b in before], dtype=np.int64)


def _cellwise(rules: Rules, before: Cents, unknown: Mask) -> list[BoundRule]:
    """The rules that bound single cells."""
    cells, n = rules.cells, len(rules.cells)
    nothing, endless = np.zeros(n, dtype=np.int64), np.full(n, ENDLESS, dtype=np.int64)
    found: list[BoundRule] = []
    off = np.zeros(n, dtype=bool)  # frozen at nothing: a floor for many cells starts none of them
    for freeze in rules.frozen:
        off |= covered(cells, [freeze.segment], [freeze.channel]) & (before == 0)
    for limit in rules.limits:
        inside = covered(cells, [limit.segment], [limit.channel])
        if not inside.any():
            continue
        where = _where(limit.segment, limit.channel, int(inside.sum()))
        floor = to_cents(limit.floor)
        if floor > 0:
            words = f"floor of {where[0]} ({money(floor)}{where[1]})"
            low = np.where(
                inside & ~off if "*" in (limit.segment, limit.channel) else inside, floor, 0
            )
            found.append(BoundRule("floor", words, low, endless))
        if limit.cap is not None:
            cap = to_cents(limit.cap)
            words = f"cap of {where[0]} ({money(cap)}{where[1]})"
            found.append(BoundRule("cap", words, nothing, np.where(inside, cap, ENDLESS)))
    return [*found, *_kept(rules, before, unknown)]


def _kept(rules: Rules, before: Cents, unknown: Mask) -> list[BoundRule]:
    """The rules that hold single cells to the budgets they have: frozen ones, ones that get no
    raise, ones without evidence."""
    cells, n = rules.cells, len(rules.cells)
    nothing = np.zeros(n, dtype=np.int64)
    found: list[BoundRule] = []
    for freeze in rules.frozen:
        inside = covered(cells, [freeze.segment], [freeze.channel])
        if inside.any():
            where = _where(freeze.segment, freeze.channel, int(inside.sum()))
            kept = int(before[inside].sum())
            words = f"{where[0]} {freeze.reason} at {money(kept)}"
            found.append(
                BoundRule(
                    "frozen",
                    words,
                    np.where(inside, before, 0),
                    np.where(inside, before, ENDLESS),
                    reason=freeze.reason,
                )
            )
    slow = {held.cell for held in rules.no_raise if not isinstance(held.pace, str)}
    others = {held.cell for held in rules.no_raise if isinstance(held.pace, str)}
    for which, which_words, reason in (
        (slow, "cells that do not spend their budget get no raise", ""),
        (others, "cells whose test harms an outcome get no raise", HARMFUL),
    ):
        if which:
            inside = np.array([cell in which for cell in cells], dtype=bool)
            words = f"{which_words} ({_some(cells, inside)}: {money(int(before[inside].sum()))})"
            high = np.where(inside, before, ENDLESS)
            found.append(BoundRule("no_raise", words, nothing, high, reason=reason))
    if unknown.any():
        words = f"cells without evidence keep their budget ({_some(cells, unknown)}: "
        words += f"{money(int(before[unknown].sum()))})"
        low, high = np.where(unknown, before, 0), np.where(unknown, before, ENDLESS)
        found.append(BoundRule("unknown", words, low, high, reason=NO_EVIDENCE))
    return found


def _some(cells: Sequence[Cell], inside: Mask) -> str:
    """The first three of the cells ``inside``, and how many more there are."""
    names = [str(cell) for cell, here in zip(cells, inside, strict=True) if here]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _where(segment: str, channel: str, count: int) -> tuple[str, str]:
    """What a pattern names, and what to say after its amount."""
    if "*" not in (segment, channel):
        return f"{segment} x {channel}", ""
    if segment == channel == "*":
        return "every cell", f" each, {count} cells"
    return f"{segment} x {channel}", f" each, {count} cells"


def book(rules: Rules, *, incumbent: Policy, unknown: Iterable[Cell] = ()) -> Book:
    """``rules`` as bounds in whole cents, around the budgets in force.

    ``unknown`` are cells without a curve: they keep their budget.
    """
    held = incumbent.as_dict()
    cells, n = rules.cells, len(rules.cells)
    before = np.array([to_cents(held.get(cell, Decimal(0))) for cell in cells], dtype=np.int64)
    lost = set(unknown)
    blind = np.array([cell in lost for cell in cells])
    named = _cellwise(rules, before, blind)
    if rules.max_step is not None:
        average = Decimal(int(before.sum())) / n
        step = step_cents(before, rules.max_step, average=average)
        low, high = np.maximum(before - step, 0), before + step
        words = f"steps of at most {rules.max_step:.0%} a cycle (all cells together "
        words += f"{money(int(low.sum()))} to {money(int(high.sum()))})"
        named.append(BoundRule("step", words, low, high))
    if rules.reach:
        named.append(_reach(rules, named, n))
    total = to_cents(rules.total)
    groups = [rule for group in rules.groups for rule in sum_rules(group, cells, before, total)]
    whole = BoundRule(
        "total",
        f"the total of {money(total)}",
        np.array([total]),
        np.array([total]),
        np.ones(n, dtype=bool),
    )
    everything = (*named, *groups, whole)
    written = _combine(cells, before, total, everything, groups)
    if rules.max_moved is None:
        return written
    spent = int(before.sum())
    most = int(Decimal(str(rules.max_moved)) * max(total, spent))
    return replace(
        written,
        # half of all changes is what moves: of two equal totals as much is raised as is lowered
        most_raised=max(most + (total - spent) // 2, 0),
        moved_label=f"at most {rules.max_moved:.0%} of the money moves at once ({money(most)})",
    )


def _reach(rules: Rules, named: Sequence[BoundRule], n: int) -> BoundRule:
    """Frequency caps, no tighter than a freeze or a full step down allows."""
    place = {cell: number for number, cell in enumerate(rules.cells)}
    high = np.full(n, ENDLESS, dtype=np.int64)
    for cap in rules.reach:
        if cap.cell in place:
            high[place[cap.cell]] = min(high[place[cap.cell]], to_cents(cap.cap))
    for rule in named:
        if rule.kind in ("step", "frozen", "unknown"):
            high = np.maximum(high, rule.low)
    held = high < ENDLESS
    words = f"frequency cap of {int(held.sum())} cells (together {money(int(high[held].sum()))})"
    return BoundRule("frequency", words, np.zeros(n, dtype=np.int64), high)


def sum_rules(group: Group, cells: tuple[Cell, ...], before: Cents, total: int) -> list[BoundRule]:
    """A group's minimum and maximum, where it has them; shares become cents of ``total`` cents.
    ``before``: the budgets in force, whole cents, shape (n_cells,)."""
    members = covered(cells, group.segments, group.channels)
    found = []
    least, most = to_cents(group.minimum), None
    if group.approached and group.reach is not None:
        least = min(least, to_cents(group.reach))
    if group.minimum_share > 0:  # rounded up, so that the share is kept
        share = math.ceil(Decimal(str(group.minimum_share)) * total)
        least = max(least, share if group.reach is None else min(share, to_cents(group.reach)))
    if group.maximum is not None:
        most = to_cents(group.maximum)
    if group.maximum_share is not None:
        share = int(Decimal(str(group.maximum_share)) * total)
        if group.may_keep and before.any():
            share = max(share, int(before[members].sum()) * total // int(before.sum()))
        if group.reach is not None:
            share = max(share, to_cents(group.reach))
        most = share if most is None else min(most, share)
    if least > 0:
        words = f"minimum of group {group.name} ({money(least)})"
        found.append(BoundRule("minimum", words, np.array([least]), np.array([ENDLESS]), members))
    if most is not None:
        words = f"maximum of group {group.name} ({money(most)})"
        if group.may_keep:
            words = f"{limit_name(group)} ({money(most)})"
        found.append(BoundRule("maximum", words, np.array([0]), np.array([most]), members))
    return found


def _combine(
    cells: tuple[Cell, ...],
    before: Cents,
    total: int,
    everything: tuple[BoundRule, ...],
    groups: list[BoundRule],
) -> Book:
    low, high = cell_bounds(everything, len(cells), total)
    membership = (
        np.array([g.members for g in groups]) if groups else np.zeros((0, len(cells)), dtype=bool)
    )
    return Book(
        cells=cells,
        before=before,
        total=total,
        low=low,
        high=high,
        membership=membership,
        group_low=np.array([g.low[0] for g in groups], dtype=np.int64),
        group_high=np.array([g.high[0] for g in groups], dtype=np.int64),
        group_names=tuple(g.label for g in groups),
        rules=everything,
    )


def cell_bounds(rules: Sequence[BoundRule], n: int, total: int) -> tuple[Cents, Cents]:
    """The tightest cell-wise bounds; no cell is above the total or below nothing."""
    low, high = np.zeros(n, dtype=np.int64), np.full(n, max(total, 0), dtype=np.int64)
    for rule in rules:
        if rule.members is None:
            low, high = np.maximum(low, rule.low), np.minimum(high, rule.high)
    return low, high


def broken_rules(budgets: Cents, written: Book) -> list[str]:
    """The labels of the rules that whole-cent ``budgets`` (n_cells,) break, exactly."""
    found = []
    for rule in written.rules:
        if rule.members is None:
            broken = bool(((budgets < rule.low) | (budgets > rule.high)).any())
        else:
            broken = not int(rule.low[0]) <= int(budgets[rule.members].sum()) <= int(rule.high[0])
        if broken:
            found.append(rule.label)
    if (budgets < 0).any():
        found.append("no budget below 0.00")
    if written.most_raised is not None and raised(budgets, written) > written.most_raised:
        found.append(written.moved_label)
    return found


def raised(budgets: Cents, written: Book) -> int:
    """What whole-cent ``budgets`` (n_cells,) are above those in force, all raises together."""
    return int(np.maximum(budgets - written.before, 0).sum())


def in_two_parts(written: Book) -> Book:
    """Each cell as two: what it keeps of its budget in force, and what it gets beyond it. So the
    limit on what moves is the maximum of a group: that of the second parts."""
    before, n = written.before, len(written.cells)
    assert written.most_raised is not None

    def parts(low: Cents, high: Cents) -> tuple[Cents, Cents]:
        beyond = np.where(high < ENDLESS, np.maximum(high - before, 0), ENDLESS)
        return (
            np.concatenate([np.minimum(low, before), np.maximum(low - before, 0)]),
            np.concatenate([np.minimum(high, before), beyond]),
        )

    def twice(rule: BoundRule) -> BoundRule:
        if rule.members is not None:
            return replace(rule, members=np.tile(rule.members, 2))
        low, high = parts(rule.low, rule.high)
        return replace(rule, low=low, high=high)

    second = np.arange(2 * n) >= n
    moved = BoundRule(
        "moved", written.moved_label, np.array([0]), np.array([written.most_raised]), second
    )
    low, high = parts(written.low, written.high)
    return replace(
        written,
        cells=written.cells * 2,
        before=np.concatenate([before, np.zeros(n, dtype=np.int64)]),
        low=low,
        high=high,
        membership=np.vstack([np.tile(written.membership, 2), second]),
        group_low=np.append(written.group_low, 0),
        group_high=np.append(written.group_high, written.most_raised),
        group_names=(*written.group_names, written.moved_label),
        rules=(*(twice(rule) for rule in written.rules), moved),
        most_raised=None,
    )
