"""From who responds to what money earns: response curves of cells from user-level tests.

A budget reaches users at random, as the test did, unless the exported rule is delivered: then users
stand in the order of their out-of-fold predicted uplift. A group of neighbours costs (cost per
user) x (its users) to reach and earns the mean of its doubly robust revenue scores x (its users),
of any sign. Reaching the best first makes the curve concave; where the estimates disagree with the
order they are pooled. Reached at random, all earn the average and the curve is straight. Small
cells borrow from their channel, channels from all (empirical Bayes: Efron & Morris 1975, with the
variance between of DerSimonian & Laird 1986).

Joint draws come from the Bayesian bootstrap (Rubin 1981): a user has *one* weight in a draw, in
every contrast it is part of, so channels that share a control group are correlated as they should
be. What shrinking takes from the spread of the draws is put back, lambda (1 - lambda) v, so that a
draw has the posterior variance lambda v.

Small cells borrow from their channel, channels from all: empirical Bayes on group means.

An estimate with the variance v keeps the share lambda = tau^2 / (tau^2 + v) of its distance to what
it borrows from (Efron & Morris 1975), tau^2 being the variance between (DerSimonian & Laird 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.allocation.constraints import covered
from liftloop.core.curves.piecewise_linear import UnitCurves, decreasing
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.policy import Cell
from models.gbm.encoding import Vector
from models.uplift.contrasts import UserContrast
from models.uplift.evaluation import rank_groups


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


@dataclass(frozen=True, slots=True)
class Ranked:
    """A contrast with its revenue scores and the out-of-fold order of its users.

    ``predicted`` None: no detectable heterogeneity, all alike.
    """

    contrast: UserContrast
    scores: Vector
    predicted: Vector | None


def is_targeted(cell: Cell, patterns: Sequence[tuple[str, str]]) -> bool:
    """Whether the exported rule is delivered to a cell: one of the patterns covers it."""
    return any(bool(covered([cell], [segment], [channel])[0]) for segment, channel in patterns)


@dataclass(frozen=True, slots=True)
class CurveConfig:
    """``groups`` at most, with no fewer than ``group_users`` users each. ``targeted``: (segment,
    channel) patterns of the cells that the exported rule is delivered to, ``"*"`` for all."""

    targeted: tuple[tuple[str, str], ...] = ()
    groups: int = 10
    group_users: int = 1000
    draws: int = 200
    seed: int = 0


def unit_curves(ranked: Sequence[Ranked], *, config: CurveConfig | None = None) -> UnitCurves:
    """One curve a cell, over all experiments with its channel.

    Spend is per mailing, in the account's currency. The audience of a cell is that of its latest
    experiment; the evidence is that of all.

    Raises
    ------
    InsufficientEvidence
        When a channel's users have no cost: a curve of money needs what a user costs.
    """
    config = config or CurveConfig()
    if not ranked:
        raise InsufficientEvidence("There is no contrast to make a curve of.", fix="Deliver units.")
    rng = np.random.default_rng(config.seed)
    names = sorted({one.contrast.channel for one in ranked})
    places = [
        _places([one for one in ranked if one.contrast.channel == name], config) for name in names
    ]
    drawn_sums = _draw_sums(places, config.draws, rng)
    channels = [
        _sum_channel(name, place, drawn)
        for name, place, drawn in zip(names, places, drawn_sums, strict=True)
    ]
    levels = borrow_overall(channels, rng)
    cells: list[Cell] = []
    knots: list[Vector] = []
    means: list[Vector] = []
    draws: list[Vector] = []
    for channel, (shift, drawn_shift) in zip(channels, levels, strict=True):
        theta, drawn = borrow_channel(channel, rng)
        theta = theta + shift
        drawn = drawn + drawn_shift[:, None, None]
        share = channel.count / channel.count.sum(axis=1, keepdims=True)
        for c, segment in enumerate(channel.segments):
            cells.append(Cell(segment, channel.name))
            if not is_targeted(cells[-1], config.targeted):
                theta[c] = share[c] @ theta[c]
                drawn[:, c] = (drawn[:, c] @ share[c])[:, None]
            width = channel.cost[c] * channel.audience[c] * share[c]
            knots.append(np.r_[0.0, np.cumsum(width)])
            means.append(decreasing(theta[c] / channel.cost[c], width))
            draws.append(decreasing(drawn[:, c] / channel.cost[c], width))
    return _stack(cells, knots, means, draws)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where each user of a channel's contrasts is summed: segment x groups + group."""

    parts: tuple[Ranked, ...]
    at: tuple[NDArray[np.intp], ...]
    segments: tuple[str, ...]
    groups: int


