"""Markets: simulated worlds with a known truth, to prove the loop against."""

from liftloop.markets.broken_feeds import BrokenFeedsMarket
from liftloop.markets.families import (
    ExponentialMarket,
    JumpMarket,
    LargeMarket,
    LogMarket,
    PowerMarket,
    SCurveMarket,
    SynergyMarket,
    ThinMarket,
    UselessMarket,
    WalkMarket,
)
from liftloop.markets.hill import HillMarket
from liftloop.markets.without_holdouts import (
    DemandMarket,
    OneSegmentMarket,
    PartHoldoutMarket,
    SalesMarket,
    UselessSalesMarket,
    VariedSalesMarket,
)

__all__ = [
    "BrokenFeedsMarket",
    "DemandMarket",
    "ExponentialMarket",
    "HillMarket",
    "JumpMarket",
    "LargeMarket",
    "LogMarket",
    "OneSegmentMarket",
    "PartHoldoutMarket",
    "PowerMarket",
    "SCurveMarket",
    "SalesMarket",
    "SynergyMarket",
    "ThinMarket",
    "UselessMarket",
    "UselessSalesMarket",
    "VariedSalesMarket",
    "WalkMarket",
]
