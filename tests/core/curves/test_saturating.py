"""Curves as frozen parameters: shape, units, carry-over, and the way to disk and back."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.curves.saturating import (
    FAMILIES,
    SaturatingCurves,
    bent_shape,
    bent_slope,
    effective_spend,
    expected_until_next_cycle,
)
from liftloop.core.policy import Cell

CELLS = (Cell("eu", "search"), Cell("us", "search"))


def curves(family: str = "michaelis-menten", carryover: float = 0.5) -> SaturatingCurves:
    return SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=np.array([[2.0, 1.0], [4.0, 1.0]]),
        half_saturation=np.array([[100.0, 50.0], [100.0, 50.0]]),
        carryover=np.full(2, carryover),
        family=family,
    )


def test_at_the_half_saturation_half_of_the_most_is_earned_and_the_margin_is_a_quarter() -> None:
    spend = np.array([100.0, 50.0])
    # m K u / (1 + u) at u = 1 is m K / 2; the slope is m / 4
    np.testing.assert_allclose(curves().draw_revenue(spend), [[100, 25], [200, 25]])
    np.testing.assert_allclose(curves().mean_revenue(spend), [150, 25])
    np.testing.assert_allclose(curves().mean_marginal(spend), [0.75, 0.25])


@pytest.mark.parametrize("family", list(FAMILIES))
@given(spend=st.floats(0, 1e6), more=st.floats(1e-3, 1e6))
def test_every_family_starts_at_nothing_never_decreases_and_has_diminishing_returns(
    family: str, spend: float, more: float
) -> None:
    shape = curves(family)
    low, high = np.full(2, spend), np.full(2, spend + more)
    assert (shape.mean_revenue(np.zeros(2)) == 0).all()
    np.testing.assert_allclose(shape.mean_marginal(np.zeros(2)), [3.0, 1.0])
    assert (shape.mean_revenue(high) >= shape.mean_revenue(low)).all()
    assert (shape.mean_marginal(high) <= shape.mean_marginal(low)).all()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_marginal_return_is_the_slope_of_the_revenue(family: str) -> None:
    shape, spend, step = curves(family), np.array([70.0, 20.0]), 1e-4
    slope = (shape.mean_revenue(spend + step) - shape.mean_revenue(spend - step)) / (2 * step)
    np.testing.assert_allclose(shape.mean_marginal(spend), slope, rtol=1e-6)


def test_curves_of_many_cells_are_evaluated_in_parts_that_agree_with_the_whole() -> None:
    rng = np.random.default_rng(0)
    n = 1300
    many = SaturatingCurves(
        cells=tuple(Cell(f"s{i:04d}", "c") for i in range(n)),
        marginal_at_zero=rng.lognormal(0, 1, (3, n)),
        half_saturation=rng.lognormal(3, 1, (3, n)),
        carryover=np.zeros(n),
    )
    spend = rng.lognormal(3, 1, n)
    np.testing.assert_allclose(many.mean_revenue(spend), many.draw_revenue(spend).mean(axis=0))


def test_curves_survive_the_way_through_an_npz_file_without_pickle() -> None:
    stored = io.BytesIO()
    np.savez(stored, **curves().to_arrays())
    stored.seek(0)
    with np.load(stored, allow_pickle=False) as arrays:
        back = SaturatingCurves.from_arrays(arrays)
    assert back.cells == CELLS
    assert back.family == "michaelis-menten"
    for name in ("marginal_at_zero", "half_saturation", "carryover"):
        np.testing.assert_array_equal(getattr(back, name), getattr(curves(), name))


def test_effective_spend_forgets_at_the_pace_of_the_carry_over() -> None:
    # a week at 100, then two days at 0: 100 -> 50 -> 25
    daily = np.array([[100.0]] * 7 + [[0.0]] * 2)
    np.testing.assert_allclose(effective_spend(daily, np.array([0.5])), [25.0])
    np.testing.assert_allclose(effective_spend(daily, np.array([0.0])), [0.0])


def test_a_change_of_spend_earns_only_as_fast_as_the_carry_over_lets_it() -> None:
    spend, before = np.array([100.0, 50.0]), np.zeros(2)
    # day 1 at effective 50 % of the spend, day 2 at 75 %
    expected = expected_until_next_cycle(
        curves(), spend=spend, previous_effective_spend=before, days=2
    )
    by_hand = (curves().draw_revenue(spend * 0.5) + curves().draw_revenue(spend * 0.75)) / 2
    np.testing.assert_allclose(expected, by_hand)


def test_steady_spend_earns_its_curve_whatever_the_carry_over() -> None:
    spend = np.array([100.0, 50.0])
    expected = expected_until_next_cycle(
        curves(carryover=0.9), spend=spend, previous_effective_spend=spend, days=7
    )
    np.testing.assert_allclose(expected, curves().draw_revenue(spend))


# -- the family whose own parameter says how it saturates


def test_a_bend_of_two_is_michaelis_menten_one_a_logarithm_and_a_large_one_an_exponential() -> None:
    u = np.array([0.0, 0.1, 1.0, 7.0, 300.0])
    np.testing.assert_allclose(bent_shape(u, np.array(2.0)), u / (1 + u), rtol=1e-12)
    np.testing.assert_allclose(bent_shape(u, np.array(1.0)), 0.5 * np.log1p(2 * u), rtol=1e-12)
    # h' = (1 + 2 u / b)^-b tends to e^(-2 u), with an error of about 2 u^2 / b of it
    limit = -0.5 * np.expm1(-2 * u)
    np.testing.assert_allclose(bent_shape(u, np.array(1e7)), limit, rtol=1e-6)
    # next to the logarithm nothing is lost to rounding
    near = bent_shape(u, np.array(1.0 + 1e-7))
    np.testing.assert_allclose(near, bent_shape(u, np.array(1.0)), rtol=1e-6)


def test_a_bend_of_a_half_grows_like_a_root_far_out() -> None:
    # h(u) = b / (2 (1 - b)) ((1 + 2 u / b)^(1 - b) - 1): four times the spend, twice the revenue
    far = bent_shape(np.array([1e10, 4e10]), np.array(0.5))
    assert far[1] / far[0] == pytest.approx(2.0, rel=1e-4)
    by_hand = 0.5 * (np.sqrt(1 + 4 * 3.0) - 1)
    assert float(bent_shape(np.array(3.0), np.array(0.5))) == pytest.approx(by_hand)


@given(u=st.floats(1e-4, 1e3), log_bend=st.floats(-1.2, 2.5))
def test_the_slope_of_a_bent_curve_is_its_derivative(u: float, log_bend: float) -> None:
    at, bend, step = np.array(u), np.exp(np.array(log_bend)), 1e-5 * u
    rise = bent_shape(at + step, bend) - bent_shape(at - step, bend)
    # rounding: 1e-16 of h over a step of 1e-5 u, where h / u is at most 1
    assert float(rise / (2 * step)) == pytest.approx(
        float(bent_slope(at, bend)), rel=1e-6, abs=1e-9
    )


@given(u=st.floats(0, 1e4), more=st.floats(1e-3, 1e4), log_bend=st.floats(-1.2, 2.5))
def test_whatever_its_bend_a_curve_never_decreases_nor_becomes_steeper(
    u: float, more: float, log_bend: float
) -> None:
    bend = np.exp(np.array(log_bend))
    low, high = np.array(u), np.array(u + more)
    rounding = 1 - 1e-14
    assert bent_shape(high, bend) >= bent_shape(low, bend) * rounding
    assert bent_slope(high, bend) * rounding <= bent_slope(low, bend) <= 1.0
    # all begin alike, h'(u) = 1 - 2 u + ...
    assert float(bent_slope(np.array(1e-6), bend)) == pytest.approx(1 - 2e-6, abs=1e-11)


def bent() -> SaturatingCurves:
    return replace(curves(), family="bent", bend=np.array([[2.0, 1.0], [0.5, 2.0]]))


def test_draws_of_different_bends_are_each_evaluated_with_their_own() -> None:
    drawn = bent().draw_revenue(np.array([300.0, 50.0]))
    first = 2 * 100 * 3 / 4, 1 * 50 * 0.5 * np.log(3)  # u = 3 at bend 2; u = 1 at bend 1
    second = 4 * 100 * 0.5 * (np.sqrt(13) - 1), 1 * 50 / 2
    np.testing.assert_allclose(drawn, [first, second])
    np.testing.assert_allclose(bent().mean_revenue(np.array([300.0, 50.0])), drawn.mean(axis=0))
    slopes = bent().mean_marginal(np.array([300.0, 50.0]))
    np.testing.assert_allclose(slopes, [(2 / 16 + 4 / np.sqrt(13)) / 2, (1 / 3 + 1 / 4) / 2])


def test_bent_curves_survive_the_way_to_arrays_and_back() -> None:
    back = SaturatingCurves.from_arrays(bent().to_arrays())
    assert back.family == "bent"
    np.testing.assert_array_equal(back.bend, bent().bend)
    spend = np.array([300.0, 50.0])
    np.testing.assert_array_equal(back.draw_revenue(spend), bent().draw_revenue(spend))
    assert SaturatingCurves.from_arrays(curves().to_arrays()).bend is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"marginal_at_zero": np.array([[np.nan, 1.0]] * 2)}, "return at zero"),
        ({"half_saturation": np.zeros((2, 2))}, "half-saturation"),
        ({"carryover": np.array([1.0, 0.0])}, "carry-over"),
        ({"carryover": np.zeros(3)}, "carry-over"),
        ({"family": "cubic"}, "cubic"),
        ({"marginal_at_zero": np.ones((2, 3))}, "shape"),
        ({"family": "bent"}, "needs a bend"),
        ({"bend": np.ones((2, 2))}, "needs a bend"),
        ({"family": "bent", "bend": np.ones((3, 2))}, "bend has the shape"),
        ({"family": "bent", "bend": np.zeros((2, 2))}, "above 0"),
    ],
)
def test_parameters_that_make_no_curve_are_refused(change: dict[str, Any], words: str) -> None:
    given_arrays: dict[str, Any] = {
        "cells": CELLS,
        "marginal_at_zero": np.ones((2, 2)),
        "half_saturation": np.ones((2, 2)),
        "carryover": np.zeros(2),
    }
    with pytest.raises(ValueError, match=words):
        SaturatingCurves(**{**given_arrays, **change})
