"""Where a series of residuals changed its level, and by how much.

The place is found by ruptures (Truong, Oudre and Vayatis 2020, Signal Processing 167: binary
segmentation with the L2 cost); whether it is more than noise is judged here, with the noise of the
weeks before and room for the many places that were tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array

LEAST_DAYS = 3
MOST_MEMORY = 0.8


@dataclass(frozen=True, slots=True)
class LevelChange:
    """The level of ``series[start:]`` against the level before: ``size`` in the series' unit with
    its ``standard_error``; ``z`` is their ratio."""

    start: int
    size: float
    standard_error: float

    @property
    def z(self) -> float:
        return self.size / self.standard_error if self.standard_error > 0 else 0.0


def memory(series: Array) -> float:
    """First autocorrelation of a series without a trend, held to [0, 0.8]; nan is skipped."""
    left = series - np.nanmean(series)
    pairs = np.isfinite(left[1:]) & np.isfinite(left[:-1])
    if pairs.sum() < 7:
        return 0.0
    top = float((left[1:][pairs] * left[:-1][pairs]).mean())
    return float(np.clip(top / max(float(np.nanmean(left**2)), 1e-300), 0.0, MOST_MEMORY))


def change(
    series: Array, noise: Array, *, reference: int, least_days: int = LEAST_DAYS
) -> LevelChange | None:
    """The likeliest change of level after the first ``reference`` days.

    Parameters
    ----------
    series : one value a day, shape (n_days,); nan where nothing is known
    noise : the standard deviation of each value as its evidence tells it, same shape; the spread
        that the reference days show, and their memory from day to day, widen it
    reference : days that are taken to be usual
    least_days : a level needs so many known days

    Returns
    -------
    LevelChange or None
        None where one side has too few days. A change that is there is found whatever its size:
        its ``z`` says whether to believe it.
    """
    known = np.flatnonzero(np.isfinite(series) & np.isfinite(noise) & (noise > 0))
    early = known[known < reference]
    if len(early) < 2 * least_days or len(known) - len(early) < least_days:
        return None
    values, spread = series[known], noise[known]
    level = np.average(values[: len(early)], weights=spread[: len(early)] ** -2.0)
    start = _where((values - level) / spread, len(early), least_days)
    return change_at(series, noise, start=int(known[start]), reference=reference)


def change_at(series: Array, noise: Array, *, start: int, reference: int) -> LevelChange | None:
    """The change of level on a given day; the parameters are as of :func:`change`. None where one
    side knows fewer than two days."""
    known = np.flatnonzero(np.isfinite(series) & np.isfinite(noise) & (noise > 0))
    early, place = known[known < reference], int((known < start).sum())
    if len(early) < 2 or place < 2 or len(known) - place < 2:
        return None
    values, spread = series[known], noise[known]
    level = np.average(values[: len(early)], weights=spread[: len(early)] ** -2.0)
    standard = (values[: len(early)] - level) / spread[: len(early)]
    freedom = max(len(early) - 1, 1)
    inflation = max(float((standard**2).sum() / freedom), 1.0)
    kept = memory(series[:reference])
    inflation *= (1 + kept) / (1 - kept)
    weights = spread**-2.0
    before, after = weights[:place].sum(), weights[place:].sum()
    size = np.average(values[place:], weights=weights[place:])
    size = size - np.average(values[:place], weights=weights[:place])
    return LevelChange(start, float(size), float(np.sqrt(inflation * (1 / before + 1 / after))))


def _where(standard: Array, earliest: int, least_days: int) -> int:
    """Index of the first day of the new level: ruptures' place, if it lies in the watched days;
    else, and where the watched days are few, their beginning."""
    import ruptures

    tail = len(standard) - earliest
    if tail >= 2 * least_days:
        search = ruptures.Binseg(model="l2", min_size=least_days, jump=1)
        place = int(search.fit(standard[:, None]).predict(n_bkps=1)[0])
        if earliest <= place <= len(standard) - least_days:
            return place
    return earliest
