"""Each family differs from the base market in what its name says, and in nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop import markets
from liftloop.core.policy import CENT
from liftloop.markets import (
    BrokenFeedsMarket,
    ExponentialMarket,
    HillMarket,
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
from liftloop.markets.protocol import MarketWithOracle
from liftloop.markets.scoring import oracle_plan, run_oracle

SHORT: dict[str, Any] = {"history_days": 14}


def short(kind: type[HillMarket], seed: int = 0, **changes: Any) -> HillMarket:
    return kind(seed, constants=replace(kind.constants, **{**SHORT, **changes}))


def expected(market: HillMarket, spend: np.ndarray) -> np.ndarray:
    cells = market.incumbent[["segment", "channel"]]
    told = market.expected(cells.assign(daily_budget=spend.ravel()))
    return told["incremental_revenue"].to_numpy().reshape(spend.shape)


@pytest.mark.parametrize("name", markets.__all__)
def test_every_family_keeps_the_contract(name: str) -> None:
    market = short(getattr(markets, name), 1)
    assert isinstance(market, MarketWithOracle)
    assert sum(market.incumbent["daily_budget"]) == market.total_daily_budget
    assert all(amount == amount.quantize(CENT) for amount in market.incumbent["daily_budget"])
    assert set(market.history()) == {"performance", "holdout", "sales"}
    market.step(market.incumbent, 2)
    truth = market.truth()
    assert len(truth) == 16 * len(market.incumbent)
    assert np.isfinite(truth["incremental_revenue"]).all()


@pytest.mark.parametrize(
    ("kind", "at_k", "at_3k"),
    [
        (ExponentialMarket, 1 - np.exp(-1), 1 - np.exp(-3)),
        (LogMarket, np.log(2), np.log(4)),
        (PowerMarket, 0.5, 0.5 * np.sqrt(3)),
    ],
)
def test_a_curve_earns_what_its_formula_says_in_units_of_m_k(
    kind: type[HillMarket], at_k: float, at_3k: float
) -> None:
    market, base = short(kind), short(HillMarket)
    nature = market._nature
    np.testing.assert_array_equal(nature.saturation, base._nature.saturation)
    unit = market.effects() * nature.saturation
    np.testing.assert_allclose(expected(market, nature.saturation) / unit, at_k)
    np.testing.assert_allclose(expected(market, 3 * nature.saturation) / unit, at_3k)


def test_an_s_curve_pays_more_per_unit_at_k_than_far_below_it() -> None:
    market = short(SCurveMarket)
    k = market._nature.saturation
    average = [expected(market, share * k) / (share * k) for share in (0.1, 1.0)]
    assert (average[0] < average[1] / 3).all()


def test_at_week_12_each_channel_jumps_by_a_factor_of_its_own() -> None:
    market, base = short(JumpMarket), short(HillMarket)
    for each in (market, base):
        each.step(each.incumbent, 83)
    np.testing.assert_array_equal(market.effects(), base.effects())
    for each in (market, base):
        each.step(each.incumbent, 1)
    factor = market.effects() / base.effects()
    np.testing.assert_allclose(factor, np.broadcast_to(factor[0], factor.shape))
    assert len(np.unique(factor[0].round(9))) == 5
    assert np.abs(np.log(factor[0])).max() > 0.2


def test_jumps_are_lognormal_with_the_stated_spread() -> None:
    jumps = np.log([short(JumpMarket, seed, history_days=1)._jump for seed in range(20)]).ravel()
    assert jumps.std() == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(2 * len(jumps)))
    assert jumps.mean() == pytest.approx(0.0, abs=3 * 0.5 / np.sqrt(len(jumps)))


def test_the_walk_is_stronger_than_the_base_and_shared_within_a_channel() -> None:
    walked = {}
    for kind in (HillMarket, WalkMarket):
        market = short(kind)
        before = market.effects()
        market.step(market.incumbent, 100)
        walked[kind] = np.log(market.effects() / before)
    assert walked[WalkMarket].std() > 2.5 * walked[HillMarket].std()
    between = walked[WalkMarket].mean(axis=0).var()
    assert between > walked[WalkMarket].var(axis=0).mean() / 10  # by cells alone: a tenth


def test_two_useless_channels_earn_nothing_and_claim_the_most() -> None:
    market = short(UselessMarket, 4)
    market.step(market.incumbent, 7)
    truth = market.truth().groupby("channel")["incremental_revenue"].sum()
    useless = truth.index[truth == 0]
    assert len(useless) == 2
    claimed = market.history()["performance"].groupby("channel")[["revenue", "spend"]].sum()
    roas = claimed["revenue"] / claimed["spend"]
    assert roas[useless].min() > 3
    assert set(UselessMarket(1)._nature.effect.sum(axis=0) == 0) == {True, False}


def test_thin_evidence_is_about_three_times_as_noisy() -> None:
    """sd 14 / 7 and sqrt((1/.05 + 1/.95) / (1/.1 + 1/.9)): 2 x 1.376."""

    def noise(kind: type[HillMarket]) -> float:
        market = short(kind)
        rows = market.history()["holdout"]
        wide = rows.pivot(
            index=["date", "segment", "channel"], columns="arm", values=["revenue", "users"]
        )
        mean = wide["revenue"] / wide["users"]
        lift = ((mean["treated"] - mean["control"]) * wide["users"]["treated"]).rename("lift")
        truth = market.truth().set_index(["date", "segment", "channel"])["incremental_revenue"]
        return float((lift - truth).std())

    assert noise(ThinMarket) / noise(HillMarket) == pytest.approx(2 * 1.376 * 0.95 / 0.9, rel=0.08)


def test_the_large_market_has_160_cells_and_the_same_money() -> None:
    market = LargeMarket(0)
    assert market.incumbent.groupby("segment")["channel"].nunique().tolist() == [8] * 20
    assert market.total_daily_budget == Decimal("100000.00")


def test_synergy_is_shared_out_so_that_cells_sum_to_what_all_earn() -> None:
    market = short(SynergyMarket)
    spend = market._incumbent
    which = {name: n for n, name in enumerate(market.constants.channels)}
    alone, together = market.response(spend), expected(market, spend)
    without = spend.copy()
    without[:, which["video"]] = 0.0
    dropped = expected(market, without)
    # without video, search earns what it earns alone and nobody else changes
    np.testing.assert_allclose(dropped[:, which["search"]], alone[:, which["search"]])
    lost = together.sum(axis=1) - dropped.sum(axis=1)
    assert (lost > alone[:, which["video"]]).all()
    np.testing.assert_allclose(market.contributions(spend)[1][:, which["video"]], lost)
    pair = together[:, which["social"]] + together[:, which["display"]]
    assert (pair < alone[:, which["social"]] + alone[:, which["display"]]).all()
    assert (together >= 0).all()


def test_a_holdout_shows_what_is_lost_without_the_channel() -> None:
    """(mean treated - mean control) x treated users, summed over a month, against the market's own
    ratio of what is lost to what is shared out. Nothing but luck and jitter lies between."""
    market = short(SynergyMarket, revenue_sd=0.05, history_days=28, history_jitter=0.0)
    keys = ["date", "segment", "channel"]
    wide = market.history()["holdout"].pivot(index=keys, columns="arm", values=["revenue", "users"])
    mean = wide["revenue"] / wide["users"]
    lift = ((mean["treated"] - mean["control"]) * wide["users"]["treated"]).groupby("channel").sum()
    truth = market.truth().groupby("channel")["incremental_revenue"].sum()
    shared, lost = (part.sum(axis=0) for part in market.contributions(market._incumbent))
    ratio = pd.Series(lost / shared, index=list(market.constants.channels))
    assert ratio["search"] > 1.05 and ratio["video"] > 1.05
    assert ratio["social"] < 0.95 and ratio["display"] < 0.95
    assert ratio["audio"] == 1.0
    np.testing.assert_allclose(lift / truth, ratio[truth.index], rtol=0.06)


def test_the_oracle_of_a_market_with_synergy_beats_its_neighbours() -> None:
    """No shift of money between any two of a few cells earns more than what is left of a step."""
    market = short(SynergyMarket, segments=("north", "south"))
    plan = oracle_plan(market, market.incumbent)
    best = market.expected(plan)["incremental_revenue"].sum()
    assert sum(plan["daily_budget"]) == market.total_daily_budget
    assert best > 1.02 * market.expected(market.incumbent)["incremental_revenue"].sum()
    spend = plan["daily_budget"].astype(float).to_numpy()
    for one in range(len(spend)):
        for other in range(len(spend)):
            shifted = spend.copy()
            move = min(300.0, shifted[other])
            shifted[one] += move
            shifted[other] -= move
            earns = market.expected(plan.assign(daily_budget=shifted))["incremental_revenue"].sum()
            assert earns <= best * (1 + 2e-5)


def test_under_the_same_budgets_broken_feeds_hide_the_same_truth() -> None:
    clean, broken = short(HillMarket, 7), short(BrokenFeedsMarket, 7)
    for _ in range(3):
        clean.step(clean.incumbent, 7)
        broken.step(broken.incumbent, 7)
    pd.testing.assert_frame_equal(clean.truth(), broken.truth())
    assert clean.incumbent.equals(broken.incumbent)


def test_broken_feeds_deliver_late_restate_repeat_and_lose_rows() -> None:
    clean, broken = short(HillMarket, 7), short(BrokenFeedsMarket, 7)
    told, sound = [broken.history()], [clean.history()]
    for _ in range(9):
        told.append(broken.step(broken.incumbent, 7))
        sound.append(clean.step(clean.incumbent, 7))
    performance = pd.concat([t["performance"] for t in told], ignore_index=True)
    keys = ["date", "segment", "channel"]
    rows = performance.dropna(subset=keys)
    reported = rows.groupby(keys)["reported_at"].nunique()
    assert (reported > 1).mean() > 0.08  # restated, or sent again as it should have been
    there = pd.MultiIndex.from_frame(pd.concat([s["performance"] for s in sound])[keys])
    lost = ~there.isin(pd.MultiIndex.from_frame(rows[keys]))
    assert 0.005 < lost[: len(lost) // 2].mean() < 0.06
    assert any(t["performance"]["spend"].astype(str).str.endswith("USD").all() for t in told)
    for number, week in enumerate(told[1:]):
        begun = broken.start + timedelta(days=7 * number)
        days = week["performance"]["date"].dropna()
        assert max(days) < begun + timedelta(days=7)
    held = pd.concat([t["holdout"] for t in told], ignore_index=True)
    arms = held[held["arm"].isin(["treated", "control"])].groupby("arm").size()
    assert arms["control"] < 0.985 * arms["treated"]


def test_the_oracle_uses_a_jump_at_once() -> None:
    market = short(JumpMarket, segments=("north", "south"))
    run_oracle(market, cycles=12)
    before = oracle_plan(market, market.incumbent)
    still = replace(market.constants, jump_day=None)
    calm = JumpMarket(0, constants=still)
    run_oracle(calm, cycles=12)
    assert not before.equals(oracle_plan(calm, calm.incumbent))
