"""The linear model of a channel's returns, against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.response.fit import FitFeeds, gather_all
from models.response.hierarchy import Hierarchy
from models.response.linear_returns import LinearReturns, average_returns, linear_returns
from models.response.prior import Prior
from tests.models.response.test_fit import World, experiments


def some(cells: int = 4, tests: int = 2, seed: int = 0) -> LinearReturns:
    rng = np.random.default_rng(seed)
    return LinearReturns(
        cells=np.arange(cells),
        precision=rng.uniform(0.5, 4.0, cells),
        moment=rng.normal(size=cells),
        loads=rng.normal(size=(tests, cells)),
        gains=rng.normal(size=tests),
        tests=np.arange(tests),
    )


def dense(one: LinearReturns, mean: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    precision = np.diag(one.precision + spread**-2) + one.loads.T @ one.loads
    side = one.moment + mean / spread**2 + one.loads.T @ one.gains
    return np.linalg.solve(precision, side), np.linalg.inv(precision)


def test_the_posterior_is_that_of_dense_algebra() -> None:
    one = some()
    mean, covariance = dense(one, 0.7, 0.3)
    np.testing.assert_allclose(one.solve(0.7, 0.3)[0], mean, rtol=1e-10)
    load = np.array([1.0, -2.0, 0.5, 0.0])
    found = one.spread_of(load, 0.7, 0.3)
    np.testing.assert_allclose(found, (load @ mean, load @ covariance @ load), rtol=1e-10)


def test_the_marginal_likelihood_is_the_density_of_what_was_seen() -> None:
    # each cell's lifts are one reading of its return with variance 1 / precision
    one = some(cells=3, tests=1, seed=1)
    readings = one.moment / one.precision
    design = np.vstack([np.eye(3), one.loads])
    noise = np.concatenate([1 / one.precision, np.ones(1)])
    seen = np.concatenate([readings, one.gains])

    def exact(mean: float, spread: float) -> float:
        covariance = spread**2 * design @ design.T + np.diag(noise)
        return float(stats.multivariate_normal(design.sum(axis=1) * mean, covariance).logpdf(seen))

    ours = one.solve(1.2, 0.4)[1] - one.solve(-0.3, 0.2)[1]
    assert ours == pytest.approx(exact(1.2, 0.4) - exact(-0.3, 0.2), rel=1e-9)


def test_draws_have_the_posterior_mean_and_covariance() -> None:
    one, rng = some(), np.random.default_rng(3)
    drawn = np.array([one.draw(0.7, 0.3, rng) for _ in range(4000)])
    mean, covariance = dense(one, 0.7, 0.3)
    error = np.sqrt(np.diag(covariance) / 4000)
    assert (np.abs(drawn.mean(axis=0) - mean) < 4 * error).all()
    np.testing.assert_allclose(drawn.var(axis=0), np.diag(covariance), rtol=0.12)


def test_the_likelihood_above_0_is_that_of_a_prior_cut_off_there() -> None:
    # one cell: the integral over r > 0 of likelihood times prior, over that of the prior
    one = LinearReturns(
        np.arange(1), np.array([4.0]), np.array([-1.0]), np.zeros((0, 1)), np.zeros(0), np.arange(0)
    )
    grid = np.linspace(0, 20, 400_001)
    prior = stats.norm.pdf(grid, 0.5, 0.4)
    likelihood = np.exp(-0.5 * 4.0 * grid**2 - 1.0 * grid)  # up to a constant
    cut = np.trapezoid(likelihood * prior, grid) / np.trapezoid(prior, grid)
    everywhere = np.linspace(-20, 20, 800_001)
    whole = np.trapezoid(
        np.exp(-2.0 * everywhere**2 - everywhere) * stats.norm.pdf(everywhere, 0.5, 0.4), everywhere
    )
    ours = one.log_likelihood_above(0.5, 0.4) - one.solve(0.5, 0.4)[1]
    assert ours == pytest.approx(np.log(cut / whole), abs=1e-5)


def test_what_curves_predict_of_a_test_is_linear_in_their_own_returns() -> None:
    world = World(3, 2, 8, noise=0.3, seed=4)
    test = experiments(world, "c1", ["s0", "s1"], delta=3000.0)
    evidence = gather_all(
        FitFeeds(lifts=world.lifts, daily_spend=world.daily, experiments=test), fade_per_day=0.0
    )
    model = Hierarchy(evidence, Prior())
    state = model.start(np.full(2, 0.3))
    predicted = model.predict(state.cells, state.carryover)
    returns = average_returns(model, state)
    channels = linear_returns(model, state)
    assert [len(one.gains) for one in channels] == [0, 1]
    tested = channels[1]
    ours = float(tested.loads[0] @ returns[tested.cells])
    error = evidence.tests[0].standard_error
    assert ours * error == pytest.approx(float(predicted.test[0]), rel=1e-9)
