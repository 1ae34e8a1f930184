"""Curves of channels that lift or eat each other, and their expansion into curves that plan alone.

In a segment, channel b earns its own curve times a multiplier made by the other channels' spend
relative to their ``reference`` (a constant elasticity, as in a multiplicative market response;
Hanssens, Parsons and Schultz 2001, section 3.3):

    r_b(x) = f_b(x_b) exp( sum_a e_ab log(x_a / reference_a) )

A holdout shows what is lost without a channel, its part of what only two can do included. Curves
learned from holdouts are therefore ``inclusive``: the slope of f_a at the reference already holds
what a earns through b. Adding it again would count it twice, so its first order is taken off:

    r_a(x) = f_a(x_a) exp(...) - sum_b e_ab f_b(reference_b) log(x_a / reference_a)

At the reference inclusive curves and their slopes are those of an additive market; away from it, b
is worth more (or less) where a has moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.curves.gain import spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy

KIND = "interacting"
LOW, HIGH = 0.2, 5.0  # of the reference: farther out an elasticity says nothing, and is held


@dataclass(frozen=True, slots=True, eq=False)
class InteractingCurves:
    """Joint draws of curves with interactions; implements ``ResponseCurves``.

    They are not separable: give ``at(...)`` to a planner, and take these for what a plan earns.

    Attributes
    ----------
    base
        Each cell's own curve, the other channels being at their reference.
    reference
        Usual daily spend, shape (n_cells,), account currency; a cell with 0 lifts and eats nothing.
    channels
        Names, in the order of the elasticities' axes.
    elasticity
        e, shape (n_draws, n_channels, n_channels), [draw, from, to]: by what share ``to`` earns
        more in a segment where ``from`` spends one log unit more. The diagonal is 0.
    inclusive
        Whether a cell's own curve already holds what it earns through others (holdouts do).
    """

    base: SaturatingCurves
    reference: Array
    channels: tuple[str, ...]
    elasticity: Array
    inclusive: bool = False

    def __post_init__(self) -> None:
        draws, k = len(self.base.marginal_at_zero), len(self.channels)
        if self.elasticity.shape != (draws, k, k):
            raise ValueError(f"The elasticities need the shape {(draws, k, k)}.")
        if self.reference.shape != (len(self.cells),) or not (self.reference >= 0).all():
            raise ValueError("A reference spend >= 0 is needed for every cell.")
        if not {cell.channel for cell in self.cells} <= set(self.channels):
            raise ValueError("Every cell's channel needs elasticities.")
        if np.diagonal(self.elasticity, axis1=1, axis2=2).any():
            raise ValueError("A channel has no elasticity with itself: that is its own curve.")

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.base.cells

    @property
    def carryover(self) -> Array:
        return self.base.carryover

    def draw_revenue(self, spend: Array) -> Array:
        """Incremental revenue per day in each draw at steady ``spend`` (n_cells,), shape (n_draws,
        n_cells)."""
        logs = self._logs(spend)
        earned = self._multiplied(self.base.draw_revenue(spend), logs)
        return np.asarray(earned - self._known() * logs) if self.inclusive else earned

    def mean_revenue(self, spend: Array) -> Array:
        """Posterior mean incremental revenue per day, shape (n_cells,)."""
        return np.asarray(self.draw_revenue(spend).mean(axis=0))

    def mean_marginal(self, spend: Array) -> Array:
        """Posterior mean revenue of the next unit of spend in a cell, through every cell of its
        segment, shape (n_cells,)."""
        logs = self._logs(spend)
        own = self._multiplied(self.base.draw_marginal(spend), logs).mean(axis=0)
        inside = (spend > LOW * self.reference) & (spend < HIGH * self.reference)
        through = self._through(spend, logs).mean(axis=0)
        return np.asarray(own + np.where(inside, through / np.where(inside, spend, 1.0), 0.0))

    def at(self, spend: Array) -> SeparableCurves:
        """Separable curves with diminishing returns that agree with these in value and slope at
        ``spend`` (n_cells,): each cell's own curve under the others' present spend, plus what it
        earns through them. Good within a step of about 25 %; expand anew after each."""
        logs = self._logs(spend)
        inside = (spend > LOW * self.reference) & (spend < HIGH * self.reference)
        fixed = -self._known() * logs if self.inclusive else np.zeros((1, len(spend)))
        return SeparableCurves(
            base=self.base,
            multiplier=self._multiplied(np.ones(self.base.marginal_at_zero.shape), logs),
            through=np.where(inside, self._through(spend, logs), 0.0),
            fixed=np.broadcast_to(fixed, self.base.marginal_at_zero.shape),
            around=np.where(inside, spend, 1.0),
        )

    def to_arrays(self) -> dict[str, Any]:
        """Plain arrays, for ``numpy.savez``: no pickle is needed to read them back."""
        return self.base.to_arrays() | {
            "kind": np.array(KIND),
            "reference": self.reference,
            "interacting_channels": np.array(self.channels, dtype=str),
            "elasticity": self.elasticity,
            "inclusive": np.array(self.inclusive),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> InteractingCurves:
        """The inverse of :meth:`to_arrays`; takes what ``numpy.load`` returns."""
        return cls(
            base=SaturatingCurves.from_arrays(arrays),
            reference=np.asarray(arrays["reference"], dtype=np.float64),
            channels=tuple(str(name) for name in arrays["interacting_channels"]),
            elasticity=np.asarray(arrays["elasticity"], dtype=np.float64),
            inclusive=bool(arrays["inclusive"]),
        )

    # -- segments x channels ----------------------------------------------------------------------

    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
        """Segment and channel of each cell, and how many segments there are."""
        segments = {name: n for n, name in enumerate(sorted({c.segment for c in self.cells}))}
        channels = {name: n for n, name in enumerate(self.channels)}
        return (
            np.array([segments[cell.segment] for cell in self.cells], dtype=np.intp),
            np.array([channels[cell.channel] for cell in self.cells], dtype=np.intp),
            len(segments),
        )

    def _logs(self, spend: Array) -> Array:
        """log(x / reference), held beyond where it says anything, shape (n_cells,)."""
        known = self.reference > 0
        ratio = spend / np.where(known, self.reference, 1.0)
        return np.where(known, np.log(np.clip(ratio, LOW, HIGH)), 0.0)

    def _multiplied(self, values: Array, logs: Array) -> Array:
        """``values`` (n_draws, n_cells) times each cell's multiplier."""
        segment, channel, n = self._places()
        grid = np.zeros((n, len(self.channels)))
        grid[segment, channel] = logs
        lifted = np.einsum("sa,dab->dsb", grid, self.elasticity, optimize=True)
        return np.asarray(values * np.exp(lifted[:, segment, channel]))

    def _sent(self, earned: Array) -> Array:
        """sum_b e_ab earned_b for every cell a, of ``earned`` (n_draws, n_cells)."""
        segment, channel, n = self._places()
        grid = np.zeros((len(earned), n, len(self.channels)))
        grid[:, segment, channel] = earned
        sent = np.einsum("dab,dsb->dsa", self.elasticity, grid, optimize=True)
        return np.asarray(np.where(self.reference > 0, sent[:, segment, channel], 0.0))

    def _known(self) -> Array:
        """What a log unit of each cell's spend earns through others at the reference."""
        return self._sent(self.base.draw_revenue(self.reference))

    def _through(self, spend: Array, logs: Array) -> Array:
        """What a log unit of each cell's spend earns through others and its own curve does not
        hold, (n_draws, n_cells)."""
        sent = self._sent(self._multiplied(self.base.draw_revenue(spend), logs))
        return sent - self._known() if self.inclusive else sent


