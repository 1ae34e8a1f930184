"""What the other guardrails of a rollout look at, in the quick worlds: sales, conversions of the
holdouts' arms, their user-days and realized spend, by the recipes of ``liftloop.markets.feeds``.

Conversions of a control arm share the luck of the day's lift. User-days wobble as they do in life:
a common part that both arms of a cell share, and one of each arm that lasts for days, since the
same people come back; it makes shares vary about twice as much as independent users would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from benchmarks.canary_world import ADJUSTED, World
from liftloop.core.policy import Cell
from liftloop.core.sample_ratio import BEFORE_DAYS, ArmCounts, inflations
from liftloop.core.spend_guardrails import WINDOW_DAYS, Paced
from liftloop.markets.feeds import REPEAT_ORDERS, Orders

Array = NDArray[np.float64]
COMMON_WOBBLE = 0.05  # of a cell's user-days, on both arms alike
PEOPLE_RETURN = 0.7  # memory of an arm's own wobble


@dataclass(frozen=True)
class Feeds:
    """The luck of one world's days; the same luck whatever is exposed. Arrays (D, S, C)."""

    world: World
    luck: Array
    buying: Array
    treated: Array
    control: Array

    @classmethod
    def of(cls, world: World) -> Feeds:
        shape = world.cells.shape
        rng = np.random.default_rng((world.seed, 7))
        own = rng.normal(size=shape)
        own = own - own.mean(axis=2, keepdims=True)
        lifted = (world.lift_luck / world.lift_error)[:, :, None] / np.sqrt(shape[2]) + own
        luck = np.sqrt(ADJUSTED) * lifted + np.sqrt(1 - ADJUSTED) * rng.normal(size=shape)
        together = 1 + COMMON_WOBBLE * rng.normal(size=shape)

        def seen(people: Array) -> Array:
            fresh = rng.normal(size=shape) * np.sqrt(1 - PEOPLE_RETURN**2)
            lasting = lfilter([1.0], [1.0, -PEOPLE_RETURN], fresh, axis=0)
            wobble = np.sqrt(people) * (lasting + rng.normal(size=shape)) / np.sqrt(2)
            return np.asarray(np.maximum(np.round(people * together + wobble), 1.0))

        withheld, rest = _arms(world)
        return cls(
            world, luck, rng.normal(size=(2, *shape)), seen(np.broadcast_to(rest, shape)),
            seen(np.broadcast_to(withheld, shape)),
        )  # fmt: skip

    @property
    def days(self) -> pd.DatetimeIndex:
        first = self.world.start - timedelta(days=self.world.before)
        return pd.date_range(first, periods=len(self.world.cells))

    def sales(self, earned: Array) -> pd.DataFrame:
        """The feed ``sales``."""
        sold = self.world.organic + earned.sum(axis=2)
        return self._by_segment(revenue=sold)

    def bought(self, earned: Array) -> tuple[Array, Array]:
        """Conversions of the treated and of the control arms."""
        world, orders = self.world, Orders.of(self.world.constants)
        withheld, rest = _arms(world)
        sold = (world.organic + earned.sum(axis=2))[:, :, None]
        users = world.users[:, None]
        base = (sold - earned) / users
        miss = world.constants.revenue_sd * np.sqrt(withheld * rest / users) * -self.luck
        control = withheld * base + miss
        arms = [
            (sold - control, rest * base + earned, self.treated / rest),
            (control, withheld * base, self.control / withheld),
        ]
        treated, held = (
            np.maximum(orders.buyers(revenue=revenue, usual=usual, luck=luck), 0.0)
            * seen * (1 + REPEAT_ORDERS)
            for (revenue, usual, seen), luck in zip(arms, self.buying, strict=True)
        )  # fmt: skip
        return np.round(treated), np.round(held)

    def conversions(self, earned: Array) -> pd.DataFrame:
        """What ``incremental_conversions`` finds in the feeds."""
        treated, held = self.bought(earned)
        per_user = treated / self.treated - held / self.control
        lifted = (per_user * self.treated).sum(axis=2)
        return self._by_segment(conversions=lifted, spend=self.world.spend)

    def _by_segment(self, **values: Array) -> pd.DataFrame:
        names = self.world.segments
        frame = {
            "date": np.repeat(self.days, len(names)),
            "segment": np.tile(names, len(self.days)),
        }
        return pd.DataFrame({**frame, **{name: value.ravel() for name, value in values.items()}})

    def paced(self, *, since: date, as_of: date) -> tuple[Paced, ...]:
        """What ``realized`` finds in the feed ``performance``."""
        world = self.world
        first = max((since - world.start).days, (as_of - world.start).days - WINDOW_DAYS)
        rows = world.cells[world.before + first : world.before + (as_of - world.start).days]
        mean = rows.mean(axis=0) if len(rows) else np.full(world.budgets.shape, np.nan)
        return tuple(
            Paced(
                Cell(segment, channel), float(world.budgets[s, c]), float(mean[s, c]), len(rows)
            )
            for s, segment in enumerate(world.segments)
            for c, channel in enumerate(world.constants.channels)
        )  # fmt: skip

    @cached_property
    def _before(self) -> tuple[Array, Array, list[float]]:
        """Treated and control user-days before the start by cell, and the shares' inflation."""
        begin = max(self.world.before - BEFORE_DAYS, 0)
        treated, control = (
            users[begin : self.world.before].reshape(-1, 7, users[0].size).sum(axis=1)
            for users in (self.treated, self.control)
        )
        wider = inflations(list(zip(treated.T, control.T, strict=True)))
        return treated.sum(axis=0), control.sum(axis=0), wider

    def counted(self, *, days: int) -> tuple[ArmCounts, ...]:
        """What ``arm_counts`` finds in the feed ``holdout``, ``days`` after the start."""
        world = self.world
        after = slice(world.before, world.before + days)
        since = (users[after].sum(axis=0).ravel() for users in (self.treated, self.control))
        cells = [Cell(s, c) for s in world.segments for c in world.constants.channels]
        parts = zip(cells, *self._before[:2], *since, self._before[2], strict=True)
        return tuple(ArmCounts(cell, *(float(number) for number in told)) for cell, *told in parts)


def _arms(world: World) -> tuple[Array, Array]:
    """Users of a cell who are withheld, and the rest; shape (S, 1)."""
    users = world.users[:, None]
    withheld = np.clip(np.round(users * world.constants.holdout_share), 1, users - 1)
    return withheld, users - withheld


def frames(feeds: Feeds, earned: Array) -> Mapping[str, pd.DataFrame]:
    """The feeds as the product reads them, to hold the quick way against it."""
    world = feeds.world
    segments, channels = world.segments, world.constants.channels
    cells = pd.DataFrame(
        {
            "date": np.repeat(feeds.days, len(segments) * len(channels)),
            "segment": np.tile(np.repeat(segments, len(channels)), len(feeds.days)),
            "channel": np.tile(channels, len(segments) * len(feeds.days)),
        }
    )
    bought = feeds.bought(earned)
    arms = [
        cells.assign(arm=arm, users=users.ravel(), conversions=conversions.ravel())
        for arm, users, conversions in (
            ("treated", feeds.treated, bought[0]),
            ("control", feeds.control, bought[1]),
        )
    ]
    return {
        "performance": cells.assign(spend=world.cells.ravel()),
        "holdout": pd.concat(arms, ignore_index=True),
        "sales": feeds.sales(earned),
    }
