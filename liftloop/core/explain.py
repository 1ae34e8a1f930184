"""Why each cell's budget moves, in one plain sentence."""

from __future__ import annotations

import numpy as np

from liftloop.core.allocation import Allocation
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import spends
from liftloop.core.policy import Cell, Policy


def explain_moves(
    *, allocation: Allocation, curves: ResponseCurves, incumbent: Policy, margin: float = 1.0
) -> dict[Cell, str]:
    """One sentence for every cell of the plan.

    It compares what the next unit of spend earns (marginal return x margin, at the budget in force)
    in the cell and on average over the money in force, and names the rule that holds the cell.
    """
    before, after = incumbent.as_dict(), allocation.policy.as_dict()
    spend = spends(incumbent, curves)
    next_unit = margin * curves.mean_marginal(spend)
    known = dict(zip(curves.cells, next_unit, strict=True))
    weights = spend if spend.sum() > 0 else np.ones_like(spend)
    average = float(np.average(next_unit, weights=weights)) if len(spend) else 0.0
    sentences = {}
    for cell, amount in after.items():
        was = before.get(cell, amount * 0)
        holder = allocation.binding.get(cell, "")
        earns = f"the next 1.00 here earns about {known.get(cell, 0.0):.2f}"
        earns += f" against {average:.2f} on average"
        if cell not in known:
            sentences[cell] = f"Unchanged: {holder or 'no evidence yet: keeps its budget'}."
        elif amount == was and holder:
            sentences[cell] = f"Unchanged: {holder} ({earns})."
        elif amount == was:
            sentences[cell] = f"Unchanged: {earns}, and moving money would not earn more."
        else:
            sentences[cell] = f"{_move(float(was), float(amount))}: {earns}" + (
                f"; {holder}." if holder else "."
            )
    return sentences


def _move(was: float, now: float) -> str:
    word = "Up" if now > was else "Down"
    if was <= 0:
        return f"{word} from nothing to {now:,.2f}"
    share = abs(now / was - 1)
    return f"{word} {share:.0%}" if share >= 0.005 else f"{word} by less than 1 %"
