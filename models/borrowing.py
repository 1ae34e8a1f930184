"""Small cells borrow from their channel, channels from all: empirical Bayes on group means.

An estimate with the variance v keeps the share lambda = tau^2 / (tau^2 + v) of its distance to what
it borrows from (Efron & Morris 1975), tau^2 being the variance between (DerSimonian & Laird 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.design import Vector


@dataclass(frozen=True, slots=True)
class ChannelEvidence:
    """Sums by segment and group of one channel: estimates (C, G) and draws (D, C, G)."""

    name: str
    segments: tuple[str, ...]
    cost: Vector
    audience: Vector
    count: Vector
    theta: Vector
    variance: Vector
    drawn: Vector


def between_variance(estimates: Vector, variances: Vector, freedom: int) -> float:
    """DerSimonian & Laird (1986), equation 8: the variance between, at least zero, of deviations
    from a mean that cost ``len(estimates) - freedom`` degrees of freedom."""
    finite = np.isfinite(variances) & (variances > 0)
    if freedom < 1 or finite.sum() < 2:
        return 0.0
    w = 1 / variances[finite]
    excess = float((w * estimates[finite] ** 2).sum()) - freedom
    scale = float(w.sum() - (w**2).sum() / w.sum())
    return max(0.0, excess / scale) if scale > 0 else 0.0


def _keep(between: float, variances: Vector) -> Vector:
    return np.where(
        np.isfinite(variances), between / (between + np.maximum(variances, 1e-300)), 0.0
    )


def _split(theta: Vector, count: Vector) -> tuple[Vector, Vector, Vector]:
    """Channel means by group (..., 1, G), cell levels (..., C, 1), what is left (..., C, G)."""
    group = count.sum(axis=0)
    common = (theta * count).sum(axis=-2, keepdims=True) / np.maximum(group, 1)
    off = theta - common
    level = (off * count).sum(axis=-1, keepdims=True) / count.sum(axis=-1, keepdims=True)
    return common, level, off - level


def borrow_channel(channel: ChannelEvidence, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Cells drawn to their channel: the level of a cell and its shape each by its own noise."""
    count, variance = channel.count, channel.variance
    cells, groups = count.shape
    common, level, shape = _split(channel.theta, count)
    share = count / count.sum(axis=1, keepdims=True)
    finite = np.where(np.isfinite(variance), variance, 0.0)
    level_variance = (share**2 * finite).sum(axis=1, keepdims=True)
    known = level.ravel() - np.average(
        level.ravel(), weights=1 / np.maximum(level_variance.ravel(), 1e-300)
    )
    level_keep = _keep(between_variance(known, level_variance.ravel(), cells - 1), level_variance)
    shape_variance = np.where(np.isfinite(variance), variance * (1 - share), np.inf)
    shape_keep = _keep(
        between_variance(shape.ravel(), shape_variance.ravel(), (cells - 1) * (groups - 1)),
        shape_variance,
    )
    theta = common + level_keep * level + shape_keep * shape
    drawn_common, drawn_level, drawn_shape = _split(channel.drawn, count)
    drawn = drawn_common + level_keep * drawn_level + shape_keep * drawn_shape
    draws = len(drawn)
    drawn += rng.standard_normal((draws, cells, 1)) * np.sqrt(
        level_keep * (1 - level_keep) * level_variance
    )
    missing = np.where(np.isfinite(shape_variance), shape_variance, 0.0)
    drawn += rng.standard_normal((draws, cells, groups)) * np.sqrt(
        shape_keep * (1 - shape_keep) * missing
    )
    return theta, drawn


def borrow_overall(
    channels: Sequence[ChannelEvidence], rng: np.random.Generator
) -> list[tuple[float, Vector]]:
    """How far each channel's level moves to the mean of all, and its draws with it.

    With fewer than three channels the variance between them cannot be told, and none moves.
    """
    draws = len(channels[0].drawn)
    if len(channels) < 3:
        return [(0.0, np.zeros(draws)) for _ in channels]
    level = np.array([np.average(c.theta, weights=c.count) for c in channels])
    drawn = np.stack(
        [(c.drawn * c.count).sum(axis=(1, 2)) / c.count.sum() for c in channels], axis=1
    )
    variance = np.maximum(drawn.var(axis=0, ddof=1), 1e-300)
    fixed = np.average(level, weights=1 / variance)
    between = between_variance(level - fixed, variance, len(level) - 1)
    precision = 1 / (variance + between)
    keep = _keep(between, variance)
    shift = (1 - keep) * (np.average(level, weights=precision) - level)
    common = (drawn * precision).sum(axis=1, keepdims=True) / precision.sum()
    moved = (1 - keep) * (common - drawn)
    moved += rng.standard_normal(drawn.shape) * np.sqrt(keep * (1 - keep) * variance)
    return [(float(shift[k]), moved[:, k]) for k in range(len(channels))]
