"""Families of the base market: another curve, another drift, thinner evidence, more cells. All else
is :class:`~liftloop.markets.hill.HillMarket`, draw for draw.

Every curve is measured in its cell's m and K. At the spend K the exponential, logarithmic and power
curves earn what their own shape says of a curve of the same use there; see each class.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket
from liftloop.markets.streams import Array


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
            "search", "social", "video", "display", "audio", "affiliates", "retargeting", "outdoor",
        ),
    )  # fmt: skip
