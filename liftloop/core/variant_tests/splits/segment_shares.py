"""Shares by segment, apart only as far as segments are shown to differ.

A segment's effects are the common ones plus its own departure, normal with a spread that all
segments' facts tell (empirical Bayes for parallel experiments: Efron and Morris 1975; a prior of
one half says that there is no departure at all). Where segments agree each is split by what all of
them say; where they differ each by its own facts, leaning on the others' as far as it has few.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.splits.discounted_effects import fit_effects, prior_precision
from liftloop.core.variant_tests.splits.shares import (
    EffectDraws,
    NextShares,
    ShareRule,
    shares_of_draws,
)

_DEPARTURES = np.array([0.0, 0.05, 0.1, 0.2, 0.4])  # standard deviations between segments, of logs
_PRIOR = np.array([0.5, 0.125, 0.125, 0.125, 0.125])


@dataclass(frozen=True, slots=True)
class SegmentShares:
    """Tomorrow's split by segment.

    Attributes
    ----------
    segments
        Each segment's split.
    probability_apart
        That segments differ at all in which variant earns most and by how much.
    spread
        Expected standard deviation between segments of a variant's log effect.
    """

    segments: Mapping[str, NextShares]
    probability_apart: float
    spread: float


@dataclass(frozen=True, slots=True)
class _Likelihood:
    """Of a segment's effects x: exp(score x - x' information x / 2)."""

    score: Array
    information: Array


@dataclass(frozen=True, slots=True)
class _Common:
    """Posterior of the common effects, given a spread between segments."""

    log_evidence: float
    mean: Array
    covariance: Array


def _common(parts: list[_Likelihood], tight: Array, spread: float) -> _Common:
    variants = len(tight)
    precision, right, log = tight.copy(), np.zeros(variants), 0.0
    for part in parts:
        score, information = part.score, part.information
        if spread > 0:
            inner = np.linalg.inv(information + np.eye(variants) / spread**2)
            log += 0.5 * float(score @ inner @ score)
            log -= 0.5 * float(np.linalg.slogdet(np.eye(variants) + spread**2 * information)[1])
            kept = np.eye(variants) - information @ inner
            score, information = kept @ score, kept @ information
        precision, right = precision + information, right + score
    covariance = np.asarray(np.linalg.inv((precision + precision.T) / 2), dtype=np.float64)
    mean = covariance @ right
    log += 0.5 * float(right @ mean) + 0.5 * float(np.linalg.slogdet(covariance)[1])
    return _Common(log, mean, covariance)


def segment_shares(
    observed: Mapping[str, VariantDays],
    rule: ShareRule,
    *,
    seed: int,
    before: Mapping[str, Mapping[str, float]] | None = None,
    gone: Collection[str] = (),
) -> SegmentShares:
    """Each segment's shares of the day after the last observed one.

    Parameters
    ----------
    observed : facts by segment, the same variants in each
    before : shares in force by segment
    gone : variants that are declared gone

    Raises
    ------
    ValueError
        Where segments have other variants than one another, or all variants are gone.
    """
    names = list(observed)
    variants = observed[names[0]].variants
    if any(days.variants != variants for days in observed.values()):
        raise ValueError("The segments do not have the same variants.")
    fits = [fit_effects(days, rule.exposure(days)) for days in observed.values()]
    parts = []
    for fit in fits:
        mean, covariance = fit.moments
        whole = np.linalg.inv(covariance)
        information = _nonnegative(whole - prior_precision(len(variants), fit.spread))
        parts.append(_Likelihood(whole @ mean, information))
    tight = prior_precision(len(variants), float(np.mean([fit.spread for fit in fits])))
    commons = [_common(parts, tight, float(spread)) for spread in _DEPARTURES]
    logs = np.array([common.log_evidence for common in commons]) + np.log(_PRIOR)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    rng = np.random.default_rng(seed)
    drawn = _draw(commons, weights, parts, rule.draws, rng)
    found = {
        name: shares_of_draws(
            EffectDraws(observed[name], fit, draws),
            rule,
            before=None if before is None else before.get(name),
            gone=gone,
        )
        for name, fit, draws in zip(names, fits, drawn, strict=True)
    }
    return SegmentShares(found, float(1 - weights[0]), float(weights @ _DEPARTURES))


def _nonnegative(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _draw(
    commons: list[_Common],
    weights: Array,
    parts: list[_Likelihood],
    count: int,
    rng: np.random.Generator,
) -> list[Array]:
    """Draws (count, v) of each segment's effects, less their mean over variants."""
    variants = len(commons[0].mean)
    found = [np.empty((count, variants)) for _ in parts]
    ends = np.rint(np.cumsum(weights) * count).astype(int)
    starts = [0, *ends[:-1].tolist()]
    for common, spread, start, end in zip(commons, _DEPARTURES, starts, ends.tolist(), strict=True):
        root = np.linalg.cholesky(common.covariance)
        shared = common.mean + rng.standard_normal((end - start, variants)) @ root.T
        for part, draws in zip(parts, found, strict=True):
            draws[start:end] = shared
            if spread > 0:
                inner = np.linalg.inv(part.information + np.eye(variants) / spread**2)
                centre = (part.score - shared @ part.information) @ inner
                noise = rng.standard_normal(shared.shape) @ np.linalg.cholesky(inner).T
                draws[start:end] += centre + noise
    return [draws - draws.mean(axis=1, keepdims=True) for draws in found]
