"""Markets of those who have no holdout, or not one in every channel: platform reports and sales.
All else is the base market, draw for draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from liftloop.markets.constants import HillConstants
from liftloop.markets.families import UselessMarket
from liftloop.markets.hill import HillMarket

Feeds = dict[str, pd.DataFrame]


class SalesMarket(HillMarket):
    """Performance and sales; holdouts in the channels ``held_out`` alone, by default in none."""

    held_out: tuple[str, ...] = ()

    def history(self) -> Feeds:
        return self._delivered(super().history())

    def step(self, budgets: pd.DataFrame, days: int) -> Feeds:
        return self._delivered(super().step(budgets, days))

    def _delivered(self, feeds: Feeds) -> Feeds:
        holdout = feeds["holdout"]
        return feeds | {"holdout": holdout[holdout["channel"].isin(self.held_out)]}


class VariedSalesMarket(SalesMarket):
    """Performance and sales, and a loop that varies its budgets on purpose."""

    def __init__(self, seed: int, *, constants: HillConstants | None = None) -> None:
        super().__init__(seed, constants=constants)
        self.config = {"exploration": {"vary": 0.2}}


class PartHoldoutMarket(SalesMarket):
    """Holdouts in two channels of five."""

    held_out = ("search", "social")


class UselessSalesMarket(SalesMarket):
    """Two channels, drawn by the seed, earn nothing and claim much."""

    constants = UselessMarket.constants


class OneSegmentMarket(SalesMarket):
    """One segment, six channels: a shop in one country."""

    constants = replace(
        HillConstants(),
        segments=("country",),
        channels=("search", "social", "video", "display", "audio", "affiliates"),
    )


class DemandMarket(SalesMarket):
    """What is spent follows demand, in history and under the loop: a day's spend rises with the
    weekday's usual demand and with what the segment sold on the day before beyond its usual."""

    _sold_before: Array | None = None  # over the usual, (S,)

    def delivered(self, budget: Array) -> Array:
        weekday = self.constants.weekday[self._today.weekday()]
        before = 1.0 if self._sold_before is None else self._sold_before
        return np.asarray(budget * weekday * np.broadcast_to(before, len(budget))[:, None])

    def _pass_organic_day(self, day: int) -> Array:
        organic = super()._pass_organic_day(day)
        weekday = self.constants.weekday[self._today.weekday()]
        usual = self.constants.organic_revenue * weekday * self._nature.size
        self._sold_before = organic / usual
        return organic
