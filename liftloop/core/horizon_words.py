"""What a horizon's plan does, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from liftloop.core.decide import Estimate, share_moved
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
    return " and ".join(f"{cell} ({change:+,.2f})" for cell, change in moves) or "none"


def period_sentence(policy: Policy, *, before: Policy, demand: float) -> str:
    """One sentence on a period: its demand, its total, what moves against the period before."""
    words = f"Demand {_against_mean(demand)}; {policy.total:,.2f} a day"
    change = policy.total - before.total
    words += f" ({change:+,.2f})" if change else ""
    if policy.version == before.version:
        return f"{words}, all budgets as before."
    named = named_moves(policy, before=before)
    return f"{words}, {share_moved(policy, before):.1%} of it moves, most at {named}."


def _against_mean(demand: float) -> str:
    if abs(demand - 1) < 0.005:
        return "as on the year's mean"
    return f"{abs(demand - 1):.0%} {'above' if demand > 1 else 'below'} the year's mean"


def whole_sentence(policies: Sequence[Policy], *, revenue: Estimate, gain: Estimate) -> str:
    """One sentence on the whole horizon."""
    totals = [policy.total for policy in policies]
    if min(totals) == max(totals):
        words = f"{totals[0]:,.2f} a day in each of {len(totals)} periods"
    else:
        words = f"{min(totals):,.2f} to {max(totals):,.2f} a day over {len(totals)} periods"
    return (
        f"{words} should earn {revenue.mean:,.0f} in all (9 times in 10 {revenue.low:,.0f} to "
        f"{revenue.high:,.0f}): {gain.mean:+,.0f} profit against holding today's budgets "
        f"({gain.low:+,.0f} to {gain.high:+,.0f})."
    )
