"""Curves read off a LightGBM surface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InsufficientEvidence
from models.lift.evidence import gather
from models.response.gbm_surface import SurfaceConfig, _saturating, surface_of


def fit(market: Any, seed: int = 0) -> SaturatingCurves:
    config = SurfaceConfig(seed=seed)
    evidence = gather(
        lifts=market.lifts,
        daily=market.daily,
        experiments=None,
        fade_per_day=config.fade_per_day,
    )
    return surface_of(evidence, config)


def test_no_curve_of_the_surface_ever_falls_in_spend(small_market: Callable[..., Any]) -> None:
    # a market of noise alone: what would tempt trees to fall
    market = small_market(returns=(0.0, 0.0, 0.0, 0.0), noise=2.0)
    curves = fit(market)
    levels = np.linspace(0, 20_000, 60)
    revenue = np.array([curves.draw_revenue(np.full(40, x)) for x in levels])
    assert (np.diff(revenue, axis=0) >= 0).all()
    assert np.isfinite(revenue).all()
    assert (revenue[0] == 0).all()


def test_it_tells_channels_apart_and_knows_what_usual_spend_earns(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(noise=0.2)
    curves = fit(market)
    said, truth = curves.mean_revenue(market.usual), market.revenue(market.usual)
    for channel in range(4):
        mine = market.channel == channel
        assert said[mine].sum() == pytest.approx(truth[mine].sum(), rel=0.25)
    assert np.corrcoef(said, truth)[0, 1] > 0.8


def test_the_curve_through_points_of_a_michaelis_menten_curve_is_that_curve() -> None:
    spend = np.outer([0.25, 0.5, 1.0, 2.0], [100.0, 40.0])
    m, k = np.array([3.0, 0.5]), np.array([80.0, 90.0])
    found = _saturating(spend, m * spend / (1 + spend / k))
    np.testing.assert_allclose(found[0], m)
    np.testing.assert_allclose(found[1], k)


def test_points_on_a_straight_line_saturate_twenty_times_farther_out_than_they_reach() -> None:
    spend = np.outer([0.25, 0.5, 1.0, 2.0], [100.0])
    m, k = _saturating(spend, 1.5 * spend)
    assert k.item() == pytest.approx(20 * 200.0)
    assert m.item() == pytest.approx(1.5, rel=0.01)


def test_the_same_seed_gives_the_same_surface_and_another_one_resamples_other_weeks(
    small_market: Callable[..., Any],
) -> None:
    market = small_market()
    one, same, other = (fit(market, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.marginal_at_zero, same.marginal_at_zero)
    assert (one.marginal_at_zero != other.marginal_at_zero).any()


def test_too_few_lifts_for_trees_are_refused_in_words(small_market: Callable[..., Any]) -> None:
    market = small_market(segments=3, channels=2, weeks=10)  # 60 lifts, twice 40 are asked for
    with pytest.raises(InsufficientEvidence, match="too few lifts"):
        fit(market)
