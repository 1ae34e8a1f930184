"""From a mode to draws of curves.

The posterior is taken to be normal, with the curvature at the mode, in coordinates in which it is
straight. Each channel's level is centred not at the mode but where the *average* pull of lifts and
prior on it vanishes (the mean of the best normal approximation; Opper and Archambeau 2009, equation
13). The difference matters: what cells earn is the exponential of what is normal, so around a mode
that explains the lifts the average draw would earn more than the lifts say.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves, bent_shape, bent_slope
from models.response.hierarchy import Hierarchy, State
from models.response.linear_returns import usual_spend
from models.response.prior import BEND, RETURN, SCALE

CENTRING_DRAWS = (24, 96)  # fewer only where there is very much evidence
MOST_ROWS = 4_000_000
FARTHEST = 0.5  # of a log


def draw_curves(model: Hierarchy, state: State, *, draws: int, seed: int) -> SaturatingCurves:
    """``draws`` joint draws of all curves around the mode ``state``."""
    evidence = model.evidence
    arrow = model.curvature(state, model.predict(state.cells, state.carryover))
    wander, _ = arrow.draws(np.random.default_rng(seed), draws)
    few = int(np.clip(MOST_ROWS // max(len(evidence.lift), 1), *CENTRING_DRAWS))
    center = centred(model, state, _some(wander, few))
    cells = straightened(model, center, wander)
    return SaturatingCurves(
        cells=evidence.cells,
        marginal_at_zero=np.ascontiguousarray(np.exp(cells[:, RETURN]).T),
        half_saturation=np.ascontiguousarray(np.exp(cells[:, SCALE]).T * evidence.size),
        carryover=state.carryover[evidence.channel_of],
        family="bent",
        bend=np.ascontiguousarray(np.exp(cells[:, BEND]).T),
    )


def _some(wander: Array, count: int) -> Array:
    """A few draws, each with its mirror image: the second half of the draws mirrors the first."""
    half = wander.shape[-1] // 2
    chosen = np.arange(min(count // 2, half))
    return wander[..., np.concatenate([chosen, chosen + half])]


def centred(model: Hierarchy, state: State, wander: Array) -> State:
    """``state`` with each channel's log return moved to where the pull of lifts and prior on it,
    averaged over draws, wander (C, d, D), vanishes: one Newton step with the averaged
    curvature. A second one follows the chance of the draws, not the evidence.

    Claims have no say: they know a channel's level up to a factor only, which moves the other way.
    """
    evidence = model.evidence
    cells = straightened(model, state, wander)
    channels, channel_of = len(evidence.channels), evidence.channel_of
    earned = np.log(_revenue(model, cells))
    count = np.maximum(np.bincount(channel_of, minlength=channels), 1)
    sums = np.stack([earned[channel_of == c].sum(axis=0) for c in range(channels)])
    variance = (sums / count[:, None]).var(axis=1)
    change = model.pull_of_lifts(cells, state.carryover)
    change -= model.pull_of_lifts(state.cells[:, :, None], state.carryover)
    pull, less = (np.bincount(channel_of, weights=c, minlength=channels) for c in change)
    moved = pull / (1.0 / np.maximum(variance, 1e-12) + np.maximum(less, 0.0))
    found = state.cells.copy()
    found[:, RETURN] += np.clip(moved, -FARTHEST, FARTHEST)[channel_of]
    return replace(state, cells=found)


def _revenue(model: Hierarchy, cells: Array) -> Array:
    """At the spend of late, in units of size, (C, D), of cell parameters (C, d, D)."""
    scale = np.exp(cells[:, SCALE])
    level = bent_shape(usual_spend(model)[:, None] / scale, np.exp(cells[:, BEND]))
    return np.asarray(np.exp(cells[:, RETURN]) * scale * np.maximum(level, 1e-12))


def straightened(model: Hierarchy, center: State, wander: Array) -> Array:
    """Cell parameters (C, d, D) of draws, normal in all but log m, for which the log revenue at the
    spend of late is.

    Evidence settles what the usual spend earns much better than how m, K and the bend share it out:
    in their logs the posterior is a bent ridge, in (log revenue, log K, log bend) a straight one.
    The change of coordinates is a shear, so mode and Hessian are the same and only the way back is
    not linear.
    """
    levels, spend = model.levels, usual_spend(model)[:, None]

    def log_yield(log_scale: Array, log_bend: Array) -> Array:
        """Log revenue at the usual spend per unit of m."""
        return np.asarray(
            log_scale + np.log(bent_shape(spend / np.exp(log_scale), np.exp(log_bend)))
        )

    scale, bend = center.cells[:, SCALE, None], center.cells[:, BEND, None]
    base = log_yield(scale, bend)
    level = spend / np.exp(scale)
    by_scale = 1.0 - level * bent_slope(level, np.exp(bend)) / bent_shape(level, np.exp(bend))
    by_bend = (log_yield(scale, bend + 1e-4) - base) / 1e-4
    cells = center.cells[:, :, None] + wander
    for p in (SCALE, BEND):
        cells[:, p] = np.clip(cells[:, p], levels[p].low, levels[p].high)
    logs = cells[:, RETURN] + by_scale * wander[:, SCALE] + by_bend * wander[:, BEND]
    logs = logs + base - log_yield(cells[:, SCALE], cells[:, BEND])
    cells[:, RETURN] = np.clip(logs, levels[RETURN].low, levels[RETURN].high)
    return cells
