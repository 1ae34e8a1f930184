"""What the loop may lose while it introduces budgets, and what is plausibly at risk.

A conservative bandit (Wu, Shariff, Lattimore and Szepesvari 2016, section 3; Kazerouni et al. 2017)
may move as long as its return stays above the baseline's less an allowance, with high probability.
Here the baseline are the budgets that the stream of plans replaced, the allowance is money a
quarter, and what a move may lose is judged by a belief that doubts the model:

    gain = kept * promised + luck * spread

``promised`` is what the response curves promise, ``spread`` their own standard deviation, both over
the days in question; ``kept`` is the share of a promise that comes true, ``luck`` a standard normal
error of the curves as a whole. Both are normal, so measured gains update them in closed form
(conjugate linear model), and what a move plausibly loses is a one-sided bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array

QUARTER_DAYS = 91
PLAN_SHARE = 0.2  # of the allowance, that a plan may use to skip places of the waves
EXPECTED_LOSS = 0.25  # standard deviations below 0: three in five that a step loses
LIKELY_LOSS = 0.6745  # standard deviations below 0: three in four that a stream loses
LOST_SHARE = 0.25  # of the allowance: a stream expected to have lost so much is taken back
RETREATS = (0.75, 0.5)  # of the way from the reference, left where staying could lose too much
PLAN_DAYS = 28  # so long a plan has a question of its own; then it is part of the sum


@dataclass(frozen=True, slots=True)
class Scepticism:
    """How much a promise counts for before anything was measured.

    Attributes
    ----------
    kept, kept_sd
        Mean and standard deviation of the share of a promise that comes true. The defaults give a
        promise a chance of one in five to come out as a loss (docs/decisions/0011).
    confidence
        Of the one-sided bound on what is lost.
    """

    kept: float = 0.5
    kept_sd: float = 0.6
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Promise:
    """Profit over some days against the budgets replaced, in account currency: what the curves
    promised, and the standard deviation they gave it."""

    gain: float
    spread: float

    def __add__(self, other: Promise) -> Promise:
        """Of both stretches of days; the curves' error is one and the same in both."""
        return Promise(self.gain + other.gain, self.spread + other.spread)


@dataclass(frozen=True, slots=True)
class KeptPromise:
    """One comparison of a promise with what was measured over the same days."""

    promised: Promise
    measured: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Belief:
    """Normal belief about (kept, luck); ``mean`` has the shape (2,), ``covariance`` (2, 2)."""

    mean: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]
    confidence: float = 0.95

    @property
    def kept(self) -> tuple[float, float]:
        """Mean and standard deviation of the share of promises that comes true."""
        return self.mean[0], float(np.sqrt(self.covariance[0][0]))

    def gain(self, promise: Promise) -> tuple[float, float]:
        """Mean and standard deviation of what a promise comes to, account currency."""
        loads = np.array([promise.gain, promise.spread])
        variance = float(loads @ np.asarray(self.covariance) @ loads)
        return float(loads @ np.asarray(self.mean)), float(np.sqrt(max(variance, 0.0)))

    def plausible_loss(self, promise: Promise) -> float:
        """The one-sided bound on what a promise loses, account currency, 0 where it gains."""
        from scipy.special import ndtri

        mean, spread = self.gain(promise)
        return max(float(ndtri(self.confidence)) * spread - mean, 0.0)


def believe(
    earlier: Sequence[KeptPromise],
    current: KeptPromise | None = None,
    *,
    doubt: Scepticism | None = None,
) -> Belief:
    """The belief after all comparisons.

    Parameters
    ----------
    earlier
        Of streams that have ended, or of stretches whose gain was measured: each had an error of
        its own, so they say how promises are kept and nothing of today's error.
    current
        Of the stream under way.
    """
    rules = doubt or Scepticism()
    mean, covariance = np.array([rules.kept, 0.0]), np.diag([rules.kept_sd**2, 1.0])
    for pair in earlier:
        own = pair.standard_error**2 + pair.promised.spread**2
        loads = np.array([pair.promised.gain, 0.0])
        mean, covariance = _updated(mean, covariance, loads, pair.measured, own)
    if current is not None:
        loads = np.array([current.promised.gain, current.promised.spread])
        noise = current.standard_error**2
        mean, covariance = _updated(mean, covariance, loads, current.measured, noise)
    (a, b), (c, d) = covariance.tolist()
    return Belief((float(mean[0]), float(mean[1])), ((a, b), (c, d)), rules.confidence)


def _updated(
    mean: Array, covariance: Array, loads: Array, measured: float, noise: float
) -> tuple[Array, Array]:
    """Mean and covariance after ``measured = loads . x + noise``; unchanged without noise, which no
    measurement has. In Joseph's form, which stays exact where a measurement is very precise."""
    if not 0 < noise < np.inf:
        return mean, covariance
    gain = covariance @ loads / (loads @ covariance @ loads + noise)
    left = np.eye(len(mean)) - np.outer(gain, loads)
    after = left @ covariance @ left.T + noise * np.outer(gain, gain)
    return mean + gain * (measured - loads @ mean), (after + after.T) / 2


def expects_loss(belief: Belief, change: Promise) -> bool:
    """Whether a step is expected to lose, by :data:`EXPECTED_LOSS`: then it goes no further than
    the smallest part of a plan in the first wave. ``change`` is its promise against the budgets in
    force, in any unit of time."""
    expected, spread = belief.gain(change)
    return -expected > EXPECTED_LOSS * spread


def exhausted(
    belief: Belief, *, past: Promise, ahead: Promise, allowance: float, left: float
) -> bool:
    """Whether a stream has used up its allowance, so that it is taken back.

    It more likely loses than not, by :data:`LIKELY_LOSS`; and a part of the allowance is expected
    to be lost (:data:`LOST_SHARE`), or what it plausibly loses does not fit what is ``left``. Where
    a loss is plausible but no likelier than that, staying or part of the way back are the answer:
    plans that change nothing in truth are not taken back for being many.

    Parameters
    ----------
    past, ahead
        What was promised for the days that still count, and for those until the next cycle.
    allowance, left
        Account currency.
    """
    expected, spread = belief.gain(past + ahead)
    if -expected <= LIKELY_LOSS * spread:
        return False
    return -expected > LOST_SHARE * allowance or at_risk(belief, past=past, ahead=ahead) > left


def at_risk(belief: Belief, *, past: Promise, ahead: Promise) -> float:
    """What is plausibly lost by the end of the days ahead, account currency, at least 0.

    Past gains never pay for the days ahead: they only give back what was held for the past.
    """
    return max(belief.plausible_loss(past + ahead), belief.plausible_loss(ahead))
