"""Which variants take part today: who is new and protected, who is gone.

A new variant's effect has its siblings' mean and spread as prior (see ``discounted_effects``), and
a share of its own for some days, so that the variants that were there first do not starve it before
it was seen. A variant that is gone gets no share; what it had is divided among the others in
proportion to theirs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.observations import VariantDays


class Standing(StrEnum):
    """How a variant takes part."""

    RUNNING = "running"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class NewVariantRule:
    """How new variants start and when one counts as gone.

    Attributes
    ----------
    protected_days
        For so many days after its first one a new variant's share is not below the protected one.
    protected_share
        As a fraction of an even share, in [0, 1].
    gone_after_days
        A variant that was shown before and has had no units for so many days is gone.
    """

    protected_days: int = 14
    protected_share: float = 0.5
    gone_after_days: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.protected_share <= 1:
            raise ValueError(f"protected_share is {self.protected_share}, and not within 0 to 1.")
        if self.gone_after_days < 1:
            raise ValueError(f"gone_after_days is {self.gone_after_days}, and not at least 1.")


def standings(
    observed: VariantDays, rule: NewVariantRule, *, gone: Collection[str] = ()
) -> tuple[Standing, ...]:
    """How each variant takes part on the day after the last one.

    Variants of the first day have no elder siblings and are not new; one that was never shown
    begins tomorrow. Days on which no variant had units say nothing of who is gone.

    Parameters
    ----------
    gone : names declared gone; one that is no variant of the test is ignored
    """
    shown = np.asarray(observed.units > 0)
    active = shown[:, shown.any(axis=0)]
    days = active.shape[1]
    recent = active[:, max(days - rule.gone_after_days, 0) :].sum(axis=1) > 0
    found = []
    for i, name in enumerate(observed.variants):
        first = int(np.argmax(active[i])) if active[i].any() else days
        if name in gone or (first < days and not recent[i]):
            found.append(Standing.GONE)
        elif days and first > 0 and days - first < rule.protected_days:
            found.append(Standing.NEW)
        else:
            found.append(Standing.RUNNING)
    return tuple(found)


def least_shares(standing: tuple[Standing, ...], rule: NewVariantRule, *, floor: float) -> Array:
    """The smallest share of each variant, shape (v,): ``floor``, the protected share, or 0 for one
    that is gone. A floor is at most half an even share, so that something is left to decide."""
    here = sum(s is not Standing.GONE for s in standing)
    even = 1.0 / max(here, 1)
    usual = min(floor, even / 2)
    least = {
        Standing.RUNNING: usual,
        Standing.NEW: max(usual, rule.protected_share * even),
        Standing.GONE: 0.0,
    }
    return np.array([least[s] for s in standing])


def without_the_gone(shares: Array, standing: tuple[Standing, ...]) -> Array:
    """``shares`` (v,) with those of gone variants given to the others in proportion to theirs;
    even shares where the others had none."""
    here = np.array([s is not Standing.GONE for s in standing])
    if not here.any():
        raise ValueError("All variants are gone, so there is nothing to share among.")
    kept = np.where(here, shares, 0.0)
    return np.asarray(kept / kept.sum() if kept.sum() > 0 else here / here.sum())
