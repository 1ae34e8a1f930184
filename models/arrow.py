"""Linear algebra of a hierarchical fit: two parameters a cell under a few shared ones.

With cell parameters p (2 a cell) and shared ones g, the penalized Hessian is

    [ D + P   -P Z        ]      D: 2x2 blocks of the data, P: precision of cells around Z g,
    [ -Z' P   Z' P Z + L  ]      L: precision of the shared ones

plus ``U' U`` for the few lift tests that touch several cells at once. Solving eliminates the cells
one by one, so the cost grows with their number, not its cube (Golub and Van Loan 2013, section
4.3.2 on bordered systems; the tests by the Woodbury identity).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.sparse import bsr_array, csr_array

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Arrow:
    """A factored Hessian. Vectors are pairs (cells (C, 2, ...), shared (G, ...))."""

    inverse: Array  # (C, 2, 2): of D + P
    precision: Array  # (2,): P's diagonal, the same for every cell
    design: csr_array  # (2C, G): Z
    factor: Array  # lower Cholesky factor of the shared parameters' precision, cells eliminated
    tests: Array  # (E, 2C): U
    bridge: Array | None  # lower Cholesky factor of I + U H^-1 U'
    spread: tuple[Array, Array] | None  # H^-1 U', cells (C, 2, E) and shared (G, E)

    @classmethod
    def of(
        cls,
        *,
        blocks: Array,
        precision: Array,
        design: csr_array,
        shared_precision: Array,
        tests: Array,
        damping: float = 0.0,
    ) -> Arrow:
        """Factor. ``blocks`` (C, 2, 2) are D, ``shared_precision`` (G,) L's diagonal; ``damping``
        is Levenberg and Marquardt's, relative to the diagonal."""
        held = blocks + np.diag(precision)
        if damping:
            held = held + damping * held * np.eye(2)
        det = held[:, 0, 0] * held[:, 1, 1] - held[:, 0, 1] ** 2
        inverse = np.empty_like(held)
        inverse[:, 0, 0], inverse[:, 1, 1] = held[:, 1, 1] / det, held[:, 0, 0] / det
        inverse[:, 0, 1] = inverse[:, 1, 0] = -held[:, 0, 1] / det
        rest = np.diag(precision) - precision[:, None] * inverse * precision[None, :]
        cells = len(blocks)
        stacked = _apply_sparse(rest, design, cells)
        core = (design.T @ stacked).toarray() + np.diag(shared_precision * (1.0 + damping))
        factor = np.linalg.cholesky(core)
        plain = cls(inverse, precision, design, factor, tests, None, None)
        if len(tests) == 0:
            return plain
        shared = np.zeros((design.shape[1], len(tests)))
        spread = plain.solve(tests.T.reshape(cells, 2, len(tests)), shared)
        bridge = np.linalg.cholesky(
            np.eye(len(tests)) + tests @ spread[0].reshape(2 * cells, len(tests))
        )
        return cls(inverse, precision, design, factor, tests, bridge, spread)

    def solve(self, cells: Array, shared: Array) -> tuple[Array, Array]:
        """H^-1 times a right-hand side, shapes (C, 2, k) and (G, k)."""
        n, _, k = cells.shape
        eliminated = np.einsum("cij,cjk->cik", self.inverse, cells)
        pulled = (self.precision[:, None] * eliminated).reshape(2 * n, k)
        found = cho_solve((self.factor, True), shared + self.design.T @ pulled)
        pushed = (self.design @ found).reshape(n, 2, k) * self.precision[:, None]
        own = eliminated + np.einsum("cij,cjk->cik", self.inverse, pushed)
        if self.bridge is None or self.spread is None:
            return own, found
        inner = cho_solve((self.bridge, True), self.tests @ own.reshape(2 * n, k))
        return own - self.spread[0] @ inner, found - self.spread[1] @ inner

    def draws(self, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        """``count`` deviations with covariance H^-1, shapes (C, 2, count) and (G, count).

        Shared parameters first, then each cell given them; then what the tests say, by conditioning
        the draws (Matheron's rule; Wilson et al. 2020, equation 5). Draws come in opposite pairs:
        their mean is exactly 0.
        """
        n, g = len(self.inverse), len(self.factor)
        half = (count + 1) // 2
        shared = solve_triangular(self.factor.T, rng.standard_normal((g, half)), lower=False)
        own = np.einsum(
            "cij,cjk->cik", np.linalg.cholesky(self.inverse), rng.standard_normal((n, 2, half))
        )
        pushed = (self.design @ shared).reshape(n, 2, half) * self.precision[:, None]
        own = own + np.einsum("cij,cjk->cik", self.inverse, pushed)
        if self.bridge is not None and self.spread is not None:
            seen = self.tests @ own.reshape(2 * n, half)
            seen = seen + rng.standard_normal(seen.shape)
            inner = cho_solve((self.bridge, True), seen)
            own, shared = own - self.spread[0] @ inner, shared - self.spread[1] @ inner
        both = (np.concatenate([v, -v], axis=-1)[..., :count] for v in (own, shared))
        first, second = both
        return first, second


def _apply_sparse(blocks: Array, design: csr_array, cells: int) -> Any:
    """Block-diagonal (C, 2, 2) times ``design``."""
    diagonal = bsr_array((blocks, np.arange(cells), np.arange(cells + 1)), shape=(2 * cells,) * 2)
    return diagonal.tocsr() @ design
