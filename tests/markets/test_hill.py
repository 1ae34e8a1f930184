from __future__ import annotations

import time
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.markets.constants import HillConstants
from liftloop.markets.families import DemoMarket
from liftloop.markets.hill import HillMarket, exact_cents
from liftloop.markets.protocol import Market, MarketWithOracle

SMALL = HillConstants(segments=("north", "south"), channels=("search", "video"), history_days=14)
STILL = replace(SMALL, effect_walk=0.0, spend_tolerance=0.0)


def budgets(market: HillMarket, factor: float = 1.0) -> pd.DataFrame:
    amounts = [float(amount) * factor for amount in market.incumbent["daily_budget"]]
    return market.incumbent.assign(daily_budget=amounts)


@pytest.mark.parametrize("kind", [HillMarket, DemoMarket])
def test_a_market_keeps_the_contract(kind: type[HillMarket]) -> None:
    market = kind(3)
    assert isinstance(market, Market)
    assert isinstance(market, MarketWithOracle)
    assert list(market.incumbent.columns) == ["segment", "channel", "daily_budget"]
    assert sum(market.incumbent["daily_budget"]) == market.total_daily_budget
    assert all(isinstance(amount, Decimal) for amount in market.incumbent["daily_budget"])
    history = market.history()
    assert set(history) == {"performance", "holdout", "sales"}
    assert max(history["performance"]["date"]) < market.start
    first = market.step(market.incumbent, 7)
    assert min(first["sales"]["date"]) == market.start
    assert first["sales"]["date"].nunique() == 7


def test_the_big_market_is_the_one_of_the_evidence() -> None:
    market = HillMarket(0)
    assert len(market.incumbent) == 50
    assert market.total_daily_budget == Decimal("100000.00")
    history = market.history()
    assert history["performance"]["date"].nunique() == 56
    daily = history["sales"].groupby("date")["revenue"].sum()
    incremental = market.truth().groupby("date")["incremental_revenue"].sum().mean()
    assert daily.mean() - incremental == pytest.approx(1_500_000, rel=0.05)
    arms = history["holdout"].groupby("arm")["users"].sum()
    assert arms["control"] / arms.sum() == pytest.approx(0.1, rel=1e-3)


def test_the_same_seed_draws_the_same_noise_under_other_budgets() -> None:
    calm, bold = HillMarket(5), HillMarket(5)
    first, second = calm.step(budgets(calm), 5), bold.step(budgets(bold, 0.3), 5)

    def organic(market: HillMarket, feeds: dict[str, pd.DataFrame]) -> pd.Series:
        truth = market.truth()
        won = truth[truth["date"] >= market.start].groupby(["date", "segment"])
        sold = feeds["sales"].set_index(["date", "segment"])["revenue"]
        return sold - won["incremental_revenue"].sum()

    pd.testing.assert_series_equal(organic(calm, first), organic(bold, second), atol=0.011)

    def luck(feeds: dict[str, pd.DataFrame]) -> pd.Series:
        return feeds["performance"]["spend"]

    np.testing.assert_allclose(luck(first) * 0.3, luck(second), atol=0.011)
    pd.testing.assert_series_equal(first["holdout"]["x_pre"], second["holdout"]["x_pre"])


def test_steps_of_any_length_lead_to_the_same_days() -> None:
    once, thrice = DemoMarket(2), DemoMarket(2)
    whole = once.step(once.incumbent, 6)
    parts = [thrice.step(thrice.incumbent, days) for days in (1, 2, 3)]
    for feed, frame in whole.items():
        joined = pd.concat([part[feed] for part in parts], ignore_index=True)
        pd.testing.assert_frame_equal(frame, joined)
    pd.testing.assert_frame_equal(once.truth(), thrice.truth())


def test_other_seeds_are_other_markets() -> None:
    assert not HillMarket(1).incumbent.equals(HillMarket(2).incumbent)


