"""What of the budgets loses: spend whose revenue times the margin is less than the spend itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.curves.gain import Estimate, spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Policy

PARTS = 32  # pieces of a cell's budget that are tried, and once more inside the best two
LIKELY = 0.9  # least probability of a loss that is named
MATERIAL = 0.005  # of the total: a smaller loss a day is not named


@dataclass(frozen=True, slots=True)
class LosingSpend:
    """Spend beyond what earns the most expected profit in its cell, account currency a day.

    Attributes
    ----------
    spend
        Of all cells together.
    loss
        What it costs more than it earns, with the 90 % interval over the joint draws.
    probability
        That it loses.
    """

    spend: float
    loss: Estimate
    probability: float

    def is_named(self, total: float) -> bool:
        """Whether the loss is likely, and large enough against the ``total`` to be named."""
        return self.probability >= LIKELY and self.loss.mean >= MATERIAL * total


def losing_spend(curves: ResponseCurves, policy: Policy, margin: float) -> LosingSpend:
    """What of ``policy`` loses, cell by cell: the part beyond the spend at which margin x marginal
    return is 1, or all of it where no part earns what it costs.

    Parameters
    ----------
    curves
        Curves that may be taken cell by cell. Cells without one count for nothing.
    margin
        Profit per unit of revenue, before the spend.
    """
    spend = spends(policy, curves)
    best = _best_spend(curves, spend, margin)
    beyond = curves.draw_revenue(spend) - curves.draw_revenue(best)
    draws = float((spend - best).sum()) - margin * beyond.sum(axis=1)
    return LosingSpend(float((spend - best).sum()), Estimate.of(draws), float((draws > 0).mean()))


def _best_spend(curves: ResponseCurves, spend: Array, margin: float) -> Array:
    """The spend of each cell, at most ``spend``, with the most expected profit; shape (n_cells,).
    It is looked for on a grid, for curves may be S-shaped."""

    def best_of(levels: Array) -> Array:
        profit = np.array([margin * curves.mean_revenue(x) - x for x in levels])
        profit -= 1e-9 * np.maximum(spend, 1.0) * np.arange(len(levels))[::-1, None]
        return np.asarray(np.take_along_axis(levels, profit.argmax(axis=0)[None], axis=0)[0])

    parts = np.linspace(0.0, 1.0, PARTS + 1)[:, None]
    near = best_of(parts * spend)
    width = spend / PARTS
    return best_of(np.clip(near + (2 * parts - 1) * width, 0.0, spend))
