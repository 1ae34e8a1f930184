"""The pooled response model: what is likely a priori, and the fit of what is likely given evidence.

A cell earns ``m K h(a / K)`` a day from its effective spend ``a``; ``h`` has a parameter of its own
that says how it saturates, so no family of curves is assumed. Log m, log K and log bend are normal
around their channel's and segment's means. Platforms claim ``e^b`` times what a cell earns plus a
share of what its segment sells; both are unknown per channel, nearly the same in its cells, and
learned with the curves. The spread of the cells' own effects is estimated with them (an EM step of
empirical Bayes; Dempster, Laird and Rubin 1977, section 4.5).

The mode is found by Levenberg-Marquardt on the penalized sum of squares with exact derivatives, the
posterior is normal around it (Laplace; Tierney and Kadane 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from liftloop.core.arrays import Array
from models.lift.evidence import Evidence
from models.response.likelihood import Forecast, Predicted
from models.response.linear_algebra import Arrow, CellSums, Design
from models.response.prior import CLAIM, CURVE, RETURN, TILT, ParameterPrior, Prior

SMALL = 1_000_000  # entries up to which a dense matrix is quicker


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The shared parameters (G,): for each of a cell's d parameters a mean, an effect of every
    channel and, where its prior has one, of every segment.

    ``design`` adds up what a cell is drawn to; ``center`` and ``precision`` (G,) are the prior's.
    ``heavy`` are the channels' effects on the return, ``tilted`` those of the tilt.
    """

    design: Design
    center: Array
    precision: Array
    heavy: slice
    tilted: NDArray[np.intp]

    @classmethod
    def of(cls, evidence: Evidence, levels: Sequence[ParameterPrior]) -> Layout:
        """Lay the parameters out."""
        n, d = len(evidence.cells), len(levels)
        channels, segments = len(evidence.channels), len(evidence.segments)
        rows, columns, precision, center, tilted = [], [], [], [], []
        heavy, begin = slice(0, 0), 0
        for p, level in enumerate(levels):
            blocks = [(np.zeros(n, dtype=int), 1, level.sd_mean)]
            blocks.append((evidence.channel_of, channels, level.channel))
            if level.segment > 0:
                blocks.append((evidence.segment_of, segments, level.segment))
            for part, (where, count, sd) in enumerate(blocks):
                rows.append(d * np.arange(n) + p)
                columns.append(begin + where)
                precision.append(np.full(count, sd**-2.0))
                center.append(np.full(count, level.mean if part == 0 else 0.0))
                if p == CLAIM and part == 1 and evidence.rests_on_claims and evidence.claims:
                    center[-1] = -np.log(evidence.claims.unit)  # what is known is in money
                if p == RETURN and part == 1:
                    heavy = slice(begin, begin + count)
                if p == TILT:
                    tilted.append(np.arange(begin, begin + count))
                begin += count
        ones = np.ones(sum(len(r) for r in rows))
        places = (np.concatenate(rows), np.concatenate(columns))
        design = csr_array((ones, places), shape=(d * n, begin))
        return cls(
            design=Design.of(design, dense=d * n * begin <= SMALL),
            center=np.concatenate(center),
            precision=np.concatenate(precision),
            heavy=heavy,
            tilted=np.concatenate(tilted) if tilted else np.zeros(0, dtype=np.intp),
        )


Left = tuple[Array, Array, Array]
EM_DRAWS = 64
CLAIM_NOISE = 0.1  # what claims scatter around their model before anything is known, a share
LEAST_CLAIM_NOISE = 0.03
CLAIM_TAIL = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Cell parameters (C, d); shared ones (G,); sd of the cells' own effects (d,); carry-over of
    each channel; scatter of its claims as a share of their mean; trust (M,) in each claim, 1 for
    one that fits and less for an outlier; by what the prior spread of channels' tilts is scaled."""

    cells: Array
    shared: Array
    own: Array
    carryover: Array
    scatter: Array
    trust: Array
    tilt: float = 1.0


