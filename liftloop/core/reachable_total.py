"""A set total that is farther from what is spent than a cycle may go is approached step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from liftloop.core.conflicts import extreme_total, possible
from liftloop.core.currencies import amount_words
from liftloop.core.policy import Cell, Policy, from_cents, to_cents
from liftloop.core.rule_patterns import Rules
from liftloop.core.rules import BoundRule, book

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
    if least is None or most is None or least <= total <= most:
        return rules
    asked = [rule for rule in written.rules if rule.kind == "total" or _lasts(rule)]
    if not possible(asked, n):
        return rules
    return replace(rules, total=from_cents(min(max(total, least), most)))


def _lasts(rule: BoundRule) -> bool:
    """Whether a rule is a person's own, and not only in the way of this cycle."""
    if rule.kind == "frozen":
        return rule.reason == FROZEN_BY_SETTING
    return rule.kind not in _PASSING


def total_sentence(
    *, wanted: Decimal, spent: Decimal, reached: Decimal, max_step: float | None, currency: str
) -> str:
    """How a set total differs from what is spent, and how far this cycle goes, account currency.

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
    if max_step is None:
        return f"{words}. This cycle reaches {amount_words(reached, currency)}."
    return (
        f"{words}. Steps of at most {max_step:.0%} a cycle lead there; "
        f"this cycle reaches {amount_words(reached, currency)}."
    )
