"""Effects of variants that share a day's shocks and may drift: a discounted dynamic model.

The outcome of variant i on day t has mean ``exposure_it * rate_t * exp(effect_i)``. Given the day's
total, the variants' outcomes depend on the effects alone, as a multinomial does, so that weekday,
season and price cancel; their variance is ``dispersion`` times the multinomial one. Evidence of
older days is discounted by a factor a day (West and Harrison 1997, "Bayesian Forecasting and
Dynamic Models", section 6.3, for the exponential family 14.2). Several factors are kept beside one
another and weighted by how well each predicted every day from the days before it (Raftery, Karny
and Ettler 2010, "Online prediction under model uncertainty via dynamic model averaging"). Effects
have a common normal prior whose spread is estimated from the variants (empirical Bayes; Morris
1983), so that a variant with little evidence is taken for one like its siblings.

Beside the discounts stands one model more: an effect falls, or rises, in proportion to the
variant's own exposure so far, as a creative's does that tires. Who is shown most tires most, and
the variants it is compared with are then hardly shown: to have the model from the start is what
keeps them shown enough.

Days whose outcomes are not all known yet tell ``effect_i + speed_i * (1 - matured_t)``: a variant
may convert faster than the curve that ``matured`` was read from, and the prior of ``speed`` says
by how much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from liftloop.core.arrays import Array, Mask
from liftloop.core.variant_tests.observations import VariantDays

DISCOUNTS = np.array([1.0, 0.98, 0.95, 0.9, 0.8])  # half-lives: never, 34, 14, 7 and 3 days
# of the discounts and, last, of effects that move with the variants' own exposure
_PRIOR = np.array([0.3, 0.06, 0.06, 0.05, 0.03, 0.5])
_MODELS = np.append(DISCOUNTS, 1.0)  # the last one forgets nothing either
_TIRING = 1.0  # standard deviation of the log effect's change over all exposure of _TIRING_DAYS
_TIRING_DAYS = 84
_SPREADS = np.array([0.03, 0.06, 0.12, 0.25, 0.5])  # of effects, standard deviations of logs
_SPEED = 0.4  # standard deviation of how much faster a variant matures, log per unmatured fraction
_MATURE = 0.9  # from here on a day may choose the discount and size the noise
_LEVEL = 3.0  # standard deviation of the effects' common level, which no day tells
_NOISE_DAYS = 10.0  # what the dispersion that the outcomes' own squares tell counts for


@dataclass(frozen=True, slots=True)
class DiscountedEffects:
    """Posterior of ``v`` effects for each of ``g`` models, and their way until now.

    Attributes
    ----------
    weights
        Posterior probability of each discount and, last, of fatigue, shape (g,).
    means, covariances
        Of the log effects for the day after the last, shapes (g, v) and (g, v, v). Only differences
        between variants mean something.
    path
        Mean effects as known at the end of each day, averaged over the models, shape (v, d).
    spread
        Standard deviation between variants, of the log effects.
    dispersion
        Variance of an outcome's sum over its mean.
    """

    weights: Array
    means: Array
    covariances: Array
    path: Array
    spread: float
    dispersion: float

    @property
    def discount(self) -> float:
        """The expected discount a day; 1 forgets nothing."""
        return float(self.weights @ _MODELS)

    @property
    def moments(self) -> tuple[Array, Array]:
        """Mean (v,) and covariance (v, v) over the models."""
        mean = self.weights @ self.means
        apart = self.means - mean
        between = np.einsum("g,gi,gj->ij", self.weights, apart, apart)
        return mean, np.einsum("g,gij->ij", self.weights, self.covariances) + between

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """``count`` draws of the effects, shape (count, v), less their mean over variants."""
        ends = np.rint(np.cumsum(self.weights) * count).astype(int)
        normal = rng.standard_normal((count, self.means.shape[1]))
        drawn = np.empty_like(normal)
        roots = np.linalg.cholesky(self.covariances)
        for g, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
            drawn[start:end] = self.means[g] + normal[start:end] @ roots[g].T
        return np.asarray(drawn - drawn.mean(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class _Working:
    """Score and information (d, v), (d, v, v) of each day at the effects ``at`` (v,)."""

    at: Array
    score: Array
    information: Array


def _working(value: Array, exposure: Array, at: Array) -> _Working:
    weight = exposure * np.exp(at)[:, None]
    share = (weight / np.maximum(weight.sum(axis=0), 1e-300)).T
    total = np.maximum(value.sum(axis=0), 0.0)[:, None]
    mean = share * total
    information = -mean[:, :, None] * share[:, None, :]
    v = np.arange(len(at))
    information[:, v, v] += mean
    return _Working(at, np.where(total > 0, value.T - mean, 0.0), information)


def prior_precision(variants: int, spread: float) -> Array:
    """Prior precision (v, v) of effects that vary by ``spread`` around a common level."""
    level = np.full((variants, variants), _LEVEL**2)
    return np.asarray(np.linalg.inv(level + spread**2 * np.eye(variants)), dtype=np.float64)


def _static(value: Array, exposure: Array) -> _Working:
    """The model at the effects that fit all days alike, leaning on a wide prior."""
    tight = prior_precision(len(value), _SPREADS[-1])
    at = np.zeros(len(value))
    scale = np.sqrt(max(value.sum(), 1.0))
    for _ in range(4):
        work = _working(value, exposure, at)
        slope = work.score.sum(axis=0) - tight @ at
        step = np.linalg.solve(work.information.sum(axis=0) + tight, slope)
        at = at + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() * scale < 0.01:  # small beside the standard error
            break
    return _working(value, exposure, at)


def _dispersion(work: _Working, value: Array, squares: Array | None) -> float:
    """From the outcomes' squares, and from how the variants' shares move from day to day; slow
    drift hardly enters differences of neighbouring days (von Neumann 1941)."""
    own = 1.0
    if squares is not None and value.sum() > 0:
        own = float(squares.sum() / value.sum())
    variance = np.diagonal(work.information, axis1=1, axis2=2)
    known = variance > 1e-9 * max(float(variance.max(initial=0.0)), 1e-300)
    scaled = np.where(known, work.score / np.sqrt(np.where(known, variance, 1.0)), 0.0)
    both = known[1:] & known[:-1]
    pairs = float(both.sum()) * (1 - 1 / len(value))
    moved = float((np.diff(scaled, axis=0) ** 2 * both).sum()) / 2 * (1 - 1 / len(value))
    if squares is None and not np.array_equal(value, np.rint(value)) and pairs >= _NOISE_DAYS:
        return max(moved / pairs, 1e-12)  # sums of money without squares: the days alone tell
    return max(own, (_NOISE_DAYS * own + moved) / (_NOISE_DAYS + pairs))


def _discounted(values: Array) -> Array:
    """Sums over the days so far, discounted: shape (g, d, …) of ``values`` (d, …)."""
    return np.stack([lfilter([1.0], [1.0, -g], values, axis=0) for g in DISCOUNTS])


def _log_predictive(score: Array, information: Array, mean: Array, covariance: Array) -> Array:
    """Log density (g, d) of each day's score given the days before it, by variant: a day's v
    variants hold v - 1 independent numbers."""
    own = np.diagonal(information, axis1=1, axis2=2)
    expected = np.einsum("dij,gdj->gdi", information, mean)
    spread = information @ covariance @ information
    variance = own + np.diagonal(spread, axis1=2, axis2=3)
    known = own > 1e-9
    variance = np.where(known, variance, 1.0)
    error = np.where(known, score - expected, 0.0)
    log = -0.5 * (error**2 / variance + np.where(known, np.log(variance), 0.0))
    many = known.sum(axis=1)
    return np.asarray(log.sum(axis=2) * np.where(many > 1, 1 - 1 / np.maximum(many, 1), 0.0))


def _spread(score: Array, information: Array, at: Array) -> float:
    """The prior's standard deviation, by the marginal likelihood of the undiscounted evidence and
    a prior that takes each size of it for as likely: its posterior mean."""
    variants = len(at)
    logs = []
    for spread in _SPREADS:
        tight = prior_precision(variants, float(spread))
        whole = information + tight
        shift = np.linalg.solve(whole, score - tight @ at)
        _, half = np.linalg.slogdet(whole)
        _, prior = np.linalg.slogdet(tight)
        fitted = at + shift
        quadratic = fitted @ tight @ fitted + shift @ information @ shift - 2 * shift @ score
        logs.append(0.5 * (prior - half - quadratic))
    weight = np.exp(np.array(logs) - max(logs))
    return float(np.exp(np.log(_SPREADS) @ weight / weight.sum()))


def fit_effects(observed: VariantDays, exposure: Array) -> DiscountedEffects:
    """Posterior of the variants' effects for the day after the last one.

    Parameters
    ----------
    observed : v variants by d days
    exposure : what outcomes are in proportion to, spend or units, shape (v, d); 0 where a variant
        was not shown
    """
    if exposure.shape[1] == 0:
        return _nothing_known(len(exposure))
    value = np.where(exposure > 0, observed.value, 0.0)
    work = _static(value, exposure)
    ripe = observed.matured >= _MATURE
    squares = observed.value_squares
    noise = _dispersion(
        _Working(work.at, work.score[ripe], work.information[ripe]),
        value[:, ripe],
        None if squares is None else squares[:, ripe],
    )
    score, information = work.score / noise, work.information / noise
    total = information[ripe].sum(axis=0)
    spread = _spread(score[ripe].sum(axis=0), total, work.at)
    tight = prior_precision(len(value), spread)
    evidence = _Evidence(work.at, score, information, tight)
    shown = np.cumsum(exposure, axis=1) - exposure / 2
    whole = max(float(exposure.sum()) / exposure.shape[1] * _TIRING_DAYS, 1e-300)
    exposed = (shown / whole).T
    weights, path = _weigh(evidence, exposed, ripe)
    means, covariances = _now(evidence, 1.0 - observed.matured, exposed)
    return DiscountedEffects(weights, means, covariances, path, spread, noise)


def _nothing_known(variants: int) -> DiscountedEffects:
    spread = float(np.median(_SPREADS))
    covariance = np.linalg.inv(prior_precision(variants, spread))
    count = len(_MODELS)
    return DiscountedEffects(
        _PRIOR,
        np.zeros((count, variants)),
        np.tile(covariance, (count, 1, 1)),
        np.zeros((variants, 0)),
        spread,
        1.0,
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """As :class:`_Working`, over the dispersion, with the effects' prior precision (v, v)."""

    at: Array
    score: Array
    information: Array
    tight: Array


