"""What curves predict of measured lifts: the ground that accuracy, calibration and plans stand
on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array, Index
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from models.lift.evidence import Evidence, effective


@dataclass(frozen=True, slots=True, eq=False)
class PredictedLifts:
    """N lifts, measured and predicted, in money per day.

    ``measured``, ``noise`` (its standard error), ``mean`` and ``sd`` (of the curves' draws),
    ``spend`` and ``demand`` have the shape (N,); so have ``cell`` (place in the evidence's cells),
    ``channel`` and ``cluster`` (one number a segment and period: its cells share their users).
    """

    measured: Array
    noise: Array
    mean: Array
    sd: Array
    spend: Array
    demand: Array
    cell: Index
    channel: Index
    cluster: Index


def predict_lifts(curves: ResponseCurves, evidence: Evidence) -> PredictedLifts:
    """What ``curves`` say of every lift of ``evidence``, at the effective spend of its period.

    Lifts of cells without a curve are left out.
    """
    place = {cell: number for number, cell in enumerate(curves.cells)}
    where = np.array([place.get(cell, -1) for cell in evidence.cells], dtype=np.intp)
    kept = np.flatnonzero(where[evidence.cell] >= 0)
    cell, first, last = evidence.cell[kept], evidence.first[kept], evidence.last[kept]
    known = where >= 0
    carried = np.where(known, curves.carryover[np.maximum(where, 0)], 0.0)
    levels = effective(evidence.spend * evidence.size, carried)
    running = np.concatenate([np.zeros((1, levels.shape[1])), np.cumsum(levels, axis=0)])
    spent = (running[last + 1, cell] - running[first, cell]) / (last - first + 1)
    if isinstance(curves, SaturatingCurves):
        drawn = _at(curves, where[cell]).draw_revenue(spent)
        mean, sd = drawn.mean(axis=0), drawn.std(axis=0)
    else:
        mean, sd = _by_period(curves, running, first, last, cell=cell, where=where)
    demand = np.ones(len(kept)) if evidence.demand is None else evidence.demand[kept]
    size = evidence.size[cell]
    segment = evidence.segment_of[cell]
    _, cluster = np.unique(np.column_stack([segment, last]), axis=0, return_inverse=True)
    return PredictedLifts(
        measured=evidence.lift[kept] * size,
        noise=evidence.noise[kept] * size,
        mean=mean * demand,
        sd=sd * demand,
        spend=spent,
        demand=demand,
        cell=cell,
        channel=evidence.channel_of[cell],
        cluster=np.asarray(cluster.ravel(), dtype=np.intp),
    )


def _at(curves: SaturatingCurves, column: Index) -> SaturatingCurves:
    """One curve a lift, that of its cell: all lifts are then asked at once."""
    return replace(
        curves,
        cells=tuple(curves.cells[n] for n in column),
        marginal_at_zero=curves.marginal_at_zero[:, column],
        half_saturation=curves.half_saturation[:, column],
        carryover=curves.carryover[column],
        bend=None if curves.bend is None else curves.bend[:, column],
        untested=None if curves.untested is None else curves.untested[column],
    )


def _by_period(
    curves: ResponseCurves, running: Array, first: Index, last: Index, *, cell: Index, where: Index
) -> tuple[Array, Array]:
    """Mean and sd of each lift, period by period: where channels meddle with each other, a cell's
    revenue is asked together with what the others spent in its period."""
    mean, sd = np.empty(len(cell)), np.empty(len(cell))
    known = where >= 0
    spans, span = np.unique(np.column_stack([first, last]), axis=0, return_inverse=True)
    for number, (start, end) in enumerate(spans):
        rows = np.flatnonzero(span.ravel() == number)
        steady = (running[end + 1] - running[start]) / (end - start + 1)
        asked = np.zeros(len(curves.cells))
        asked[where[known]] = steady[known]
        drawn = curves.draw_revenue(asked)[:, where[cell[rows]]]
        mean[rows], sd[rows] = drawn.mean(axis=0), drawn.std(axis=0)
    return mean, sd


def only(evidence: Evidence, keep: NDArray[np.bool_]) -> Evidence:
    """The evidence of the lifts that ``keep`` (N,) names; tests and claims stay."""
    names = ["cell", "first", "last", "lift", "noise", "weight", "row"]
    names += ["demand"] if evidence.demand is not None else []
    return replace(evidence, **{name: getattr(evidence, name)[keep] for name in names})
