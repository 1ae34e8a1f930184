"""What a market is: a simulated or replayed world that the loop can be driven against.

Anyone may bring one (``liftloop backtest --market MODULE:CLASS``). The loop sees the feeds and
nothing else; ``truth`` and ``expected`` are for scoring alone.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

import pandas as pd


@runtime_checkable
class Market(Protocol):
    """A world with a hidden truth. The same seed draws the same noise whatever the budgets are."""

    start: date
    """The first day of the loop's own control."""
    total_daily_budget: Decimal
    incumbent: pd.DataFrame
    """segment, channel, daily_budget (Decimal) in force at ``start``; sums to the total."""
    config: dict[str, Any]
    """Overrides, with the keys of the workspace's configuration file; may be empty."""

    def __init__(self, seed: int) -> None: ...

    def history(self) -> dict[str, pd.DataFrame]:
        """Feeds (any subset) for the days before ``start``."""
        ...

    def step(self, budgets: pd.DataFrame, days: int) -> dict[str, pd.DataFrame]:
        """Spend ``budgets`` (segment, channel, daily_budget) for the next ``days`` days and return
        their feeds, which may be late, missing, restated or broken, as real ones are."""
        ...

    def truth(self) -> pd.DataFrame:
        """date, segment, channel, incremental_revenue: expected, dated by the day it is earned,
        carry-over included."""
        ...


@runtime_checkable
class MarketWithOracle(Market, Protocol):
    """A market that can also say what budgets would earn. Without it no oracle is shown."""

    def expected(self, budgets: pd.DataFrame) -> pd.DataFrame:
        """segment, channel, incremental_revenue per day in the long run under today's truth."""
        ...
