"""How alike segments are, in size and in weekly sales, and how noisy a comparison of them is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_WEEKS = 4  # fewer say nothing about who moves together


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Segments from the largest to the smallest, and how far apart they are.

    Attributes
    ----------
    sizes
        Shape (n,).
    distance
        Shape (n, n): difference of the logs of size in standard deviations, and one less the
        correlation of weekly sales where a history is known.
    covariance
        Of the segments' weekly sales as shares of their own mean, the common movement taken out,
        shape (n, n); None without a history.
    """

    names: tuple[str, ...]
    sizes: Array
    distance: Array
    covariance: Array | None

    def strata(self, count: int) -> list[list[int]]:
        """``count`` groups that differ in length by at most one: the largest segment left, and
        those nearest to it (greedy blocking: Moore 2012, section 2). By size alone, these are bands
        of neighbours in size."""
        n = len(self.names)
        lengths = np.diff(np.linspace(0, n, count + 1).round().astype(int))[::-1]
        left = list(range(n))
        found: list[list[int]] = []
        for length in lengths:
            near = sorted(left, key=lambda i: (self.distance[left[0], i], i))
            found.append(sorted(near[: int(length)]))
            left = [i for i in left if i not in found[-1]]
        return found

    def noise(self, members: Sequence[int] | NDArray[np.intp]) -> float:
        """Variance of the members' sales against all others', each side weighted by size."""
        assert self.covariance is not None
        weight = np.zeros(len(self.sizes))
        weight[members] = self.sizes[members]
        other = self.sizes - weight
        if weight.sum() <= 0 or other.sum() <= 0:
            return float("inf")
        contrast = weight / weight.sum() - other / other.sum()
        return float(contrast @ self.covariance @ contrast)


def likeness(
    names: Sequence[str],
    sizes: Mapping[str, float],
    history: Mapping[str, Sequence[float]] | None = None,
) -> Likeness:
    """Distances between segments, by size and, where ``history`` is long enough, by weekly sales.

    Parameters
    ----------
    names
        From the largest to the smallest.
    history
        Sales by week, equally many weeks each. A segment without them is taken to move by itself.
    """
    size = np.array([sizes[name] for name in names], dtype=np.float64)
    logs = np.log(np.maximum(size, 1e-9 * max(float(size.sum()), 1e-300)))
    spread = float(logs.std()) or 1.0
    distance = np.abs(logs[:, None] - logs[None, :]) / spread
    covariance = _covariance(names, size, history or {})
    if covariance is not None:
        sd = np.sqrt(np.diag(covariance))
        distance = distance + 1.0 - covariance / np.outer(sd, sd)
    return Likeness(tuple(names), size, distance, covariance)


def _covariance(
    names: Sequence[str], size: Array, history: Mapping[str, Sequence[float]]
) -> Array | None:
    """Shrunk towards equal, independent noise, the more so the fewer weeks there are."""
    weeks = max((len(values) for values in history.values()), default=0)
    rows = [np.asarray(history.get(name, ()), dtype=np.float64) for name in names]
    usable = np.array(
        [len(row) == weeks and bool(np.isfinite(row).all()) and row.sum() > 0 for row in rows]
    )
    if weeks < LEAST_WEEKS or usable.sum() < 2:
        return None
    moves = np.array(
        [
            row / row.mean() if fine else np.ones(weeks)
            for row, fine in zip(rows, usable, strict=True)
        ]
    ).T
    weight = np.where(usable, size, 0.0)
    weight = weight / weight.sum() if weight.sum() > 0 else usable / usable.sum()
    own = np.where(usable, moves - (moves @ weight)[:, None], 0.0)
    sample = own.T @ own / (weeks - 1)
    typical = float(np.diag(sample)[usable].mean())
    if not typical > 0:
        return None
    n = len(names)
    shrink = n / (n + weeks)
    return np.asarray((1 - shrink) * sample + shrink * typical * np.eye(n), dtype=np.float64)
