"""The pooled response model: what is likely a priori, and the fit of what is likely given lifts.

A cell's log marginal return at zero spend and log half-saturation (in units of its size) are

    log m = mu + channel + segment + own,        log k = kappa + channel + own,

normal around their shared means, with Student-t channel effects on m: a channel that does nothing
can sink to nothing without dragging the others along. The spread of the cells' own effects is
estimated with them (an EM step of empirical Bayes; Dempster, Laird and Rubin 1977, section 4.5).

The mode is found by Levenberg-Marquardt on the penalized sum of squares with exact derivatives, the
posterior is normal around it in the logs (Laplace; Tierney and Kadane 1986).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from liftloop.core.saturating import FAMILIES, Family
from models.arrow import Arrow
from models.evidence import Evidence, effective

Array = NDArray[np.float64]
LOG_RETURN = (-9.0, 7.0)  # beyond these nothing can be told apart, and nothing overflows
LOG_SCALE = (-5.0, 5.0)
EM_DRAWS = 64


@dataclass(frozen=True, slots=True)
class Prior:
    """Standard deviations of the logs, and what the means are drawn to.

    ``own_return`` and ``own_scale`` are the centres of what is estimated; ``own_weight`` is how
    many cells these centres count for. ``tail`` is the degrees of freedom of the channels' t.
    """

    mean_return: float = 0.0
    sd_mean_return: float = 2.0
    channel_return: float = 0.6
    segment_return: float = 0.2
    own_return: float = 0.35
    mean_scale: float = 0.0
    sd_mean_scale: float = 0.5
    channel_scale: float = 0.45
    own_scale: float = 0.25
    own_weight: float = 30.0
    tail: float = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Cell parameters (C, 2): log m, log k; shared ones (G,); sd of the cells' own effects (2,);
    carry-over of each channel."""

    cells: Array
    shared: Array
    own: Array
    carryover: Array


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Lifts at a state (N,), their derivatives by the cell's parameters (N, 2), and the same for
    lift tests: (E,), (E, 2C). Lifts in units of size; tests in money."""

    lift: Array
    slope: Array
    test: Array
    test_slope: Array


class Hierarchy:
    """The model of one body of evidence."""

    def __init__(self, evidence: Evidence, prior: Prior, family: str) -> None:
        self.evidence = evidence
        self.prior = prior
        self.family: Family = FAMILIES[family]
        n, channels, segments = (
            len(evidence.cells),
            len(evidence.channels),
            len(evidence.segments),
        )
        self.scale_mean = 1 + channels + segments  # where log k's shared parameters begin
        self.shared = self.scale_mean + 1 + channels
        number = np.arange(n)
        rows = np.concatenate([np.repeat(2 * number, 3), np.repeat(2 * number + 1, 2)])
        columns = np.concatenate(
            [
                np.column_stack(
                    [
                        np.zeros(n, dtype=int),
                        1 + evidence.channel_of,
                        1 + channels + evidence.segment_of,
                    ]
                ).ravel(),
                np.column_stack(
                    [
                        np.full(n, self.scale_mean),
                        self.scale_mean + 1 + evidence.channel_of,
                    ]
                ).ravel(),
            ]
        )
        self.design = csr_array((np.ones(5 * n), (rows, columns)), shape=(2 * n, self.shared))
        self.center = np.zeros(self.shared)
        self.center[0], self.center[self.scale_mean] = prior.mean_return, prior.mean_scale
        self._channels = slice(1, 1 + channels)
        self._segments = slice(1 + channels, 1 + channels + segments)
        self._levels: dict[bytes, Array] = {}

    # -- prior ------------------------------------------------------------------------------------

    def start(self, carryover: Array) -> State:
        """Everything at its prior mean."""
        own = np.array([self.prior.own_return, self.prior.own_scale])
        shared = self.center.copy()
        return State(self.expected(shared), shared, own, carryover)

    def expected(self, shared: Array) -> Array:
        """What cells are drawn to, (C, 2)."""
        return np.asarray((self.design @ shared).reshape(-1, 2))

    def shared_precision(self, shared: Array) -> Array:
        """Diagonal (G,). A t effect counts as a normal one whose precision depends on it
        (iteratively reweighted; Lange, Little and Taylor 1989, section 4)."""
        prior = self.prior
        held = np.empty(self.shared)
        held[0] = prior.sd_mean_return**-2
        effects = shared[self._channels]
        held[self._channels] = (prior.tail + 1) / (
            prior.tail * prior.channel_return**2 + effects**2
        )
        held[self._segments] = prior.segment_return**-2
        held[self.scale_mean] = prior.sd_mean_scale**-2
        held[self.scale_mean + 1 :] = prior.channel_scale**-2
        return held

    def penalty(self, state: State) -> float:
        """Minus the log prior, up to a constant."""
        prior = self.prior
        own = (state.cells - self.expected(state.shared)) / state.own
        gap = state.shared - self.center
        normal = self.shared_precision(state.shared) * gap**2
        effects = state.shared[self._channels]
        heavy = (prior.tail + 1) * np.log1p(effects**2 / (prior.tail * prior.channel_return**2))
        total = normal.sum() - normal[self._channels].sum() + heavy.sum() + (own**2).sum()
        return 0.5 * float(total)

    # -- likelihood -------------------------------------------------------------------------------

    def levels(self, carryover: Array) -> Array:
        """Effective spend (T, C) in units of size, remembered."""
        name = carryover.tobytes()
        if name not in self._levels:
            if len(self._levels) > 1:
                self._levels.clear()
            shares = carryover[self.evidence.channel_of]
            self._levels[name] = effective(self.evidence.spend, shares)
        return self._levels[name]

    def predict(self, cells: Array, carryover: Array) -> Predicted:
        """Lifts and their derivatives at cell parameters (C, 2)."""
        evidence = self.evidence
        m, k = np.exp(cells[:, 0]), np.exp(cells[:, 1])
        level = self.levels(carryover) / k
        earned = m * k * self.family.shape(level)
        # df/dlog k = f - x f'(x), and df/dlog m = f, for every family m k h(x / k)
        bend = earned - m * k * level * self.family.slope(level)
        days = (evidence.last - evidence.first + 1).astype(float)
        means = []
        for values in (earned, bend):
            running = np.zeros((len(values) + 1, values.shape[1]))
            np.cumsum(values, axis=0, out=running[1:])
            total = (
                running[evidence.last + 1, evidence.cell] - running[evidence.first, evidence.cell]
            )
            means.append(total / days)
        test, slope = self._predict_tests(m, k)
        return Predicted(means[0], np.column_stack(means), test, slope)

    def _predict_tests(self, m: Array, k: Array) -> tuple[Array, Array]:
        tests = self.evidence.tests
        gains = np.zeros(len(tests))
        slopes = np.zeros((len(tests), len(m), 2))
        for number, test in enumerate(tests):
            at = test.where
            money = test.days * self.evidence.size[at]
            for spend, sign in ((test.actual, 1.0), (test.otherwise, -1.0)):
                level = spend / k[at]
                earned = money * m[at] * k[at] * self.family.shape(level)
                bend = earned - money * m[at] * k[at] * level * self.family.slope(level)
                gains[number] += sign * earned.sum()
                slopes[number, at, 0] += sign * earned
                slopes[number, at, 1] += sign * bend
        return gains, slopes.reshape(len(tests), 2 * len(m))

    def residuals(self, predicted: Predicted) -> tuple[Array, Array]:
        """Weighted, standardized: of lifts (N,), of tests (E,)."""
        evidence = self.evidence
        lifts = (evidence.lift - predicted.lift) / evidence.noise * np.sqrt(evidence.weight)
        gains = np.array([t.gain for t in evidence.tests])
        return lifts, (gains - predicted.test) * self._test_scale()

    def _test_scale(self) -> Array:
        return np.array(
            [np.sqrt(t.weight) / t.standard_error for t in self.evidence.tests], dtype=float
        )

    def misfit(self, state: State, predicted: Predicted) -> float:
        """Half the weighted sum of squares plus the penalty: what the mode minimizes."""
        lifts, tests = self.residuals(predicted)
        return 0.5 * float((lifts**2).sum() + (tests**2).sum()) + self.penalty(state)

    # -- fit --------------------------------------------------------------------------------------

    def curvature(self, state: State, predicted: Predicted, damping: float = 0.0) -> Arrow:
        """The Gauss-Newton Hessian at a state, factored; for climbing where ``damping`` > 0."""
        evidence = self.evidence
        scale = np.sqrt(evidence.weight) / evidence.noise
        slope = predicted.slope * scale[:, None]
        n = len(evidence.cells)
        shared = self.shared_precision(state.shared)
        if not damping:
            # A channel without effect has sunk to where neither lifts nor the t's tail hold it. Its
            # true posterior is long downwards only, where all is nothing: draws must not reach
            # farther up than the prior's own scale.
            tight = np.maximum(shared[self._channels], self.prior.channel_return**-2)
            shared[self._channels] = tight
        blocks = np.empty((n, 2, 2))
        for i, j in ((0, 0), (0, 1), (1, 1)):
            summed = np.bincount(evidence.cell, weights=slope[:, i] * slope[:, j], minlength=n)
            blocks[:, i, j] = blocks[:, j, i] = summed
        return Arrow.of(
            blocks=blocks,
            precision=state.own**-2,
            design=self.design,
            shared_precision=shared,
            tests=predicted.test_slope * self._test_scale()[:, None],
            damping=damping,
        )

    def _descent(self, state: State, predicted: Predicted) -> tuple[Array, Array]:
        """Minus the gradient, as (C, 2, 1) and (G, 1)."""
        evidence = self.evidence
        lifts, tests = self.residuals(predicted)
        pull = lifts * np.sqrt(evidence.weight) / evidence.noise
        n = len(evidence.cells)
        down = np.column_stack(
            [
                np.bincount(evidence.cell, weights=pull * predicted.slope[:, i], minlength=n)
                for i in (0, 1)
            ],
        ).astype(float)
        down += ((tests * self._test_scale()) @ predicted.test_slope).reshape(n, 2)
        own = (state.cells - self.expected(state.shared)) / state.own**2
        gap = self.shared_precision(state.shared) * (state.shared - self.center)
        return (down - own)[:, :, None], (self.design.T @ own.ravel() - gap)[:, None]

    def climb(self, state: State, *, steps: int = 30, tolerance: float = 1e-8) -> State:
        """The mode from ``state`` on, by Levenberg-Marquardt (More 1978)."""
        damping = 1e-3
        predicted = self.predict(state.cells, state.carryover)
        misfit = self.misfit(state, predicted)
        for _ in range(steps):
            arrow = self.curvature(state, predicted, damping)
            cells, shared = arrow.solve(*self._descent(state, predicted))
            trial = replace(
                state,
                cells=np.clip(
                    state.cells + np.clip(cells[:, :, 0], -2, 2),
                    [LOG_RETURN[0], LOG_SCALE[0]],
                    [LOG_RETURN[1], LOG_SCALE[1]],
                ),
                shared=state.shared + np.clip(shared[:, 0], -2, 2),
            )
            there = self.predict(trial.cells, state.carryover)
            reached = self.misfit(trial, there)
            if not reached < misfit:
                damping *= 10
                if damping > 1e8:
                    break
                continue
            gained, state, predicted, misfit = misfit - reached, trial, there, reached
            damping = max(damping / 10, 1e-9)
            if gained <= tolerance * (1 + abs(misfit)):
                break
        return state

    def estimate_own(self, state: State, *, seed: int) -> State:
        """One EM step for the spread of the cells' own effects."""
        arrow = self.curvature(state, self.predict(state.cells, state.carryover))
        cells, shared = arrow.draws(np.random.default_rng(seed), EM_DRAWS)
        wander = cells - (self.design @ shared).reshape(cells.shape)
        own = state.cells - self.expected(state.shared)
        squares = (own[:, :, None] + wander) ** 2
        prior, n = self.prior, len(own)
        center = np.array([prior.own_return, prior.own_scale])
        variance = prior.own_weight * center**2 + squares.mean(axis=2).sum(axis=0)
        return replace(state, own=np.sqrt(variance / (prior.own_weight + n)))

    def channel_misfit(self, state: State) -> Array:
        """The misfit of each channel's cells (n_channels,): lifts and the cells' own effects."""
        evidence = self.evidence
        lifts, _ = self.residuals(self.predict(state.cells, state.carryover))
        own = ((state.cells - self.expected(state.shared)) / state.own) ** 2
        of_cell = np.bincount(evidence.cell, weights=lifts**2, minlength=len(own))
        of_cell = of_cell + own.sum(axis=1)
        return 0.5 * np.bincount(
            evidence.channel_of, weights=of_cell, minlength=len(evidence.channels)
        )
