"""Platforms' claims as a proxy: never taken for incremental revenue, but of use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from models.response.fit import FitFeeds, ResponseConfig, ResponseFit, fit_response

Array = NDArray[np.float64]
CONFIG = ResponseConfig(carryover_grid=(0.3,), fade_per_day=0.002)
CHANNEL = "c1"


def fitted(market: Any, claims: pd.DataFrame | None, **more: Any) -> ResponseFit:
    feeds = FitFeeds(market.lifts, market.daily, claims=claims)
    return fit_response(replace(feeds, **more), CONFIG)


def earned(fit: ResponseFit, market: Any) -> Array:
    """Draws of revenue at the spend of late."""
    return fit.curves.draw_revenue(market.usual)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_claiming_ten_times_as_much_changes_nothing(
    small_market: Callable[..., Any], factor: float
) -> None:
    for seed in (0, 2):
        market = small_market(seed=seed)
        plain = earned(fitted(market, market.claims), market)
        loud = market.claims.copy()
        loud.loc[loud.channel == CHANNEL, "claimed"] *= factor
        moved = earned(fitted(market, loud), market)
        # only how a channel's claims differ between cells and weeks is looked at, never how much
        np.testing.assert_allclose(moved, plain, rtol=1e-6)


def test_claims_of_a_channel_without_lifts_change_nothing(
    small_market: Callable[..., Any],
) -> None:
    market = small_market()
    measured = market.lifts[market.lifts.channel != CHANNEL]
    unmeasured = market.claims[market.claims.channel == CHANNEL]
    without = fitted(market, None, lifts=measured)
    alone = fitted(market, unmeasured, lifts=measured)
    np.testing.assert_array_equal(without.curves.marginal_at_zero, alone.curves.marginal_at_zero)
    np.testing.assert_array_equal(without.curves.half_saturation, alone.curves.half_saturation)
    # nor beside the claims of others
    others = market.claims[market.claims.channel != CHANNEL]
    one, both = (fitted(market, claims, lifts=measured) for claims in (others, market.claims))
    np.testing.assert_array_equal(one.curves.marginal_at_zero, both.curves.marginal_at_zero)


def test_claims_narrow_and_better_what_noisy_lifts_say_of_each_cell(
    small_market: Callable[..., Any],
) -> None:
    errors, widths = [], []
    for seed in range(5):
        market = small_market(seed=seed, noise=1.5)
        truth = market.revenue(market.usual)
        drawn = [earned(fitted(market, c), market) for c in (None, market.claims)]
        errors.append([np.sqrt(((d.mean(axis=0) / truth - 1) ** 2).mean()) for d in drawn])
        widths.append([(d.std(axis=0) / truth).mean() for d in drawn])
    without, with_claims = np.mean(errors, axis=0)
    assert with_claims < 0.9 * without
    assert np.mean(widths, axis=0)[1] < np.mean(widths, axis=0)[0]


def contradicting(market: Any) -> pd.DataFrame:
    """Another factor in every cell, e^N(0, 1.2): nothing follows from what a cell claims."""
    rng = np.random.default_rng(5)
    wrong = np.exp(1.2 * rng.normal(size=len(market.channel)))
    weeks = len(market.claims) // len(wrong)
    claims: pd.DataFrame = market.claims
    return claims.assign(claimed=claims["claimed"] * np.tile(wrong, weeks))


def test_claims_that_contradict_the_lifts_from_cell_to_cell_lose_their_weight(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(noise=0.3)
    without = fitted(market, None)
    honest, wrong = (fitted(market, c) for c in (market.claims, contradicting(market)))
    assert wrong.diagnostics["own_claim_sd"] > 3 * honest.diagnostics["own_claim_sd"]
    assert wrong.diagnostics["own_claim_sd"] > 0.3
    plain, moved = earned(without, market), earned(wrong, market)
    gap = np.abs(moved.mean(axis=0) - plain.mean(axis=0)) / plain.std(axis=0)
    assert gap.mean() < 0.5


def test_a_useless_channel_that_claims_a_lot_is_worth_next_to_nothing(
    small_market: Callable[..., Any],
) -> None:
    """It claims a fifth of all sales, four times what the best channel earns."""
    market = small_market(returns=(3.0, 0.0, 1.2, 0.8))
    heavy = market.claims.copy()
    mine = heavy.channel == CHANNEL
    heavy.loc[mine, "claimed"] = 0.2 * heavy.sold[mine]
    fit = fitted(market, heavy)
    drawn = earned(fit, market)
    idle = market.channel == 1
    worth = drawn[:, idle].sum(axis=1).mean()
    assert heavy.claimed[mine].mean() > 5000
    assert worth < 0.05 * drawn.sum(axis=1).mean()
    # lifts of ten cells over twenty weeks settle the channel to 0.5 / sqrt(200) of a cell's spend
    assert worth / market.usual[idle].sum() < 3 * 0.5 / np.sqrt(200)


def test_the_factor_and_the_tilt_of_claims_are_learned_from_the_lifts(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(noise=0.2, organic=0.0)
    said = fitted(market, market.claims).diagnostics
    for channel, factor in zip(("c0", "c1", "c2", "c3"), (1.5, 2.0, 1.2, 3.0), strict=True):
        # 200 lifts of 0.2 cells' spend each, of a channel that earns about 0.6 of a cell's spend
        # or more: 0.2 / 0.6 / sqrt(200) = 2.4 %, and organic claims are told from others roughly
        assert said[f"claim_factor_{channel}"] == pytest.approx(factor, rel=0.25)


@pytest.mark.parametrize("unit", [0.01, 100.0])
def test_in_another_currency_the_curves_are_the_same(
    small_market: Callable[..., Any], unit: float
) -> None:
    plain, scaled = (small_market(unit=u) for u in (1.0, unit))
    one, other = (
        fit_response(FitFeeds(lifts=m.lifts, daily_spend=m.daily, claims=m.claims))
        for m in (plain, scaled)
    )
    np.testing.assert_allclose(
        other.curves.draw_revenue(scaled.usual),
        unit * one.curves.draw_revenue(plain.usual),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        other.curves.mean_marginal(scaled.usual), one.curves.mean_marginal(plain.usual), rtol=1e-6
    )


@pytest.mark.slow
def test_intervals_hold_what_they_promise_with_claims_whatever_the_bend(
    small_market: Callable[..., Any],
) -> None:
    """Curves are drawn from neither the prior's own spreads nor its family's middle."""
    inside, sums = [], []
    for seed in range(60):
        bend = (0.8, 2.0, 6.0)[seed % 3]
        market = small_market(seed=1000 + seed, segments=8, channels=3, bend=bend)
        drawn, truth = earned(fitted(market, market.claims), market), market.revenue(market.usual)
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        inside.append(((low <= truth) & (truth <= high)).mean())
        low, high = np.quantile(drawn.sum(axis=1), [0.05, 0.95])
        sums.append(low <= truth.sum() <= high)
    # measured .94 +- .006 (clustered by market) of cells and .88 +- .04 of sums
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)
    assert np.mean(sums) == pytest.approx(0.9, abs=0.12)