def _places(parts: Sequence[Ranked], config: CurveConfig) -> _Places:
    segments = tuple(sorted({s for one in parts for s in one.contrast.segments}))
    users = sum(len(one.scores) for one in parts)
    cells = {Cell(segment, one.contrast.channel) for one in parts for segment in segments}
    ranked = any(is_targeted(cell, config.targeted) for cell in cells)
    alike = not ranked or all(one.predicted is None for one in parts)
    groups = 1 if alike else int(np.clip(users // config.group_users, 1, config.groups))
    at = []
    for one in parts:
        codes = pd.Categorical(one.contrast.segment, categories=list(segments)).codes.astype(int)
        # an experiment without a ranking spreads evenly over the groups of one that has it
        if one.predicted is None:
            group = np.arange(len(codes)) % groups
        else:
            group = rank_groups(one.predicted, groups)
        at.append(codes * groups + group)
    return _Places(tuple(parts), tuple(at), segments, groups)


def _draw_sums(places: Sequence[_Places], draws: int, rng: np.random.Generator) -> list[Vector]:
    """Means by place in each draw of the Bayesian bootstrap, (draws, C, G) a channel."""
    everyone = [one for place in places for one in place.parts]
    keys = [
        pd.Series(one.contrast.unit_id).astype(str).radd(one.contrast.experiment + "\x00")
        for one in everyone
    ]
    codes, users = pd.factorize(pd.concat(keys, ignore_index=True))
    per_part = iter(np.split(codes, np.cumsum([len(key) for key in keys])[:-1]))
    user = [[next(per_part) for _ in place.parts] for place in places]
    out = [np.empty((draws, len(place.segments) * place.groups)) for place in places]
    for d in range(draws):
        weight = rng.standard_exponential(len(users), dtype=np.float32)
        for place, mine, means in zip(places, user, out, strict=True):
            size = means.shape[1]
            total, moment = np.zeros(size), np.zeros(size)
            for one, at, rows in zip(place.parts, place.at, mine, strict=True):
                w = weight[rows]
                total += np.bincount(at, weights=w, minlength=size)
                moment += np.bincount(at, weights=w * one.scores, minlength=size)
            means[d] = moment / np.maximum(total, 1e-12)
    return [
        means.reshape(draws, len(place.segments), place.groups)
        for place, means in zip(places, out, strict=True)
    ]


def _sum_channel(name: str, places: _Places, drawn: Vector) -> ChannelEvidence:
    shape = (len(places.segments), places.groups)
    size = shape[0] * shape[1]
    total, moment, square = np.zeros(size), np.zeros(size), np.zeros(size)
    for one, at in zip(places.parts, places.at, strict=True):
        total += np.bincount(at, minlength=size)
        moment += np.bincount(at, weights=one.scores, minlength=size)
        square += np.bincount(at, weights=one.scores**2, minlength=size)
    used = np.maximum(total, 1)
    theta = moment / used
    spread = np.maximum(square / used - theta**2, 0.0) * used / np.maximum(used - 1, 1)
    # what a group of fewer than two users says has no known variance: it borrows everything
    variance = np.where(total >= 2, spread / used, np.inf)
    compared = [one.contrast for one in places.parts]
    cost, audience = _cost_and_audience(name, places.segments, compared)
    return ChannelEvidence(
        name,
        places.segments,
        cost,
        audience,
        total.reshape(shape),
        theta.reshape(shape),
        variance.reshape(shape),
        drawn,
    )


def _cost_and_audience(
    name: str, segments: Sequence[str], compared: Sequence[UserContrast]
) -> tuple[Vector, Vector]:
    """Mean cost of a treated user (the channel's where a cell's is not known), and the audience."""
    treated = np.concatenate([c.treated for c in compared])
    money = np.concatenate([c.cost for c in compared])[treated]
    where = np.concatenate([c.segment for c in compared])[treated]
    known = np.isfinite(money) & (money > 0)
    if not known.any():
        raise InsufficientEvidence(
            f"The users treated by the channel {name!r} have no cost, so its revenue cannot be set "
            "against spend.",
            fix="Deliver units with a column cost: the money spent on each treated user.",
        )
    cost = np.empty(len(segments))
    audience = np.empty(len(segments))
    latest = sorted(compared, key=lambda c: (c.assigned_on, c.experiment))
    for c, segment in enumerate(segments):
        mine = known & (where == segment)
        cost[c] = money[mine].mean() if mine.any() else money[known].mean()
        audience[c] = next(
            one.audience[segment] for one in reversed(latest) if segment in one.audience
        )
    return cost, audience


def _stack(
    cells: Sequence[Cell], knots: Sequence[Vector], means: Sequence[Vector], draws: Sequence[Vector]
) -> UnitCurves:
    """Cells in their own order, groups filled up with empty ones to the greatest number."""
    groups = max(len(mean) for mean in means)

    def harm(marginal: Vector) -> Vector:
        return np.minimum(marginal[..., -1:], 0.0)

    def filled(array: Vector, width: int, last: Vector) -> Vector:
        gap = [*array.shape[:-1], width - array.shape[-1]]
        return np.concatenate([array, np.broadcast_to(last, gap)], axis=-1)

    order = sorted(range(len(cells)), key=lambda c: cells[c])
    return UnitCurves(
        tuple(cells[c] for c in order),
        np.stack([filled(knots[c], groups + 1, knots[c][-1:]) for c in order]),
        np.stack([filled(means[c], groups, harm(means[c])) for c in order]),
        np.stack([filled(draws[c], groups, harm(draws[c])) for c in order], axis=1),
    )
