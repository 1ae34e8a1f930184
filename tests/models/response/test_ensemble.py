"""Members weighed by what they predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell
from models.response.ensemble import (
    LEAST_SAY,
    EnsembleConfig,
    EnsembleFit,
    _weights,
    fit_ensemble,
    mix,
)
from models.response.fit import FitFeeds, ResponseConfig

RESPONSE = ResponseConfig(carryover_grid=(0.3,), draws=100)


def fitted(
    market: Any,
    config: EnsembleConfig | None = None,
    response: ResponseConfig = RESPONSE,
    **more: Any,
) -> EnsembleFit:
    feeds = FitFeeds(market.lifts, market.daily, claims=market.claims)
    return fit_ensemble(replace(feeds, **more), response=response, config=config)


def test_weights_sum_to_one_and_are_the_prior_times_the_tempered_likelihood(
    small_market: Callable[..., Any],
) -> None:
    config = EnsembleConfig()
    table = fitted(small_market(), config).table
    assert set(table.member) == {"calibrated", "curves", "pooled", "surface"}
    assert table.weight.sum() == pytest.approx(1.0)
    assert table.log_likelihood.notna().all()
    odds = table.prior * np.exp(0.5 * (table.log_likelihood - table.log_likelihood.max()))
    odds = odds.where(odds / odds.sum() >= LEAST_SAY, 0.0)  # a half draw is none
    np.testing.assert_allclose(table.weight, odds / odds.sum())
    np.testing.assert_array_equal(table.revenue.isna(), table.weight == 0)


def test_a_member_that_foretells_worse_by_ten_loses_to_one_with_the_same_prior() -> None:
    config = EnsembleConfig(prior={"curves": 0.5, "pooled": 0.5}, temper=0.5)
    told = {"curves": (-100.0, 0.9), "pooled": (-110.0, 0.9)}
    found = _weights(["curves", "pooled"], told, config)
    # odds e^(0.5 x 10)
    assert found["curves"] / found["pooled"] == pytest.approx(np.exp(5.0))
    nobody = {"curves": (-np.inf, np.nan), "pooled": (-np.inf, np.nan)}
    assert _weights(["curves", "pooled"], nobody, config) == {"curves": 0.5, "pooled": 0.5}


def test_a_member_whose_claims_do_not_follow_the_response_loses_its_weight(
    small_market: Callable[..., Any],
) -> None:
    """Claims linear in spend while the market saturates, and another factor in every cell."""
    honest = small_market(noise=0.3)
    lie = honest.claims.assign(claimed=0.0)
    spend = honest.lifts["spend"].to_numpy()
    factor = np.tile(np.exp(1.2 * np.random.default_rng(1).normal(size=40)), 20)
    config = EnsembleConfig(prior={"calibrated": 0.7, "pooled": 0.3})
    # a fit that must trust claims: this is what the ensemble is there to notice
    gullible = replace(RESPONSE, claim_spreads=(0.02,), claim_tilts=(0.05,), tilt_odds=(1.0,))
    said = fitted(honest, config, claims=lie.assign(claimed=3 * factor * spend), response=gullible)
    true = fitted(honest, config, response=gullible)
    assert said.weights["calibrated"] < 0.1
    assert true.weights["calibrated"] > 0.6


def test_with_too_little_evidence_the_weights_are_the_prior_ones(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(weeks=4)
    config = EnsembleConfig()
    found = fitted(market, config)
    assert found.table.log_likelihood.isna().all()
    # all four members fit 160 lifts
    assert found.weights == pytest.approx(dict(config.prior))


def test_without_claims_nobody_speaks_for_them(small_market: Callable[..., Any]) -> None:
    found = fitted(small_market(weeks=8), claims=None)
    assert set(found.table.member) == {"curves", "pooled", "surface"}
    assert found.table.weight.sum() == pytest.approx(1.0)


def test_trees_without_enough_lifts_have_no_say(small_market: Callable[..., Any]) -> None:
    # 4 cells x 10 weeks: 40 lifts, and trees ask for 80
    found = fitted(small_market(segments=2, channels=2, weeks=10))
    assert found.weights["surface"] == 0
    assert sum(found.weights.values()) == pytest.approx(1.0)


def constant(value: float, *, draws: int, carryover: float) -> SaturatingCurves:
    """Draws marked by their member's ``value`` and their own number."""
    m = np.column_stack([value + 0.001 * np.arange(draws)])
    return SaturatingCurves(
        cells=(Cell("s", "c"),),
        marginal_at_zero=m,
        half_saturation=np.ones((draws, 1)),
        carryover=np.array([carryover]),
        family="bent",
        bend=np.full((draws, 1), 2.0),
    )


def test_draws_of_the_mixture_are_in_proportion_to_the_weights_with_their_mirror_images() -> None:
    members = {
        "a": constant(1.0, draws=200, carryover=0.2),
        "b": constant(5.0, draws=4, carryover=0.4),
    }
    mixed = mix(members, {"a": 0.75, "b": 0.25}, draws=200)
    drawn = mixed.marginal_at_zero[:, 0]
    assert len(drawn) == 200
    assert (drawn < 2).sum() == 150
    assert (drawn > 4).sum() == 50
    of_a = drawn[drawn < 2]
    np.testing.assert_allclose(of_a[75:] - of_a[:75], 0.1)  # a draw and the one 100 further on
    np.testing.assert_allclose(mixed.carryover, 0.75 * 0.2 + 0.25 * 0.4)


def test_a_weight_of_less_than_half_a_pair_leaves_no_draw() -> None:
    members = {
        "a": constant(1.0, draws=20, carryover=0.2),
        "b": constant(5.0, draws=20, carryover=0.2),
    }
    mixed = mix(members, {"a": 0.96, "b": 0.04}, draws=20)
    assert (mixed.marginal_at_zero < 2).all()


def test_the_mixture_expects_the_weighted_mean_of_what_its_members_expect(
    small_market: Callable[..., Any],
) -> None:
    market = small_market()
    found = fitted(market)
    total = float(found.curves.mean_revenue(market.usual).sum())
    by_weight = float((found.table.weight * found.table.revenue).sum())
    # a member's share of 50 pairs is rounded, and only some of its draws are taken
    sd = found.curves.draw_revenue(market.usual).sum(axis=1).std()
    assert total == pytest.approx(by_weight, abs=0.5 * sd)
