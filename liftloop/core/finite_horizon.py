"""The boundary of a rollout that ends: soon there when a policy harms, and nothing wasted on days
that never come.

A rollout looks at most once a day. With v the information so far, as a share of what a whole canary
gathers, its score process (:mod:`liftloop.core.sequential`) rolls back past

    height * max(v, START) ** DELTA

in the unit of a standard deviation at v = 1. Both parts are of the family of Wang and Tsiatis
(1987): the first is O'Brien and Fleming's (1979), under which the first days need a disaster; the
second is nearly Pocock's (1977, DELTA = 1/2), about as many standard errors on every day and a few
more on late ones, when most of what harms has been found. The height is the one that a policy that
changes nothing reaches at any planned look with the error probability that is due (Armitage,
McPherson and Rowe 1969), by a seeded simulation. What it depends on is known before the start.

Fewer looks cross less. Slower evidence crosses less too, although its looks are denser, since the
first part of the boundary does not care how often one looks and less of the second is reached. Past
the planned information a part of ``alpha``, kept back for it, holds for all time (a union bound),
at the half-normal mixture's boundary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from liftloop.core.sequential import log_e_value

Array = NDArray[np.float64]
PATHS = 40_000
SEED = 20_210
START, DELTA = 0.27, 0.57  # docs/decisions/0008 says what they were chosen by
TUNED = 20.0  # the mixture is tightest from about a quarter of the planned information on
BEYOND = 1.05  # noise may turn out a little smaller than before the start
KEPT_BACK = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """What was known before the start: the information (1 / share squared) the canary has gathered
    at its longest, after ``looks`` days that count, ``before_days`` after a mean was learned;
    ``wait_days`` pass before the first day counts and as many before it is known. ``lead``: of
    :func:`information_path`."""

    information: float
    looks: int
    before_days: int
    wait_days: int
    lead: float = 0.0

    @property
    def precision(self) -> float:
        """The mixture's rho."""
        return self.information / TUNED


@dataclass(frozen=True, slots=True)
class Calibration:
    """``height``: of the boundary up to ``BEYOND`` times the planned information, in standard
    deviations at the planned information; ``outside``: the mixture's error probability past it.
    ``money``: what the expected loss of a policy that changes nothing reaches with at most the
    chance ``money_chance``, and with at most ``money_adds`` before it has reached the boundary, in
    units of baseline / sqrt(planned information).
    """

    height: float
    outside: float
    money: float


def information_path(looks: int, before_days: int, lead: float = 0.0) -> Array:
    """Share of the planned information after each day that counts, up to ``BEYOND``: of a mean over
    i days, less one over ``before_days``. Where neighbouring days are alike, a mean of n days is
    worth one of n + ``lead`` days of less noise: with memory m, lead is 2 m / (1 - m)."""
    day = np.arange(1, 2 * looks + 1)
    path = (day + lead) / (day + before_days + 2 * lead)
    path = path / path[looks - 1]
    return np.asarray(path[(day <= looks) | (path <= BEYOND)])


def lead_of(first: float, *, looks: int, before_days: int) -> float:
    """The lead at which the first look has the share ``first`` of the planned information, rounded
    down to halves: a path that begins lower has denser looks, so the error is on the safe side."""
    found = 0.0
    while found < before_days and information_path(looks, before_days, found + 0.5)[0] <= first:
        found += 0.5
    return found


@lru_cache(maxsize=64)
def calibrate(
    looks: int,
    before_days: int,
    wait_days: int,
    alpha: float,
    money_chance: float = 0.01,
    money_adds: float = 0.001,
    lead: float = 0.0,
) -> Calibration:
    """By a seeded simulation of the score process; the same plan gives the same numbers."""
    path = information_path(looks, before_days, lead)
    highest = np.full(PATHS, -np.inf)
    for information, walked in _walks(path):
        highest = np.maximum(highest, _reached(walked, information))
    height = float(np.quantile(highest, 1 - (1 - KEPT_BACK) * alpha))
    failed, ever, added = np.zeros(PATHS, dtype=bool), np.zeros(PATHS), np.zeros(PATHS)
    for number, (information, walked) in enumerate(_walks(path[:looks])):
        failed |= _reached(walked, information) > height
        cost = walked / information * (number + 1 + 2 * wait_days)
        ever = np.maximum(ever, cost)
        added = np.maximum(added, np.where(failed, 0.0, cost))
    money = max(np.quantile(ever, 1 - money_chance), np.quantile(added, 1 - money_adds))
    return Calibration(height=height, outside=KEPT_BACK * alpha, money=float(money))


def _walks(path: Array) -> Iterator[tuple[float, Array]]:
    """The same score processes at every call, look by look; none is kept."""
    rng, walked, last = np.random.default_rng(SEED), np.zeros(PATHS), 0.0
    for information in path.tolist():
        walked = walked + math.sqrt(information - last) * rng.standard_normal(PATHS)
        last = information
        yield information, walked


def _reached(walked: Array, information: float) -> Array:
    return np.asarray(walked / max(information, START) ** DELTA)


def spent(plan: Plan, information: float, alpha: float) -> float:
    """The error probability at which the mixture's boundary is the plan's at ``information``."""
    found = calibrate(plan.looks, plan.before_days, plan.wait_days, alpha, lead=plan.lead)
    if information > BEYOND * plan.information:
        return found.outside
    share = max(information / plan.information, START)
    edge = found.height * share**DELTA * math.sqrt(plan.information)
    return min(math.exp(-log_e_value(edge, information, rho=plan.precision)), 0.99)
