"""Response curves from user-level tests: concave, piecewise linear, frozen.

A cell's users stand in line, those who respond most first where a rule is delivered, at random
else; more spend reaches further down the line. Between two knots each unit of money reaches users
of one group, so the marginal revenue is constant there and falls from group to group, below 0 where
users are harmed; past the last knot everybody is reached, and more money earns nothing, or does
more harm. The curve's "day" is one mailing (one wave of the test): revenue is what the users of
one wave spend within the outcome window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.policy import Cell

KIND = "unit"


@dataclass(frozen=True, slots=True)
class UnitCurves:
    """Piecewise-linear concave curves, satisfying ``ResponseCurves``.

    Attributes
    ----------
    cells : the cells, n_cells of them
    knots : shape (n_cells, n_groups + 1), spend at which each group begins and the last ends; from
        zero, never decreasing (a cell with fewer groups repeats its last knot)
    mean : shape (n_cells, n_groups), posterior mean marginal revenue in each group, any sign,
        falling
    draws : shape (n_draws, n_cells, n_groups), the same in each posterior draw
    """

    cells: tuple[Cell, ...]
    knots: Array
    mean: Array
    draws: Array

    def __post_init__(self) -> None:
        shape = (len(self.cells), self.mean.shape[1])
        if self.mean.shape != shape or self.draws.shape[1:] != shape:
            raise ValueError(f"Marginals of {len(self.cells)} cells must have the shape {shape}.")
        if self.knots.shape != (shape[0], shape[1] + 1):
            raise ValueError("A cell has one knot more than groups.")
        if (self.knots[:, 0] != 0).any() or (np.diff(self.knots, axis=1) < 0).any():
            raise ValueError("Knots begin at zero and never decrease.")
        for marginal in (self.mean, self.draws):
            if not np.isfinite(marginal).all():
                raise ValueError("A marginal revenue is finite.")
            if (np.diff(marginal, axis=-1) > 1e-9 * (1 + np.abs(marginal[..., :-1]))).any():
                raise ValueError("A marginal revenue never rises with the spend.")

    @property
    def carryover(self) -> Array:
        """None: the outcome window already holds what came later. Shape (n_cells,)."""
        return np.zeros(len(self.cells))

    @property
    def saturation(self) -> Array:
        """The spend at which everybody is reached, shape (n_cells,)."""
        return np.asarray(self.knots[:, -1], dtype=np.float64)

    def _within(self, spend: Array) -> Array:
        """Money spent in each group, shape (n_cells, n_groups)."""
        spent = np.asarray(spend, dtype=np.float64)[:, None]
        inside = np.clip(spent, self.knots[:, :-1], self.knots[:, 1:]) - self.knots[:, :-1]
        return np.asarray(inside, dtype=np.float64)

    def _beyond(self, spend: Array) -> Array:
        """Money past the last knot, shape (n_cells,)."""
        spent = np.asarray(spend, dtype=np.float64)
        return np.asarray(np.maximum(spent - self.saturation, 0.0), dtype=np.float64)

    def mean_revenue(self, spend: Array) -> Array:
        """Posterior mean incremental revenue per mailing, shape (n_cells,)."""
        harm = self._beyond(spend) * np.minimum(self.mean[:, -1], 0.0)
        return np.asarray((self._within(spend) * self.mean).sum(axis=1) + harm, dtype=np.float64)

    def mean_marginal(self, spend: Array) -> Array:
        """Revenue of the next unit of spend (to the right of ``spend``), shape (n_cells,)."""
        spent = np.asarray(spend, dtype=np.float64)[:, None]
        group = (self.knots[:, 1:] <= spent).sum(axis=1)
        padded = np.concatenate([self.mean, np.minimum(self.mean[:, -1:], 0.0)], axis=1)
        return np.asarray(padded[np.arange(len(self.cells)), group], dtype=np.float64)

    def draw_revenue(self, spend: Array) -> Array:
        """Incremental revenue per mailing in each joint draw, shape (n_draws, n_cells)."""
        harm = self._beyond(spend) * np.minimum(self.draws[..., -1], 0.0)
        return np.asarray(np.einsum("cg,dcg->dc", self._within(spend), self.draws) + harm)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, for an ``.npz`` file without pickle."""
        return {
            "kind": np.array(KIND),
            "segments": np.array([cell.segment for cell in self.cells], dtype=np.str_),
            "channels": np.array([cell.channel for cell in self.cells], dtype=np.str_),
            "knots": self.knots,
            "mean": self.mean,
            "draws": self.draws,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> UnitCurves:
        """The inverse of :meth:`to_arrays`.

        Raises
        ------
        ValueError
            When the arrays hold curves of another kind.
        """
        kind = str(arrays["kind"]) if "kind" in arrays else "unknown"
        if kind != KIND:
            raise ValueError(f"These are curves of the kind {kind!r}, not {KIND!r}.")
        cells = tuple(
            Cell(str(segment), str(channel))
            for segment, channel in zip(arrays["segments"], arrays["channels"], strict=True)
        )
        return cls(
            cells,
            np.asarray(arrays["knots"], dtype=np.float64),
            np.asarray(arrays["mean"], dtype=np.float64),
            np.asarray(arrays["draws"], dtype=np.float64),
        )


def decreasing(values: Array, weights: Array) -> Array:
    """The never-rising sequence nearest to ``values`` in weighted squares.

    Pool adjacent violators (Ayer et al. 1955; Barlow et al. 1972, section 1.2), along the last
    axis, for every row at once by the min-max formula: at ``i`` the least over starts ``j <= i`` of
    the greatest over ends ``k >= i`` of the mean of ``values[j..k]``.

    Parameters
    ----------
    values : shape (..., n)
    weights : shape (n,) or (..., n), >= 0; a value of weight zero takes its neighbour's
    """
    w = np.broadcast_to(np.asarray(weights, dtype=np.float64), values.shape)
    n = values.shape[-1]
    zero = np.zeros((*values.shape[:-1], 1))
    mass = np.concatenate([zero, np.cumsum(w, axis=-1)], axis=-1)
    moment = np.concatenate([zero, np.cumsum(w * values, axis=-1)], axis=-1)
    out = np.empty(values.shape)
    for i in range(n):
        least = np.full(values.shape[:-1], np.inf)
        for j in range(i + 1):
            heavy = mass[..., i + 1 :] - mass[..., j, None]
            total = moment[..., i + 1 :] - moment[..., j, None]
            mean = np.where(heavy > 0, total / np.where(heavy > 0, heavy, 1.0), -np.inf)
            greatest = mean.max(axis=-1)
            least = np.where(np.isfinite(greatest), np.minimum(least, greatest), least)
        out[..., i] = least
    out = np.where(np.isfinite(out), out, 0.0)
    return np.asarray(np.minimum.accumulate(out, axis=-1), dtype=np.float64)
