"""The common change in level of several daily series, by generalized least squares, look by look.

The model of series s on day t, with x the exposure (0 before a series follows the new policy):

    y[s,t] = a[s] + effect * x[s,t] + l[s] * (c[t] + step[t]) + n[s,t]

``a`` is free; ``n`` and the common shock ``c`` are autoregressions with the same memory; ``step``
is a lasting common change at the start, normal around zero (or free). Series are whitened by
their memory (Prais and Winsten 1954; across a gap of g days the memory is ``memory ** g``), days by
Woodbury's identity, and what is left is least squares with p = series + 2 columns.

Every number of the covariance is fixed before the first look, and every look's estimate is the best
linear one from all days up to it. Such a sequence has independent increments: for looks i < j,
``Cov(effect_i, effect_j) = Var(effect_j)`` (Jennison and Turnbull 1997, theorem 1). So
``information * effect`` is a Brownian motion with the drift ``effect`` in the time ``information``,
and less its drift a martingale: what :mod:`liftloop.core.inference.sequential` needs to allow any
look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from liftloop.core.arrays import Array


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
        white(panel.outcome),
        white(np.ones((days, series))),
        white(panel.exposure),
        white(step),
        loading,
        variance,
    )


def _equations(panel: Panel, effects: Array) -> tuple[Array, Array, Array, float]:
    """Normal matrix and right side of each day's least squares, for the columns intercepts, step
    (if any) and ``effects`` (n_days, n_series, k; whitened); the prior precision of the columns;
    and the unit in which step and effects are measured, which keeps the equations well
    conditioned."""
    outcome, ones, _, step, loading, variance = _whitened(panel)
    series = outcome.shape[1]
    unit = np.sqrt(panel.variance.mean(axis=0))
    middle = float(np.sqrt(np.mean(unit**2)))
    columns = [np.eye(series)[None] * (ones * unit)[:, :, None]]
    floor = [1e-9] * series  # a series without a day
    if panel.step_variance > 0:
        columns.append(middle * step[:, :, None])
        floor.append(middle**2 / panel.step_variance if panel.step_variance < math.inf else 1e-9)
    columns.append(middle * effects)
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
    prior = np.array(floor + [0.0] * effects.shape[2])
    return normal, right, prior, middle


def _shift(score: Array, information: Array, whole: Array, unit: float) -> Shift:
    """``whole`` is the information there would be were everything else known."""
    sees = information > 1e-9 * np.maximum(whole, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.where(sees, unit * score / information, np.nan)
    return Shift(effect, np.where(sees, information / unit**2, 0.0))


@dataclass(frozen=True, slots=True)
class Beside:
    """Effects that are not asked for and are estimated beside the one that is.

    Attributes
    ----------
    exposures : shape (n_days, n_series, k): the change of ``outcome`` that an effect of 1 makes
    variances : shape (k,): prior variance of each effect around 0; infinity for a free one
    """

    exposures: Array
    variances: Array


def level_shift(panel: Panel, looks: Sequence[int], *, beside: Beside | None = None) -> Shift:
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
    exposures = [_whitened(panel)[2]]
    if beside is not None:
        others = [beside.exposures[:, :, k] for k in range(len(beside.variances))]
        exposures = [*(_whitened(replace(panel, exposure=x))[2] for x in others), *exposures]
    by_day, right_by_day, prior, unit = _equations(panel, np.stack(exposures, axis=2))
    if beside is not None:
        least = 1e-9 * np.maximum(np.diag(by_day.sum(axis=0))[-1 - len(others) : -1], 1e-12)
        prior[-1 - len(others) : -1] = np.maximum(unit**2 / beside.variances, least)
    chosen = np.asarray(looks, dtype=int)
    normal = np.cumsum(by_day, axis=0)[chosen] + np.diag(prior)
    right = np.cumsum(right_by_day, axis=0)[chosen]
    across = normal[:, :-1, -1]
    solved = np.linalg.solve(normal[:, :-1, :-1], np.stack([across, right[:, :-1]], axis=2))
    information = normal[:, -1, -1] - np.einsum("lp,lp->l", across, solved[:, :, 0])
    score = right[:, -1] - np.einsum("lp,lp->l", across, solved[:, :, 1])
    return _shift(score, information, normal[:, -1, -1], unit)


def each_alone(panel: Panel, unit: Array) -> Shift:
    """At the last day, the effect of each series in turn, had it alone been exposed from
    ``panel.start`` on, by ``unit[s]``. Shape (n_series,), where looks would be."""
    days, series = panel.outcome.shape
    exposed = replace(panel, exposure=unit * (np.arange(days) >= panel.start)[:, None])
    effects = np.eye(series)[None] * _whitened(exposed)[2][:, :, None]
    by_day, right_by_day, prior, scale = _equations(panel, effects)
    normal, right = by_day.sum(axis=0) + np.diag(prior), right_by_day.sum(axis=0)
    inside, across = normal[:-series, :-series], normal[:-series, -series:]
    solved = np.linalg.solve(inside, np.column_stack([across, right[:-series]]))
    whole = np.diag(normal)[-series:]
    information = whole - (across * solved[:, :-1]).sum(axis=0)
    return _shift(right[-series:] - across.T @ solved[:, -1], information, whole, scale)


def joined(parts: Sequence[Shift]) -> Shift:
    """Independent streams of one effect: information and score add up."""
    information = np.sum([part.information for part in parts], axis=0)
    score = np.sum([np.nan_to_num(part.effect) * part.information for part in parts], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Shift(score / information, information)
