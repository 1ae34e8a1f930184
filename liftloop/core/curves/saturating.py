"""Saturating response curves as frozen parameters: the form in which models hand them over.

A cell earns ``f(x) = m K h(x / K)`` a day from the daily spend ``x``: ``m`` is the marginal return
at zero spend (revenue per unit of spend), ``K`` the scale of saturation (money a day) and ``h`` the
family's shape, with ``h(0) = 0``, ``h'(0) = 1`` and ``h'`` falling. Where m is above 0 the curve
never decreases and has diminishing returns. A draw may also be null or harmful, m at or below 0:
its K is then so large that it is a straight line, and the draws' mean has diminishing returns.

Spend acts through its geometric adstock ``a_t = (1 - g) x_t + g a_(t-1)``, the *effective* spend
(Jin et al. 2017, section 2.1, normalized): held steady, ``a = x``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Cell

NEXT_TO_NOTHING = 1e-200  # stands in for 0 where a limit is meant and 0 / 0 would come out
CHUNK = 512  # cells evaluated at once: their draws fit a processor's cache


@dataclass(frozen=True, slots=True)
class CurveFamily:
    """The shape of a saturating curve in units of its own scale: ``h`` and its derivative."""

    name: str
    shape: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _inverse_square(u: Array) -> Array:
    grown = 1.0 + u
    return np.asarray(1.0 / (grown * grown))  # far faster than a power of -2


FAMILIES: Mapping[str, CurveFamily] = {
    family.name: family
    for family in (
        # K is the spend at which half of the most that can be earned is earned
        CurveFamily("michaelis-menten", lambda u: u / (1.0 + u), _inverse_square),
        CurveFamily("exponential", lambda u: -np.expm1(-u), lambda u: np.exp(-u)),
        CurveFamily("logarithmic", np.log1p, lambda u: 1.0 / (1.0 + u)),
    )
}


def bent_shape(u: Array, bend: Array) -> Array:
    """``h(u)`` of the family whose own parameter says how it saturates: ``h'(u)`` below, summed.

    Shapes broadcast; u >= 0, bend > 0.
    """
    return bent_shape_at(np.log1p(2.0 * u / bend), bend)


def bent_shape_at(grown: Array, bend: Array) -> Array:
    """:func:`bent_shape` of the u for which ``grown`` is ``log(1 + 2 u / bend)``."""
    rest = np.where(bend == 1.0, NEXT_TO_NOTHING, 1.0 - bend)
    return np.asarray(0.5 * bend / rest * np.expm1(rest * grown))


def bent_slope(u: Array, bend: Array) -> Array:
    """``h'(u) = (1 + 2 u / bend)^-bend``, the survival function of a Lomax distribution.

    bend 2 is Michaelis-Menten with ``K`` at half of the most that can be earned, 1 a logarithm,
    below 1 a power of 1 - bend far out, and a large one an exponential. All begin alike:
    ``h'(u) = 1 - 2 u + ...``.
    """
    return np.asarray(np.exp(-bend * np.log1p(2.0 * u / bend)))


@dataclass(frozen=True, slots=True, eq=False)
class SaturatingCurves:
    """Joint posterior draws of every cell's curve; implements ``ResponseCurves``.

    Attributes
    ----------
    cells
        In the order of every array's last axis.
    marginal_at_zero
        m, shape (n_draws, n_cells): incremental revenue per unit of spend at zero spend, any sign.
    half_saturation
        K, shape (n_draws, n_cells), > 0: account currency a day.
    carryover
        Share of a day's effect that is carried to the next day, shape (n_cells,), in [0, 1).
    family
        A name in :data:`FAMILIES`, or "bent" with ``bend``.
    bend
        How each curve saturates (:func:`bent_slope`), shape (n_draws, n_cells), > 0; None for a
        named family.
    untested
        Which cells' level rests on sales and on what platforms claim, no randomized test or holdout
        of their channel: shape (n_cells,); None: no cell.
    """

    cells: tuple[Cell, ...]
    marginal_at_zero: Array
    half_saturation: Array
    carryover: Array
    family: str = "michaelis-menten"
    bend: Array | None = None
    untested: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        shape = self.marginal_at_zero.shape
        if len(shape) != 2 or shape[1] != len(self.cells) or self.half_saturation.shape != shape:
            raise ValueError(
                f"{len(self.cells)} cells need draws of shape (n_draws, {len(self.cells)}), not "
                f"{shape} and {self.half_saturation.shape}."
            )
        if (self.family == "bent") != (self.bend is not None):
            raise ValueError("The family 'bent', and no other, needs a bend for every curve.")
        if self.bend is not None and (self.bend.shape != shape or not (self.bend > 0).all()):
            raise ValueError(f"The bend has the shape of the draws, {shape}, and is above 0.")
        if self.bend is None and self.family not in FAMILIES:
            raise ValueError(f"There is no family of curves {self.family!r}: {list(FAMILIES)}.")
        if not np.isfinite(self.marginal_at_zero).all() or not (self.half_saturation > 0).all():
            raise ValueError("A curve needs a finite return at zero and a half-saturation > 0.")
        if self.carryover.shape != (len(self.cells),):
            raise ValueError("A carry-over is needed for every cell.")
        if not ((self.carryover >= 0) & (self.carryover < 1)).all():
            raise ValueError("A carry-over lies in [0, 1).")
        if self.untested is not None and self.untested.shape != (len(self.cells),):
            raise ValueError("Whether it is untested is said of every cell.")

    def _part(self, part: slice) -> tuple[Array, Array, Array | None]:
        bend = None if self.bend is None else self.bend[:, part]
        return self.marginal_at_zero[:, part], self.half_saturation[:, part], bend

    def _shape(self, u: Array, bend: Array | None) -> Array:
        return FAMILIES[self.family].shape(u) if bend is None else bent_shape(u, bend)

    def _slope(self, u: Array, bend: Array | None) -> Array:
        return FAMILIES[self.family].slope(u) if bend is None else bent_slope(u, bend)

    def mean_revenue(self, spend: Array) -> Array:
        """Posterior mean incremental revenue per day at steady ``spend``, both (n_cells,)."""
        found = np.empty(len(self.cells))
        for start in range(0, len(self.cells), CHUNK):
            part = slice(start, start + CHUNK)
            m, k, bend = self._part(part)
            found[part] = (m * k * self._shape(spend[part] / k, bend)).mean(axis=0)
        return found

    def mean_marginal(self, spend: Array) -> Array:
        """Posterior mean revenue of the next unit of steady ``spend``, shape (n_cells,)."""
        found = np.empty(len(self.cells))
        for start in range(0, len(self.cells), CHUNK):
            part = slice(start, start + CHUNK)
            m, k, bend = self._part(part)
            found[part] = (m * self._slope(spend[part] / k, bend)).mean(axis=0)
        return found

    def draw_revenue(self, spend: Array) -> Array:
        """Incremental revenue per day in each draw at ``spend``, broadcast to (n_draws, n_cells).

        ``spend`` has the shape (n_cells,) or (n_draws, n_cells).
        """
        scale = self.half_saturation
        level = self._shape(spend / scale, self.bend)
        return np.asarray(self.marginal_at_zero * scale * level, dtype=np.float64)

    def draw_marginal(self, spend: Array) -> Array:
        """Revenue of the next unit of steady ``spend`` in each draw, shape (n_draws, n_cells)."""
        level = self._slope(spend / self.half_saturation, self.bend)
        return np.asarray(self.marginal_at_zero * level, dtype=np.float64)

    def to_arrays(self) -> dict[str, Any]:
        """Plain arrays, for ``numpy.savez``: no pickle is needed to read them back."""
        return {
            "segments": np.array([cell.segment for cell in self.cells], dtype=str),
            "channels": np.array([cell.channel for cell in self.cells], dtype=str),
            "marginal_at_zero": self.marginal_at_zero,
            "half_saturation": self.half_saturation,
            "carryover": self.carryover,
            "family": np.array(self.family),
            **({} if self.bend is None else {"bend": self.bend}),
            **({} if self.untested is None else {"untested": self.untested}),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> SaturatingCurves:
        """The inverse of :meth:`to_arrays`; takes what ``numpy.load`` returns."""
        pairs = zip(arrays["segments"], arrays["channels"], strict=True)
        return cls(
            cells=tuple(Cell(str(segment), str(channel)) for segment, channel in pairs),
            marginal_at_zero=np.asarray(arrays["marginal_at_zero"], dtype=np.float64),
            half_saturation=np.asarray(arrays["half_saturation"], dtype=np.float64),
            carryover=np.asarray(arrays["carryover"], dtype=np.float64),
            family=str(arrays["family"]),
            bend=np.asarray(arrays["bend"], dtype=np.float64) if "bend" in arrays else None,
            untested=np.asarray(arrays["untested"], dtype=bool) if "untested" in arrays else None,
        )


def untested_cells(curves: ResponseCurves) -> tuple[Cell, ...]:
    """The cells whose level no holdout or test of their channel says."""
    saturating = getattr(curves, "base", curves)
    marked = getattr(saturating, "untested", None)
    return () if marked is None else tuple(curves.cells[i] for i in np.flatnonzero(marked))


def effective_spend(daily: Array, carryover: Array) -> Array:
    """Effective spend after the last day of ``daily``, shape (n_cells,).

    Parameters
    ----------
    daily
        Spend of consecutive days, the last one last, shape (n_days, n_cells). What went before is
        taken to be the mean of the first week.
    carryover
        Shape (n_cells,), in [0, 1).
    """
    if len(daily) == 0:
        return np.zeros(len(carryover))
    level = np.asarray(daily[:7].mean(axis=0), dtype=np.float64)
    for day in daily:
        level = (1.0 - carryover) * day + carryover * level
    return level


def expected_until_next_cycle(
    curves: ResponseCurves, *, spend: Array, previous_effective_spend: Array, days: int
) -> Array:
    """Mean incremental revenue per day over the next ``days`` days in each draw.

    The effective spend starts from ``previous_effective_spend`` and nears the new daily ``spend``
    at the pace of the carry-over: ``a_k = x + (a_0 - x) g^k``.

    Parameters
    ----------
    spend, previous_effective_spend
        Account currency a day, shape (n_cells,).
    days
        At least 1.

    Returns
    -------
    Shape (n_draws, n_cells), account currency a day.
    """
    if days < 1:
        raise ValueError(f"A cycle has at least one day, not {days}.")
    drawn = (
        curves.draw_revenue(spend + (previous_effective_spend - spend) * curves.carryover**day)
        for day in range(1, days + 1)
    )
    total = next(drawn)
    for revenue in drawn:
        total = total + revenue
    return total / days
