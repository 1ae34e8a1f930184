"""Families of the base market: another curve, another drift, thinner evidence, more or fewer cells,
channels that meddle with each other. All else is
:class:`~liftloop.markets.hill.HillMarket`, draw for draw.

Every curve is measured in its cell's m and K. At the spend K the exponential, logarithmic and power
curves earn what their own shape says of a curve of the same use there; see each class.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from liftloop.core.arrays import Array
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket


class LogMarket(HillMarket):
    """m K log(1 + x / K): the marginal return is m at zero and never quite ends."""

    def response(self, spend: Array) -> Array:
        nature = self._nature
        return self.effects() * nature.saturation * np.log1p(spend / nature.saturation)


class ExponentialMarket(HillMarket):
    """m K (1 - exp(-x / K)): the marginal return is m at zero and ends soon after K."""

    def response(self, spend: Array) -> Array:
        nature = self._nature
        return self.effects() * nature.saturation * -np.expm1(-spend / nature.saturation)


class PowerMarket(HillMarket):
    """m K / 2 (x / K)^(1/2): an endless marginal return at zero and no saturation.

    At the spend K it earns m K / 2 with the marginal return m / 4, as the curve of Michaelis and
    Menten does, so that the evidence is as thin as on the base market.
    """

    exponent = 0.5

    def response(self, spend: Array) -> Array:
        nature = self._nature
        level = (spend / nature.saturation) ** self.exponent
        return self.effects() * nature.saturation / 2 * level


class SCurveMarket(HillMarket):
    """Hill curves with exponents of 2 to 3: little spend earns next to nothing."""

    constants = HillConstants(exponent=(2.0, 3.0))


class JumpMarket(HillMarket):
    """After 12 weeks all effects of a channel are multiplied by lognormal(0, 0.5), a draw each."""

    constants = HillConstants(jump_day=84)


class WalkMarket(HillMarket):
    """Effects wander three times as fast as on the base market: 1.2 % a day in each cell, and
    as much again in all cells of a channel together."""

    constants = HillConstants(effect_walk=0.012, channel_walk=0.012)


class UselessMarket(HillMarket):
    """Two channels, drawn by the seed, earn nothing; each claims 12 to 20 % of organic revenue."""

    constants = HillConstants(useless_channels=2)


class ThinMarket(HillMarket):
    """A user-day's revenue spreads twice as much, and only 5 % of users are withheld."""

    constants = HillConstants(revenue_sd=14.0, holdout_share=0.05)


class LargeMarket(HillMarket):
    """160 cells, 20 segments x 8 channels, that share the same money, users and sales."""

    constants = replace(
        HillConstants(),
        segments=tuple(f"segment_{number:02d}" for number in range(1, 21)),
        channels=(
            "search",
            "social",
            "video",
            "display",
            "audio",
            "affiliates",
            "retargeting",
            "outdoor",
        ),
    )


class SynergyMarket(HillMarket):
    """In every segment, with f the steady response of a channel alone:

    * ``video`` lifts ``search``: together they earn  f_search u lift  more, where u = x / (K + x)
      of video's spend;
    * ``social`` and ``display`` reach the same people: together they earn  f_s f_d / (f_s + f_d)
      x eaten  less than the sum.

    Truth gives each of a pair half of what only both can do (the Shapley value), so that the cells
    sum to the whole. A holdout shows what is lost without a channel: its own and all of the joint
    part. Platforms claim by the truth's share.
    """

    lifting, lifted, lift = "video", "search", 0.6
    eaters, eaten = ("social", "display"), 0.7

    def contributions(self, spend: Array) -> tuple[Array, Array]:
        alone = self.response(spend)
        which = {name: n for n, name in enumerate(self.constants.channels)}
        video, search = which[self.lifting], which[self.lifted]
        one, other = (which[name] for name in self.eaters)
        usage = spend[:, video] / (self._nature.saturation[:, video] + spend[:, video])
        more = self.lift * usage * alone[:, search]
        both = alone[:, one] + alone[:, other]
        less = self.eaten * alone[:, one] * alone[:, other] / (both + (both == 0))
        shared, lost = alone.copy(), alone.copy()
        for cells, joint in (((video, search), more), ((one, other), -less)):
            for cell in cells:
                shared[:, cell] += joint / 2
                lost[:, cell] += joint
        return shared, lost


class DemoMarket(HillMarket):
    """6 segments x 4 channels, 40,000 a day, half a year of history.

    Holdouts are larger and budgets were changed more boldly than in :class:`HillMarket`, so that a
    few weeks are enough to see the loop learn.
    """

    constants = HillConstants(
        segments=("north", "south", "east", "west", "central", "islands"),
        channels=("search", "social", "video", "display"),
        total_daily_budget=Decimal("40000.00"),
        history_days=182,
        history_jitter=0.3,
        organic_revenue=600_000.0,
        users=2_000_000,
        size_spread=0.35,
        holdout_share=0.15,
        revenue_sd=4.0,
        channel_effect_spread=0.7,
    )
