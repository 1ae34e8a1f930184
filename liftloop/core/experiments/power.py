"""Power, detectable effect and standard error of a lift test.

Two-sided tests of a mean with known or estimated variance: power from the noncentral t distribution
(Cohen 1988, "Statistical power analysis for the behavioral sciences", section 2; normal where the
degrees of freedom are infinite). The geo contrast compares test segments with the others, scaled by
the ratio of their sales before the test: time-based regression without an intercept (Kerman, Wang
and Vaver 2017, "Estimating ad effectiveness using geo experiments in a time-based regression
framework", section 4). What the two differ by without a test is known from placebo tests: the same
comparison in each stretch of the past, of every segment, so that noise which follows itself from
week to week counts as it does in a test (Abadie, Diamond and Hainmueller 2010, section 2.4;
Bertrand, Duflo and Mullainathan 2004 on what weekly variances alone miss).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array

ALPHA, POWER = 0.05, 0.8
LEAST_WEEKS = 6  # before a test, to know how much a contrast varies
BEFORE = 8  # weeks before a test that it is compared with
SHARED = 8.0  # past tests that the noise all segments have in common counts for, against their own
LEAST_BEFORE = 2  # weeks before a test, to know the ratio of sales
LEAST_NOISE = 1e-6  # of sales: no two segments agree so well by themselves
FAR = 30.0  # standard errors: such an effect is never missed


def power(
    effect: float, standard_error: float, *, freedom: float = np.inf, alpha: float = ALPHA
) -> float:
    """The chance that a two-sided test at ``alpha`` calls ``effect`` different from 0.

    Parameters
    ----------
    effect, standard_error
        In one unit; the standard error is > 0. The sign of the effect does not matter.
    freedom
        Degrees of freedom of the estimated standard error; infinite: it is known.
    """
    from scipy import stats

    away = abs(effect) / standard_error
    if away > FAR:
        return 1.0
    if not np.isfinite(freedom):
        edge = float(stats.norm.isf(alpha / 2))
        return float(stats.norm.sf(edge - away) + stats.norm.cdf(-edge - away))
    edge = float(stats.t.isf(alpha / 2, freedom))
    above = float(stats.nct.sf(edge, freedom, away))
    below = float(stats.nct.cdf(-edge, freedom, away))
    if not np.isfinite(above + below):  # far out, where scipy's series fails: Johnson and Kotz 1970
        bent = away - edge * (1.0 - 1.0 / (4.0 * freedom))
        above = float(stats.norm.cdf(bent / np.sqrt(1.0 + edge**2 / (2.0 * freedom))))
        below = 0.0
    return float(np.clip(above + below, 0.0, 1.0))


def detectable(
    standard_error: float,
    *,
    freedom: float = np.inf,
    alpha: float = ALPHA,
    wanted: float = POWER,
) -> float:
    """The least effect that is found with the power ``wanted``, in the standard error's unit."""

    return standard_error * _ratio(freedom, alpha, wanted)


@lru_cache(maxsize=256)
def _ratio(freedom: float, alpha: float, wanted: float) -> float:
    """The detectable effect in standard errors."""
    from scipy.optimize import brentq

    def short(away: float) -> float:
        return power(away, 1.0, freedom=freedom, alpha=alpha) - wanted

    return float(brentq(short, 0.0, FAR, xtol=1e-9))


@dataclass(frozen=True, slots=True, eq=False)
class WeeklySales:
    """First-party revenue of whole weeks, oldest first: ``revenue`` (n_weeks, n_segments)."""

    segments: tuple[str, ...]
    revenue: Array
    _noise: dict[int, SegmentNoise | None] = field(default_factory=dict, repr=False)

    def contrast(self, tested: Sequence[str]) -> Contrast | None:
        """How well the other segments predict these; None where nothing can be said."""
        inside = np.isin(self.segments, list(tested))
        if not inside.any() or inside.all() or len(self.revenue) < LEAST_WEEKS:
            return None
        ours, theirs = self.revenue[:, inside].sum(axis=1), self.revenue[:, ~inside].sum(axis=1)
        if not (ours.sum() > 0 and theirs.sum() > 0):
            return None
        gap = ours - ours.sum() / theirs.sum() * theirs
        if not float((gap**2).mean()) > (LEAST_NOISE * ours.mean()) ** 2:
            return None  # one is made of the other: a total beside its parts
        return Contrast(self, inside)

    def noise(self, weeks: int) -> SegmentNoise | None:
        """How far segments differ in a test of ``weeks`` weeks without any change, from placebo
        tests on the past; None where it is too short for one."""
        if weeks not in self._noise:
            self._noise[weeks] = _segment_noise(self.revenue, weeks)
        return self._noise[weeks]

    def measured(self, tested: Sequence[str], *, weeks: int) -> tuple[float, Contrast] | None:
        """By how much the tested segments' sum over the last ``weeks`` weeks exceeds what the
        others' sums predict, and the contrast of the weeks before; None where nothing can be
        said."""
        before = WeeklySales(self.segments, self.revenue[:-weeks]).contrast(tested)
        if before is None or before.freedom(weeks) <= 0:
            return None
        return float(_effects(self.revenue, before.inside[None], weeks)[0]), before


