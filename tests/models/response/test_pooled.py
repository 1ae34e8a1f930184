"""The plain baseline: Michaelis-Menten curves from lifts, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.response.ensemble import POOLED
from models.response.fit import FitFeeds, fit_response


def test_every_curve_is_michaelis_menten_with_the_same_carry_over(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(bend=1.0)
    curves = fit_response(FitFeeds(lifts=market.lifts, daily_spend=market.daily), POOLED).curves
    assert curves.bend is not None
    # its prior is a thousandth wide; draws clipped to the bounds are exactly at it
    np.testing.assert_allclose(curves.bend, 2.0, rtol=1e-9)
    np.testing.assert_array_equal(curves.carryover, 0.3)
    by_hand = curves.marginal_at_zero * 500 / (1 + 500 / curves.half_saturation)
    np.testing.assert_allclose(curves.draw_revenue(np.full(40, 500.0)), by_hand)


def test_it_finds_the_curves_of_a_market_of_its_own_kind(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(noise=0.05, weeks=30)
    fit = fit_response(FitFeeds(lifts=market.lifts, daily_spend=market.daily), POOLED)
    drawn, truth = fit.curves.draw_revenue(market.usual), market.revenue(market.usual)
    gap = np.abs(drawn.mean(axis=0) - truth) / drawn.std(axis=0)
    # a normal's largest of 40 is 2.5 on average; 4 is beyond chance
    assert gap.max() < 4.0
    assert drawn.mean(axis=0).sum() == pytest.approx(truth.sum(), rel=0.02)


def test_it_looks_at_no_jump_and_older_lifts_count_less(small_market: Callable[..., Any]) -> None:
    market = small_market(jump=(2, 12, 0.6), noise=0.2)
    mine = market.channel == 2
    faded, even = (
        fit_response(
            FitFeeds(lifts=market.lifts, daily_spend=market.daily),
            config=replace(POOLED, fade_per_day=fade),
        )
        .curves.mean_revenue(market.usual)[mine]
        .sum()
        for fade in (0.03, 0.0)
    )
    truth = market.revenue(market.usual)[mine].sum()
    assert even < faded < truth
