"""The LightGBM member of the ensemble: one response surface for all cells.

Trees predict a cell's lift from its effective spend (never falling in it), its segment and its
channel. A surface of steps has no marginal return, so each cell's is summed up as the saturating
curve through its predictions; fits to resampled weeks give the uncertainty (block bootstrap;
Kunsch 1989).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InsufficientEvidence
from models.gbm.booster import BoosterParameters, TrainingRows, fit_booster, predict
from models.lift.evidence import Evidence, effective

TREES = BoosterParameters(rounds=40, learning_rate=0.1, leaves=15, min_leaf=40, l2=5.0)
POINTS = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0])  # of the spend of late
RECENT_DAYS = 28


@dataclass(frozen=True, slots=True)
class SurfaceConfig:
    """``bags`` resampled fits; a fixed ``carryover``; evidence fades by ``fade_per_day``."""

    bags: int = 4
    carryover: float = 0.3
    fade_per_day: float = 0.002
    booster: BoosterParameters = field(default_factory=lambda: TREES)
    seed: int = 0


def surface_of(evidence: Evidence, config: SurfaceConfig) -> SaturatingCurves:
    """Curves read off a LightGBM surface, ``config.bags`` draws.

    Raises
    ------
    InsufficientEvidence
        When there are too few lifts for trees.
    """
    if len(evidence.lift) < 2 * config.booster.min_leaf:
        raise InsufficientEvidence(
            "There are too few lifts for trees.", fix="Wait for more weeks of holdout."
        )
    share = np.full(len(evidence.cells), config.carryover)
    levels = effective(evidence.spend, share)
    running = np.concatenate([np.zeros((1, levels.shape[1])), np.cumsum(levels, axis=0)])
    days = evidence.last - evidence.first + 1.0
    spend = (
        running[evidence.last + 1, evidence.cell] - running[evidence.first, evidence.cell]
    ) / days
    usual = np.maximum(evidence.spend[-RECENT_DAYS:].mean(axis=0), 1e-6)
    cells = np.arange(len(evidence.cells))
    asked = _features(
        np.outer(POINTS, usual).ravel(),
        np.tile(evidence.segment_of, len(POINTS)),
        np.tile(evidence.channel_of, len(POINTS)),
    )
    seen = _features(spend, evidence.segment_of[evidence.cell], evidence.channel_of[evidence.cell])
    weights = evidence.weight / evidence.noise**2
    weeks, week_of = np.unique(evidence.last, return_inverse=True)
    rng = np.random.default_rng(config.seed)
    returns, scales = [], []
    for _ in range(config.bags):
        drawn = np.bincount(rng.integers(0, len(weeks), len(weeks)), minlength=len(weeks))
        kept = np.flatnonzero(drawn[week_of] > 0)
        rows = TrainingRows(
            features=seen[kept],
            target=evidence.lift[kept],
            weights=(weights * drawn[week_of])[kept] / weights.mean(),
            categorical=[1, 2],
            monotone={0: 1},
        )
        booster = fit_booster(rows, config.booster)
        told = np.maximum(predict(booster, asked).reshape(len(POINTS), len(cells)), 1e-6)
        m, k = _saturating(np.outer(POINTS, usual), told)
        returns.append(m)
        scales.append(k * evidence.size)
    return SaturatingCurves(
        cells=evidence.cells,
        marginal_at_zero=np.array(returns),
        half_saturation=np.array(scales),
        carryover=share,
        family="bent",
        bend=np.full((config.bags, len(cells)), 2.0),
    )


def _features(spend: Array, segment: NDArray[np.intp], channel: NDArray[np.intp]) -> Array:
    return np.column_stack([np.log1p(spend), segment, channel]).astype(np.float64)


def _saturating(spend: Array, revenue: Array) -> tuple[Array, Array]:
    """m and K of ``m K x / (K + x)`` through each column, by least squares on the straight line
    x / y = 1 / m + x / (m K) (Hanes and Woolf); a line that does not rise means K far out."""
    ratio = spend / revenue
    x, y = spend - spend.mean(axis=0), ratio - ratio.mean(axis=0)
    slope = np.maximum((x * y).sum(axis=0) / np.maximum((x * x).sum(axis=0), 1e-300), 1e-9)
    top = spend.max(axis=0)
    start = np.maximum(ratio.mean(axis=0) - slope * spend.mean(axis=0), 0.05 * ratio.mean(axis=0))
    return 1.0 / start, np.clip(start / slope, 0.02 * top, 20.0 * top)
