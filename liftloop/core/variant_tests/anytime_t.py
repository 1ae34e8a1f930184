"""Anytime-valid t-tests of one effect in a linear model over days, at every prefix of the days.

The rows are days, scaled so that their noise has one variance, which is not known: ``a = effect * m
+ nuisance @ u + noise``. The effect over the noise's standard deviation has a normal prior, the
variance the scale-invariant one, the nuisance a flat one. The Bayes factor against "no effect" is a
test martingale in the statistics free of scale and nuisance, so that it exceeds 1/alpha ever with
probability at most alpha: Lindon, Ham, Tingley and Bojinov (2022), "Anytime-valid linear models and
regression adjusted causal inference in randomized experiments", theorem 2.2; Wang and Ramdas
(2025), "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance",
section 4. It holds for normal noise from the first day on, for other noise as sums of many units
come close to normal (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024).

Where units tell the variance, ``prior_days`` days on which it was seen to be theirs are put before
the first (a proper inverse gamma prior): many such days give the mixture of known variance of
:mod:`liftloop.core.inference.sequential`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array, Mask


@dataclass(frozen=True, slots=True)
class DayMoments:
    """Sums over the first 1, 2, ..., d days, the nuisance taken out. All of shape (d,).

    Attributes
    ----------
    freedom
        Days, less one for each nuisance regressor, plus the prior days.
    information, score, squares
        ``m.m``, ``m.a`` and ``a.a`` (prior days included), in units of the noise's variance.
    slope, slope_squares, cross
        ``m.b``, ``b.b`` and ``a.b``: under the hypothesis that the effect is x, ``a - x b`` has
        mean 0.
    """

    freedom: Array
    information: Array
    score: Array
    squares: Array
    slope: Array
    slope_squares: Array
    cross: Array

    @property
    def estimate(self) -> Array:
        """The effect that leaves no score, shape (d,); nan before there is any information."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.score / self.slope)


@dataclass(frozen=True, slots=True)
class DayNoise:
    """What units tell of the noise: its ``variance`` as known after each day, shape (d,), and for
    how many days of evidence that counts. Without it, the days themselves tell the variance."""

    variance: Array
    prior_days: float


def day_moments(rows: Array, *, nuisance: Array, noise: DayNoise | None = None) -> DayMoments:
    """Moments of each prefix of the days.

    Parameters
    ----------
    rows
        Columns a, b and m by day, shape (d, 3); days without evidence are 0 throughout.
    nuisance
        Shape (d, p); p may be 0.
    """
    columns = np.hstack([rows, nuisance])
    gram = np.cumsum(columns[:, :, None] * columns[:, None, :], axis=0)
    counted = np.cumsum(rows[:, 2] ** 2 + (nuisance**2).sum(axis=1) > 0).astype(float)
    for place in range(columns.shape[1] - 1, 2, -1):  # Gauss-Jordan, one regressor after another
        own = gram[:, place, place]
        first = gram[-1, place, place] if len(gram) else 0.0
        known = own > 1e-12 * first
        share = np.where(known, 1.0 / np.where(known, own, 1.0), 0.0)
        outer = gram[:, :, place, None] * gram[:, None, place, :]
        gram = gram - share[:, None, None] * outer
        counted = counted - known
    variance = _residual_variance(gram, counted)
    prior = np.zeros(len(rows))
    if noise is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            theirs = _units_noise(variance / noise.variance, counted - 1.0)
        variance = np.where(theirs, noise.variance, variance)
        prior = np.where(theirs, noise.prior_days, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = gram / variance[:, None, None]
    return DayMoments(
        freedom=counted + prior,
        information=scaled[:, 2, 2],
        score=scaled[:, 0, 2],
        squares=scaled[:, 0, 0] + prior,
        slope=scaled[:, 1, 2],
        slope_squares=scaled[:, 1, 1],
        cross=scaled[:, 0, 1],
    )


def _units_noise(ratio: Array, freedom: Array) -> Mask:
    """Whether days differ by no more than their units do: by chance alone the ``ratio`` of both
    variances would be greater in one of twenty tests (chi-square with ``freedom``)."""
    from scipy.special import chdtri

    highest = chdtri(np.maximum(freedom, 1.0), 0.05) / np.maximum(freedom, 1.0)
    return np.asarray(~(ratio > highest))


def _residual_variance(gram: Array, counted: Array) -> Array:
    """Of ``a`` around the fitted effect; nan where that leaves no day."""
    with np.errstate(divide="ignore", invalid="ignore"):
        left = gram[:, 0, 0] - gram[:, 0, 2] ** 2 / gram[:, 2, 2]
        variance = left / (counted - 1.0)
    return np.where((counted >= 2) & (left > 1e-12 * gram[:, 0, 0]), variance, np.nan)


def log_e_values(moments: DayMoments, *, rho: float) -> Array:
    """Log of the e-value against "no effect" after each day, shape (d,); 0 while days are too few.

    Parameters
    ----------
    rho
        Precision of the prior on the effect (:func:`.sequential.mixture_precision`).
    """
    width = rho + moments.information
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = moments.score**2 / (width * moments.squares)
        logs = 0.5 * np.log(rho / width) - 0.5 * moments.freedom * np.log1p(-explained)
    return np.where(np.isfinite(logs) & (moments.information > 0), logs, 0.0)


def explained_share(information: Array, freedom: Array, *, rho: float, alpha: float) -> Array:
    """Share of ``a``'s squares, times ``1 + rho / information``, from which the e-value is
    1/alpha."""
    return np.asarray(-np.expm1(np.log(alpha**2 * rho / (rho + information)) / freedom))


def confidence_sequence(moments: DayMoments, *, rho: float, alpha: float) -> tuple[Array, Array]:
    """Bounds of the effect that hold after all days together with probability ``1 - alpha``.

    The effects x whose own e-value is below 1/alpha: a quadratic inequality in x (Fieller 1954).

    Returns
    -------
    Low and high, each (d,); infinite while the days exclude nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        width = rho + moments.information
        reach = width * explained_share(moments.information, moments.freedom, rho=rho, alpha=alpha)
        lead = moments.slope**2 - reach * moments.slope_squares
        middle = moments.score * moments.slope - reach * moments.cross
        rest = moments.score**2 - reach * moments.squares
        inside = middle**2 - lead * rest
        root = np.sqrt(np.maximum(inside, 0.0))
        low, high = (middle - root) / lead, (middle + root) / lead
    bounded = np.isfinite(low) & np.isfinite(high) & (lead > 0) & (inside > 0)
    return np.where(bounded, low, -np.inf), np.where(bounded, high, np.inf)
