"""What one plan earns over another, measured by randomized lifts that made neither.

Budgets that were never spent cannot be looked up. What can be measured is each cell's level where
it did spend; what must be modelled is the way from there to the plans' budgets, and the *judge*
models it: curves fitted to the held-out evidence alone, so that neither plan's own model has a say.
With m the judge's curve of a cell, y its measured lifts with standard errors s, x' and x the
budgets of the two plans:

    theta = sum(m y / s^2) / sum(m^2 / s^2)      the measured level, in units of the judge's
    value = sum over cells of  margin theta (m(x') - m(x)) - (x' - x)

theta takes the judge's own level out, so the value is linear in the measured lifts; only the
judge's *shape* is believed. (A control variate as in doubly robust evaluation: Dudik, Langford & Li
2011, equation 5, with a ratio in place of the difference.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liftloop.core.curves import ResponseCurves
from liftloop.core.policy import Cell
from models.evidence import Evidence
from models.examining.foretold import Foretold, foretell

Array = NDArray[np.float64]
Index = NDArray[np.intp]
VAGUE = 1.0  # a level whose standard error is above it takes its channel's


@dataclass(frozen=True, slots=True, eq=False)
class PlanContrast:
    """Profit a day of the challenger's plan over the champion's.

    ``base`` is what the champion's plan earns a day before the spend. ``influence`` and ``cluster``
    are as of ``paired_bounds``; ``unseen`` is the share of the money the plans differ by in cells
    whose channel has no held-out lift.
    """

    value: float
    base: float
    influence: Array
    cluster: Index
    unseen: float


def contrast_plans(
    *,
    judge: ResponseCurves,
    evidence: Evidence,
    challenger: dict[Cell, float],
    champion: dict[Cell, float],
    margin: float,
) -> PlanContrast:
    """The contrast of two plans (cell -> daily spend) on the held-out lifts of ``evidence``.

    A cell that only one plan knows, or that the judge has no curve for, counts as unseen.
    """
    seen = foretell(judge, evidence)
    n_cells, n_channels = len(evidence.cells), len(evidence.channels)
    place = {cell: number for number, cell in enumerate(judge.cells)}
    after, before = _spends(judge, challenger), _spends(judge, champion)
    where = np.array([place.get(cell, -1) for cell in evidence.cells], dtype=np.intp)
    there = np.flatnonzero(where >= 0)
    earned = np.zeros((2, n_cells))
    for row, spend in enumerate((after, before)):
        earned[row, there] = judge.mean_revenue(spend)[where[there]]
    step = margin * (earned[0] - earned[1])

    own, shared = _levels(seen, seen.cell, n_cells), _levels(seen, seen.channel, n_channels)
    channel = evidence.channel_of
    alone = own.information > VAGUE**-2
    measured = alone | (shared.information[channel] > 0)
    theta = np.where(alone, own.theta, shared.theta[channel])
    theta = np.where(measured, theta, 0.0)
    moved = {cell: challenger.get(cell, 0.0) - champion.get(cell, 0.0)
             for cell in challenger.keys() | champion.keys()}  # fmt: skip
    known = {cell for number, cell in enumerate(evidence.cells) if measured[number]} & set(place)
    total = sum(abs(amount) for amount in moved.values())
    blind = sum(abs(amount) for cell, amount in moved.items() if cell not in known)
    spared = sum(amount for cell, amount in moved.items() if cell in known)

    by_channel = np.bincount(channel, weights=np.where(alone, 0.0, step), minlength=n_channels)
    influence = own.moved_by(seen, np.where(alone, step, 0.0)) + shared.moved_by(seen, by_channel)
    return PlanContrast(
        value=float((theta * step).sum()) - spared,
        base=float(margin * (theta * earned[1]).sum()),
        influence=influence,
        cluster=seen.cluster,
        unseen=blind / total if total > 0 else 0.0,
    )


def _spends(curves: ResponseCurves, plan: dict[Cell, float]) -> Array:
    return np.array([plan.get(cell, 0.0) for cell in curves.cells], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """The level theta of every group, its information, and where each lift belongs."""

    group: Index
    theta: Array
    information: Array
    lifts: Array

    def moved_by(self, seen: Foretold, step: Array) -> Array:
        """What each lift moves ``sum(theta step)`` by, from its residual; the fewer lifts a group
        has, the more its residuals are too small (n / (n - 1), as of a variance)."""
        n = self.lifts[self.group]
        wide = np.sqrt(n / np.maximum(n - 1, 1.0))
        residual = seen.measured - self.theta[self.group] * seen.mean
        # a single lift has no residual: its own standard error stands in
        residual = np.where(n < 2, seen.noise, residual * wide)
        score = seen.mean / seen.noise**2 / np.maximum(self.information[self.group], 1e-300)
        return np.asarray(step[self.group] * score * residual, dtype=np.float64)


def _levels(seen: Foretold, group: Index, n: int) -> _Levels:
    weight = seen.noise**-2
    information = np.bincount(group, weights=weight * seen.mean**2, minlength=n)
    met = np.bincount(group, weights=weight * seen.mean * seen.measured, minlength=n)
    theta = met / np.maximum(information, 1e-300)
    lifts = np.bincount(group, minlength=n).astype(np.float64)
    return _Levels(group, np.where(information > 0, theta, 0.0), information, lifts)
