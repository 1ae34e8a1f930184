"""Markets: simulated worlds with a known truth, to prove the loop against."""

from liftloop.markets.broken_feeds import BrokenFeedsMarket
from liftloop.markets.families import (
    ExponentialMarket,
    JumpMarket,
    LargeMarket,
    LogMarket,
    PowerMarket,
    SCurveMarket,
    ThinMarket,
    UselessMarket,
    WalkMarket,
)
from liftloop.markets.hill import HillMarket
from liftloop.markets.synergy import SynergyMarket

__all__ = [
    "BrokenFeedsMarket",
    "ExponentialMarket",
    "HillMarket",
    "JumpMarket",
    "LargeMarket",
    "LogMarket",
    "PowerMarket",
    "SCurveMarket",
    "SynergyMarket",
    "ThinMarket",
    "UselessMarket",
    "WalkMarket",
]
