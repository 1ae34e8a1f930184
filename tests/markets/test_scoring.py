from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.markets.families import DemoMarket
from liftloop.markets.scoring import (
    captured_share,
    compare,
    earned,
    oracle_plan,
    run_never_moved,
    run_oracle,
)


class RootMarket:
    """Two cells that earn a_i x sqrt(spend): the best split is in proportion to a_i squared."""

    weights = np.array([3.0, 4.0])

    def __init__(self, seed: int = 0) -> None:
        self.start = date(2026, 1, 5)
        self.total_daily_budget = Decimal("100.00")
        self.incumbent = pd.DataFrame(
            {
                "segment": "all",
                "channel": ["a", "b"],
                "daily_budget": pd.Series([Decimal("50.00"), Decimal("50.00")], dtype=object),
            }
        )
        self.config: dict[str, Any] = {}
        self._days: list[pd.DataFrame] = []

    def history(self) -> dict[str, pd.DataFrame]:
        return {}

    def step(self, budgets: pd.DataFrame, days: int) -> dict[str, pd.DataFrame]:
        for _ in range(days):
            day = pd.Timestamp(self.start) + pd.Timedelta(days=len(self._days))
            self._days.append(self.expected(budgets).assign(date=day.date()))
        return {}

    def truth(self) -> pd.DataFrame:
        return pd.concat(self._days, ignore_index=True)

    def expected(self, budgets: pd.DataFrame) -> pd.DataFrame:
        ordered = budgets.sort_values("channel")
        spend = ordered["daily_budget"].astype(float).to_numpy()
        return ordered[["segment", "channel"]].assign(
            incremental_revenue=self.weights * np.sqrt(spend)
        )


class BlindMarket(RootMarket):
    expected = None  # type: ignore[assignment]

    def step(self, budgets: pd.DataFrame, days: int) -> dict[str, pd.DataFrame]:
        for n in range(days):
            day = (pd.Timestamp(self.start) + pd.Timedelta(days=n)).date()
            frame = budgets[["segment", "channel"]].assign(incremental_revenue=1.0, date=day)
            self._days.append(frame)
        return {}


def test_the_oracle_finds_the_split_that_can_be_computed_by_hand() -> None:
    market = RootMarket()
    plan = oracle_plan(market, market.incumbent)
    assert sum(plan["daily_budget"]) == Decimal("100.00")
    np.testing.assert_allclose(plan["daily_budget"].astype(float), [36.0, 64.0], atol=0.5)
    earns = market.expected(plan)["incremental_revenue"].sum()
    assert earns == pytest.approx(50.0, rel=1e-5)  # sqrt((9 + 16) x 100)


def test_the_step_limit_holds_the_oracle() -> None:
    market = RootMarket()
    plan = oracle_plan(market, market.incumbent, max_step=0.1)
    assert plan["daily_budget"].tolist() == [Decimal("45.00"), Decimal("55.00")]


def test_a_small_cell_may_move_by_a_tenth_of_the_average_cell() -> None:
    market = RootMarket()
    lopsided = market.incumbent.assign(daily_budget=np.array([Decimal("100.00"), Decimal("0.00")]))
    plan = oracle_plan(market, lopsided, max_step=0.25)
    assert plan["daily_budget"].tolist() == [Decimal("98.75"), Decimal("1.25")]


def test_never_moving_captures_nothing_and_the_oracle_everything() -> None:
    moved = compare(run_oracle(RootMarket(), cycles=2), RootMarket, cycles=2)
    assert moved.captured == pytest.approx(1.0)
    assert moved.oracle == pytest.approx(50 * 14, rel=1e-4)
    still = compare(run_never_moved(RootMarket(), cycles=2), RootMarket, cycles=2)
    assert still.captured == pytest.approx(0.0)
    assert still.never_moved == pytest.approx(7 * np.sqrt(50) * 14)
    assert still.captured_by_limit is not None
    assert 0 < still.captured_by_limit < 1


def test_a_market_that_cannot_say_what_budgets_earn_shows_no_oracle() -> None:
    told = compare(run_never_moved(BlindMarket(), cycles=1), BlindMarket, cycles=1)
    assert (told.oracle, told.captured) == (None, None)
    assert told.loop == 14.0


def test_the_share_over_runs_is_a_ratio_of_means() -> None:
    assert captured_share([15, 30], [10, 20], [20, 40]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="nothing to capture"):
        captured_share(1.0, 1.0, 1.0)


def test_only_days_under_the_loops_control_count() -> None:
    market = DemoMarket(0)
    assert earned(market) == 0.0
    market.step(market.incumbent, 2)
    assert earned(market) == pytest.approx(market.truth()["incremental_revenue"].tail(48).sum())


@pytest.mark.slow
def test_the_status_quo_leaves_about_as_much_room_as_the_evidence_says() -> None:
    """The prototype's 20 markets earned 64 to 92 % of the oracle. Ours follow the same constants
    with draws of their own: of seeds 0 to 19, 18 lie in that range and two a little below it (59
    and 60 %), so a captured share here is not to the point the prototype's."""
    from liftloop.markets.hill import HillMarket

    shares = []
    for seed in range(20):
        market = HillMarket(seed)
        plan = oracle_plan(market, market.incumbent)
        earns = [
            market.expected(one)["incremental_revenue"].sum() for one in (market.incumbent, plan)
        ]
        shares.append(earns[0] / earns[1])
    assert sum(0.64 <= share <= 0.92 for share in shares) == 18
    assert 0.59 < min(shares) < max(shares) < 0.92
    runs = [HillMarket(seed) for seed in range(4)]
    told = [
        compare(run_oracle(run, cycles=26, max_step=0.25), partial(HillMarket, s), cycles=26)
        for s, run in enumerate(runs)
    ]
    oracle = [t.oracle for t in told if t.oracle is not None]
    share = captured_share([t.loop for t in told], [t.never_moved for t in told], oracle)
    assert 0.9 < share < 1
