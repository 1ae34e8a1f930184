"""Linear algebra of a hierarchical fit: a few parameters a cell under some shared ones.

With cell parameters p (d a cell) and shared ones g, the penalized Hessian is

    [ D + P   -P Z        ]      D: d x d blocks of the data, P: precision of cells around Z g,
    [ -Z' P   Z' P Z + L  ]      L: precision of the shared ones

plus ``U' U`` for the few lift tests that touch several cells at once. Solving eliminates the cells
one by one, so the cost grows with their number, not its cube (Golub and Van Loan 2013, section
4.3.2 on bordered systems; the tests by the Woodbury identity).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrs
from scipy.sparse import bsr_array, csr_array

from liftloop.core.arrays import Array, Index


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Z, which adds up what each cell's parameters are drawn to, (d C, G), dense where that is
    quicker; ``across`` is Z', (G, d C)."""

    matrix: csr_array | Array
    across: csr_array

    @classmethod
    def of(cls, matrix: csr_array, *, dense: bool = False) -> Design:
        """The design of a sparse matrix."""
        return cls(matrix.toarray() if dense else matrix, matrix.T.tocsr())

    def between(self, blocks: Array) -> Array:
        """Z' B Z for a block-diagonal B (C, d, d), dense (G, G)."""
        cells, d = blocks.shape[:2]
        if isinstance(self.matrix, np.ndarray):
            stacked = (blocks @ self.matrix.reshape(cells, d, -1)).reshape(cells * d, -1)
            return np.asarray(self.across @ stacked)
        places = (blocks, np.arange(cells), np.arange(cells + 1))
        diagonal = bsr_array(places, shape=(d * cells,) * 2)
        found: Any = self.across @ (diagonal.tocsr() @ self.matrix)
        return np.asarray(found.toarray())


