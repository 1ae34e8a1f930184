"""Why each cell's budget moves, in one plain sentence."""

from __future__ import annotations

from collections.abc import Collection

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
    known, average = _next_units(curves, incumbent, margin, curves.cells)
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


def explain_stage(
    *,
    cells: Collection[Cell],
    policy: Policy,
    incumbent: Policy,
    curves: ResponseCurves,
    margin: float = 1.0,
) -> dict[Cell, str]:
    """One sentence for each of ``cells`` whose budget a rollout's stage moves.

    Their money stays among them, so the next unit of spend is compared with the average of these
    cells alone.
    """
    before, after = incumbent.as_dict(), policy.as_dict()
    known, average = _next_units(curves, incumbent, margin, cells)
    return {
        cell: f"{_move(float(before.get(cell, 0)), float(after[cell]))}: the next 1.00 here earns "
        f"about {known[cell]:.2f} against {average:.2f} on average in the canary's segments."
        for cell in cells
        if cell in known and after[cell] != before.get(cell, after[cell] * 0)
    }


def _next_units(
    curves: ResponseCurves, incumbent: Policy, margin: float, within: Collection[Cell]
) -> tuple[dict[Cell, float], float]:
    """What the next unit of spend earns in each cell, and on average over the money in force of the
    cells ``within``."""
    spend = spends(incumbent, curves)
    next_unit = margin * curves.mean_marginal(spend)
    inside = np.isin(range(len(spend)), [i for i, c in enumerate(curves.cells) if c in within])
    weights = spend[inside] if spend[inside].sum() > 0 else np.ones(int(inside.sum()))
    average = float(np.average(next_unit[inside], weights=weights)) if inside.any() else 0.0
    return dict(zip(curves.cells, next_unit, strict=True)), average


def _move(was: float, now: float) -> str:
    word = "Up" if now > was else "Down"
    if was <= 0:
        return f"{word} from nothing to {now:,.2f}"
    share = abs(now / was - 1)
    return f"{word} {share:.0%}" if share >= 0.005 else f"{word} by less than 1 %"
