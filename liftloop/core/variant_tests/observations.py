"""What a test inside a cell observed: units, spend and outcomes by variant and day.

A *variant* is one of the creatives, bids or audiences that share a cell's money. Units are whatever
was assigned to variants at random: users, geographies' users, or impressions where a platform
rotates creatives. A unit belongs to the day it was assigned on, as do its outcomes, whenever they
come: a day that is still young has fewer of them (:attr:`VariantDays.matured`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from liftloop.core.arrays import Array, Days, Mask


@dataclass(frozen=True, slots=True)
class VariantDays:
    """A test's facts, ``v`` variants by ``d`` days; the first variant is the one compared with.

    Attributes
    ----------
    variants
        Names, ``v`` distinct ones.
    days
        Ascending, shape (d,), ``datetime64[D]``.
    units, spend
        Assigned units and account currency, shape (v, d), not negative.
    value
        Sum of the outcome over the units assigned on the day, as far as it is known: counts of
        conversions, or account currency. Shape (v, d).
    value_squares
        Sum of squares of the units' outcomes, shape (v, d); None where only sums are reported, and
        an outcome that is a count of 0 or 1 a unit is its own square.
    matured
        Fraction of a day's outcomes that are expected to be known by now, shape (d,), in (0, 1].
    """

    variants: tuple[str, ...]
    days: Days
    units: Array
    spend: Array
    value: Array
    value_squares: Array | None = None
    matured: Array = field(default_factory=lambda: np.ones(0))

    def __post_init__(self) -> None:
        shape = (len(self.variants), len(self.days))
        for name in ("units", "spend", "value", "value_squares"):
            array = getattr(self, name)
            if array is not None and np.shape(array) != shape:
                raise ValueError(f"{name} is of shape {np.shape(array)}, and not {shape}.")
        if len(self.matured) == 0:
            object.__setattr__(self, "matured", np.ones(len(self.days)))
        elif np.shape(self.matured) != (len(self.days),):
            raise ValueError(f"matured is of shape {np.shape(self.matured)}.")

    def where(self, chosen: Mask) -> VariantDays:
        """The days that are ``chosen``, shape (d,)."""
        squares = None if self.value_squares is None else self.value_squares[:, chosen]
        return VariantDays(
            self.variants,
            self.days[chosen],
            self.units[:, chosen],
            self.spend[:, chosen],
            self.value[:, chosen],
            squares,
            self.matured[chosen],
        )

    def first(self, count: int) -> VariantDays:
        """The first ``count`` days."""
        return self.where(np.arange(len(self.days)) < count)

    def of(self, variants: Sequence[str]) -> VariantDays:
        """Some variants, in the order asked for."""
        rows = [self.variants.index(name) for name in variants]
        squares = None if self.value_squares is None else self.value_squares[rows]
        return VariantDays(
            tuple(variants),
            self.days,
            self.units[rows],
            self.spend[rows],
            self.value[rows],
            squares,
            self.matured,
        )
