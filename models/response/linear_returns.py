"""Randomized evidence of one channel as a linear model of its cells' average returns.

With the shape of every curve held (how lifts at other spend compare with that at the usual spend; a
straight line for a cell that may earn nothing), a lift or lift test is linear in the cells' average
returns r at their usual spend (revenue per unit of spend, of any sign):

    lift = r_i x + noise,        test = sum over cells of r_i b_i + noise.

Then everything about r is normal and exact: what the evidence says of a channel that may earn
nothing or do harm (:mod:`models.response.signed_returns`), and what all other evidence predicts of
one test (:mod:`models.lift.conflicting_tests`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.special import log_ndtr

from liftloop.core.arrays import Array, Index
from liftloop.core.curves.saturating import bent_shape
from models.response.hierarchy import Hierarchy, State
from models.response.prior import BEND, RETURN, SCALE

RECENT_DAYS = 28
LEAST_USUAL = 1e-6  # of a cell's size: stands in for 0 where a ratio of spends is meant


@dataclass(frozen=True, slots=True, eq=False)
class LinearReturns:
    """The evidence of a channel with n cells and E randomized lift tests, standardized.

    Attributes
    ----------
    cells
        The cells' places in the evidence (n,).
    precision, moment
        Of each cell's lifts (n,): sums of x squared and of x times lift, over the noise's variance.
    loads, gains
        Lift tests: (E, n) and (E,), each divided by the test's standard error.
    tests
        The tests' places in the evidence (E,).
    """

    cells: Index
    precision: Array
    moment: Array
    loads: Array
    gains: Array
    tests: Index

    def without(self, row: int) -> LinearReturns:
        """The same without the lift test in row ``row`` of ``loads``."""
        keep = np.arange(len(self.gains)) != row
        return LinearReturns(
            self.cells,
            self.precision,
            self.moment,
            self.loads[keep],
            self.gains[keep],
            self.tests[keep],
        )

    @property
    def by_tests(self) -> bool:
        """Whether lift tests say more of the channel than lifts do."""
        load = self.loads.sum(axis=1)
        return float(load @ load) > float(self.precision.sum())

    def common(self) -> tuple[float, float]:
        """The return of all cells if it were one, by least squares, with its standard error; (0,
        inf) without evidence."""
        load = self.loads.sum(axis=1)
        precision = float(self.precision.sum() + load @ load)
        if not precision > 0:
            return 0.0, float("inf")
        moment = float(self.moment.sum() + load @ self.gains)
        return moment / precision, precision**-0.5

    def solve(self, mean: float, spread: float, right: Array | None = None) -> tuple[Array, float]:
        """Posterior mean (n,) under the prior r ~ N(mean, spread squared) of every cell, and the
        log marginal likelihood up to a constant of the evidence.

        ``right`` (n,) stands in for the right-hand side: one draw by perturbation.
        """
        diagonal, over, inner = self._parts(spread)
        side = self.moment + mean / spread**2 + self.gains @ self.loads
        found = self._inverse(side if right is None else right, diagonal, over, inner)
        log = len(diagonal) * 2 * np.log(spread) + float(np.log(diagonal).sum())
        log += float(np.linalg.slogdet(inner)[1])
        log += len(diagonal) * (mean / spread) ** 2 - float(side @ found)
        return found, -0.5 * log

    def log_likelihood_above(self, mean: float, spread: float) -> float:
        """The log marginal likelihood where no cell's return may be below 0: the prior is normal,
        cut off there (each cell's posterior taken for itself)."""
        found, log = self.solve(mean, spread)
        diagonal, over, inner = self._parts(spread)
        variance = 1.0 / diagonal
        if len(self.gains):
            variance = variance - (over * np.linalg.solve(inner, over)).sum(axis=0)
        kept = log_ndtr(found / np.sqrt(np.maximum(variance, 1e-300)))
        return log + float(kept.sum() - len(kept) * log_ndtr(mean / spread))

    def _parts(self, spread: float) -> tuple[Array, Array, Array]:
        diagonal = self.precision + spread**-2
        over = self.loads / diagonal
        return diagonal, over, np.eye(len(self.gains)) + over @ self.loads.T

    def draw(self, mean: float, spread: float, rng: np.random.Generator) -> Array:
        """One draw of r (n,) from its posterior (perturbation of the right-hand side:
        Papandreou and Yuille 2010)."""
        n, e = len(self.cells), len(self.gains)
        right = self.moment + np.sqrt(self.precision) * rng.standard_normal(n)
        right += mean / spread**2 + rng.standard_normal(n) / spread
        right += (self.gains + rng.standard_normal(e)) @ self.loads
        return self.solve(mean, spread, right)[0]

    def spread_of(self, load: Array, mean: float, spread: float) -> tuple[float, float]:
        """Posterior mean and variance of ``load @ r``."""
        diagonal, over, inner = self._parts(spread)
        mean_of = float(load @ self.solve(mean, spread)[0])
        return mean_of, float(load @ self._inverse(load, diagonal, over, inner))

    def _inverse(self, right: Array, diagonal: Array, over: Array, inner: Array) -> Array:
        """The posterior covariance times ``right`` (Woodbury's identity: few tests)."""
        alone = right / diagonal
        if not len(self.gains):
            return np.asarray(alone)
        return np.asarray(alone - over.T @ np.linalg.solve(inner, self.loads @ alone))


def usual_spend(model: Hierarchy) -> Array:
    """Mean spend of the last four weeks, or of all days where that is nothing; (n_cells,), in units
    of size, > 0."""
    spend = model.evidence.spend
    recent = spend[-RECENT_DAYS:].mean(axis=0)
    return np.asarray(np.maximum(np.where(recent > 0, recent, spend.mean(axis=0)), LEAST_USUAL))


def average_returns(model: Hierarchy, state: State) -> Array:
    """Revenue per unit of spend of every cell at its usual spend, at ``state``; (n_cells,)."""
    scale, usual = np.exp(state.cells[:, SCALE]), usual_spend(model)
    level = bent_shape(usual / scale, np.exp(state.cells[:, BEND]))
    return np.asarray(np.exp(state.cells[:, RETURN]) * scale * level / usual)


def linear_returns(
    model: Hierarchy, state: State, *, straight: bool = False
) -> tuple[LinearReturns, ...]:
    """The randomized evidence of every channel, linear around the curves' shapes at ``state``; with
    ``straight`` as if every unit of spend of a cell earned the same."""
    evidence = model.evidence
    n = len(evidence.cells)
    if straight:
        earned, tested = _spent(model, state)
    else:
        returns = average_returns(model, state)
        predicted = model.predict(state.cells, state.carryover)
        earned = predicted.slope[:, RETURN] / returns[evidence.cell]
        of_tests = predicted.test_slope[: len(evidence.tests)]
        slopes = of_tests.reshape(len(evidence.tests), n, model.d)
        tested = slopes[:, :, RETURN] / returns
    scale = np.sqrt(evidence.weight) / evidence.noise
    x = earned * scale
    precision = np.bincount(evidence.cell, x * x, minlength=n)
    moment = np.bincount(evidence.cell, x * evidence.lift * scale, minlength=n)
    kept = np.array([i for i, test in enumerate(evidence.tests) if test.randomized], dtype=np.intp)
    errors = np.array([test.standard_error for test in evidence.tests])[kept]
    weights = np.array([test.weight for test in evidence.tests])[kept]
    of_test = np.sqrt(weights) / errors
    loads = tested[kept] * of_test[:, None]
    gains = np.array([test.gain for test in evidence.tests])[kept] * of_test
    found = []
    for channel in range(len(evidence.channels)):
        cells = np.flatnonzero(evidence.channel_of == channel)
        about = np.flatnonzero((loads[:, cells] != 0).any(axis=1))
        found.append(
            LinearReturns(
                cells=cells,
                precision=cast(Array, precision[cells]),
                moment=cast(Array, moment[cells]),
                loads=loads[np.ix_(about, cells)],
                gains=gains[about],
                tests=kept[about],
            )
        )
    return tuple(found)


def _spent(model: Hierarchy, state: State) -> tuple[Array, Array]:
    """What a return of 1 earns: in each lift (N,), in units of size, and in each test of each cell
    (E, n_cells), in money."""
    evidence = model.evidence
    lifts = model.effective_spend(state.carryover)
    if evidence.demand is not None:
        lifts = lifts * evidence.demand
    tests = np.zeros((len(evidence.tests), len(evidence.cells)))
    for row, test in enumerate(evidence.tests):
        money = test.days * evidence.size[test.where] * test.portion
        tests[row, test.where] = money * (test.actual - test.otherwise)
    return lifts, tests