@dataclass(frozen=True, slots=True, eq=False)
class Arrow:
    """A factored Hessian. Vectors are pairs (cells (C, d, ...), shared (G, ...))."""

    inverse: Array  # (C, d, d): of D + P
    precision: Array  # (d,): P's diagonal, the same for every cell
    design: Design
    factor: Array  # lower Cholesky factor of the shared parameters' precision, cells eliminated
    tests: Array  # (E, d C): U
    bridge: Array | None  # lower Cholesky factor of I + U H^-1 U'
    spread: tuple[Array, Array] | None  # H^-1 U', cells (C, d, E) and shared (G, E)

    @classmethod
    def of(
        cls,
        *,
        blocks: Array,
        precision: Array,
        design: Design,
        shared_precision: Array,
        tests: Array,
        damping: float = 0.0,
    ) -> Arrow:
        """Factor. ``blocks`` (C, d, d) are D, ``shared_precision`` (G,) L's diagonal; ``damping``
        is Levenberg and Marquardt's, relative to the diagonal."""
        cells, d = blocks.shape[:2]
        held = blocks + np.diag(precision)
        np.einsum("cii->ci", held)[:] *= 1.0 + damping  # the diagonals
        inverse = np.linalg.inv(held)
        inverse = 0.5 * (inverse + inverse.transpose(0, 2, 1))
        rest = np.diag(precision) - precision[:, None] * inverse * precision[None, :]
        core = design.between(rest) + np.diag(shared_precision * (1.0 + damping))
        factor = cast(Array, np.linalg.cholesky(core))
        plain = cls(inverse, precision, design, factor, tests, None, None)
        if len(tests) == 0:
            return plain
        shared = np.zeros((len(shared_precision), len(tests)))
        spread = plain.solve(tests.T.reshape(cells, d, len(tests)), shared)
        bridge = cast(
            Array,
            np.linalg.cholesky(
                np.eye(len(tests)) + tests @ spread[0].reshape(d * cells, len(tests))
            ),
        )
        return cls(inverse, precision, design, factor, tests, bridge, spread)

    def solve(self, cells: Array, shared: Array) -> tuple[Array, Array]:
        """H^-1 times a right-hand side, shapes (C, d, k) and (G, k)."""
        n, d, k = cells.shape
        eliminated = self.inverse @ cells
        pulled = (self.precision[:, None] * eliminated).reshape(d * n, k)
        found = _solved(self.factor, shared + self.design.across @ pulled)
        pushed = (self.design.matrix @ found).reshape(n, d, k) * self.precision[:, None]
        own = eliminated + self.inverse @ pushed
        if self.bridge is None or self.spread is None:
            return own, found
        inner = _solved(self.bridge, self.tests @ own.reshape(d * n, k))
        return own - self.spread[0] @ inner, found - self.spread[1] @ inner

    def log_determinant(self) -> float:
        """Log determinant of the Hessian."""
        found = 2.0 * np.log(np.diag(self.factor)).sum() - np.linalg.slogdet(self.inverse)[1].sum()
        if self.bridge is not None:
            found += 2.0 * np.log(np.diag(self.bridge)).sum()
        return float(found)

    def draws(self, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        """``count`` deviations with covariance H^-1, shapes (C, d, count) and (G, count).

        Shared parameters first, then each cell given them; then what the tests say, by conditioning
        the draws (Matheron's rule; Wilson et al. 2020, equation 5). Draws come in opposite pairs:
        their mean is exactly 0.
        """
        n, d = self.inverse.shape[:2]
        half = (count + 1) // 2
        first = rng.standard_normal((len(self.factor), half))
        shared = solve_triangular(self.factor.T, first, lower=False)
        own = np.linalg.cholesky(self.inverse) @ rng.standard_normal((n, d, half))
        pushed = (self.design.matrix @ shared).reshape(n, d, half) * self.precision[:, None]
        own = own + self.inverse @ pushed
        if self.bridge is not None and self.spread is not None:
            seen = self.tests @ own.reshape(d * n, half)
            seen = seen + rng.standard_normal(seen.shape)
            inner = _solved(self.bridge, seen)
            own, shared = own - self.spread[0] @ inner, shared - self.spread[1] @ inner
        both = (np.concatenate([v, -v], axis=-1)[..., :count] for v in (own, shared))
        cells, common = both
        return cells, common


def _solved(factor: Array, right: Array) -> Array:
    """(L L')^-1 times ``right``: scipy's ``cho_solve`` without its checks, which take longer than
    small systems do."""
    if factor.size == 0 or right.size == 0:
        return np.zeros_like(right)
    found: Array = dpotrs(factor, right, lower=1)[0]
    return found


ROWS_AT_ONCE = 50_000
MOST_PADDING = 1.5


class CellSums:
    """Sums over cells of their rows' outer squares, for rows in any order."""

    def __init__(self, cell: Index, cells: int) -> None:
        self._order = np.argsort(cell, kind="stable")
        if (self._order == np.arange(len(cell))).all():
            self._order = np.arange(0)  # sorted already
        ordered = np.sort(cell, kind="stable")
        self._present, self._starts = np.unique(ordered, return_index=True)
        # whole cells at once, about ROWS_AT_ONCE rows
        edges = np.searchsorted(self._starts, np.arange(0, len(cell), ROWS_AT_ONCE))
        self._parts = np.unique(np.append(edges, len(self._present)))
        self._rows = len(cell)
        self._grid = self._table()

    def _table(self) -> Index | None:
        """Rows of each present cell (cells, most) in sorted order, padded with a row past the last;
        None where cells have too different numbers of rows for that to pay."""
        count = np.diff(np.append(self._starts, self._rows))
        if self._rows == 0 or int(count.max()) * len(count) > MOST_PADDING * self._rows:
            return None
        step = np.arange(int(count.max()))
        return np.where(step < count[:, None], self._starts[:, None] + step, self._rows)

    def _sorted(self, values: Array) -> Array:
        return values[self._order] if len(self._order) else values

    def add_squares(self, total: Array, slope: Array) -> None:
        """Add the sums of the outer squares of ``slope`` (R, d) to ``total`` (cells, d, d)."""
        if not self._rows:
            return
        slope = self._sorted(slope)
        if self._grid is not None:
            if self._grid.size == self._rows:
                padded = slope.reshape(*self._grid.shape, -1)
            else:
                padded = np.concatenate([slope, np.zeros((1, slope.shape[1]))])[self._grid]
            total[self._present] += padded.transpose(0, 2, 1) @ padded
            return
        ends = np.append(self._starts, self._rows)
        for first, last in zip(self._parts[:-1], self._parts[1:], strict=True):
            rows = slope[ends[first] : ends[last]]
            starts = self._starts[first:last] - ends[first]
            outer = rows[:, :, None] * rows[:, None, :]
            total[self._present[first:last]] += np.add.reduceat(outer, starts, axis=0)
