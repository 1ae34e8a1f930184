"""The elimination of cells against plain dense linear algebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.response.linear_algebra import Arrow, Design

Array = NDArray[np.float64]
CELLS, SHARED = 5, 6


@dataclass(frozen=True, slots=True)
class Problem:
    """A random Hessian of ``CELLS`` cells with d parameters each under shared ones."""

    blocks: Array
    precision: Array
    design: Array
    shared: Array
    tests: Array

    @classmethod
    def of(cls, d: int, *, tests: int) -> Problem:
        rng = np.random.default_rng(d)
        root = rng.normal(size=(CELLS, d, d))
        design = (rng.uniform(size=(CELLS * d, SHARED)) < 0.4).astype(float)
        return cls(
            blocks=root @ root.transpose(0, 2, 1),
            precision=rng.uniform(0.5, 3.0, d),
            design=design,
            shared=rng.uniform(0.3, 2.0, SHARED),
            tests=0.5 * rng.normal(size=(tests, CELLS * d)),
        )

    @property
    def dense(self) -> Array:
        """The whole Hessian, cell parameters first."""
        d = len(self.precision)
        prior = np.diag(np.tile(self.precision, CELLS))
        data = np.zeros_like(prior)
        for i, block in enumerate(self.blocks):
            data[i * d : (i + 1) * d, i * d : (i + 1) * d] = block
        across = -prior @ self.design
        core = self.design.T @ prior @ self.design + np.diag(self.shared)
        cells = data + prior + self.tests.T @ self.tests
        return np.block([[cells, across], [across.T, core]])

    def factored(self, *, sparse: bool = False) -> Arrow:
        return Arrow.of(
            blocks=self.blocks,
            precision=self.precision,
            design=Design.of(csr_array(self.design), dense=not sparse),
            shared_precision=self.shared,
            tests=self.tests,
        )


def inverse_of(arrow: Arrow) -> Array:
    """By solving for every unit vector."""
    d = len(arrow.precision)
    unit = np.eye(CELLS * d + SHARED)
    own, shared = arrow.solve(unit[: CELLS * d].reshape(CELLS, d, -1), unit[CELLS * d :])
    return np.vstack([own.reshape(CELLS * d, -1), shared])


@pytest.mark.parametrize("d", [3, 4, 7])
@pytest.mark.parametrize("tests", [0, 2])
@pytest.mark.parametrize("sparse", [False, True])
def test_solving_and_the_determinant_are_those_of_the_dense_matrix(
    d: int, tests: int, sparse: bool
) -> None:
    problem = Problem.of(d, tests=tests)
    arrow = problem.factored(sparse=sparse)
    np.testing.assert_allclose(inverse_of(arrow), np.linalg.inv(problem.dense), atol=1e-10)
    assert arrow.log_determinant() == pytest.approx(np.linalg.slogdet(problem.dense)[1])


@pytest.mark.parametrize("d", [3, 4, 7])
@pytest.mark.parametrize("tests", [0, 2])
def test_draws_have_the_covariance_of_the_inverse_and_come_in_opposite_pairs(
    d: int, tests: int
) -> None:
    problem = Problem.of(d, tests=tests)
    count = 40_000
    own, shared = problem.factored().draws(np.random.default_rng(1), count)
    drawn = np.vstack([own.reshape(CELLS * d, count), shared])
    expected = np.linalg.inv(problem.dense)
    sd = np.sqrt(np.diag(expected))
    # half as many independent ones: a correlation errs by at most 1 / sqrt(20,000) = 0.007 each
    found = np.cov(drawn) / np.outer(sd, sd)
    np.testing.assert_allclose(found, expected / np.outer(sd, sd), atol=5 * np.sqrt(2 / count))
    np.testing.assert_array_equal(drawn[:, : count // 2], -drawn[:, count // 2 :])


def test_dense_and_sparse_designs_give_the_same_draws() -> None:
    problem = Problem.of(4, tests=2)
    dense = problem.factored().draws(np.random.default_rng(3), 11)
    sparse = problem.factored(sparse=True).draws(np.random.default_rng(3), 11)
    for one, other in zip(dense, sparse, strict=True):
        assert one.shape[-1] == 11
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_damping_lengthens_the_diagonal_of_what_is_held() -> None:
    problem = Problem.of(3, tests=0)
    damped = Arrow.of(
        blocks=problem.blocks,
        precision=problem.precision,
        design=Design.of(csr_array(problem.design), dense=True),
        shared_precision=problem.shared,
        tests=problem.tests,
        damping=0.5,
    )
    plain = problem.dense
    more = np.zeros(len(plain))
    d = 3
    more[: CELLS * d] = 0.5 * np.diag(plain)[: CELLS * d]
    more[CELLS * d :] = 0.5 * problem.shared
    np.testing.assert_allclose(inverse_of(damped), np.linalg.inv(plain + np.diag(more)), atol=1e-10)
