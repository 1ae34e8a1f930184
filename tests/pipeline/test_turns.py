"""One segment: plan and reference take turns only where sales could tell the difference."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.transitions import Exposure, NewBudgets, begin, move
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.rollout import Proposed, RolloutInputs, decide
from liftloop.settings.schema import Settings

TODAY, BEGAN = date(2026, 4, 6), date(2026, 3, 30)
SEARCH, VIDEO = Cell("shop", "search"), Cell("shop", "video")
OLD = Policy.of({SEARCH: Decimal(1000), VIDEO: Decimal(1000)})
NEW = Policy.of({SEARCH: Decimal(1200), VIDEO: Decimal(800)})


def curves() -> SaturatingCurves:
    """Search returns much more than video: the plan gains about 300 a day."""
    level = np.exp(0.05 * np.random.default_rng(0).standard_normal((200, 2)))
    half = np.full((200, 2), 10_000.0)
    return SaturatingCurves((SEARCH, VIDEO), level * np.array([2.5, 0.7]), half, np.zeros(2))


def facts(noise: float, days: int) -> dict[str, pd.DataFrame]:
    """Sales of about 10,000 a day, each a share ``noise`` off."""
    rng = np.random.default_rng(1)
    when = pd.date_range(TODAY - timedelta(days=days), TODAY - timedelta(days=1))
    sold = 10_000 * (1 + noise * rng.standard_normal(len(when)))
    sales = pd.DataFrame({"date": when, "segment": "shop", "revenue": sold})
    spend = pd.concat(
        [sales.assign(channel=name, spend=1000.0, revenue=0.0) for name in ("search", "video")]
    )
    return {"sales": sales, "performance": spend, "holdout": pd.DataFrame()}


@pytest.mark.parametrize(
    ("noise", "days", "turn"),
    [(0.01, 120, True), (0.5, 120, False), (0.5, 40, True)],
    ids=["could tell", "could not tell", "not known yet"],
)
def test_turns_are_taken_where_they_could_tell(noise: float, days: int, turn: bool) -> None:
    begun = begin("r-1", on=BEGAN, reference=OLD.version, waves=1, baseline=3000.0)
    step = move(
        begun,
        Exposure((1,), 1.0),
        on=BEGAN,
        reason="",
        budgets=NewBudgets(version=NEW.version),
    )
    policies = {OLD.version: OLD, NEW.version: NEW}
    running = Running(step.after, (("shop",),), policies, NEW)
    inputs = RolloutInputs(
        Settings(),
        facts(noise, days),
        TODAY,
        NEW,
        Holds(),
        budgets=[(BEGAN, NEW)],
        curves=curves(),
    )
    found = decide(inputs, proposal=Proposed(NEW, "It pays."), running=running)
    assert (found.settlement.policy == OLD) == turn
    assert ("A week on the budgets" in found.settlement.reason) == turn
