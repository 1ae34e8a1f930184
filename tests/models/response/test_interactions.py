"""Interactions between channels: found where they are and not where not; what is not kept is 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.core.curves.interacting import InteractingCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell
from models.gbm.booster import BoosterParameters
from models.lift.evidence import effective
from models.response.ensemble import EnsembleFit
from models.response.fit import FitFeeds, ResponseConfig, fit_mode, fit_response
from models.response.interactions import (
    InteractionConfig,
    Interactions,
    find_interactions,
    in_words,
    interacting,
    planned_gains,
    spike_and_slab,
)
from models.response.posterior import draw_curves
from models.response.train import HoldoutModel

FIT = ResponseConfig(
    draws=40,
    fade_per_day=0.0,
    carryover_grid=(0.3,),
    spread_rounds=1,
    holdout_days=0,
    breaks=None,
    claim_spreads=(0.15,),
    claim_tilts=(0.4,),
    tilt_odds=(1.0,),
)
Make = Callable[..., Any]


def meddled(
    make: Make, seed: int, *, elasticity: float = 0.0, drift: float = 0.0, common: float = 0.0
) -> Any:
    """A market of 8 segments and 3 channels in which c1's response is multiplied by c0's spend
    against its usual one to the power ``elasticity``; ``drift`` and ``common``: weekly steps of the
    random walk of each cell's response, and of each channel's."""
    market = make(seed=seed, segments=8, channels=3, weeks=16, claim_noise=0.05)
    rng = np.random.default_rng(1000 + seed)
    weeks, n = market.weeks, len(market.m)
    level = effective(market.daily.to_numpy(), np.full(n, 0.3)).reshape(weeks, 7, n).mean(axis=1)
    earned = np.array([market.revenue(spent) for spent in level])
    logs = np.cumsum(drift * rng.standard_normal((weeks, n)), axis=0)
    logs += np.cumsum(common * rng.standard_normal((weeks, 3)), axis=0)[:, market.channel]
    relative = np.log(level) - np.log(level).mean(axis=0)
    logs[:, market.channel == 1] += elasticity * relative[:, market.channel == 0]
    extra = earned * np.expm1(logs)
    claimed = np.array(market.factors)[market.channel] * extra
    market.lifts = market.lifts.assign(lift=market.lifts.lift + extra.ravel())
    market.claims = market.claims.assign(claimed=market.claims.claimed + claimed.ravel())
    return market


def find(market: Any, *, claimed: bool = True, **more: Any) -> Interactions:
    evidence = market.gathered(claims=market.claims if claimed else None)
    return find_interactions(*fit_mode(evidence, FIT), InteractionConfig(**more))


@pytest.mark.parametrize("elasticity", [0.3, -0.25])
def test_a_channel_that_lifts_or_eats_another_is_found_and_no_other_pair(
    small_market: Make, elasticity: float
) -> None:
    found = [find(meddled(small_market, seed, elasticity=elasticity)) for seed in range(6)]
    # a claim of 5 % noise, 0.3 of log spend, 8 x 16 weeks: 0.05 / 0.3 / 11 = 0.015 at the best, and
    # three times that with a part of the claims' weight and what own parameters absorb
    pairs = [one.table[one.table.kept] for one in found]
    seen = sum(len(one) > 0 for one in pairs)
    assert seen >= 5
    for kept in pairs:
        assert set(zip(kept["from"], kept["to"], strict=True)) <= {("c0", "c1")}
    mean = np.mean([one.elasticity[0, 1] for one in found if one.kept])
    assert mean == pytest.approx(elasticity, abs=0.05)
    intervals = pd.concat(pairs)
    assert (intervals["low"].le(elasticity) & intervals["high"].ge(elasticity)).sum() >= 4


@pytest.mark.parametrize(
    "walk", [{}, {"drift": 0.04}, {"common": 0.1}], ids=["still", "drifting", "channels drift"]
)
def test_markets_without_interactions_keep_none(small_market: Make, walk: dict[str, float]) -> None:
    kept = [find(meddled(small_market, seed, **walk)).kept for seed in range(200, 212)]
    # were the rate 1 in 20 a market, 3 or more of 12 would come up once in 50 times
    assert sum(count > 0 for count in kept) <= 2


def test_what_is_not_kept_is_exactly_nothing_and_the_curves_stay_the_same(
    small_market: Make,
) -> None:
    market = meddled(small_market, 3)
    evidence = market.gathered(claims=market.claims)
    model, state = fit_mode(evidence, FIT)
    found = find_interactions(model, state)
    assert found.kept == 0
    np.testing.assert_array_equal(found.elasticity, 0.0)
    assert len(found.table) == 6
    assert (found.table.words == "Not shown by the evidence.").all()
    curves = draw_curves(model, state, draws=FIT.draws, seed=0)
    assert interacting(curves, found) is curves


def test_kept_pairs_make_interacting_curves_around_the_usual_spend(small_market: Make) -> None:
    market = meddled(small_market, 0, elasticity=0.3)
    model, state = fit_mode(market.gathered(claims=market.claims), FIT)
    found = find_interactions(model, state)
    base = draw_curves(model, state, draws=FIT.draws, seed=0)
    curves = interacting(base, found)
    assert isinstance(curves, InteractingCurves)
    assert curves.inclusive
    # budgets wander around what is usual: its logs' mean, here of carried-over spend
    usual = np.log(market.daily.to_numpy()).mean(axis=0)
    np.testing.assert_allclose(np.log(curves.reference), usual, atol=0.15)
    np.testing.assert_allclose(curves.elasticity.mean(axis=0), found.elasticity, atol=1e-12)
    np.testing.assert_allclose(
        curves.draw_revenue(curves.reference), base.draw_revenue(curves.reference)
    )
    with_them, without = planned_gains(curves, market.usual)
    assert with_them >= without > 0


def test_one_joint_part_seen_from_both_sides_counts_once(small_market: Make) -> None:
    market = meddled(small_market, 0, elasticity=0.3)
    model, state = fit_mode(market.gathered(claims=market.claims), FIT)
    found = find_interactions(model, state)
    base = draw_curves(model, state, draws=FIT.draws, seed=0)
    elasticity = found.elasticity.copy()
    elasticity[1, 0] = 0.2
    both = Interactions(found.table, found.channels, elasticity, found.sd, found.usual)
    curves = interacting(base, both)
    assert isinstance(curves, InteractingCurves)
    np.testing.assert_allclose(curves.elasticity.mean(axis=0), elasticity / 2, atol=1e-12)


def precisely(make: Make) -> Make:
    """Markets whose lifts have a tenth of the noise."""
    return lambda **asked: make(noise=0.05, **asked)


def test_lifts_alone_can_show_an_interaction(small_market: Make) -> None:
    found = find(meddled(precisely(small_market), 1, elasticity=0.5), claimed=False)
    assert found.elasticity[0, 1] == pytest.approx(0.5, abs=0.1)
    assert found.kept == 1


def test_claims_that_follow_another_channel_against_the_lifts_are_no_interaction(
    small_market: Make,
) -> None:
    market = meddled(precisely(small_market), 2, elasticity=-0.2)
    market.claims = meddled(precisely(small_market), 2, elasticity=0.6).claims
    found = find(market)
    row = found.table[(found.table["from"] == "c0") & (found.table["to"] == "c1")].iloc[0]
    assert row.by_lifts < -1
    assert found.elasticity[0, 1] <= 0


def test_too_few_segments_or_weeks_tell_nothing(small_market: Make) -> None:
    few = small_market(segments=3, channels=2, weeks=12)
    short = small_market(segments=6, channels=2, weeks=5)
    alone = small_market(segments=6, channels=1, weeks=12)
    for market in (few, short, alone):
        found = find(market)
        assert found.kept == 0
        assert found.table.empty


def test_a_channel_missing_from_some_segments_is_no_trouble(small_market: Make) -> None:
    market = meddled(small_market, 4, elasticity=0.3)
    gone = (market.lifts.segment.isin(["s0", "s1"])) & (market.lifts.channel == "c0")
    market.lifts = market.lifts[~gone]
    claimed = market.claims.segment.isin(["s0", "s1"]) & (market.claims.channel == "c0")
    market.claims = market.claims[~claimed]
    market.daily = market.daily.drop(columns=[("s0", "c0"), ("s1", "c0")])
    found = find(market)
    assert len(found.usual) == 22
    assert np.isfinite(found.table.elasticity).all()


def test_spike_and_slab_agrees_with_the_sum_done_by_hand() -> None:
    config = InteractionConfig(shares=(0.1,), odds=(1.0,), spreads=(0.2,), note=0.0)
    noise = np.array([[1.0, 0.1], [0.1, 1.0]])
    found = np.array([[0.0, 0.3], [0.0, 0.0]])
    mean, sd, chance = spike_and_slab(found, noise, config)
    # held = 0.04 / 0.05; odds = 1/9 x sqrt(0.01 / 0.05) x exp(z^2 / 2 x held), z = 3 and 0
    assert mean[0, 1] == pytest.approx(0.24)
    assert sd[0, 1] == pytest.approx(np.sqrt(0.8) * 0.1)
    odds = np.sqrt(0.2) / 9 * np.exp([4.5 * 0.8, 0.0])
    np.testing.assert_allclose([chance[0, 1], chance[1, 0]], odds / (1 + odds))
    np.testing.assert_array_equal(np.diag(chance), 0.0)


def test_words_say_what_a_tenth_more_does() -> None:
    # 1.1^0.5 = 1.0488, 1.1^-0.5 = 0.9535
    assert in_words("video", "search", 0.5) == (
        "search earns about 4.9% more where video spends a tenth more."
    )
    assert "4.7% less" in in_words("social", "display", -0.5)


def test_a_holdout_model_reports_interactions_and_plans_with_them(small_market: Make) -> None:
    market = meddled(small_market, 0, elasticity=0.3)
    fit = fit_response(
        FitFeeds(lifts=market.lifts, daily_spend=market.daily, claims=market.claims), config=FIT
    )
    assert fit.mode is not None
    found = find_interactions(*fit.mode)
    ensemble = EnsembleFit(fit.curves, fit, pd.DataFrame({"member": ["curves"], "weight": [1.0]}))
    lifts = market.lifts.assign(variance_reduction=0.0)
    model = HoldoutModel(fit, ensemble, lifts, None, None, None, BoosterParameters(), found)
    assert isinstance(model.curves, InteractingCurves)
    said = model._about_interactions()
    assert said["interactions"] == 1
    assert said["gain_interacting"] >= said["gain_additive"]
    tables = model.tables()
    assert tables["interactions"].kept.sum() == 1
    # each cell's curve with the others at their present spend begins at what they alone leave
    shown = tables["curves"]
    assert np.isfinite(shown[["mean", "low", "high", "marginal"]]).all().all()
    deaf = replace(model, interactions=None)
    assert deaf.curves is fit.curves
    assert "interactions" not in deaf.tables()


def test_nothing_spent_gains_nothing() -> None:
    base = SaturatingCurves(
        cells=(Cell("s", "a"), Cell("s", "b")),
        marginal_at_zero=np.ones((1, 2)),
        half_saturation=np.ones((1, 2)),
        carryover=np.zeros(2),
    )
    curves = InteractingCurves(base, np.ones(2), ("a", "b"), np.zeros((1, 2, 2)), True)
    assert planned_gains(curves, np.zeros(2)) == (0.0, 0.0)