@dataclass(frozen=True, slots=True, eq=False)
class SeparableCurves:
    """Interacting curves expanded ``around`` a spend; implements ``ResponseCurves``.

    A cell earns ``multiplier`` times its own curve, plus ``fixed``, plus ``through`` times log(x /
    around), or times x / around - 1 where ``through`` is a loss on average: a log would bend up.
    Shapes (n_draws, n_cells); ``around`` (n_cells,) > 0, account currency a day.
    """

    base: SaturatingCurves
    multiplier: Array
    through: Array
    fixed: Array
    around: Array

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.base.cells

    @property
    def carryover(self) -> Array:
        return self.base.carryover

    def draw_revenue(self, spend: Array) -> Array:
        """Incremental revenue per day in each draw, shape (n_draws, n_cells)."""
        own = self.multiplier * self.base.draw_revenue(spend)
        return np.asarray(own + self.fixed + self.through * self._bent(spend)[0])

    def mean_revenue(self, spend: Array) -> Array:
        """Posterior mean incremental revenue per day, shape (n_cells,)."""
        return np.asarray(self.draw_revenue(spend).mean(axis=0))

    def mean_marginal(self, spend: Array) -> Array:
        """Posterior mean revenue of the next unit of spend, shape (n_cells,); never rising."""
        own = (self.multiplier * self.base.draw_marginal(spend)).mean(axis=0)
        return np.asarray(own + self.through.mean(axis=0) * self._bent(spend)[1])

    def _bent(self, spend: Array) -> tuple[Array, Array]:
        """Shape of the gain through others and its slope; below ``LOW`` a straight line."""
        level = spend / self.around
        held = np.maximum(level, LOW)
        log = np.log(held) + np.minimum(level - LOW, 0.0) / LOW
        gains = self.through.mean(axis=0) >= 0
        slope = np.where(gains, 1.0 / held, 1.0) / self.around
        return np.where(gains, log, level - 1.0), slope


def separable_at(curves: ResponseCurves, policy: Policy) -> ResponseCurves:
    """Curves that a planner may take one by one: interacting ones expanded around ``policy``, all
    others as they are."""
    return curves.at(spends(policy, curves)) if isinstance(curves, InteractingCurves) else curves
