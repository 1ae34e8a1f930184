"""The common change in level of several daily series, by generalized least squares, look by look.

The model of series s on day t, with x the exposure (0 before a series follows the new policy):

    y[s,t] = a[s] + effect * x[s,t] + l[s] * (c[t] + step[t]) + n[s,t]

``a`` is free; ``n`` and the common shock ``c`` are autoregressions with the same memory; ``step``
is a lasting common change at the start, normal around zero (or free). Series are whitened by
their memory (Prais and Winsten 1954; across a gap of g days the memory is ``memory ** g``), days by
Woodbury's identity, and what is left is least squares with p = series + 2 columns.

Every number of the covariance is fixed before the first look, and every look's estimate is the
best linear one from all days up to it. Such a sequence has independent increments: for looks i < j,
``Cov(effect_i, effect_j) = Var(effect_j)`` (Jennison and Turnbull 1997, theorem 1). So
``information * effect`` is a Brownian motion with the drift ``effect`` in the time ``information``,
and less its drift a martingale: what :mod:`liftloop.core.sequential` needs to allow any look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """Daily series, oldest day first.

    Attributes
    ----------
    outcome : shape (n_days, n_series), any unit; NaN where nothing is known or a day must not count
    exposure : same shape: the change of ``outcome`` that an effect of 1 makes
    variance : same shape: of the noise of a day (stationary), > 0
    memory : correlation of neighbouring days' noise, in [0, 1)
    loading : shape (n_series,): the change of ``outcome`` that a common shock of 1 makes
    shock_variance : of a day's common shock (stationary), >= 0
    step_variance : of the lasting common step: 0 for none, infinity for a free one
    start : index of the day on which the step may begin
    """

    outcome: Array
    exposure: Array
    variance: Array
    memory: float
    loading: Array
    shock_variance: float = 0.0
    step_variance: float = 0.0
    start: int = 0


@dataclass(frozen=True, slots=True)
class Shift:
    """The effect and its information (1 / variance) at each look asked for, shape (n_looks,).
    Where no exposed day is known yet the information is 0 and the effect NaN."""

    effect: Array
    information: Array


def _whitened(panel: Panel) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Outcome, intercept, exposure, step and loading with the memory taken out, and the variance
    left; zeros (and variance infinite) where nothing is known."""
    known = np.isfinite(panel.outcome) & np.isfinite(panel.exposure)
    days, series = known.shape
    index = np.where(known, np.arange(days)[:, None], -1)
    latest = np.maximum.accumulate(index, axis=0)
    previous = np.vstack([np.full((1, series), -1), latest[:-1]])
    follows = known & (previous >= 0)
    gap = np.where(follows, np.arange(days)[:, None] - previous, 1)
    kept = np.where(follows, panel.memory**gap, 0.0)
    fresh = 1.0 - kept**2
    column = np.arange(series)[None, :]
    step = np.broadcast_to(
        panel.loading * (np.arange(days) >= panel.start)[:, None], (days, series)
    )

    def white(values: Array) -> Array:
        clean = np.where(known, values, 0.0)
        return np.where(known, clean - kept * clean[np.maximum(previous, 0), column], 0.0)

    variance = np.where(known, panel.variance * fresh, np.inf)
    loading = np.where(known, panel.loading * np.sqrt(fresh), 0.0)
    return (
        white(panel.outcome), white(np.ones((days, series))), white(panel.exposure), white(step),
        loading, variance,
    )  # fmt: skip


def level_shift(panel: Panel, looks: Sequence[int]) -> Shift:
    """The common effect by all days up to and with each look.

    Parameters
    ----------
    panel
        Not changed.
    looks : indices of days, each in 0..n_days - 1

    Returns
    -------
    Shift
        In the order of ``looks``. An effect is in the unit of ``outcome`` per unit of ``exposure``.
    """
    outcome, ones, exposure, step, loading, variance = _whitened(panel)
    series = outcome.shape[1]
    unit = np.sqrt(panel.variance.mean(axis=0))  # keeps the equations well conditioned
    middle = float(np.sqrt(np.mean(unit**2)))
    columns = [np.eye(series)[None] * (ones * unit)[:, :, None]]
    if panel.step_variance > 0:
        columns.append(middle * step[:, :, None])
    columns.append(middle * exposure[:, :, None])
    design = np.concatenate(columns, axis=2)  # (days, series, p)
    weighted = design / variance[:, :, None]
    normal = np.swapaxes(design, 1, 2) @ weighted
    right = np.einsum("tsp,ts->tp", weighted, outcome)
    if panel.shock_variance > 0:
        pull = np.einsum("tsp,ts->tp", weighted, loading)
        width = 1.0 / panel.shock_variance + (loading**2 / variance).sum(axis=1)
        normal = normal - pull[:, :, None] * pull[:, None, :] / width[:, None, None]
        against = (outcome * loading / variance).sum(axis=1) / width
        right = right - pull * against[:, None]
    chosen = np.asarray(looks, dtype=int)
    normal = np.cumsum(normal, axis=0)[chosen]
    right = np.cumsum(right, axis=0)[chosen]
    size = normal.shape[1]
    floor = np.full(size, 1e-9)  # a series without a day
    floor[-1] = 0.0
    if 0 < panel.step_variance < math.inf:
        floor[-2] = middle**2 / panel.step_variance
    normal = normal + np.diag(floor)
    inside, across = normal[:, :-1, :-1], normal[:, :-1, -1]
    both = np.stack([across, right[:, :-1]], axis=2)
    solved = np.linalg.solve(inside, both)
    information = normal[:, -1, -1] - np.einsum("lp,lp->l", across, solved[:, :, 0])
    score = right[:, -1] - np.einsum("lp,lp->l", across, solved[:, :, 1])
    sees = information > 1e-9 * np.maximum(normal[:, -1, -1], 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.where(sees, middle * score / information, np.nan)
    return Shift(effect, np.where(sees, information / middle**2, 0.0))
