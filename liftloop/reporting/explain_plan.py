"""A plan of budgets in words: its reason, what limits it, what holds a cell back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from liftloop.core.allocation.allocate import Allocation
from liftloop.core.allocation.constraints import Rules, book, covered
from liftloop.core.allocation.no_trade_region import NoTradeResult
from liftloop.core.curves.gain import Estimate, share_moved
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import untested_cells
from liftloop.core.policy import Cell, Policy, to_cents
from liftloop.reporting.outcome_words import OutcomeWords

MOVED = "at most"  # the label of the limit on what moves at once begins so


def untested_note(curves: ResponseCurves) -> str:
    """What the levels of cells without any test rest on, in a sentence; "" where there are none."""
    untested = untested_cells(curves)
    if not untested:
        return ""
    channels = sorted({cell.channel for cell in untested})
    named = ", ".join(channels[:3]) + (f" and {len(channels) - 3} more" * (len(channels) > 3))
    return (
        f"No test says what {named} earn{'s' * (len(channels) == 1)}: that rests on sales, spend "
        "and what platforms claim. "
        "A lift test would tell (liftloop experiments suggest)."
    )


def limits_reached(found: Allocation, rules: Rules, incumbent: Policy) -> dict[str, str]:
    """The limits of the guardrails on plans that hold the plan, each with what one unit beyond it
    would earn: channel -> sentence, and :data:`MOVED` -> sentence of what moves at once."""
    said, budgets = {}, found.policy.as_dict()
    cents = np.array([to_cents(budgets[cell]) for cell in rules.cells], dtype=np.int64)
    for limit in (group for group in rules.groups if group.may_keep):
        (bound,) = book(replace(rules, groups=(limit,)), incumbent=incumbent).rules[-2:-1]
        got, most = int(cents[bound.members].sum()), limit.maximum_share or 1.0
        if got < int(bound.high[0]):
            continue
        words = f"{limit.name} is at its limit of {most:.0%} of the total"
        if got > most * cents.sum() + 1:
            words = f"{limit.name} gets no more than it has: the limit is {most:.0%} of the total"
        words += " (channel_share in [guardrails])"
        said[limit.name] = f"{words}{_price_words(found.group_prices.get(bound.label))}."
    if rules.max_moved is not None:
        price = next((p for name, p in found.group_prices.items() if name.startswith(MOVED)), None)
        words = f"At most {rules.max_moved:.0%} of the money moves at once (total_change in "
        said[MOVED] = f"{words}[guardrails]){_price_words(price)}."
    return said


def _price_words(price: float | None) -> str:
    return f"; one unit a day beyond it would earn {price:,.2f} more" if price else ""


def limit_words(cell: Cell, reached: Mapping[str, str]) -> str:
    """Whether a cell's channel is among the limits reached, behind the cell's own sentence."""
    return f" {cell.channel} is at its limit." if cell.channel in reached else ""


def slow_words(pace: float | str | None) -> str:
    """Why a cell gets no raise, behind its own sentence: the share of its budget that it spends, or
    a reason; "" for None."""
    if pace is None:
        return ""
    if isinstance(pace, str):
        return f" {pace}: it gets no raise."
    return f" It spends {pace:.0%} of its budget: it gets no raise until it spends what it has."


def all_held(rules: Rules) -> str:
    """Why nothing may move, where every cell is frozen; else ""."""
    named = {(f.segment, f.channel) for f in rules.frozen}
    wide = {name for name in named if "*" in name}
    left = [cell for cell in rules.cells if (cell.segment, cell.channel) not in named]
    for segment, channel in wide:
        inside = covered(left, [segment], [channel])
        left = [cell for cell, held in zip(left, inside, strict=True) if not held]
    if left or not named:
        return ""
    first, *others = dict.fromkeys(f.reason for f in rules.frozen)
    more = f", and {len(others)} more {'reason' if len(others) == 1 else 'reasons'}"
    return (
        f"Nothing may move: every cell is held ({first}{more if others else ''}). The budgets stay."
    )


def plan_reason(
    taken: NoTradeResult,
    best: Policy,
    incumbent: Policy,
    expected: Estimate,
    policy: Policy,
    words: OutcomeWords,
) -> str:
    """What a plan does and is expected to earn, or why the budgets stay.

    Parameters
    ----------
    taken, best, policy
        How far towards the best plan it is sure enough to go, that plan, and what is proposed.
    """
    if best.version == incumbent.version:
        return "No move pays under the rules: the budgets stay."
    if taken.share == 0 and policy.total != incumbent.total:
        return (
            "The budgets follow the total in their present proportions: that a move beyond that "
            f"gains more than it costs is likely by {taken.probability:.0%} only."
        )
    if taken.share == 0:
        return (
            f"The budgets stay: the best plan would move {share_moved(best, incumbent):.1%} of the "
            f"money, and that even its first part gains more than moving costs is likely by "
            f"{taken.probability:.0%} only."
        )
    part = "" if taken.share == 1 else f" ({taken.share:.0%} of the way to the best plan)"
    return (
        f"Moving {share_moved(policy, incumbent):.1%} of the money{part} is expected to earn "
        f"{words.gain(expected.mean)} {words.gain_label} a day (9 times in 10 between "
        f"{words.gain(expected.low)} and {words.gain(expected.high)})."
    )
