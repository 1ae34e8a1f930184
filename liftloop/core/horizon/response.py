"""What a horizon's budgets earn day by day, as a concave function with two derivatives.

A cell's effective spend follows its budgets through the adstock ``a_t = (1 - g) x_t + g a_(t-1)``
(Jin et al. 2017, section 2.1, normalized), so each day's level is a fixed mixture of the budgets of
the periods so far, of the level before the horizon, and, after its end, of the budgets that go on
then. Revenue is the sum over days of ``weight x f(level)``: concave in the budgets, because f is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from liftloop.core.arrays import Array

NODES = 257
TAIL = 0.01  # once so little is left of a level, the rest is taken for a geometric sum
LONGEST_TAIL = 120  # days


@dataclass(frozen=True, slots=True, eq=False)
class Adstock:
    """Daily levels as mixtures: ``mix`` (n_cells, n_days, n_periods), ``start`` and ``after``
    (n_cells, n_days) are the shares of each period's budget, of the level before the horizon and of
    the budget that goes on after it; they sum to 1. ``count`` (n_cells, n_days) says for how many
    days a row stands: 1, and for the last one as many as a geometric fading leaves.

    The first ``inside`` rows are the horizon's days, the rest come after its end.
    """

    mix: Array
    start: Array
    after: Array
    count: Array
    inside: int

    def levels(self, spend: Array, *, before: Array, after: Array) -> Array:
        """Effective spend (n_cells, n_days) of budgets ``spend`` (n_cells, n_periods)."""
        carried = self.start * before[:, None] + self.after * after[:, None]
        return np.asarray((self.mix @ spend[:, :, None])[:, :, 0] + carried)


def adstock(carryover: Array, *, periods: int, days: int) -> Adstock:
    """The mixtures of ``periods`` periods of ``days`` days each, and of the days after them that
    still feel the horizon.

    Parameters
    ----------
    carryover
        g, shape (n_cells,), in [0, 1).
    """
    n = len(carryover)
    most = float(carryover.max(initial=0.0))
    tail = 0
    if most > 0:
        tail = int(np.clip(np.ceil(np.log(TAIL) / np.log(most)), 1, LONGEST_TAIL))
    inside = periods * days
    mix = np.zeros((n, inside + tail, periods))
    start, after = np.zeros((2, n, inside + tail))
    now, old, new = np.zeros((n, periods)), np.ones(n), np.zeros(n)
    for day in range(inside + tail):
        now *= carryover[:, None]
        old, new = old * carryover, new * carryover
        if day < inside:
            now[:, day // days] += 1.0 - carryover
        else:
            new = new + 1.0 - carryover
        mix[:, day], start[:, day], after[:, day] = now, old, new
    count = np.ones((n, inside + tail))
    if tail:
        count[:, -1] = 1.0 / (1.0 - carryover)
    return Adstock(mix, start, after, count, inside)


@dataclass(frozen=True, slots=True, eq=False)
class MarginalTable:
    """Marginal returns, sampled evenly in log(1 + spend / offset) and interpolated by cubics.

    Curves with posterior draws are costly to evaluate for every day of a quarter; a smooth curve
    between 257 samples is as good as itself (fourth-order slopes, held monotone as in Fritsch and
    Carlson 1980).
    """

    offset: Array  # (n_cells,)
    first: Array  # (n_cells,) the coordinate of the first sample
    width: Array  # (n_cells,) between samples, in that coordinate
    value: Array  # (n_cells, NODES)
    slope: Array  # (n_cells, NODES), per sample

    @classmethod
    def of(
        cls, marginal_of: Callable[[Array], Array], *, low: Array, high: Array, offset: Array
    ) -> MarginalTable:
        """Sample ``marginal_of`` (n_cells,) -> (n_cells,) between ``low`` and ``high``."""
        first = np.log1p(low / offset)
        width = np.maximum((np.log1p(high / offset) - first) / (NODES - 1), 1e-12)
        value = np.empty((len(low), NODES))
        for node in range(NODES):
            value[:, node] = marginal_of(offset * np.expm1(first + node * width))
        value = np.maximum(np.minimum.accumulate(value, axis=1), 0.0)
        return cls(offset, first, width, value, _monotone_slopes(value))

    def rounded(self, width: int) -> MarginalTable:
        """The same with each sample averaged over ``width`` neighbours on both sides, the nearer
        ones counting more."""
        weight = width + 1.0 - np.abs(np.arange(-width, width + 1))
        padded = np.pad(self.value, ((0, 0), (width, width)), mode="edge")
        value = sum(
            w * padded[:, place : place + NODES] for place, w in enumerate(weight / weight.sum())
        )
        return replace(self, value=value, slope=_monotone_slopes(np.asarray(value)))

    def look_up(self, level: Array) -> tuple[Array, Array]:
        """Marginal returns at levels (n_cells, n_days), and their derivatives (<= 0)."""
        offset, width = self.offset[:, None], self.width[:, None]
        place = (np.log1p(np.maximum(level, 0.0) / offset) - self.first[:, None]) / width
        place = np.clip(place, 0.0, NODES - 1)
        left = np.minimum(place.astype(np.intp), NODES - 2)
        t = place - left
        y0, y1 = (np.take_along_axis(self.value, left + side, axis=1) for side in (0, 1))
        d0, d1 = (np.take_along_axis(self.slope, left + side, axis=1) for side in (0, 1))
        rise, u = y1 - y0, 1.0 - t
        height = y0 + rise * t * t * (3 - 2 * t) + t * u * (d0 * u - d1 * t)
        steep = 6 * rise * t * u + d0 * u * (1 - 3 * t) + d1 * t * (3 * t - 2)
        curve = np.minimum(steep, 0.0) / (width * (offset + np.maximum(level, 0.0)))
        return np.maximum(height, 0.0), curve


def _monotone_slopes(value: Array) -> Array:
    """Slopes per sample (n, NODES) of falling rows: fourth order, limited to keep them falling."""
    slope = np.gradient(value, axis=1, edge_order=2)
    inner = -value[:, 4:] + 8 * value[:, 3:-1] - 8 * value[:, 1:-3] + value[:, :-4]
    slope[:, 2:-2] = inner / 12
    secant = np.diff(value, axis=1)
    steepest = np.full_like(value, -np.inf)
    steepest[:, :-1] = 3 * secant
    steepest[:, 1:] = np.maximum(steepest[:, 1:], 3 * secant)
    return np.clip(slope, steepest, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class HorizonResponse:
    """Revenue of a horizon with what is carried past it: gradient and Hessian in the budgets.

    ``weight`` (n_cells, n_days) is the demand of each day relative to the curves' own, times
    :attr:`Adstock.count`; ``before`` and ``after`` (n_cells,) as in :meth:`Adstock.levels`.
    """

    adstock: Adstock
    table: MarginalTable
    weight: Array
    before: Array
    after: Array

    def rounded(self, width: int) -> HorizonResponse:
        """The same with :meth:`MarginalTable.rounded` curves."""
        return replace(self, table=self.table.rounded(width))

    def derivatives(self, spend: Array) -> tuple[Array, Array]:
        """Gradient (n_cells, n_periods), Hessian (n_cells, n_periods, n_periods) at ``spend``."""
        level = self.adstock.levels(spend, before=self.before, after=self.after)
        slope, curve = self.table.look_up(level)
        mix = self.adstock.mix
        across = np.swapaxes(mix, 1, 2)
        gradient = (across @ (self.weight * slope)[:, :, None])[:, :, 0]
        return gradient, across @ ((self.weight * curve)[:, :, None] * mix)