def _weigh(evidence: _Evidence, exposed: Array, ripe: Mask) -> tuple[Array, Array]:
    """The models' posterior (g,) and the effects' mean path (v, d)."""
    at, score, information = evidence.at, evidence.score, evidence.information
    sums, whole = _discounted(score), _discounted(information)
    covariance = np.linalg.inv(whole * DISCOUNTS[:, None, None, None] + evidence.tight)
    pull = evidence.tight @ at
    after = np.linalg.solve(whole + evidence.tight, (sums - pull)[..., None])[..., 0]
    before = (covariance @ (sums * DISCOUNTS[:, None, None] - pull)[..., None])[..., 0]
    tired = _tiring(evidence, exposed)
    before = np.concatenate([before[:, :-1], tired.before[None]])
    covariance = np.concatenate([covariance[:, :-1], tired.covariance[None]])
    after = np.concatenate([after, tired.after[None]])
    log = _log_predictive(score[1:], information[1:], before, covariance)
    total = (log * ripe[1:]).sum(axis=1) + np.log(_PRIOR)
    weights = np.exp(total - total.max())
    weights /= weights.sum()
    return weights, (at + np.einsum("g,gdv->dv", weights, after)).T


@dataclass(frozen=True, slots=True)
class _Tiring:
    """Mean effects at the end of each day (d, v), and of the next day as foreseen then, with
    covariances, (d - 1, v) and (d - 1, v, v)."""

    after: Array
    before: Array
    covariance: Array


