"""The noise of daily series, learned before a rollout starts and fixed from then on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from liftloop.core.level_shift import Panel, each_alone

Array = NDArray[np.float64]
WEEK = 7
POOLED_DAYS = 28  # the weight of the other series in the variance of one
LONGEST_MEMORY = 0.95


@dataclass(frozen=True, slots=True)
class Noise:
    """Of series measured in multiples of their own usual level. ``variance`` has the shape
    (n_series,); both variances are stationary, of a day."""

    memory: float
    variance: Array
    shock_variance: float


def _neighbours(residual: Array) -> tuple[Array, Array]:
    """Values of the days that have a known day before, and of that day."""
    now, before = residual[1:], residual[:-1]
    both = np.isfinite(now) & np.isfinite(before)
    return now[both], before[both]


def memory_of(residual: Array, *, least: float = 0.0) -> float:
    """Correlation of neighbouring days, pooled over series, with its small-sample bias put back
    (Kendall 1954: the estimate is too low by (1 + 3 memory) / n_days); 0 where it is below
    ``least`` standard errors."""
    now, before = _neighbours(residual)
    total = float((before**2).sum())
    if len(now) < 2 or total <= 0:
        return 0.0
    raw = float((now * before).sum()) / total
    if raw < least / np.sqrt(len(now)):
        return 0.0
    days = max(np.isfinite(residual).sum(axis=0).max(), 2)
    return float(np.clip((raw * days + 1) / (days - 3), 0.0, LONGEST_MEMORY))


def shared_noise(residual: Array) -> Noise:
    """Memory, variances and common shock of ``residual`` (n_days, n_series), each series around
    zero and in multiples of its own level; NaN where unknown. Of a single series all noise is its
    own: nothing tells a shock that others share.

    The common shock is what the mean over series varies beyond what the series' own noise makes it
    vary. A lasting change is judged against slow swings, so the shock is sized by how whole weeks
    vary, and at least as days would have it were every day's shock forgotten the next day. A
    series' variance leans on that of the others.
    """
    series = residual.shape[1]
    if series == 1:
        memory = memory_of(residual)
        fresh = residual[1:] - memory * residual[:-1]
        return Noise(memory, np.nanvar(fresh, axis=0, ddof=1) / (1.0 - memory**2), 0.0)
    told = np.isfinite(residual).sum(axis=1, keepdims=True)
    mean = np.where(
        told > 0, np.nansum(residual, axis=1, keepdims=True) / np.maximum(told, 1), np.nan
    )
    own = residual - mean
    memory = memory_of(own)
    fresh = own[1:] - memory * own[:-1]
    known = np.isfinite(fresh).sum(axis=0)
    squares = np.nansum(fresh**2, axis=0) * series / (series - 1)
    freedom = np.maximum(known - 1, 1)
    pooled = float(squares.sum() / freedom.sum())
    innovation = (squares + POOLED_DAYS * pooled) / (freedom + POOLED_DAYS)
    average = float(innovation.mean()) / series
    common = mean[:, 0]
    moves = common[1:] - memory * common[:-1]
    by_day = float(np.nanvar(moves, ddof=1)) - average
    by_day *= (1 - memory) ** 2 / (1 + memory**2)
    weeks = common[: len(common) // WEEK * WEEK].reshape(-1, WEEK).mean(axis=1)
    weeks = weeks[np.isfinite(weeks)]
    by_week = 0.0
    if len(weeks) >= 3:
        by_week = (float(weeks.var(ddof=1)) * WEEK * (1 - memory) ** 2) - average
    stationary = 1.0 / (1.0 - memory**2)
    return Noise(memory, innovation * stationary, max(by_day, by_week, 0.0) * stationary)


def placebo_widening(panel: Panel, unit: Array, *, starts: tuple[int, ...]) -> float:
    """By how much the claimed standard errors are too small, at least 1: a randomization check on
    days and segments where nothing happened.

    Each series in turn is taken for exposed from each of ``starts`` on, until the next of them (or
    the end), and judged with the days before. Were the claim right, the squares of effect over
    standard error would add up to about their number. Errors are widened as far as that sum lies
    beyond what chance makes of it in 19 of 20 cases, so that a claim that is right is left
    alone. (Placebo tests in space and time: Abadie, Diamond and Hainmueller 2010, section 3.4.)

    Parameters
    ----------
    panel : of days before the rollout only, without exposure
    unit : shape (n_series,): the exposure a placebo makes
    """
    from scipy.stats import chi2

    ends = (*starts[1:], len(panel.outcome))
    total, freedom = 0.0, 0
    for start, end in zip(starts, ends, strict=True):
        past = replace(
            panel,
            outcome=panel.outcome[:end],
            exposure=np.zeros_like(panel.outcome[:end]),
            variance=panel.variance[:end],
            start=start,
        )
        found = each_alone(past, unit)
        seen = found.information > 0
        total += float((found.effect[seen] ** 2 * found.information[seen]).sum())
        freedom += int(seen.sum()) - 1
    if freedom < 3:
        return 1.0
    return float(np.sqrt(max(1.0, total / chi2.ppf(0.95, freedom))))
