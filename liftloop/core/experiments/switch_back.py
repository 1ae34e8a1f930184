"""What a switch-back experiment does to the sales of a segment, and how well it can be seen.

Turns of whole weeks come in pairs; in each the changed turn is drawn. The effect a day is the mean
over pairs of (changed turn - other turn), the first days of each turn left out. What the two turns
of a pair differ by without any change is known from pairs of the segment's own past: their mean
square is the variance, around 0, since the coin gives every difference either sign (randomization
inference; Fisher 1935; Bojinov, Simchi-Levi and Zhao 2023). Differences are shares of the pair's
level, so that a past at another level counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.experiments.design import (
    ASSUMED_CARRYOVER,
    felt_share,
    turn_weeks_of,
    washout_of,
)
from liftloop.core.experiments.power import ALPHA, Placebo, Precision

LEAST_PAIRS = 4  # of the past, to know how much two turns differ
MOST_PAIRS = 52
MEASURED_BY = "sales in turns"


@dataclass(frozen=True, slots=True)
class Turns:
    """How a switch-back is laid out: ``weeks`` of a turn, ``washout`` days left out at its
    start."""

    weeks: int
    washout: int

    @property
    def days(self) -> int:
        return 7 * self.weeks

    @property
    def compared(self) -> int:
        """Days of a turn that are compared."""
        return self.days - self.washout


@dataclass(frozen=True, slots=True)
class PastPairs:
    """What is known before: the mean ``square`` of a pair's relative difference, from ``pairs``
    pairs, the ``kurtosis`` of these differences around 0 (3 of a normal distribution), and the
    ``level`` of sales a day."""

    square: float
    pairs: int
    level: float
    kurtosis: float = 3.0

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the mean square, which wild pairs (a season, a sale) leave less
        certain: its variance is (kurtosis - 1) / pairs of its own square, that of a chi-square
        2 / freedom (Satterthwaite 1946). The mean itself is known to be 0."""
        return 2.0 * self.pairs / (max(self.kurtosis, 3.0) - 1.0)

    def standard_error(self, turns: Turns, *, pairs: int, level: float | None = None) -> float:
        """Of the summed effect over the changed days of ``pairs`` pairs."""
        at = self.level if level is None else level
        return float(at * np.sqrt(self.square / pairs) * pairs * turns.days)


def relative_differences(daily: Array, turns: Turns) -> tuple[Array, Array]:
    """Second turn less first, as a share of the two's mean, of each whole pair.

    Parameters
    ----------
    daily
        Sales by day from the first day of the first pair, shape (n_days,); days beyond the last
        whole pair are not looked at.

    Returns
    -------
    Differences and levels a day, each of shape (n_pairs,).
    """
    pairs = len(daily) // (2 * turns.days)
    wide = daily[: pairs * 2 * turns.days].reshape(pairs, 2, turns.days)[:, :, turns.washout :]
    first, second = wide.mean(axis=2).T
    level = (first + second) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((second - first) / level), np.asarray(level)


