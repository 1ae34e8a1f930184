"""A paired bootstrap over clusters, for a difference that is (nearly) a sum over them.

Both plans are judged on the same resample, so what they share cancels. The statistic is taken
linearly in its clusters' influence (Davison & Hinkley 1997, section 2.7.4), so that a resample is a
sum of influences, and a year of evidence takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array, Index

MOST_CLUSTERS = 1000


@dataclass(frozen=True, slots=True)
class BootstrapBounds:
    """An estimate with one-sided lower and upper bounds, each at the same level."""

    value: float
    low: float
    high: float
    standard_error: float


def paired_bounds(
    value: float,
    influence: Array,
    cluster: Index | None = None,
    *,
    alpha: float,
    draws: int,
    seed: int,
) -> BootstrapBounds:
    """Bounds of a paired difference by resampling its clusters with replacement.

    Parameters
    ----------
    value
        The difference, any unit.
    influence : shape (n,)
        What each row moves ``value`` by: ``value`` is, to first order, its truth plus their sum.
    cluster : shape (n,)
        Rows with one number are drawn together; None: rows are independent, and put into at most
        1,000 random groups.
    alpha
        Error of each bound, in (0, 0.5).

    Notes
    -----
    The basic bootstrap: the errors of resamples are turned around the value (Davison & Hinkley
    1997, section 5.2), times ``sqrt(G / (G - 1))`` for G clusters. Fewer than two clusters give
    bounds that are not finite.
    """
    if cluster is None:
        groups = min(len(influence), MOST_CLUSTERS)
        order = np.random.default_rng(seed).permutation(len(influence))
        cluster = np.empty(len(influence), dtype=np.intp)
        cluster[order] = np.arange(len(influence)) % max(groups, 1)
    if not influence.any():
        return BootstrapBounds(value, value, value, 0.0)
    sums = np.bincount(cluster, weights=influence)
    sums = sums[np.bincount(cluster) > 0]
    n = len(sums)
    if n < 2:
        return BootstrapBounds(value, -np.inf, np.inf, np.inf)
    drawn = np.random.default_rng(seed + 1).integers(0, n, size=(draws, n))
    errors = np.sqrt(n / (n - 1)) * (sums[drawn].sum(axis=1) - sums.sum())
    low, high = np.quantile(-errors, [alpha, 1.0 - alpha])
    return BootstrapBounds(
        value, value + float(low), value + float(high), float(errors.std(ddof=1))
    )
