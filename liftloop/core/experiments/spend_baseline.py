"""What would have been spent without a lift test: the one answer that measuring a test and checking
a reported one both use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array

REFERENCE_DAYS = 28  # before a test
LEAST_DAYS = 7  # of them that must be known
LEAST_CHANGE = 0.02  # of what would have been spent: less is no change
SURE = 2.0  # of the usual error of the baseline: a change within is no change that shows
PAST_WEEKS = 12  # of which the usual error is known


@dataclass(frozen=True, slots=True)
class SpendChange:
    """``spent`` in a test and what would have been ``expected`` without it, in money over the test;
    ``error``: the standard deviation of ``expected``, by what it missed in the weeks before."""

    spent: float
    expected: float
    error: float

    @property
    def delta(self) -> float:
        """Signed change of spend over the test."""
        return self.spent - self.expected

    @property
    def shows(self) -> bool:
        """Whether the change is more than spend differs by in weeks without a test."""
        return abs(self.delta) > max(SURE * self.error, LEAST_CHANGE * abs(self.expected))


def spend_change(tested: Array, others: Array, *, first: int, days: int) -> SpendChange | None:
    """How the spend of tested cells changed.

    It is compared with the four weeks before, scaled by how the spend of the channel's other
    segments changed from those weeks to the test, where others spend.

    Parameters
    ----------
    tested, others
        Spend by day, shape (n_days,): of the tested cells, and of the channel's others (zeros where
        there are none).
    first, days
        The test's first day, as a place in them, and its length.

    Returns
    -------
    None where fewer than a week before it is known, or days of the test are not.
    """
    if first < LEAST_DAYS or first + days > len(tested):
        return None
    expected = _expected(tested, others, first=first, days=days)
    misses = []
    for week in range(1, PAST_WEEKS + 1):
        start = first - 7 * week
        if start < LEAST_DAYS:
            break
        usual = _expected(tested, others, first=start, days=7)
        if usual > 0:
            misses.append(float(tested[start : start + 7].sum()) / usual - 1.0)
    missed = float(np.sqrt(np.mean(np.square(misses)))) if misses else 0.0
    return SpendChange(float(tested[first : first + days].sum()), expected, missed * abs(expected))


def _expected(tested: Array, others: Array, *, first: int, days: int) -> float:
    before = slice(max(first - REFERENCE_DAYS, 0), first)
    inside = slice(first, first + days)
    usual = float(tested[before].mean()) * days
    early, late = float(others[before].mean()), float(others[inside].mean())
    return usual * late / early if early > 0 and late > 0 else usual
