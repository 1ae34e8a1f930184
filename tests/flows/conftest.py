"""A small market for the flows: few cells, short history, a planted drift."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace

SETTINGS = {
    r"tuning_trials = \d+": "tuning_trials = 2",
    r"threads = \d+": "threads = 1",
    r"draws = \d+": "draws = 50",
}


@pytest.fixture(scope="session")
def small_market() -> DemoMarket:
    """4 segments x 2 channels, 12 weeks of history."""
    constants = replace(
        DemoMarket.constants,
        segments=("north", "south", "east", "west"),
        channels=("search", "social"),
        total_daily_budget=Decimal("12000.00"),
        history_days=84,
    )
    return DemoMarket(1, constants=constants)


@pytest.fixture
def shop(fresh_workspace: Workspace) -> Workspace:
    """A workspace with settings that make training quick."""
    text = fresh_workspace.config.read_text(encoding="utf-8")
    for pattern, words in SETTINGS.items():
        text, times = re.subn(rf"(?m)^{pattern}$", words, text)
        assert times == 1, pattern
    fresh_workspace.config.write_text(text, encoding="utf-8")
    return fresh_workspace


@pytest.fixture(scope="session")
def write_feeds() -> Callable[[Path, Mapping[str, pd.DataFrame]], None]:
    """Writes feeds into an inbox, a file each."""

    def write(inbox: Path, feeds: Mapping[str, pd.DataFrame]) -> None:
        for feed, frame in feeds.items():
            frame.to_csv(inbox / f"{feed}.csv", index=False)

    return write


@pytest.fixture(scope="session")
def drifted(small_market: DemoMarket) -> dict[str, pd.DataFrame]:
    """The market's history with the click rate of its last four weeks halved."""
    feeds = small_market.history()
    performance = feeds["performance"]
    late = pd.to_datetime(performance["date"]) >= pd.Timestamp(
        small_market.start - timedelta(days=28)
    )
    clicks = performance["clicks"].where(~late, performance["clicks"] // 2)
    return {**feeds, "performance": performance.assign(clicks=clicks)}
