"""Response curves as frozen parameters: how models hand what they learned to the core.

A curve gives a cell's incremental revenue per day (account currency) as a function of its daily
spend held steady (account currency). It never decreases and has diminishing returns. Uncertainty
is carried by joint posterior draws: row ``d`` of every array is one possible world, so the sum over
cells within a draw keeps the correlation between cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.policy import Cell


class ResponseCurves(Protocol):
    """What allocation needs of curves, whatever estimated them.

    Curves may also have ``diminishing: bool``: False where the mean curve may be S-shaped. Curves
    without it have diminishing returns.
    """

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells, in the order of every array's last axis."""
        ...

    @property
    def carryover(self) -> Array:
        """Share of a day's effect that is carried to the next day, shape (n_cells,), in [0, 1)."""
        ...

    def mean_revenue(self, spend: Array) -> Array:
        """Posterior mean incremental revenue per day at ``spend``, both shape (n_cells,)."""
        ...

    def mean_marginal(self, spend: Array) -> Array:
        """Posterior mean marginal revenue of the next unit of spend, shape (n_cells,)."""
        ...

    def draw_revenue(self, spend: Array) -> Array:
        """Incremental revenue per day in each draw, shape (n_draws, n_cells)."""
        ...


def are_finite(curves: ResponseCurves) -> bool:
    """Whether the curves have a number everywhere: every draw of every cell, its mean and slope, at
    one unit of spend. Comparisons with NaN are false, so a check that such curves fail would not
    notice."""
    spend = np.ones(len(curves.cells))
    with np.errstate(all="ignore"):
        values = (
            curves.draw_revenue(spend),
            curves.mean_revenue(spend),
            curves.mean_marginal(spend),
            curves.carryover,
        )
    return all(bool(np.isfinite(value).all()) for value in values)


@dataclass(frozen=True, slots=True, eq=False)
class WeightedCurves:
    """Curves whose revenue counts ``weight`` (n_cells,) times: under another demand, or for an aim
    that values it more."""

    curves: ResponseCurves
    weight: Array

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.curves.cells

    @property
    def carryover(self) -> Array:
        return self.curves.carryover

    @property
    def diminishing(self) -> bool:
        return bool(getattr(self.curves, "diminishing", True))

    def mean_revenue(self, spend: Array) -> Array:
        return self.weight * self.curves.mean_revenue(spend)

    def mean_marginal(self, spend: Array) -> Array:
        return self.weight * self.curves.mean_marginal(spend)

    def draw_revenue(self, spend: Array) -> Array:
        return self.weight * self.curves.draw_revenue(spend)
