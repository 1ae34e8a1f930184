"""Rollouts on the base market in plain numpy: the constants of ``liftloop.markets.hill``, without
feeds and frames, so that thousands of rollouts are a matter of minutes.

Two things are simpler than in the market of the product: holdout lifts are drawn with their
variance (after the adjustment for covariates) instead of users by users, and amounts aren't
rounded to cents. ``tests/core/test_canary_simulation.py`` holds both against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from liftloop.core.daily_panels import Daily
from liftloop.core.rollout.assignment import CanaryChoice, choose_canary
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import make_nature
from liftloop.markets.streams import Streams

Array = NDArray[np.float64]
ADJUSTED = 0.95  # variance of a lift that the covariates leave, measured on the market's own feeds
SHARE, RAMP = 0.3, (0.6,)


@dataclass(frozen=True)
class World:
    """One market under unchanged ``budgets`` (S, C). Arrays begin with the day; ``cells`` (D, S, C)
    is what was spent, and ``fresh`` (D, S, C) what the day's spend will earn in all."""

    start: date
    before: int
    segments: tuple[str, ...]
    choice: CanaryChoice
    fresh: Array
    carry_over: Array
    organic: Array
    spend: Array
    lift_error: Array
    lift_luck: Array
    seed: int
    constants: HillConstants
    users: Array
    budgets: Array
    cells: Array

    def earned(self, kept: Array | None = None) -> Array:
        """Incremental revenue of each day and cell, where a share ``kept`` (D, S) of what spend
        earns is left."""
        fresh = self.fresh if kept is None else self.fresh * kept[:, :, None]
        found = np.empty_like(fresh)
        for channel, share in enumerate(self.carry_over):
            begin = share * self.fresh[0, :, channel]
            found[:, :, channel] = lfilter(
                [1 - share], [1, -share], fresh[:, :, channel], axis=0, zi=begin[None, :]
            )[0]
        return found

    def kept(self, loss: float, exposed: Mapping[str, date], leak: float = 0.0) -> Array:
        """What is left of the return: 1 less ``loss`` in exposed segments, and less ``leak`` times
        that in the others from the first day of the rollout on."""
        left = np.ones(self.organic.shape)
        day = np.arange(len(left))
        for column, name in enumerate(self.segments):
            if name in exposed:
                left[day >= self.before + (exposed[name] - self.start).days, column] -= loss
            elif leak:
                left[day >= self.before, column] -= leak * loss
        return left

    def facts(self, earned: Array) -> Daily:
        """What is known of these days."""
        total = earned.sum(axis=2)
        return Daily(
            self.start - timedelta(days=self.before),
            self.segments,
            total + self.lift_luck,
            self.lift_error,
            self.organic + total,
            self.spend,
        )


def simulate(seed: int, *, days: int = 70, constants: HillConstants | None = None) -> World:
    """One market, ``days`` after the start of a rollout in drawn segments."""
    const = constants or HillConstants()
    rng = np.random.default_rng(seed)
    nature = make_nature(const, Streams(seed))
    segments, channels = const.shape
    length = const.history_days + days
    budget = float(const.total_daily_budget)
    split = rng.dirichlet([const.split_concentration] * channels, size=segments)
    incumbent = nature.size[:, None] * split * budget
    blocks = -(-const.history_days // const.jitter_days)
    jitter = np.exp(const.history_jitter * rng.normal(size=(blocks, segments, channels)))
    past = np.repeat(jitter * incumbent, const.jitter_days, axis=0)[-const.history_days :]
    past *= budget / past.sum(axis=(1, 2), keepdims=True)
    planned = np.concatenate([past, np.broadcast_to(incumbent, (days, segments, channels))])
    spend = planned * (1 + const.spend_tolerance * rng.uniform(-1, 1, planned.shape))
    walk = const.effect_walk * np.cumsum(rng.normal(size=planned.shape), axis=0)
    level = (spend / nature.saturation) ** nature.exponent
    fresh = nature.effect * np.exp(walk) * nature.saturation * level / (1 + level)
    shock = rng.normal(size=(length, segments)) * np.sqrt(1 - const.noise_memory**2)
    shock[0] = rng.normal(size=segments)
    noise = const.segment_noise * lfilter([1.0], [1.0, -const.noise_memory], shock, axis=0)
    common = const.common_shock * rng.normal(size=(length, 1))
    first = const.start - timedelta(days=const.history_days)
    weekday = np.array(const.weekday)[(first.weekday() + np.arange(length)) % 7]
    usual = const.organic_revenue * weekday[:, None] * nature.size
    held = const.holdout_share
    deviation = const.revenue_sd * np.sqrt(channels * nature.users * (1 - held) / held * ADJUSTED)
    error = np.broadcast_to(deviation, (length, segments))
    organic = usual * np.maximum(1 + noise + common, 0.0)
    sold = organic + fresh.sum(axis=2)
    weekly = sold[: const.history_days // 7 * 7].reshape(-1, 7, segments).sum(axis=1)
    choice = choose_canary(
        dict(zip(const.segments, incumbent.sum(axis=1), strict=True)),
        share=SHARE,
        seed=seed,
        ramp=RAMP,
        history={name: weekly[:, k].tolist() for k, name in enumerate(const.segments)},
    )
    return World(
        const.start,
        const.history_days,
        const.segments,
        choice,
        fresh,
        nature.carryover,
        organic,
        spend.sum(axis=2),
        error,
        error * rng.normal(size=error.shape),
        seed,
        const,
        nature.users,
        incumbent,
        spend,
    )