def past_pairs(before: Array, turns: Turns) -> PastPairs | None:
    """What the days before say, shape (n_days,), the last one the day before the test; None where
    they are too few, or nothing was sold."""
    pairs = min(len(before) // (2 * turns.days), MOST_PAIRS)
    if pairs < LEAST_PAIRS:
        return None
    differences, levels = relative_differences(
        before[len(before) - pairs * 2 * turns.days :], turns
    )
    if not (np.isfinite(differences).all() and (levels > 0).all()):
        return None
    square = float((differences**2).mean())
    if not square > 0:
        return None
    kurtosis = float((differences**4).mean()) / square**2
    return PastPairs(square, pairs, float(levels[-min(4, pairs) :].mean()), kurtosis)


def measured_turns(
    before: Array, inside: Array, turns: Turns, changed_first: Sequence[bool]
) -> tuple[float, float, float] | None:
    """The summed effect over the changed days, its standard error and degrees of freedom.

    Parameters
    ----------
    before, inside
        Daily sales before and in the test.
    changed_first
        Whether the first turn of each pair is the changed one.

    Returns
    -------
    None where the past is too short (:func:`past_pairs`).
    """
    past = past_pairs(before, turns)
    if past is None:
        return None
    differences, levels = relative_differences(inside, turns)
    pairs = min(len(differences), len(changed_first))
    if pairs < 1:
        return None
    sign = np.where(np.asarray(changed_first[:pairs]), -1.0, 1.0)
    effect = float((sign * differences[:pairs] * levels[:pairs]).mean()) * pairs * turns.days
    level = float(np.sqrt((levels[:pairs] ** 2).mean()))
    return effect, past.standard_error(turns, pairs=pairs, level=level), past.freedom


def placebo_turns(before: Array, turns: Turns, *, pairs: int, seed: int) -> Placebo:
    """How often a switch-back of nothing would have been called an effect: ``pairs`` pairs at each
    place of the past, their coins drawn by ``seed``, judged by what was known before alone."""
    from scipy import stats

    rng = np.random.default_rng([seed, 2])
    tests = false = 0
    least, length = LEAST_PAIRS * 2 * turns.days, pairs * 2 * turns.days
    for start in range(len(before) - length, least - 1, -turns.days):
        found = measured_turns(
            before[:start],
            before[start : start + length],
            turns,
            [bool(coin) for coin in rng.integers(0, 2, pairs)],
        )
        if found is not None:
            effect, error, freedom = found
            tests += 1
            false += bool(abs(effect) > stats.t.isf(ALPHA / 2, freedom) * error)
    return Placebo(tests, false)


def comparison_weights(turns: Turns, changed_first: Sequence[bool]) -> Array:
    """Weight of each day in the mean difference a day, shape (n_days,)."""
    kept = np.arange(turns.days) >= turns.washout
    one = kept / kept.sum() / len(changed_first)
    return np.concatenate(
        [np.concatenate([one, -one] if first else [-one, one]) for first in changed_first]
    )


def channel_carryovers(curves: ResponseCurves | None) -> dict[str, float]:
    """The longest carry-over of each channel's cells; none without a model."""
    known: dict[str, float] = {}
    if curves is not None:
        for cell, share in zip(curves.cells, curves.carryover, strict=True):
            known[cell.channel] = max(known.get(cell.channel, 0.0), float(share))
    return known


@dataclass(frozen=True, slots=True, eq=False)
class SwitchNoise:
    """What switch-back tests in one segment would be measured with: its daily sales ``before``,
    shape (n_days,), and the daily ``carryover`` of each channel."""

    before: Array
    carryover: Mapping[str, float]

    def turns(self, channel: str) -> Turns:
        """The shortest turns of which half is compared after the wash-out."""
        washout = washout_of(self.carryover.get(channel, ASSUMED_CARRYOVER))
        return Turns(turn_weeks_of(washout), washout)

    def precision(self, channel: str, weeks: int) -> Precision | None:
        """How the summed effect of a test of ``weeks`` weeks would be measured; None where they are
        no whole pairs of turns, or the past is too short."""
        turns = self.turns(channel)
        pairs, rest = divmod(weeks, 2 * turns.weeks)
        past = past_pairs(self.before, turns)
        if rest or not pairs or past is None:
            return None
        return Precision(past.standard_error(turns, pairs=pairs), past.freedom, MEASURED_BY)

    def felt(self, channel: str, weeks: int) -> float:
        """The share of a lasting effect that the comparison sees, 0 where there is none."""
        turns = self.turns(channel)
        pairs = weeks // (2 * turns.weeks)
        if not pairs:
            return 0.0
        firsts = [pair % 2 == 0 for pair in range(pairs)]
        on = np.concatenate([np.repeat([first, not first], turns.days) for first in firsts])
        carryover = self.carryover.get(channel, ASSUMED_CARRYOVER)
        return felt_share(on, comparison_weights(turns, firsts), carryover)