def test_an_impulse_of_spend_earns_its_whole_response_over_the_following_days() -> None:
    base, impulse = HillMarket(4, constants=STILL), HillMarket(4, constants=STILL)
    double = budgets(impulse, 2.0)
    base.step(budgets(base), 41)
    impulse.step(double, 1)
    impulse.step(budgets(impulse), 40)
    keys = ["segment", "channel"]
    extra = impulse.truth().set_index(["date", *keys]) - base.truth().set_index(["date", *keys])
    won = extra.groupby(keys)["incremental_revenue"].sum()
    due = (
        impulse.expected(double).set_index(keys)
        - impulse.expected(budgets(impulse)).set_index(keys)
    )["incremental_revenue"]
    np.testing.assert_allclose(won, due.reindex(won.index), rtol=1e-6)
    by_day = extra.groupby("date")["incremental_revenue"].sum().loc[base.start :]
    assert (by_day.diff().dropna() <= 1e-9).all()  # it only fades


def test_steady_budgets_earn_what_is_expected_of_them() -> None:
    market = HillMarket(6, constants=STILL)
    market.step(budgets(market, 0.5), 60)
    truth = market.truth()
    last = truth[truth["date"] == truth["date"].max()].drop(columns="date", inplace=False)
    pd.testing.assert_frame_equal(
        last.reset_index(drop=True), market.expected(budgets(market, 0.5)), rtol=1e-6
    )


def test_the_contracts_estimate_of_lift_is_unbiased_with_the_stated_standard_error() -> None:
    """(mean treated - mean control) x treated users against the truth, 20 markets x 14 days."""
    misses = []
    for seed in range(20):
        market = HillMarket(seed, constants=SMALL)
        rows = market.history()["holdout"].pivot(
            index=["date", "segment", "channel"], columns="arm", values=["users", "revenue"]
        )
        treated, control = rows["users"]["treated"], rows["users"]["control"]
        lift = (
            rows["revenue"]["treated"] / treated - rows["revenue"]["control"] / control
        ) * treated
        error = SMALL.revenue_sd * np.sqrt(1 / treated + 1 / control) * treated
        truth = market.truth().set_index(["date", "segment", "channel"])["incremental_revenue"]
        misses.append(((lift - truth.reindex(lift.index)) / error).to_numpy())
    standard = np.concatenate(misses)  # 1,120 standard normals if all is well
    assert abs(standard.mean()) < 4 / np.sqrt(len(standard))
    assert standard.std() == pytest.approx(1, abs=0.08)


def test_the_arms_of_a_channel_share_out_the_segments_sales() -> None:
    feeds = DemoMarket(1).history()
    arms = feeds["holdout"].groupby(["date", "segment", "channel"])["revenue"].sum()
    sales = feeds["sales"].set_index(["date", "segment"])["revenue"]
    for _, one in arms.groupby(level="channel"):
        total = one.droplevel("channel")
        np.testing.assert_allclose(total, sales.reindex(total.index), atol=0.011)


def test_the_variance_can_be_read_from_revenue_sq() -> None:
    holdout = HillMarket(0).history()["holdout"]
    mean = holdout["revenue"] / holdout["users"]
    variance = holdout["revenue_sq"] / holdout["users"] - mean**2
    assert np.sqrt(np.average(variance, weights=holdout["users"])) == pytest.approx(7.0, rel=0.05)


def test_x_pre_carries_a_part_of_the_luck_of_the_arms() -> None:
    market = HillMarket(0)
    rows = market.history()["holdout"].pivot(
        index=["date", "segment", "channel"], columns="arm", values=["users", "revenue", "x_pre"]
    )
    means = rows["revenue"] / rows["users"]
    users = 1 / rows["users"]["treated"] + 1 / rows["users"]["control"]
    truth = market.truth().set_index(["date", "segment", "channel"])["incremental_revenue"]
    noise = means["treated"] - means["control"] - (truth / rows["users"]["treated"])
    ahead = rows["x_pre"]["treated"] - rows["x_pre"]["control"]
    correlation = np.corrcoef(noise / np.sqrt(users), ahead / np.sqrt(users))[0, 1]
    assert correlation == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("seed", [0, 7])
