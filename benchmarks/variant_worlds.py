"""Simulated cells whose variants earn differently: the five families of variant_shares.py.

A cell has 2 to 6 variants, 1,000 to 6,000 units a day and 1 to 5 % conversions; effects of variants
spread by 5 to 35 % around their mean. Weekday, season and chance move all variants' rates by about
a third together. A unit costs the same whichever variant it sees.

stationary   effects stay
drifting     each effect walks by 2 to 6 % a day, and one variant jumps by up to 50 % once
delayed      conversions come 1 to 10 days later, each variant at a speed of its own
fatigue      an effect falls by up to two thirds as a variant takes all units of the twelve weeks
new arms     one to three variants come later, and one goes
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from liftloop.core.arrays import Array, Mask
from liftloop.core.variant_tests.observations import VariantDays

DAYS = 84
FAMILIES = ("stationary", "drifting", "delayed", "fatigue", "new arms")
LATEST = 10  # days after which all conversions are known
START = np.datetime64("2026-01-05")


@dataclass
class World:
    """One cell over twelve weeks; :meth:`step` lives a day.

    Attributes
    ----------
    log_effects : of each variant and day, before fatigue, shape (v, DAYS)
    available : whether a variant can be shown on a day, shape (v, DAYS)
    level : common conversion rate of the days, shape (DAYS,)
    units : of the days, shape (DAYS,)
    tiring : fall of the log effect as all units of the twelve weeks are shown, shape (v,)
    arrival : fraction of a day's conversions known after 1, 2, … days, shape (v, LATEST + 1)
    """

    log_effects: Array
    available: Mask
    level: Array
    units: Array
    tiring: Array
    arrival: Array
    rng: np.random.Generator
    day: int = 0
    shown: Array = field(init=False)
    converted: Array = field(init=False)
    known: Array = field(init=False)
    earned: float = 0.0

    def __post_init__(self) -> None:
        shape = self.log_effects.shape
        self.shown, self.converted = np.zeros(shape), np.zeros(shape)
        self.known = np.zeros((*shape, LATEST + 1))

    @property
    def here(self) -> Mask:
        """Who can be shown today, shape (v,)."""
        return self.available[:, min(self.day, DAYS - 1)]

    @property
    def rates(self) -> Array:
        """Today's true conversion rates, shape (v,)."""
        tired = self.tiring * self.shown.sum(axis=1) / self.units.sum()
        return np.asarray(self.level[self.day] * np.exp(self.log_effects[:, self.day] - tired))

    def step(self, shares: Array) -> None:
        """Shows the day's units by ``shares`` (v,) and draws who converts and when."""
        shares = np.where(self.here, shares, 0.0)
        shown = np.rint(self.units[self.day] * shares / shares.sum())
        rates = self.rates
        self.earned += float(shown @ rates)
        self.shown[:, self.day] = shown
        converted = self.rng.binomial(shown.astype(int), np.minimum(rates, 1.0))
        self.converted[:, self.day] = converted
        left, before = converted, np.zeros(len(rates))
        for age in range(LATEST + 1):
            chance = (self.arrival[:, age] - before) / np.maximum(1 - before, 1e-12)
            new = self.rng.binomial(left, np.clip(chance, 0, 1))
            left, before = left - new, self.arrival[:, age]
            self.known[:, self.day, age] = converted - left
        self.day += 1

    def facts(self) -> VariantDays:
        """What is known on the morning of ``day`` of the days before it."""
        days = np.arange(self.day)
        age = np.minimum(self.day - 1 - days, LATEST)
        matured = np.maximum(self.arrival.mean(axis=0)[age], 1e-3)
        shown = self.shown[:, : self.day]
        names = tuple(f"v{i}" for i in range(len(shown)))
        value = self.known[:, days, age]
        return VariantDays(names, START + days, shown, shown * 0.01, value, value, matured)

    def complete(self, day: int) -> tuple[Array, Array]:
        """Units and conversions of a day whose conversions are all known, each (v,)."""
        return self.shown[:, day], self.converted[:, day]


def make_world(family: str, seed: int) -> World:
    """The cell of ``seed`` in a family; the same seed draws the same cell."""
    rng = np.random.default_rng((FAMILIES.index(family), seed))
    v = int(rng.integers(2, 7))
    effects = np.repeat(rng.normal(0, rng.uniform(0.05, 0.35), v)[:, None], DAYS, axis=1)
    day = np.arange(DAYS)
    season = 0.2 * np.sin(2 * math.pi * (day / rng.uniform(60, 200) + rng.uniform()))
    shocks = season + rng.normal(0, 0.15, 7)[day % 7] + rng.normal(0, 0.1, DAYS)
    level = np.exp(rng.uniform(math.log(0.01), math.log(0.05)) + shocks)
    units = np.exp(rng.uniform(math.log(1000), math.log(6000)) + rng.normal(0, 0.1, DAYS))
    available = np.ones((v, DAYS), dtype=bool)
    tiring = np.zeros(v)
    arrival = np.ones((v, LATEST + 1))
    if family == "drifting":
        effects += np.cumsum(rng.normal(0, rng.uniform(0.02, 0.06), (v, DAYS)), axis=1)
        effects[rng.integers(v), rng.integers(14, 70) :] += rng.uniform(-0.5, 0.5)
    elif family == "delayed":
        scale = rng.uniform(1.0, 5.0, v)
        arrival = 1 - np.exp(-np.arange(1, LATEST + 2) / scale[:, None])
        arrival = arrival / arrival[:, -1:]
    elif family == "fatigue":
        tiring = rng.uniform(0, 1.1, v)
    elif family == "new arms":
        new = int(rng.integers(1, 4))
        effects = np.vstack([effects, np.repeat(rng.normal(0, 0.2, new)[:, None], DAYS, axis=1)])
        available = np.vstack([available, np.zeros((new, DAYS), dtype=bool)])
        for i in range(new):
            available[v + i, rng.integers(10, 60) :] = True
        available[rng.integers(v), rng.integers(20, 70) :] = False
        tiring, arrival = np.zeros(v + new), np.ones((v + new, LATEST + 1))
    return World(effects, available, level, units, tiring, arrival, rng)