class Hierarchy:
    """The model of one body of evidence."""

    def __init__(self, evidence: Evidence, prior: Prior) -> None:
        self.evidence = evidence
        self.prior = prior
        self.d = CURVE + (3 if evidence.claims is not None else 0)
        self.levels = prior.levels(self.d, untested=evidence.rests_on_claims)
        n = len(evidence.cells)
        self.layout = Layout.of(evidence, self.levels)
        self._low = np.array([level.low for level in self.levels])
        self._high = np.array([level.high for level in self.levels])
        claims = evidence.claims
        self._noise: tuple[Array, Array, Array] | None = None  # the claims' last noise
        self._forecast = Forecast(evidence, self.d)
        self._left: tuple[Predicted, Array, Left] | None = None
        self._added: tuple[Left, Array, Array] | None = None
        self._lift_scale = np.sqrt(evidence.weight) / evidence.noise
        # contrasts: lift tests, then rows of the panel of sales
        panel = np.zeros(0) if evidence.panel is None else evidence.panel.observed
        self._gains = np.append([test.gain for test in evidence.tests], panel)
        self._test_scale = np.append(
            [np.sqrt(t.weight) / t.standard_error for t in evidence.tests], np.ones(len(panel))
        )
        self._of_cells = [CellSums(evidence.cell, n)]
        if claims is not None:
            self._of_cells.append(CellSums(claims.cell, n))
        self._usual = np.ones(n)
        if claims is not None:
            total = np.bincount(claims.cell, weights=np.abs(claims.claimed), minlength=n)
            count = np.bincount(claims.cell, minlength=n)
            self._usual = np.maximum(total / np.maximum(count, 1), 1e-9)

    # -- prior ------------------------------------------------------------------------------------

    def start(self, carryover: Array) -> State:
        """Everything at its prior mean."""
        evidence = self.evidence
        own = np.array([level.own for level in self.levels])
        shared = self.layout.center.copy()
        claims = evidence.claims
        return State(
            cells=self.expected(shared),
            shared=shared,
            own=own,
            carryover=carryover,
            scatter=np.full(len(evidence.channels), CLAIM_NOISE),
            trust=np.ones(0 if claims is None else len(claims.cell)),
        )

    def expected(self, shared: Array) -> Array:
        """What cells are drawn to, (C, d)."""
        return np.asarray((self.layout.design.matrix @ shared).reshape(-1, self.d))

    def shared_precision(self, state: State) -> Array:
        """Diagonal (G,). A t effect counts as a normal one whose precision depends on it
        (iteratively reweighted; Lange, Little and Taylor 1989, section 4)."""
        held = self.layout.precision.copy()
        held[self.layout.tilted] /= state.tilt**2
        effects, sd = state.shared[self.layout.heavy], self.prior.returns.channel
        held[self.layout.heavy] = (self.prior.tail + 1) / (self.prior.tail * sd**2 + effects**2)
        return held

    def penalty(self, state: State) -> float:
        """Minus the log prior, up to a constant."""
        own = (state.cells - self.expected(state.shared)) / state.own
        normal = self.shared_precision(state) * (state.shared - self.layout.center) ** 2
        effects, tail = state.shared[self.layout.heavy], self.prior.tail
        heavy = (tail + 1) * np.log1p(effects**2 / (tail * self.prior.returns.channel**2))
        total = normal.sum() - normal[self.layout.heavy].sum() + heavy.sum() + (own**2).sum()
        return 0.5 * float(total)

    # -- likelihood -------------------------------------------------------------------------------

    def predict(self, cells: Array, carryover: Array) -> Predicted:
        """Everything observed, and its derivatives, at cell parameters (C, d)."""
        return self._forecast.of(cells, carryover)

    def effective_spend(self, carryover: Array) -> Array:
        """Mean effective spend of every lift (N,), in units of size."""
        return self._forecast.spends(carryover)[0]

    def claim_noise(self, state: State) -> Array:
        """Standard deviation of each claim around its model (M,), infinite for one not trusted."""
        claims = self.evidence.claims
        assert claims is not None
        known = self._noise
        if known is not None and known[0] is state.scatter and known[1] is state.trust:
            return known[2]
        scatter = state.scatter[self.evidence.channel_of[claims.cell]] * self._usual[claims.cell]
        noise = scatter / np.sqrt(np.maximum(state.trust * claims.weight, 1e-12))
        self._noise = (state.scatter, state.trust, noise)
        return np.asarray(noise)

    def residuals(self, state: State, predicted: Predicted) -> Left:
        """Weighted, standardized: of lifts (N,), of claims (M,), of tests (E,); remembered."""
        evidence, claims = self.evidence, self.evidence.claims
        noise = np.zeros(0) if claims is None else self.claim_noise(state)
        known = self._left
        if known is not None and known[0] is predicted and (claims is None or known[1] is noise):
            return known[2]
        lifts = (evidence.lift - predicted.lift) * self._lift_scale
        said = np.zeros(0) if claims is None else (claims.claimed - predicted.claim) / noise
        left = lifts, said, (self._gains - predicted.test) * self._test_scale
        self._left = predicted, noise, left
        return left

    def misfit(self, state: State, predicted: Predicted) -> float:
        """Half the weighted sum of squares plus the penalty: what the mode minimizes."""
        squares = sum(float(left @ left) for left in self.residuals(state, predicted))
        return 0.5 * squares + self.penalty(state)

    # -- fit --------------------------------------------------------------------------------------

    def _sums(self, state: State, predicted: Predicted) -> tuple[Array, Array]:
        """Of the lifts and claims of each cell: sums of their standardized derivatives' outer
        squares (C, d, d), and of derivatives times residuals (C, d); remembered, for curvature
        asks for the first and pull for the second."""
        left = self.residuals(state, predicted)
        if self._added is not None and self._added[0] is left:
            return self._added[1:]
        parts = [(predicted.slope, self._lift_scale, left[0])]
        if self.evidence.claims is not None:
            parts.append((predicted.claim_slope, 1.0 / self.claim_noise(state), left[1]))
        total = np.zeros((len(self.evidence.cells), self.d + 1, self.d + 1))
        for sums, (slope, scale, residual) in zip(self._of_cells, parts, strict=True):
            both = np.empty((len(slope), self.d + 1))
            np.multiply(slope, scale[:, None], out=both[:, :-1])
            both[:, -1] = residual
            sums.add_squares(total, both)
        self._added = left, total[:, :-1, :-1], total[:, :-1, -1]
        return self._added[1:]

    def curvature(self, state: State, predicted: Predicted, damping: float = 0.0) -> Arrow:
        """The Gauss-Newton Hessian at a state, factored; for climbing where ``damping`` > 0."""
        shared = self.shared_precision(state)
        if not damping:
            # A channel without effect has sunk to where neither lifts nor the t's tail hold it. Its
            # true posterior is long downwards only, where all is nothing: draws must not reach
            # farther up than the prior's own scale.
            tight = np.maximum(shared[self.layout.heavy], self.prior.returns.channel**-2)
            shared[self.layout.heavy] = tight
        return Arrow.of(
            blocks=self._sums(state, predicted)[0],
            precision=state.own**-2,
            design=self.layout.design,
            shared_precision=shared,
            tests=predicted.test_slope * self._test_scale[:, None],
            damping=damping,
        )

    def pull(self, state: State, predicted: Predicted) -> Array:
        """How strongly the evidence draws each cell's parameters up, (C, d): minus the gradient of
        half the weighted sum of squares."""
        down = self._sums(state, predicted)[1]
        tests = self.residuals(state, predicted)[2] * self._test_scale
        return np.asarray(down + (tests @ predicted.test_slope).reshape(down.shape))

    def pull_of_lifts(self, draws: Array, carryover: Array) -> Array:
        """How strongly lifts alone draw each cell's log return up, the mean over draws of cell
        parameters (C, d, D), and by how much less for each unit it is higher: (2, C)."""
        evidence, n = self.evidence, len(self.evidence.cells)
        first, second = np.zeros((2, len(evidence.lift)))  # moments of the lifts predicted
        for number in range(draws.shape[-1]):
            there = np.ascontiguousarray(draws[..., number])
            lift = self._forecast.lifts(there, carryover)
            first += lift
            second += lift**2
        weight = evidence.weight / evidence.noise**2 / draws.shape[-1]
        pull = (evidence.lift * first - second) * weight
        less = (2 * second - evidence.lift * first) * weight
        return np.stack([np.bincount(evidence.cell, rows, minlength=n) for rows in (pull, less)])

    def with_prior(self, state: State, pull: Array) -> tuple[Array, Array]:
        """``pull`` joined by the prior's: minus the gradient of the misfit, as (C, d, 1) and
        (G, 1)."""
        own = (state.cells - self.expected(state.shared)) / state.own**2
        gap = self.shared_precision(state) * (state.shared - self.layout.center)
        return (pull - own)[:, :, None], (self.layout.design.across @ own.ravel() - gap)[:, None]

    def climb(self, state: State, *, steps: int = 30, tolerance: float = 1e-8) -> State:
        """The mode from ``state`` on, by Levenberg-Marquardt (More 1978)."""
        damping = 1e-3
        predicted = self.predict(state.cells, state.carryover)
        misfit = self.misfit(state, predicted)
        for _ in range(steps):
            arrow = self.curvature(state, predicted, damping)
            cells, shared = arrow.solve(*self.with_prior(state, self.pull(state, predicted)))
            moved = state.cells + np.clip(cells[:, :, 0], -2, 2)
            trial = replace(
                state,
                cells=np.clip(moved, self._low, self._high),
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
        wander = cells - (self.layout.design.matrix @ shared).reshape(cells.shape)
        own = state.cells - self.expected(state.shared)
        squares = ((own[:, :, None] + wander) ** 2).mean(axis=2).sum(axis=0)
        center = np.array([level.own for level in self.levels])
        weight = np.array([level.own_weight for level in self.levels])
        return replace(
            state, own=np.sqrt((weight * center**2 + squares) / (weight + len(state.cells)))
        )

    def log_evidence(self, state: State) -> float:
        """Log marginal likelihood of the evidence at a mode by Laplace's approximation, up to what
        does not depend on ``state.own`` and ``state.tilt`` (Tierney and Kadane 1986)."""
        predicted = self.predict(state.cells, state.carryover)
        arrow = self.curvature(state, predicted)
        prior = -2.0 * len(state.cells) * float(np.log(state.own).sum())
        prior -= 2.0 * len(self.layout.tilted) * float(np.log(state.tilt))
        return -self.misfit(state, predicted) + 0.5 * (prior - arrow.log_determinant())

    def estimate_scatter(self, state: State) -> State:
        """How far each channel's claims scatter around their model, and which are outliers (the
        weights of a t distribution; Lange, Little and Taylor 1989, section 3)."""
        claims = self.evidence.claims
        if claims is None:
            return state
        said = self.predict(state.cells, state.carryover).claim
        gap = (claims.claimed - said) / self._usual[claims.cell]
        channel = self.evidence.channel_of[claims.cell]
        n = len(self.evidence.channels)
        z = gap / state.scatter[channel]
        trust = (CLAIM_TAIL + 1) / (CLAIM_TAIL + z**2)
        weight = claims.weight
        squares = np.bincount(channel, weights=weight * trust * gap**2, minlength=n)
        # about two parameters of each cell are fitted to its claims
        spent = 2.0 * np.bincount(self.evidence.channel_of, minlength=n)
        freedom = np.maximum(np.bincount(channel, weights=weight, minlength=n) - spent, 0.0)
        prior = 10.0
        scatter = np.sqrt((squares + prior * CLAIM_NOISE**2) / (freedom + prior))
        return replace(state, scatter=np.maximum(scatter, LEAST_CLAIM_NOISE), trust=trust)

    def channel_misfit(self, state: State) -> Array:
        """The misfit of each channel's cells (n_channels,): lifts, claims, cells' own effects."""
        evidence, claims = self.evidence, self.evidence.claims
        lifts, said, _ = self.residuals(state, self.predict(state.cells, state.carryover))
        own = ((state.cells - self.expected(state.shared)) / state.own) ** 2
        of_cell = own.sum(axis=1)
        of_cell += np.bincount(evidence.cell, weights=lifts**2, minlength=len(own))
        if claims is not None:
            of_cell += np.bincount(claims.cell, weights=said**2, minlength=len(own))
        by_channel = np.bincount(
            evidence.channel_of, weights=of_cell, minlength=len(evidence.channels)
        )
        return cast(Array, 0.5 * by_channel)
