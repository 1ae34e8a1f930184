"""A cycle through Prefect brings its budgets to the platforms, and goes on without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from flows.apply import apply
from flows.cycle import cycle
from liftloop.adapters.files.outbox import read_budgets
from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]
TARGETS = """
[[platforms.targets]]
name = "copy"
kind = "files"
path = "copy/budgets.csv"
[[platforms.targets]]
name = "away"
kind = "files"
path = "away/budgets.csv"
"""


def test_a_cycle_sets_its_budgets_and_tells_which_platform_is_away(
    shop: Workspace,
    small_market: DemoMarket,
    write_feeds: Callable[[Path, Mapping[str, pd.DataFrame]], None],
) -> None:
    with shop.config.open("a", encoding="utf-8") as config:
        config.write(TARGETS)
    (shop.root / "away").write_text("a file, where the platform's folder should be")
    write_feeds(shop.inbox, small_market.history())
    first = cycle(str(shop.root), small_market.start)
    (exported,) = shop.outbox.glob("budgets-*.csv")
    set_there = shop.root / "copy" / "budgets.csv"
    assert read_budgets(set_there) == read_budgets(exported)
    (sentence,) = first.waiting
    assert f"{first.decision_id} is in force, and 8 of its budgets do not stand on away" in sentence
    assert sentence in first.text

    again = cycle(str(shop.root), small_market.start)
    assert not again.changed
    assert again.waiting == first.waiting

    (shop.root / "away").unlink()
    assert apply(str(shop.root)) == []
    assert read_budgets(shop.root / "away" / "budgets.csv") == read_budgets(exported)
    assert cycle(str(shop.root), small_market.start).waiting == ()
