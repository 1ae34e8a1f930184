"""Power, detectable effect and standard error of a lift test.

Two-sided tests of a mean with known or estimated variance: power from the noncentral t distribution
(Cohen 1988, "Statistical power analysis for the behavioral sciences", section 2; normal where the
degrees of freedom are infinite). The geo contrast compares test segments with the others, scaled by
the ratio of their sales before the test: time-based regression without an intercept (Kerman, Wang
and Vaver 2017, "Estimating ad effectiveness using geo experiments in a time-based regression
framework", section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from liftloop.core.curves import Array

ALPHA, POWER = 0.05, 0.8
LEAST_WEEKS = 6  # before a test, to know how much a contrast varies
LONG_ENOUGH = 20  # weeks from which the memory of a contrast can be told from chance
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

    def contrast(self, tested: Sequence[str]) -> Contrast | None:
        """How well the other segments foretell these; None where nothing can be said."""
        inside = np.isin(self.segments, list(tested))
        if not inside.any() or inside.all() or len(self.revenue) < LEAST_WEEKS:
            return None
        ours, theirs = self.revenue[:, inside].sum(axis=1), self.revenue[:, ~inside].sum(axis=1)
        return _contrast(ours, theirs)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Weekly ``variance`` of the contrast (revenue squared), from ``weeks`` weeks before."""

    variance: float
    weeks: int

    @property
    def freedom(self) -> float:
        return self.weeks - 1.0

    def standard_error(self, weeks: int) -> float:
        """Of the summed effect of a test of ``weeks`` weeks: its own noise, and that of the ratio
        learned before."""
        return float(np.sqrt(self.variance * weeks * (1.0 + weeks / self.weeks)))


def _contrast(ours: Array, theirs: Array) -> Contrast | None:
    if not (ours.sum() > 0 and theirs.sum() > 0):
        return None
    gap = ours - ours.sum() / theirs.sum() * theirs
    weeks = len(gap)
    variance = float((gap**2).sum()) / (weeks - 1)
    if not variance > 0:
        return None
    return Contrast(variance * _memory(gap), weeks)


def _memory(gap: NDArray[np.float64]) -> float:
    """By how much the variance of a sum of neighbouring weeks exceeds that of independent ones, at
    least 1: (1 + r) / (1 - r) for a first-order autoregression."""
    from scipy import stats

    if len(gap) < LONG_ENOUGH:
        return 1.0
    r = float((gap[1:] * gap[:-1]).sum() / (gap**2).sum())
    if r < stats.norm.isf(0.05) / np.sqrt(len(gap)):  # chance explains it
        return 1.0
    r = min(r, 0.6)
    return (1.0 + r) / (1.0 - r)


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
