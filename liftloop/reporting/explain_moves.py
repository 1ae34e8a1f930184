"""Why each cell's budget moves, in one plain sentence."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.allocate import Allocation
from liftloop.core.curves.gain import spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.returns import NextUnit
from liftloop.core.curves.saturating import untested_cells
from liftloop.core.policy import Cell, Policy
from liftloop.reporting.outcome_words import OutcomeWords

MONEY = OutcomeWords("")


def explain_moves(
    *,
    allocation: Allocation,
    curves: ResponseCurves,
    incumbent: Policy,
    margin: float = 1.0,
    words: OutcomeWords = MONEY,
) -> dict[Cell, str]:
    """One sentence for every cell of the plan.

    It compares what the next unit of spend earns (marginal return x margin, at the budget in force)
    in the cell with what it earns where the money comes from or goes, and names the rule that holds
    the cell.
    """
    after = allocation.policy.as_dict()
    trade = _Trade.of(curves, incumbent, after, margin, within=after)
    sentences = {}
    for cell, amount in after.items():
        holder = allocation.binding.get(cell, "")
        earns = trade.earns(cell, words)
        if cell not in trade.next_unit:
            sentences[cell] = f"Unchanged: {holder or 'no evidence yet: keeps its budget'}."
        elif amount == trade.was(cell) and holder:
            sentences[cell] = f"Unchanged: {holder} ({earns})."
        elif amount == trade.was(cell):
            sentences[cell] = f"Unchanged: {earns}, and moving money would not earn more."
        else:
            sentences[cell] = f"{trade.move(cell)}: {earns}" + (f"; {holder}." if holder else ".")
    return sentences


def binding_rule(sentence: str) -> str:
    """The rule that a sentence of :func:`explain_moves` says holds the cell; "" for none.

    >>> binding_rule("Up 25%: the next 1.00 here earns about 2.00 against 1.00; held to +25%.")
    'held to +25%'
    >>> binding_rule("Unchanged: frozen at 100.00 (the next 1.00 here earns about 2.00).")
    'frozen at 100.00'
    """
    held = re.match(r"Unchanged: (?P<rule>.+?) \(the next .*\)\.$", sentence)
    held = held or re.search(r"\A[^:]+: .+; (?P<rule>[^;]+)\.\Z", sentence)
    return held["rule"] if held else ""


def explain_stage(
    *,
    cells: Collection[Cell],
    policy: Policy,
    incumbent: Policy,
    curves: ResponseCurves,
    margin: float = 1.0,
    words: OutcomeWords = MONEY,
) -> dict[Cell, str]:
    """One sentence for each of ``cells`` whose budget a rollout's stage moves. Their money stays
    among them."""
    trade = _Trade.of(curves, incumbent, policy.as_dict(), margin, within=cells)
    return {
        cell: f"{trade.move(cell)}: {trade.earns(cell, words)}."
        for cell in cells
        if cell in trade.next_unit and trade.after[cell] != trade.was(cell)
    }


def why_not_more(unit: NextUnit, *, margin: float, words: OutcomeWords) -> str:
    """Why a cell gets no more than it does: what one more unit returns, and up to where it pays;
    where conversions are counted, what the next one costs, and up to where it costs no more than
    what stands for its worth."""
    if words.counted:
        return _next_conversion(unit, margin=margin, words=words)
    currency = words.currency
    said = f"One more {currency} a day returns {unit.marginal:.2f} here"
    said += "." if unit.average is None else f" (its average is {unit.average:.2f})."
    if unit.pays_up_to is None:
        return f"{said} No budget pays here: the first {currency} already returns less."
    if unit.pays_beyond:
        return f"{said} It pays up to twice this budget and beyond, as far as the curve is known."
    return (
        f"{said} Up to about {unit.pays_up_to:,.0f} {currency} a day it returns more than it "
        f"costs ({1 / margin:.2f})."
    )


def _next_conversion(unit: NextUnit, *, margin: float, words: OutcomeWords) -> str:
    said = words.extra(unit.marginal)
    said = f"{said[0].upper()}{said[1:]} here"
    said += (
        "." if unit.average is None else f" (on average {words.extra(unit.average, full=False)})."
    )
    most = words.extra(1 / margin, full=False)
    if unit.pays_up_to is None:
        return f"{said} No budget brings one for less than {most} here, what one usually costs."
    if unit.pays_beyond:
        return (
            f"{said} Up to twice this budget and beyond one costs less than {most}, what one "
            "usually costs."
        )
    return (
        f"{said} Up to about {unit.pays_up_to:,.0f} {words.currency} a day one costs less than "
        f"{most}, what one usually costs."
    )


@dataclass(frozen=True, slots=True)
class _Trade:
    """Budgets before and after, and what the next unit of spend earns: in each cell, on average
    over the money in force, where money comes from (``gives``) and where it goes (``gets``); the
    last two are None where no cell gives or gets."""

    before: Mapping[Cell, Decimal]
    after: Mapping[Cell, Decimal]
    next_unit: Mapping[Cell, float]
    average: float
    gives: float | None
    gets: float | None
    untested: frozenset[Cell]

    @classmethod
    def of(
        cls,
        curves: ResponseCurves,
        incumbent: Policy,
        after: Mapping[Cell, Decimal],
        margin: float,
        *,
        within: Collection[Cell],
    ) -> _Trade:
        before, spend = incumbent.as_dict(), spends(incumbent, curves)
        earned = margin * curves.mean_marginal(spend)
        inside = np.array([cell in within for cell in curves.cells], dtype=bool)
        change = np.array([float(after.get(c, 0) - before.get(c, 0)) for c in curves.cells])
        change *= inside
        usual = spend * inside if (spend * inside).sum() > 0 else inside.astype(float)

        def mean(weights: np.ndarray) -> float | None:
            return float(weights @ earned / weights.sum()) if weights.sum() > 0 else None

        return cls(
            before,
            after,
            dict(zip(curves.cells, earned, strict=True)),
            mean(usual) or 0.0,
            mean(np.maximum(-change, 0.0)),
            mean(np.maximum(change, 0.0)),
            frozenset(untested_cells(curves)),
        )

    def was(self, cell: Cell) -> Decimal:
        return self.before.get(cell, self.after[cell] * 0)

    def earns(self, cell: Cell, words: OutcomeWords) -> str:
        """What the next unit earns here, against what it earns elsewhere."""
        other, where = self.average, "on average"
        if self.after[cell] > self.was(cell) and self.gives is not None:
            other, where = self.gives, "where it comes from"
        elif self.after[cell] < self.was(cell) and self.gets is not None:
            other, where = self.gets, "where it goes"
        here = self.next_unit.get(cell, 0.0)
        return words.next_unit(here, other, where, untested=cell in self.untested)

    def move(self, cell: Cell) -> str:
        """How far the budget moves, in words."""
        was, now = float(self.was(cell)), float(self.after[cell])
        word = "Up" if now > was else "Down"
        if was <= 0:
            return f"{word} from nothing to {now:,.2f}"
        share = abs(now / was - 1)
        return f"{word} {share:.0%}" if share >= 0.005 else f"{word} by less than 1 %"
