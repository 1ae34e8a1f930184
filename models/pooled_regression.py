"""Linear regressions of many segments at once: levels of their own, patterns partly shared.

Segment s has y_s = L_s a_s + F_s b_s + noise (variance 1), with a_s ~ N(0, level sd), the pattern
b_s ~ N(b, own sd) around a shared b ~ N(0, shared sd): a hierarchical model with known variances,
whose posterior is closed (Lindley and Smith 1972). Costs linearly in segments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Per segment: ``gram`` (n_segments, k, k) sums of x x', ``right`` (n_segments, k) of x y."""

    gram: Array
    right: Array


@dataclass(frozen=True, slots=True, eq=False)
class Shrinkage:
    """Prior standard deviations: ``level`` (n_level,), ``shared`` and ``own`` (n_pattern,); the
    level's coefficients come first."""

    level: Array
    shared: Array
    own: Array


@dataclass(frozen=True, slots=True, eq=False)
class PooledFit:
    """Posterior means ``own`` (n_segments, k) with covariances: ``conditional``
    (n_segments, k, k) given the shared pattern, ``shared`` (n_pattern, n_pattern) of that, and
    ``pull`` (n_segments, k, n_pattern): how a segment follows the shared pattern."""

    own: Array
    conditional: Array
    shared: Array
    pull: Array

    def spread(self, segment: int, part: slice) -> Array:
        """Covariance of some of a segment's coefficients."""
        pull = self.pull[segment, part]
        return np.asarray(self.conditional[segment, part, part] + pull @ self.shared @ pull.T)

    def widened(self, own: float, shared: float) -> PooledFit:
        """The same with variances multiplied."""
        return replace(self, conditional=self.conditional * own, shared=self.shared * shared)


def fit_pooled(moments: Moments, shrinkage: Shrinkage) -> PooledFit:
    """The posterior of all segments, shape checked by the arithmetic alone."""
    pattern = slice(len(shrinkage.level), None)
    tight = np.concatenate([shrinkage.level**-2.0, shrinkage.own**-2.0])
    conditional = np.linalg.inv(moments.gram + np.diag(tight))
    precision = np.diag(shrinkage.own**-2.0)
    # given the shared b: mean = C (r + P b), C the conditional covariance
    pull = conditional[:, :, pattern] @ precision
    alone = np.einsum("sij,sj->si", conditional, moments.right)
    # integrate the segments out: b has the precision sum(P - P C P) and the shift sum(P C r)
    seen = precision[None] - precision @ pull[:, pattern]
    shared = np.linalg.inv(seen.sum(axis=0) + np.diag(shrinkage.shared**-2.0))
    mean = shared @ (alone[:, pattern] @ precision).sum(axis=0)
    return PooledFit(alone + pull @ mean, conditional, shared, pull)
