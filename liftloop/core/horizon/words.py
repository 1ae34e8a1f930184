"""What a horizon's plan does, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from liftloop.core.curves.gain import Estimate, share_moved
from liftloop.core.policy import Cell, Policy


def largest_moves(policy: Policy, *, before: Policy, count: int = 2) -> list[tuple[Cell, Decimal]]:
    """The cells whose daily budget changes most, and by how much, the largest change first."""
    was, now = before.as_dict(), policy.as_dict()
    changes = [(cell, amount - was.get(cell, Decimal(0))) for cell, amount in now.items()]
    moved = [(cell, change) for cell, change in changes if change != 0]
    return sorted(moved, key=lambda move: (-abs(move[1]), move[0]))[:count]


def named_moves(policy: Policy, *, before: Policy, count: int = 2) -> str:
    """The largest changes in a few words, as "a x search (+12.00) and b x video (-9.00)"."""
    moves = largest_moves(policy, before=before, count=count)
    return " and ".join(f"{cell} ({change:+z,.2f})" for cell, change in moves) or "none"


def period_sentence(policy: Policy, *, before: Policy, demand: float) -> str:
    """One sentence on a period: its demand, its total, what moves against the period before."""
    words = f"Demand {_against_mean(demand)}; {policy.total:,.2f} a day"
    change = policy.total - before.total
    words += f" ({change:+z,.2f})" if change else ""
    if policy.version == before.version:
        return f"{words}, all budgets as before."
    named = named_moves(policy, before=before)
    return f"{words}, {share_moved(policy, before):.1%} of it moves, most at {named}."


def _against_mean(demand: float) -> str:
    if abs(demand - 1) < 0.005:
        return "as on the year's mean"
    return f"{abs(demand - 1):.0%} {'above' if demand > 1 else 'below'} the year's mean"


NAMED = 5


def held_sentences(
    *, lasting: Mapping[Cell, str], passing: Mapping[Cell, str], slow: Mapping[Cell, float | str]
) -> tuple[str, ...]:
    """Which cells a horizon's plan holds, for how long, and why: a sentence for each kind there is.

    Parameters
    ----------
    lasting, passing
        Why a cell does not move in any period, or not in the first.
    slow
        Cells that get no raise, with spend over budget, or why else.
    """
    found = []
    if lasting:
        found.append(f"Held in every period: {_by_reason(lasting)}.")
    if passing:
        found.append(
            f"Held in the first period, and expected to be mended then: {_by_reason(passing)}."
        )
    named = [f"{c} ({pace:.0%})" for c, pace in sorted(slow.items()) if not isinstance(pace, str)]
    if named:
        found.append(f"No raise in any period, for they do not spend their budget: {_some(named)}.")
    others = {cell: why for cell, why in slow.items() if isinstance(why, str)}
    if others:
        found.append(f"No raise in any period: {_by_reason(others)}.")
    return tuple(found)


def _by_reason(held: Mapping[Cell, str]) -> str:
    reasons: dict[str, list[str]] = {}
    for cell in sorted(held):
        reasons.setdefault(held[cell], []).append(str(cell))
    return "; ".join(f"{_some(names)} ({why})" for why, names in reasons.items())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def whole_sentence(policies: Sequence[Policy], *, revenue: Estimate, gain: Estimate) -> str:
    """One sentence on the whole horizon."""
    totals = [policy.total for policy in policies]
    if min(totals) == max(totals):
        words = f"{totals[0]:,.2f} a day in each of {len(totals)} periods"
    else:
        words = f"{min(totals):,.2f} to {max(totals):,.2f} a day over {len(totals)} periods"
    return (
        f"{words} should earn {revenue.mean:,.0f} in all (9 times in 10 {revenue.low:,.0f} to "
        f"{revenue.high:,.0f}): {gain.mean:+z,.0f} profit against holding today's budgets "
        f"({gain.low:+z,.0f} to {gain.high:+z,.0f})."
    )
