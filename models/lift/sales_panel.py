"""What weekly sales of all segments say of all cells: a panel regression, compressed.

A segment's relative sales of a week are its own level, what the week brings to all segments, what
its cells earn, and noise that follows itself:

    R_sw / R_s = level_s + week_w + sum over cells f_sc(a_scw) / R_s + e_sw

Levels and weeks are projected out (differences in differences; Wooldridge 2021, two-way fixed
effects). Spend that nobody randomized follows demand: it is planned for the season, platforms bid
up when people buy. So what moves with it, by channel and with a segment's total, is not all caused
by it: a normal bias of unknown sign, in revenue per unit of spend, is integrated out, small where
the loop itself set the budgets before the week began. What is left is read in as many directions
as the cells' spend has (its level and its root, which tells curvature), so that a fit costs the
same however many weeks there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.inference.panels import two_way_noise
from models.lift.evidence import Evidence, SalesPanel
from models.lift.sales_experiments import CONFIG, weeks_of_sales


@dataclass(frozen=True, slots=True)
class PanelConfig:
    """``weeks`` at most are looked at, none below ``fewest_weeks``. ``history_bias`` and
    ``own_bias``: standard deviation of what spend seems to earn and does not, revenue per unit of
    spend, before and since the loop sets the budgets. What all segments share of the noise counts
    for ``shared`` weeks of a segment's own. Above ``most_cells`` only the level of spend is
    read."""

    weeks: int = 104
    fewest_weeks: int = 6
    history_bias: float = 1.0
    own_bias: float = 0.15
    shared: float = 20.0
    most_cells: int = 120


PANEL = PanelConfig()


def sales_panel(
    sales: pd.DataFrame,
    evidence: Evidence,
    *,
    days: pd.DatetimeIndex,
    fade_per_day: float,
    own_from: pd.Timestamp | None = None,
    config: PanelConfig = PANEL,
) -> SalesPanel | None:
    """The panel, compressed; None below two segments or too few whole weeks.

    Parameters
    ----------
    sales
        date, segment, revenue and any covariates ``x_...``. Not changed.
    evidence
        Gathered; its ``spend`` has a row for each of ``days``.
    fade_per_day
        The rate at which evidence loses weight.
    own_from
        The first day whose budgets the loop set; None: it has set none.
    """
    sold = weeks_of_sales(
        sales, days, replace(CONFIG, weeks=config.weeks, fewest_weeks=config.fewest_weeks)
    )
    if sold is None:
        return None
    weekly, begin, names = sold
    weeks, segments = weekly.shape
    first = begin + 7 * np.arange(weeks)
    base = weekly.mean(axis=0)
    column = names.get_indexer(cast(pd.Index, list(evidence.segments)))[evidence.segment_of]
    scale = np.where(column >= 0, evidence.size / base[np.maximum(column, 0)], 0.0)
    spend = np.stack([evidence.spend[row : row + 7].mean(axis=0) for row in first])
    whitening = _Whitening.of(weekly / base, fade_per_day=fade_per_day, config=config)

    def placed(values: Array, into: NDArray[np.intp], width: int) -> Array:
        """Values of cells (weeks, cells), summed into (weeks, segments, width)."""
        found = np.zeros((weeks, segments, width))
        for cell in np.flatnonzero(column >= 0):
            found[:, column[cell], into[cell]] += values[:, cell] * scale[cell]
        return found

    own = np.zeros(weeks, dtype=bool)
    if own_from is not None:
        own = np.asarray(days[first] >= own_from)
    apart = spend - spend[own if own.all() else ~own].mean(axis=0)
    channels, cells = len(evidence.channels), len(evidence.cells)
    followed = [
        bias * placed(np.where(when[:, None], apart, 0.0), into, width)
        for when, bias in ((~own, config.history_bias), (own, config.own_bias))
        for into, width in ((evidence.channel_of, channels), (np.zeros(cells, dtype=np.intp), 1))
    ]
    whitening = whitening.without(np.concatenate(followed, axis=2))
    read = [spend] if cells > config.most_cells else [spend, np.sqrt(np.maximum(spend, 0.0))]
    each = np.arange(cells)
    features = whitening.of_panel(
        np.concatenate([placed(values, each, cells) for values in read], axis=2)
    )
    left, size, _ = np.linalg.svd(features, full_matrices=False)
    left = left[:, size > 1e-8 * max(float(size.max(initial=0.0)), 1e-300)]
    return SalesPanel(
        first=first,
        last=first + 6,
        rows=whitening.adjoint(left),
        observed=left.T @ whitening.of_panel((weekly / base)[:, :, None])[:, 0],
        column=column,
        scale=scale,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Whitening:
    """Makes a panel (weeks, segments, n) one of independent unit noise, (weeks x segments, n).

    ``along`` (weeks, weeks) undoes the autocorrelation, ``weight`` (weeks, segments) the noise's
    size; ``nuisance`` (rows, n) spans what is projected out, ``bias`` the orthonormal directions of
    the bias, and ``kept`` what is left of each.
    """

    along: Array
    weight: Array
    nuisance: Array
    bias: Array
    kept: Array

    @classmethod
    def of(cls, relative: Array, *, fade_per_day: float, config: PanelConfig) -> _Whitening:
        weeks, segments = relative.shape
        residual, variance = two_way_noise(relative, pooled=config.shared)
        variance = np.maximum(variance, 1e-12)
        # Kendall's bias of an autocorrelation, about (1 + 3 r) / n
        lag = float((residual[1:] * residual[:-1]).sum() / max((residual**2).sum(), 1e-300))
        lag = float(np.clip(lag + 1.5 / weeks, 0.0, 0.8))
        order = np.arange(weeks)
        age = 7.0 * (weeks - 1 - order)
        correlation = lag ** np.abs(np.subtract.outer(order, order))
        found = cls(
            along=np.linalg.inv(np.linalg.cholesky(correlation)),
            weight=np.exp(-0.5 * fade_per_day * age)[:, None] / np.sqrt(variance),
            nuisance=np.zeros((weeks * segments, 0)),
            bias=np.zeros((weeks * segments, 0)),
            kept=np.zeros(0),
        )
        effects = np.zeros((weeks, segments, segments + weeks - 1))
        effects[:, np.arange(segments), np.arange(segments)] = 1.0
        effects[order[1:], :, segments + order[1:] - 1] = 1.0
        return replace(found, nuisance=np.linalg.qr(found.of_panel(effects))[0])

    def without(self, followed: Array) -> _Whitening:
        """With directions (weeks, segments, n), each times a standard normal, counted as noise."""
        directions, size, _ = np.linalg.svd(self.of_panel(followed), full_matrices=False)
        return replace(self, bias=directions, kept=1.0 / np.sqrt(1.0 + size**2))

    def of_panel(self, panel: Array) -> Array:
        """The panel whitened."""
        weeks, segments, width = panel.shape
        rows = np.einsum("vw,wsn->vsn", self.along, panel) * self.weight[:, :, None]
        return self._discounted(self._freed(rows.reshape(weeks * segments, width)))

    def adjoint(self, rows: Array) -> Array:
        """What directions (weeks x segments, n) take of an unwhitened panel, (n, weeks,
        segments)."""
        weeks, segments = self.weight.shape
        rows = self._freed(self._discounted(rows))
        wide = rows.reshape(weeks, segments, -1) * self.weight[:, :, None]
        return np.asarray(np.einsum("vw,vsn->nws", self.along, wide))

    def _freed(self, rows: Array) -> Array:
        """Levels and weeks projected out."""
        return np.asarray(rows - self.nuisance @ (self.nuisance.T @ rows))

    def _discounted(self, rows: Array) -> Array:
        """What lies along the bias shrunk as far as the bias makes it noisy."""
        return np.asarray(rows - self.bias @ ((1.0 - self.kept)[:, None] * (self.bias.T @ rows)))
