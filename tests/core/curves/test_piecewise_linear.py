from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from liftloop.core.curves.piecewise_linear import UnitCurves, decreasing
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Cell


def two_cells() -> UnitCurves:
    # north: 10 of money at 3 each, then 20 at 1 each; south: 5 at 2, a single group
    return UnitCurves(
        cells=(Cell("north", "mail"), Cell("south", "mail")),
        knots=np.array([[0.0, 10.0, 30.0], [0.0, 5.0, 5.0]]),
        mean=np.array([[3.0, 1.0], [2.0, 0.0]]),
        draws=np.array([[[2.0, 1.0], [1.0, 0.0]], [[4.0, 1.0], [3.0, 0.0]]]),
    )


def test_revenue_by_hand() -> None:
    curves: ResponseCurves = two_cells()
    np.testing.assert_allclose(curves.mean_revenue(np.array([15.0, 2.0])), [35.0, 4.0])
    np.testing.assert_allclose(curves.mean_revenue(np.array([99.0, 99.0])), [50.0, 10.0])
    np.testing.assert_allclose(curves.draw_revenue(np.array([10.0, 5.0])), [[20, 5], [40, 15]])
    np.testing.assert_array_equal(curves.carryover, [0, 0])


def test_the_next_unit_of_money_belongs_to_the_next_group() -> None:
    curves = two_cells()
    np.testing.assert_allclose(curves.mean_marginal(np.array([0.0, 0.0])), [3.0, 2.0])
    np.testing.assert_allclose(curves.mean_marginal(np.array([10.0, 4.9])), [1.0, 2.0])
    np.testing.assert_allclose(curves.mean_marginal(np.array([30.0, 5.0])), [0.0, 0.0])


def test_curves_survive_a_file_without_pickle() -> None:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **two_cells().to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        again = UnitCurves.from_arrays(loaded)
    assert again.cells == two_cells().cells
    np.testing.assert_array_equal(again.draws, two_cells().draws)


def test_curves_of_another_kind_are_refused() -> None:
    arrays_ = two_cells().to_arrays() | {"kind": np.array("pooled")}
    with pytest.raises(ValueError, match="'pooled'"):
        UnitCurves.from_arrays(arrays_)


def test_harm_is_priced_and_goes_on_past_the_last_user() -> None:
    mean = np.array([[2.0, -1.0]])
    curves = UnitCurves((Cell("a", "b"),), np.array([[0.0, 1.0, 2.0]]), mean, mean[None])
    np.testing.assert_allclose(curves.mean_revenue(np.array([2.0])), [1.0])
    np.testing.assert_allclose(curves.mean_revenue(np.array([4.0])), [-1.0])
    np.testing.assert_allclose(curves.draw_revenue(np.array([4.0])), [[-1.0]])
    np.testing.assert_allclose(curves.mean_marginal(np.array([9.0])), [-1.0])


@pytest.mark.parametrize("mean", [[[1.0, 2.0]], [[-2.0, -1.0]], [[np.nan, 0.0]]])
def test_a_rising_or_unknown_marginal_is_refused(mean: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="marginal"):
        UnitCurves((Cell("a", "b"),), np.array([[0.0, 1.0, 2.0]]), np.array(mean), np.array([mean]))


def test_violators_are_pooled_by_hand() -> None:
    # 1 and 4 violate: their mean weighted 1 and 2 is 3
    np.testing.assert_allclose(
        decreasing(np.array([5.0, 1.0, 4.0, -1.0]), np.array([1.0, 1.0, 2.0, 1.0])),
        [5.0, 3.0, 3.0, -1.0],
    )


@given(
    arrays(float, (3, 7), elements=st.floats(-10, 10)),
    arrays(float, 7, elements=st.floats(0.1, 5)),
)
@settings(max_examples=60, deadline=None)
def test_pooling_keeps_the_total_and_its_own_fruit(values: np.ndarray, weights: np.ndarray) -> None:
    pooled = decreasing(values, weights)
    assert (np.diff(pooled, axis=1) <= 1e-9).all()
    np.testing.assert_allclose(pooled @ weights, values @ weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(decreasing(pooled, weights), pooled, rtol=1e-9, atol=1e-12)


@given(st.lists(st.floats(0, 60), min_size=2, max_size=2), st.floats(0, 20))
def test_revenue_never_falls_and_is_concave(spend: list[float], more: float) -> None:
    curves = two_cells()
    at = np.array(spend)
    first = curves.mean_revenue(at + more) - curves.mean_revenue(at)
    second = curves.mean_revenue(at + 2 * more) - curves.mean_revenue(at + more)
    assert (first >= -1e-9).all()
    assert (second <= first + 1e-9).all()
