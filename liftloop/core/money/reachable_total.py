"""A set total, or a share, that is farther from the budgets in force than a cycle may go is
approached step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from liftloop.core.allocation.constraints import BoundRule, book, sum_rules
from liftloop.core.allocation.infeasibility import extreme_total, possible
from liftloop.core.allocation.rule_patterns import Group, Rules, covered
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import CENT, Cell, Policy, from_cents, to_cents

FROZEN_BY_SETTING = "frozen"
_PASSING = ("step", "no_raise", "unknown", "frequency")


def total_within_reach(rules: Rules, *, incumbent: Policy, unknown: Iterable[Cell] = ()) -> Rules:
    """``rules`` with the total that this cycle can reach.

    Steps are measured from the budgets in force. Where the set total lies beyond them, or beyond
    what cells that may not move today leave free, the nearest total within reach takes its place;
    later cycles go on from there. A total that contradicts what a person set (floors, caps, groups,
    frozen cells) stays, so that the conflict is named.

    Parameters
    ----------
    incumbent
        The budgets in force.
    unknown
        Cells without a curve: they keep their budgets.
    """
    if rules.total == incumbent.total:
        return rules
    written = book(rules, incumbent=incumbent, unknown=unknown)
    n, total = len(written.cells), to_cents(rules.total)
    others = [rule for rule in written.rules if rule.kind != "total"]
    least, most = extreme_total(others, n, sign=1), extreme_total(others, n, sign=-1)
    if least is None or most is None:  # a share may be farther than a step, too
        loose = replace(rules, groups=tuple(g for g in rules.groups if not _is_approached(g)))
        if loose.groups == rules.groups:
            return rules
        reached = total_within_reach(loose, incumbent=incumbent, unknown=unknown)
        return replace(rules, total=reached.total)
    if least <= total <= most:
        return rules
    asked = [rule for rule in written.rules if rule.kind == "total" or _lasts(rule)]
    if not possible(asked, n):
        return rules
    return replace(rules, total=from_cents(min(max(total, least), most)))


def shares_within_reach(rules: Rules, *, incumbent: Policy, unknown: Iterable[Cell] = ()) -> Rules:
    """``rules`` with shares of the total that this cycle can reach.

    Where the budgets in force break a share (:class:`Group`) by more than steps, or cells that may
    not move today, can mend in a cycle, the nearest sum within reach takes its place; later cycles
    go on from there. One group after the other, in their order. What contradicts what a person set
    stays, so that the conflict is named.

    Parameters
    ----------
    incumbent
        The budgets in force.
    unknown
        Cells without a curve: they keep their budgets.
    """
    if not any(_is_approached(group) for group in rules.groups):
        return rules
    written = book(rules, incumbent=incumbent, unknown=unknown)
    n, asked = len(written.cells), [rule for rule in written.rules if _lasts(rule)]
    if possible(written.rules, n) or not possible(asked, n):
        return rules
    loose = replace(rules, groups=tuple(g for g in rules.groups if not _is_approached(g)))
    others = list(book(loose, incumbent=incumbent, unknown=unknown).rules)
    if not possible(others, n):
        return rules
    near: dict[Group, Group] = {}
    for group in (group for group in rules.groups if _is_approached(group)):
        near[group] = group
        mine = sum_rules(group, written.cells, written.before, written.total)
        if not possible([*others, *mine], n):
            members = covered(written.cells, group.segments, group.channels)
            now = int(written.before[members].sum())
            sign = 1 if any(now > int(rule.high[0]) for rule in mine) else -1
            reached = extreme_total(others, n, sign=sign, over=members)
            if reached is None:
                return rules
            near[group] = replace(group, reach=from_cents(reached))
            mine = sum_rules(near[group], written.cells, written.before, written.total)
            if not possible([*others, *mine], n):  # an amount of the group's own is out of reach
                return rules
        others += mine
    return replace(rules, groups=tuple(near.get(group, group) for group in rules.groups))


def _is_approached(group: Group) -> bool:
    """Whether the sum of a group is approached step by step: shares are, and commitments."""
    return group.approached or group.minimum_share > 0 or group.maximum_share is not None


def _lasts(rule: BoundRule) -> bool:
    """Whether a rule is a person's own, and not only in the way of this cycle."""
    if rule.kind == "frozen":
        return rule.reason == FROZEN_BY_SETTING
    return rule.kind not in _PASSING


def total_sentence(
    *,
    wanted: Decimal,
    spent: Decimal,
    reached: Decimal,
    max_step: float | None,
    currency: str,
    at_once: float | None = None,
) -> str:
    """How a set total differs from what is spent, and how far this cycle goes, account currency.
    ``at_once``: the share that the total may change by at once, where that is what holds it.

    Returns
    -------
    "" where they are the same.
    """
    if wanted == spent:
        return ""
    gap = amount_words(abs(wanted - spent), currency)
    gap += " more a day" if wanted > spent else " less a day"
    words = f"The total is set to {amount_words(wanted, currency)} a day: {gap} than is spent now "
    words += f"({amount_words(spent, currency)})"
    if reached == wanted:
        return f"{words}."
    if reached == spent:
        return f"{words}. Nothing moves there while the budgets stay."
    if at_once is not None:
        return (
            f"{words}. A total may change by {at_once:.0%} at once (total_change in [guardrails]); "
            f"this cycle reaches {amount_words(reached, currency)}."
        )
    if max_step is None:
        return f"{words}. This cycle reaches {amount_words(reached, currency)}."
    return (
        f"{words}. Steps of at most {max_step:.0%} a cycle lead there; "
        f"this cycle reaches {amount_words(reached, currency)}."
    )


def total_at_once(total: Decimal, incumbent: Policy, most: float) -> Decimal:
    """The nearest to ``total`` that budgets in force may change to at once, where their sum may
    change by the fraction ``most`` of itself."""
    if not incumbent.total:
        return total
    low, high = (incumbent.total * (1 + sign * Decimal(str(most))) for sign in (-1, 1))
    low, high = low.quantize(CENT, ROUND_CEILING), high.quantize(CENT, ROUND_FLOOR)
    return min(max(total, low), high)
