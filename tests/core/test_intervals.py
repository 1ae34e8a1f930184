"""A mean is never outside the interval that is shown with it, whatever the draws."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers

from liftloop.core.curves.gain import Estimate, interval_around

DRAWS = numbers.arrays(
    float,
    numbers.array_shapes(min_dims=1, max_dims=1, min_side=1, max_side=200),
    elements=st.floats(-1e9, 1e9),
)


@given(DRAWS)
def test_the_mean_is_in_its_interval_and_nine_of_ten_draws_are(draws: np.ndarray) -> None:
    found = Estimate.of(draws)
    assert found.low <= found.mean <= found.high
    assert found.low <= np.quantile(draws, 0.05)
    assert found.high >= np.quantile(draws, 0.95)


@given(st.integers(0, 1000), st.floats(1.0, 6.0), st.sampled_from([-1.0, 1.0]))
def test_a_long_tail_moves_the_end_to_the_mean(seed: int, spread: float, sign: float) -> None:
    draws = sign * np.random.default_rng(seed).lognormal(0.0, spread, 300)
    found = Estimate.of(draws)
    low, high = np.quantile(draws, [0.05, 0.95])
    assert found.mean == draws.mean()
    assert (found.low, found.high) == (min(low, found.mean), max(high, found.mean))


def test_a_heavy_tail_is_one_whose_mean_the_quantiles_deny() -> None:
    draws = np.r_[np.ones(99), 10_000.0]
    assert np.quantile(draws, 0.95) == 1.0
    assert Estimate.of(draws) == Estimate(100.99, 1.0, 100.99)


def test_intervals_of_many_cells_are_each_around_their_own_mean() -> None:
    draws = np.random.default_rng(0).lognormal(0.0, [0.1, 5.0, 8.0], (400, 3))
    low, high = interval_around(draws.mean(axis=0), draws)
    assert low.shape == high.shape == (3,)
    assert (low <= draws.mean(axis=0)).all() and (draws.mean(axis=0) <= high).all()
    assert high[0] == np.quantile(draws[:, 0], 0.95)
