"""Jumps of a channel's response, told from noise and from jumps of what platforms claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.lift.evidence import Breaks
from models.response.changepoints import BreakConfig, _bayes_factor, find_breaks
from models.response.fit import FitFeeds, ResponseConfig, find_mode, fit_response
from models.response.hierarchy import Hierarchy
from models.response.prior import Prior

CONFIG = ResponseConfig(fade_per_day=0.0, carryover_grid=(0.3,), spread_rounds=1, breaks=None)


def found_in(market: Any, *, claims: bool = True) -> Breaks:
    model = Hierarchy(market.gathered(claims=market.claims if claims else None), Prior())
    return find_breaks(model, find_mode(model, CONFIG))


@pytest.mark.parametrize("claims", [False, True])
@pytest.mark.parametrize("change", [0.6, -0.6])
def test_a_jump_of_one_channel_is_found_within_two_weeks_and_in_no_other(
    small_market: Callable[..., Any], claims: bool, change: float
) -> None:
    for seed in range(3):
        market = small_market(seed=seed, jump=(2, 12, change), noise=0.4)
        breaks = found_in(market, claims=claims)
        assert abs(breaks.response[2] - 7 * 12) <= 14
        np.testing.assert_array_equal(np.delete(breaks.response, 2), -1)
        np.testing.assert_array_equal(np.delete(breaks.claims, 2), -1)


def test_a_steady_market_has_no_break_in_at_least_nineteen_of_twenty_cases(
    small_market: Callable[..., Any],
) -> None:
    quiet = [not found_in(small_market(seed=seed)).any for seed in range(20)]
    assert sum(quiet) >= 19


def test_a_jump_of_the_claims_alone_is_not_taken_for_one_of_the_response(
    small_market: Callable[..., Any],
) -> None:
    for seed in range(3):
        breaks = found_in(small_market(seed=seed, claim_jump=(1, 10, 0.6), noise=0.3))
        np.testing.assert_array_equal(breaks.response, -1)
        assert abs(breaks.claims[1] - 7 * 10) <= 14
        np.testing.assert_array_equal(np.delete(breaks.claims, 1), -1)


def test_after_a_jump_the_curves_are_those_of_today(small_market: Callable[..., Any]) -> None:
    market = small_market(jump=(2, 12, 0.6), noise=0.4)
    mine = market.channel == 2
    truth = market.revenue(market.usual)[mine].sum()
    found = []
    for config in (ResponseConfig(), ResponseConfig(breaks=None)):
        fit = fit_response(
            FitFeeds(lifts=market.lifts, daily_spend=market.daily, claims=market.claims),
            config=config,
        )
        drawn = fit.curves.draw_revenue(market.usual)[:, mine].sum(axis=1)
        found.append((drawn.mean(), drawn.std()))
    (after, sd), (blind, _) = found
    assert after == pytest.approx(truth, abs=3 * sd)
    assert abs(after - truth) < abs(blind - truth)


def test_the_odds_of_a_jump_are_those_of_two_normal_models_integrated_out() -> None:
    """Against the multivariate normal density of the residuals themselves."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    slope, left = rng.uniform(0.5, 2, 9), rng.normal(size=9)
    config = BreakConfig(level=0.5, jump=0.7)
    before = (np.arange(9) < 4) * slope
    sums = np.array([slope @ slope, slope @ left, before @ before, before @ left])[:, None]
    none = np.eye(9) + 0.5**2 * np.outer(slope, slope)
    jump = none + 0.7**2 * np.outer(before, before)
    by_hand = multivariate_normal(cov=jump).logpdf(left) - multivariate_normal(cov=none).logpdf(
        left
    )
    assert _bayes_factor(sums, config).item() == pytest.approx(by_hand)


def test_fewer_than_four_weeks_show_no_break(small_market: Callable[..., Any]) -> None:
    assert not found_in(small_market(weeks=3, jump=(0, 1, 2.0), noise=0.05)).any
