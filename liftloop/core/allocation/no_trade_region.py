"""No move that is not worth it: budgets stay unless a gain above what moving costs is likely.

Every change of a budget costs something once: platforms learn anew, people work. And every week of
noise bends the curves a little, so the best plan never stops moving. A plan is therefore taken only
as far as ``P(gain over a cycle > switching cost) >= sureness``, the probability being that of the
joint posterior draws. A concave gain is surest in its first part: where the whole move is not sure
enough, a smaller step in the same direction may be (a no-trade region; Davis and Norman 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liftloop.core.allocation.constraints import Book, broken_rules
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

STEPS = (1.0, 0.75, 0.5, 0.25)  # shares of the move that are tried, the whole one first


@dataclass(frozen=True, slots=True)
class TradeRule:
    """What a move must be worth.

    Attributes
    ----------
    sureness
        The least probability that a move gains more than it costs, in [0, 1).
    switching_cost
        What moving one unit of daily budget costs, once, account currency.
    days
        Days a move has to pay for itself.
    """

    sureness: float = 0.8
    switching_cost: float = 0.05
    days: int = 7


@dataclass(frozen=True, slots=True)
class NoTradeResult:
    """The part of a plan that is taken: ``share`` of its move, and the ``probability`` that this
    part gains more than it costs (of the smallest part tried where none is taken)."""

    policy: Policy
    share: float
    probability: float


def steady(
    *,
    curves: ResponseCurves,
    plan: Policy,
    incumbent: Policy,
    written: Book,
    patience: TradeRule,
    margin: float = 1.0,
) -> NoTradeResult:
    """As much of the move from ``incumbent`` to ``plan`` as is sure enough.

    Parameters
    ----------
    curves
        Joint draws of what cells earn.
    plan
        Budgets that obey ``written``, for its cells.
    incumbent
        The budgets in force. Where they break a rule the move is not for the gain: the plan is
        taken whole.
    written
        The rules in whole cents (``liftloop.core.allocation.constraints.book``).
    margin
        Profit per unit of revenue, before the spend.

    Returns
    -------
    A policy that obeys the rules to the cent; ``share`` 0 where the budgets stay.
    """
    before = _cents(incumbent, written.cells)
    after = _cents(plan, written.cells)
    if set(incumbent.cells) - set(written.cells) or broken_rules(before, written):
        return NoTradeResult(plan, 1.0, 1.0)
    if (before == after).all():
        return NoTradeResult(incumbent, 0.0, 0.0)
    base = curves.draw_revenue(spends(incumbent, curves)).sum(axis=1)
    chance = 0.0
    for share in STEPS:
        cents = after if share == 1.0 else _between(before, after, share)
        if broken_rules(cents, written):
            continue
        policy = plan if share == 1.0 else _policy(cents, written.cells)
        revenue = curves.draw_revenue(spends(policy, curves)).sum(axis=1) - base
        gain = margin * revenue - float(policy.total - incumbent.total)
        chance = _chance(gain, cents - before, patience)
        if chance >= patience.sureness:
            return NoTradeResult(policy, share, chance)
    return NoTradeResult(incumbent, 0.0, chance)


def _chance(gain: Array, moved: NDArray[np.int64], patience: TradeRule) -> float:
    """The share of the draws of ``gain`` (n_draws,), profit a day, in which ``patience.days`` of it
    are more than what moving ``moved`` (n_cells,), signed cents, costs once."""
    cost = patience.switching_cost * float(np.abs(moved).sum()) / 200  # each unit leaves and lands
    return float((gain * patience.days > cost).mean())


def _cents(policy: Policy, cells: tuple[Cell, ...]) -> NDArray[np.int64]:
    held = policy.as_dict()
    return np.array([to_cents(held[c]) if c in held else 0 for c in cells], dtype=np.int64)


def _policy(cents: NDArray[np.int64], cells: tuple[Cell, ...]) -> Policy:
    return Policy.of({cell: from_cents(int(c)) for cell, c in zip(cells, cents, strict=True)})


def _between(
    before: NDArray[np.int64], after: NDArray[np.int64], share: float
) -> NDArray[np.int64]:
    """Part of the way in whole cents, with the same total where both have it: each cell's change
    rounded towards zero, the cents left over given to the largest remainders."""
    wanted = share * (after - before)
    whole = np.trunc(wanted).astype(np.int64)
    short = round(float(wanted.sum())) - int(whole.sum())
    order = np.argsort(-np.sign(short) * (wanted - whole), kind="stable")
    whole[order[: abs(short)]] += int(np.sign(short))
    return np.asarray(before + whole, dtype=np.int64)