def test_feeds_obey_the_rules_of_the_contract(seed: int) -> None:
    market = HillMarket(seed)
    feeds = {
        feed: pd.concat([before, after], ignore_index=True)
        for (feed, before), after in zip(
            market.history().items(), market.step(market.incumbent, 3).values(), strict=True
        )
    }
    performance, holdout, sales = feeds["performance"], feeds["holdout"], feeds["sales"]
    for frame in feeds.values():
        assert not frame.isna().any().any()
        assert (frame["reported_at"].dt.tz_convert("UTC").dt.hour == 5).all()
        assert (frame["reported_at"].dt.date > frame["date"]).all()
    assert not performance.duplicated(["date", "segment", "channel", "campaign", "creative"]).any()
    assert not holdout.duplicated(["date", "segment", "channel", "arm", "stratum"]).any()
    assert not sales.duplicated(["date", "segment"]).any()
    counts = performance[["spend", "impressions", "clicks", "conversions", "revenue"]]
    assert (counts >= 0).all().all()
    assert (performance["clicks"] <= performance["impressions"]).all()
    np.testing.assert_allclose(performance["spend"], performance["spend"].round(2))
    assert holdout["arm"].isin(["treated", "control"]).all()
    assert (holdout["converters"] <= holdout["users"]).all()
    assert (holdout["revenue"] ** 2 <= holdout["revenue_sq"] * holdout["converters"]).all()


def test_realized_spend_is_within_three_per_cent_of_the_budget() -> None:
    market = HillMarket(8)
    spent = market.step(market.incumbent, 30)["performance"].merge(
        market.incumbent, on=["segment", "channel"]
    )
    off = spent["spend"] / spent["daily_budget"].astype(float) - 1
    assert off.abs().max() <= 0.0305
    assert off.abs().max() > 0.025


def test_a_cell_without_budget_spends_and_claims_nothing_organic() -> None:
    market = DemoMarket(0)
    feeds = market.step(market.incumbent.iloc[1:], 1)
    first = market.incumbent.iloc[0]
    rows = feeds["performance"]
    row = rows[(rows["segment"] == first["segment"]) & (rows["channel"] == first["channel"])]
    assert row[["spend", "impressions", "clicks"]].to_numpy().sum() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channel": "carrier pigeon"}, "no cell"),
        ({"daily_budget": -1.0}, "no budget"),
        ({"daily_budget": float("nan")}, "no budget"),
    ],
)
def test_wrong_budgets_are_refused(change: dict[str, str] | dict[str, float], words: str) -> None:
    market = DemoMarket(0)
    with pytest.raises(ValueError, match=words):
        market.step(market.incumbent.assign(**change), 1)


def test_a_cell_named_twice_is_refused() -> None:
    market = DemoMarket(0)
    with pytest.raises(ValueError, match="two budgets"):
        market.step(pd.concat([market.incumbent, market.incumbent]), 1)


def test_history_is_handed_out_unharmed_each_time() -> None:
    market = DemoMarket(0)
    handed_out = market.history()["sales"]
    handed_out.loc[:, "revenue"] = 0.0
    assert (market.history()["sales"]["revenue"] > 0).all()


def test_shares_are_whole_cents_that_sum_to_the_total() -> None:
    shares = exact_cents(np.array([1.0, 1.0, 1.0]), Decimal("100.00"))
    assert shares.tolist() == [33.34, 33.33, 33.33]


def test_two_years_of_fifty_cells_are_made_in_seconds() -> None:
    began = time.process_time()
    market = HillMarket(0, constants=replace(HillConstants(), history_days=730))
    assert time.process_time() - began < 10
    assert market.history()["performance"]["date"].min() == date(2024, 1, 6)
