"""The boundary of a rollout that cannot go on for ever, with nothing wasted on days after it.

The half-normal mixture of :mod:`liftloop.core.sequential` holds for all time. A rollout looks at
most once a day and ends, so a lower threshold of the same e-value keeps the same promise: the one
that the e-value's highest value over all planned looks passes with probability ``alpha`` when
nothing changes. (Calibrating a boundary's threshold for a finite, discrete set of looks: Armitage,
McPherson and Rowe 1969; Howard et al. 2021, section 3.5, on tuning.) Where information grows
faster than planned the looks are coarser, and a path crosses less. Past the planned information a
twentieth of ``alpha``, kept back for it, holds for all time (a union bound).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Array = NDArray[np.float64]
PATHS = 40_000
SEED = 20_210
TUNED = 20.0  # the mixture is tightest from about a quarter of the planned information on
BEYOND = 1.5  # a ramp may gather so many times the information of the canary alone
KEPT_BACK = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What was known before the start: the information (1 / share squared) the canary has gathered
    at its longest, after ``looks`` days that count, ``before_days`` after a mean was learned;
    ``wait_days`` pass before the first day counts and as many before it is known."""

    information: float
    looks: int
    before_days: int
    wait_days: int

    @property
    def precision(self) -> float:
        """The mixture's rho."""
        return self.information / TUNED


@dataclass(frozen=True, slots=True)
class Calibration:
    """``inside``: the e-value's reciprocal threshold up to ``BEYOND`` times the planned
    information; ``outside``: past it. ``money``: what the expected loss of a policy that changes
    nothing reaches in at most 1 % of the cases, in units of baseline / sqrt(planned information).
    """

    inside: float
    outside: float
    money: float


def information_path(looks: int, before_days: int) -> Array:
    """Share of the planned information after each day that counts: a mean over i days, less one
    over ``before_days``; then a ramp, at twice the speed, up to ``BEYOND``."""
    day = np.arange(1, looks + 1)
    path = day / (day + before_days)
    path = path / path[-1]
    step = 2 * (path[-1] - path[-2] if looks > 1 else 1.0)
    return np.concatenate([path, np.arange(1 + step, BEYOND + step, step)])


@lru_cache(maxsize=64)
def calibrate(
    looks: int, before_days: int, wait_days: int, alpha: float, money_chance: float = 0.01
) -> Calibration:
    """By a seeded simulation of the score process; the same plan gives the same numbers."""
    path = information_path(looks, before_days)
    rng = np.random.default_rng(SEED)
    walked, highest = np.zeros(PATHS), np.full(PATHS, -np.inf)
    costliest = np.zeros(PATHS)
    rho, last = 1.0 / TUNED, 0.0
    for number, information in enumerate(path):
        walked = walked + math.sqrt(information - last) * rng.standard_normal(PATHS)
        last, width = information, information + rho
        log_e = 0.5 * math.log(4 * rho / width) + walked**2 / (2 * width)
        highest = np.maximum(highest, log_e + log_ndtr(walked / math.sqrt(width)))
        if number < looks:
            live = number + 1 + 2 * wait_days
            costliest = np.maximum(costliest, walked / information * live)
    level = float(np.quantile(highest, 1 - (1 - KEPT_BACK) * alpha))
    return Calibration(
        inside=max(math.exp(-level), alpha),
        outside=KEPT_BACK * alpha,
        money=float(np.quantile(costliest, 1 - money_chance)),
    )


def spent(plan: Plan, information: float, alpha: float) -> float:
    """The error probability at which the mixture's boundary is to be read at ``information``."""
    found = calibrate(plan.looks, plan.before_days, plan.wait_days, alpha)
    return found.inside if information <= BEYOND * plan.information else found.outside
