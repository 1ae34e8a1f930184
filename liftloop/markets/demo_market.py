"""The small market of ``liftloop demo``: few cells with plain names, and clear evidence."""

from __future__ import annotations

from decimal import Decimal

from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket


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
