"""Experiments on spend: where and when it is changed, and what may not move meanwhile.

A *geo* experiment changes one channel in some segments for whole weeks; the segments are drawn by a
seed from sets that can be measured about equally well. A *switch-back* changes it in turns of whole
weeks, two turns a pair, the first or the second of each by a coin (Bojinov, Simchi-Levi and Zhao
2023, "Design and analysis of switchback experiments"); the first days of a turn, in which the turn
before is still felt, are left out (wash-out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import combinations
from math import ceil, comb, log
from typing import Any, Final, Literal

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.experiments.power import WeeklySales
from liftloop.core.policy import Cell

GEO: Final = "geo"
SWITCH_BACK: Final = "switch-back"
Design = Literal["geo", "switch-back"]
FELT_AT_MOST = 0.1  # of the turn before, on the first day that is compared
ASSUMED_CARRYOVER = 0.5  # a day, where nothing is learned: nine tenths of an effect in four days
A_WEEK = 7
MOST_SETS = 400  # sets of segments that are compared before one is drawn
ABOUT_EQUAL = 0.8  # of the best set's spend by noise: sets that measure about as well
FEW_SETS, FAIR = 6, 0.5  # so many at least are drawn from, down to so much of the best one's


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment as it was planned.

    Attributes
    ----------
    change
        Share by which the spend of the tested cells changes; -1: off.
    start, end
        First and last day (both belong to it); whole weeks.
    seed
        Drew the segments, or which turn of each pair is changed.
    turn_weeks, washout_days, changed_first
        Of a switch-back: weeks of a turn, its first days that are not compared, and whether the
        first turn of each pair is the changed one. 0, 0 and () for a geo experiment.
    """

    name: str
    channel: str
    segments: tuple[str, ...]
    design: Design
    change: float
    start: date
    end: date
    seed: int
    turn_weeks: int = 0
    washout_days: int = 0
    changed_first: tuple[bool, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells whose spend is changed."""
        return tuple(Cell(segment, self.channel) for segment in self.segments)

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1

    @property
    def weeks(self) -> int:
        return self.days // A_WEEK

    @property
    def on(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether spend is changed, for each day of the experiment, shape (days,)."""
        if self.design == GEO:
            return np.ones(self.days, dtype=bool)
        turn = self.turn_weeks * A_WEEK
        return np.concatenate([np.repeat([first, not first], turn) for first in self.changed_first])

    def spans(self) -> tuple[tuple[date, date], ...]:
        """First and last days of the stretches with changed spend."""
        steps = np.diff(np.concatenate([[0], self.on.astype(int), [0]]))
        first, after = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        return tuple(
            (self.start + timedelta(days=int(a)), self.start + timedelta(days=int(b) - 1))
            for a, b in zip(first, after, strict=True)
        )

    def until(self, last: date) -> Experiment | None:
        """The same, ended on ``last``: whole weeks, or whole pairs of turns; None where less than
        one was run."""
        whole = A_WEEK if self.design == GEO else 2 * self.turn_weeks * A_WEEK
        units = ((min(last, self.end) - self.start).days + 1) // whole
        if units < 1:
            return None
        values = asdict(self) | {"end": self.start + timedelta(days=units * whole - 1)}
        if self.design == SWITCH_BACK:
            values["changed_first"] = self.changed_first[:units]
        return Experiment(**values)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; :meth:`from_dict` reads them."""
        return {**asdict(self), "start": self.start.isoformat(), "end": self.end.isoformat()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Experiment:
        """What :meth:`as_dict` wrote."""
        read = {
            "start": date.fromisoformat(values["start"]),
            "end": date.fromisoformat(values["end"]),
            "segments": tuple(values["segments"]),
            "changed_first": tuple(bool(first) for first in values["changed_first"]),
        }
        return cls(**{**values, **read})


def washout_of(carryover: float) -> int:
    """Days after which at most :data:`FELT_AT_MOST` of the turn before is felt, at most 14."""
    if carryover <= FELT_AT_MOST:
        return 1
    return min(ceil(log(FELT_AT_MOST) / log(min(carryover, 0.99))), 14)


def turn_weeks_of(washout_days: int) -> int:
    """Weeks of a turn, so that at least half of its days are compared."""
    return max(ceil(2 * washout_days / A_WEEK), 1)


def draw_turns(pairs: int, seed: int) -> tuple[bool, ...]:
    """Whether the first turn of each pair is the changed one: a coin a pair, drawn by ``seed``.

    The coins are independent, not balanced: sales that remember make neighbouring pairs differ in
    opposite directions, and coins that avoid each other would add these differences up.
    """
    coins = np.random.default_rng([seed, 3]).integers(0, 2, pairs)
    return tuple(bool(coin) for coin in coins)


def felt_share(on: np.ndarray[Any, np.dtype[np.bool_]], compared: Array, carryover: float) -> float:
    """The share of a lasting effect that the comparison of days sees.

    Parameters
    ----------
    on
        Whether spend is changed, shape (n_days,), from the first day of the test.
    compared
        Weight of each day in the comparison, shape (n_days,): its sum over effects is what is
        measured; positive where spend is changed. For a lasting effect they sum to 1 over ``on``.
    carryover
        Share of an effect that is still felt a day later (geometric).
    """
    level, felt = 0.0, np.zeros(len(on))
    for day, changed in enumerate(on):
        level = carryover * level + (1.0 - carryover) * float(changed)
        felt[day] = level
    return float(felt @ compared)


def equal_sets(
    spend: Mapping[str, float], sales: WeeklySales, *, size: int, seed: int
) -> list[tuple[str, ...]]:
    """Sets of ``size`` segments that measure a test about as well as the best: their spend over the
    noise of their contrast is at least :data:`ABOUT_EQUAL` of the best one's; where these are fewer
    than :data:`FEW_SETS`, at least :data:`FAIR` of it. At least half of the segments stay outside.

    Parameters
    ----------
    spend
        Daily spend of the channel by segment; those without are not tested.
    sales
        Weekly sales before the test.
    seed
        Draws which sets are compared where there are more than :data:`MOST_SETS`.

    Returns
    -------
    In alphabetical order; empty where no contrast can be made.
    """
    names = sorted(name for name, money in spend.items() if money > 0 and name in sales.segments)
    if not 1 <= size <= min(len(names), len(sales.segments) // 2):
        return []
    if comb(len(names), size) <= MOST_SETS:
        sets = list(combinations(names, size))
    else:
        rng = np.random.default_rng(seed)
        drawn = (rng.choice(len(names), size, replace=False) for _ in range(MOST_SETS))
        sets = sorted({tuple(sorted(names[int(i)] for i in one)) for one in drawn})
    clear: dict[tuple[str, ...], float] = {}
    for one in sets:
        contrast = sales.contrast(one)
        if contrast is not None:
            clear[one] = sum(spend[name] for name in one) / contrast.standard_error(1)
    if not clear:
        return []
    best = sorted(clear, key=lambda one: (-clear[one], one))
    top = clear[best[0]]
    kept = [one for one in best if clear[one] >= ABOUT_EQUAL * top]
    if len(kept) < FEW_SETS:
        kept = [one for one in best[:FEW_SETS] if clear[one] >= FAIR * top]
    return sorted(kept)


def draw_set(sets: Sequence[tuple[str, ...]], seed: int) -> tuple[str, ...]:
    """One of the sets, each as likely as any other."""
    return sets[int(np.random.default_rng([seed, 1]).integers(len(sets)))]