def _tiring(evidence: _Evidence, exposed: Array) -> _Tiring:
    """The model of effects that move with ``exposed`` (d, v)."""
    variants = exposed.shape[1]
    columns = np.stack([np.ones_like(exposed), exposed])
    joint = np.cumsum(_blocks(columns, evidence.information), axis=0)
    joint[:, :variants, :variants] += evidence.tight
    tail = np.arange(variants, 2 * variants)
    joint[:, tail, tail] += _TIRING**-2
    right = np.cumsum(np.concatenate(list(columns * evidence.score), axis=1), axis=0)
    right[:, :variants] -= evidence.tight @ evidence.at
    covariance = np.linalg.inv(joint)
    found = (covariance @ right[..., None])[..., 0]
    level, slope = found[:, :variants], found[:, variants:]
    after = level + slope * exposed
    before = level[:-1] + slope[:-1] * exposed[1:]
    known = covariance[:-1]
    x = exposed[1:, :, None]
    y = exposed[1:, None, :]
    own, cross = known[:, :variants, :variants], known[:, :variants, variants:]
    ahead = own + cross * y + x * np.swapaxes(cross, 1, 2) + x * known[:, variants:, variants:] * y
    return _Tiring(after, before, ahead)


def _blocks(columns: Array, information: Array) -> Array:
    """Information (d, p v, p v) of coefficients on ``columns`` (p, d, v)."""
    parts, days, variants = columns.shape
    blocks = np.einsum("pdi,dij,qdj->dpiqj", columns, information, columns)
    return np.asarray(blocks.reshape(days, parts * variants, parts * variants))


def _now(evidence: _Evidence, young: Array, exposed: Array) -> tuple[Array, Array]:
    """Means (g, v) and covariances (g, v, v) for the day after the last."""
    days, variants = exposed.shape
    ages = np.arange(days, 0, -1)
    until_now = exposed - exposed[-1]  # so that the effect is the present one
    speed = np.broadcast_to(young[:, None], exposed.shape)
    columns = np.stack([np.ones_like(exposed), speed, until_now])
    blocks = _blocks(columns, evidence.information)
    scores = np.concatenate(list(columns * evidence.score), axis=1)
    precision = np.zeros((3 * variants, 3 * variants))
    precision[:variants, :variants] = evidence.tight
    for part, deviation in ((1, _SPEED), (2, _TIRING)):
        place = np.arange(part * variants, (part + 1) * variants)
        precision[place, place] = deviation**-2
    pull = np.concatenate([evidence.tight @ evidence.at, np.zeros(2 * variants)])
    means, covariances = [], []
    for model, discount in enumerate(_MODELS):
        count = (3 if model == len(DISCOUNTS) else 2) * variants
        weight = discount**ages
        whole = np.tensordot(weight, blocks, axes=1)[:count, :count] + precision[:count, :count]
        covariance = np.linalg.inv(whole)
        found = covariance @ (weight @ scores - pull)[:count]
        means.append(evidence.at + found[:variants])
        covariances.append(covariance[:variants, :variants])
    return np.array(means), np.array(covariances)