@dataclass(frozen=True, slots=True, eq=False)
class SegmentNoise:
    """``variance`` of each segment's growth relative to all others' over a test, without one, shape
    (n_segments,), and the degrees of ``freedom`` it is known with."""

    variance: Array
    freedom: float


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """The tested segments (``inside``, shape (n_segments,)) against the others, by ``sales`` before
    the test."""

    sales: WeeklySales
    inside: NDArray[np.bool_]

    def freedom(self, weeks: int) -> float:
        """Degrees of freedom of the standard error of a test of ``weeks`` weeks; 0 where the past
        is too short for one."""
        noise = self.sales.noise(weeks)
        return noise.freedom if noise is not None else 0.0

    def standard_error(self, weeks: int) -> float:
        """Of the summed effect of a test of ``weeks`` weeks; infinite where the past is too short
        for one."""
        noise = self.sales.noise(weeks)
        if noise is None:
            return float("inf")
        recent = self.sales.revenue[-BEFORE:].mean(axis=0)
        return float(weeks * np.sqrt(_gap_variance(recent, self.inside, noise.variance)))


def _gap_variance(level: Array, inside: NDArray[np.bool_], variance: Array) -> float:
    """Of the tested segments' weekly sales less what the others predict."""
    ours, theirs = level[inside].sum(), level[~inside].sum()
    if not (ours > 0 and theirs > 0):
        return float("inf")
    weight = np.where(inside, level, level * ours / theirs)
    return float((weight**2 * variance).sum())


def _weeks_before(n_weeks: int, weeks: int) -> int:
    """The weeks that a test is compared with, of the ``n_weeks`` before it: so many that the past
    has room for at least one placebo test; 0 where it has not."""
    before = min(BEFORE, n_weeks - weeks)
    return before if before >= LEAST_BEFORE else 0


def _effects(revenue: Array, inside: NDArray[np.bool_], weeks: int) -> Array:
    """What the tested segments sold over the last ``weeks`` weeks beyond what the others predict;
    ``inside`` (n_sets, n_segments), a result a set."""
    before = _weeks_before(len(revenue) - weeks, weeks)
    early = revenue[len(revenue) - weeks - before : len(revenue) - weeks].sum(axis=0)
    late = revenue[len(revenue) - weeks :].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(inside @ late - (inside @ early) / (~inside @ early) * (~inside @ late))


def _segment_noise(revenue: Array, weeks: int) -> SegmentNoise | None:
    """The mean square of a segment's growth against that of all, in placebo tests at every week of
    the past; a segment's own counts for more, the more such tests there are."""
    n, segments = revenue.shape
    before = _weeks_before(n, weeks)
    if not before or segments < 2:
        return None
    growth = []
    for end in range(n - weeks, before - 1, -1):
        early, late = (
            revenue[end - before : end].sum(axis=0),
            revenue[end : end + weeks].sum(axis=0),
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            growth.append((late / early) / (late.sum() / early.sum()) - 1.0)
    squares = np.asarray(growth) ** 2
    known = np.isfinite(squares).all(axis=0)
    if known.sum() < 2:
        return None
    share = revenue.sum(axis=0) / revenue.sum()
    spread = float((share**2).sum())
    # of a segment less the sum of all: variance (1 - 2 share) of its own, and that of the sum
    pooled = squares[:, known].sum() / (
        len(squares) * max(float((1 - 2 * share[known] + spread).sum()), 1e-9)
    )
    own = squares.mean(axis=0) / np.maximum(1 - 2 * share + spread, 0.1)
    tests = max(n / (weeks + before), 1.0)  # that share no week
    kept = tests / (tests + SHARED)
    variance = np.where(known, kept * own + (1 - kept) * pooled, pooled)
    return SegmentNoise(np.maximum(variance, LEAST_NOISE**2), tests * (int(known.sum()) - 1.0))


@dataclass(frozen=True, slots=True)
class Placebo:
    """Tests of nothing on the past: of ``tests``, ``false`` showed an effect at :data:`ALPHA`."""

    tests: int
    false: int

    @property
    def rate(self) -> float:
        return self.false / self.tests if self.tests else float("nan")


def placebo_tests(sales: WeeklySales, sets: Sequence[Sequence[str]], *, weeks: int) -> Placebo:
    """How often a test of nothing would have been called an effect: each of ``sets`` of segments
    in each stretch of ``weeks`` weeks of the past, judged by what was known before it alone."""
    from scipy import stats

    inside = np.array([np.isin(sales.segments, list(one)) for one in sets])
    tests = false = 0
    for end in range(LEAST_WEEKS + weeks, len(sales.revenue) + 1):
        before = WeeklySales(sales.segments, sales.revenue[: end - weeks])
        noise = before.noise(weeks)
        if noise is None or not len(inside):
            continue
        effects = _effects(sales.revenue[:end], inside, weeks)
        errors = np.array([Contrast(before, one).standard_error(weeks) for one in inside])
        known = np.isfinite(effects) & np.isfinite(errors) & (errors > 0)
        edge = float(stats.t.isf(ALPHA / 2, noise.freedom))
        tests += int(known.sum())
        false += int((np.abs(effects[known]) > edge * errors[known]).sum())
    return Placebo(tests, false)


@dataclass(frozen=True, slots=True)
class Precision:
    """What a test's sum is measured with: standard error, its degrees of freedom, and how."""

    standard_error: float
    freedom: float
    measured_by: str


def joined(first: Precision | None, second: Precision | None) -> Precision | None:
    """Two independent measurements of the same sum, weighed by their information; degrees of
    freedom as Welch and Satterthwaite (1946) add them."""
    if first is None or second is None:
        return first or second
    information = first.standard_error**-2 + second.standard_error**-2
    shares = [one.standard_error**-2 / information for one in (first, second)]
    doubt = sum(s**2 / one.freedom for s, one in zip(shares, (first, second), strict=True))
    return Precision(
        information**-0.5,
        1.0 / doubt if doubt > 0 else np.inf,
        f"{first.measured_by} and {second.measured_by}",
    )
