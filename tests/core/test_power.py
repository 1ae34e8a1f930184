"""Power and standard errors agree with statsmodels, with closed forms and with simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower, TTestPower

from liftloop.core.curves import Array
from liftloop.core.power import (
    Precision,
    WeeklySales,
    detectable,
    joined,
    power,
)


@pytest.mark.parametrize("effect", [0.0, 0.4, -1.1, 3.0])
@pytest.mark.parametrize("n", [4, 9, 40])
def test_power_is_that_of_statsmodels_t_test(effect: float, n: int) -> None:
    theirs = TTestPower().power(effect_size=effect, nobs=n, alpha=0.05, alternative="two-sided")
    assert power(effect, n**-0.5, freedom=n - 1) == pytest.approx(theirs, abs=1e-8)


@pytest.mark.parametrize("effect", [0.0, 1.0, -2.8, 6.0])
def test_power_with_a_known_error_is_that_of_statsmodels_z_test(effect: float) -> None:
    theirs = NormalIndPower(ddof=0).power(effect_size=effect, nobs1=1, alpha=0.05, ratio=0)
    assert power(3 * effect, 3.0) == pytest.approx(theirs, abs=1e-8)


def test_no_effect_is_called_one_in_twenty_tests() -> None:
    assert power(0.0, 7.0) == pytest.approx(0.05)
    assert power(0.0, 7.0, freedom=5) == pytest.approx(0.05)
    assert power(1e6, 1.0, freedom=5) == 1.0
    assert all(power(x, 1.0, freedom=8) >= 0.999 for x in np.linspace(8.0, 40.0, 200))


def test_the_detectable_effect_is_found_four_times_in_five() -> None:
    # the textbook's 2.8 standard errors
    assert detectable(1.0) == pytest.approx(stats.norm.isf(0.025) + stats.norm.isf(0.2), abs=1e-4)
    theirs = TTestPower().solve_power(nobs=9, alpha=0.05, power=0.8, alternative="two-sided")
    assert detectable(5.0 / 3.0, freedom=8) == pytest.approx(5.0 * theirs, rel=1e-5)
    assert power(-detectable(2.0, freedom=6), 2.0, freedom=6) == pytest.approx(0.8, abs=1e-7)


def market(weeks: int, rng: np.random.Generator, *, memory: float = 0.0) -> Array:
    """Sales of four segments with one common season, and noise of 3 % of their own."""
    sizes = np.array([4.0, 3.0, 2.0, 1.0]) * 1e5
    noise = rng.normal(size=(weeks, 4))
    for week in range(1, weeks):
        noise[week] = memory * noise[week - 1] + np.sqrt(1 - memory**2) * noise[week]
    season = 1.0 + 0.1 * np.sin(np.pi * np.arange(weeks) / 2)  # whole in four weeks
    return np.asarray(sizes * season[:, None] * (1 + 0.03 * noise))


def test_the_standard_error_of_a_contrast_is_that_of_simulated_tests() -> None:
    """3,000 simulated tests without an effect: the spread of their results, how often the test
    says otherwise, and how often it finds the effect it is said to find."""
    rng = np.random.default_rng(7)
    before, during, worlds = 16, 4, 3000
    results, errors, freedoms = np.empty(worlds), np.empty(worlds), np.empty(worlds)
    for world in range(worlds):
        revenue = market(before + during, rng)
        sales = WeeklySales(("a", "b", "c", "d"), revenue[:before])
        contrast = sales.contrast(["b", "d"])
        assert contrast is not None
        ours, theirs = revenue[:, [1, 3]].sum(axis=1), revenue[:, [0, 2]].sum(axis=1)
        ratio = ours[:before].sum() / theirs[:before].sum()
        results[world] = (ours - ratio * theirs)[before:].sum()
        errors[world], freedoms[world] = contrast.standard_error(during), contrast.freedom
    assert np.sqrt((errors**2).mean()) == pytest.approx(results.std(), rel=0.05)
    edge = stats.t.isf(0.025, before - 1)
    false = (np.abs(results / errors) > edge).mean()
    assert false == pytest.approx(0.05, abs=0.015)
    effect = detectable(float(results.std()), freedom=before - 1)
    found = (np.abs((results + effect) / errors) > edge).mean()
    assert found == pytest.approx(0.8, abs=0.04)


def test_weeks_that_remember_widen_the_error() -> None:
    rng = np.random.default_rng(3)
    fresh = [WeeklySales(("a", "b", "c", "d"), market(52, rng)).contrast(["a"]) for _ in range(40)]
    held = [
        WeeklySales(("a", "b", "c", "d"), market(52, rng, memory=0.5)).contrast(["a"])
        for _ in range(40)
    ]
    ratio = np.mean([c.variance for c in held if c]) / np.mean([c.variance for c in fresh if c])
    assert ratio == pytest.approx((1 + 0.5) / (1 - 0.5), rel=0.3)


def test_nothing_is_said_without_control_segments_weeks_or_sales() -> None:
    revenue = market(20, np.random.default_rng(0))
    sales = WeeklySales(("a", "b", "c", "d"), revenue)
    assert sales.contrast(["a", "b", "c", "d"]) is None
    assert sales.contrast(["x"]) is None
    assert WeeklySales(("a", "b", "c", "d"), revenue[:5]).contrast(["a"]) is None
    assert WeeklySales(("a", "b"), np.zeros((20, 2))).contrast(["a"]) is None
    assert WeeklySales(("a", "b"), np.ones((20, 2))).contrast(["a"]) is None  # no noise: no facts


def test_two_measurements_are_joined_by_their_information() -> None:
    sales, holdout = Precision(3.0, 9.0, "sales"), Precision(4.0, np.inf, "holdout")
    both = joined(sales, holdout)
    assert both is not None
    assert both.standard_error == pytest.approx(12 / 5)
    # the sales have 16/25 of the information: 9 degrees become 9 / 0.64^2
    assert both.freedom == pytest.approx(9 / 0.64**2)
    assert both.measured_by == "sales and holdout"
    assert joined(None, holdout) is holdout
    assert joined(sales, None) is sales
    assert joined(None, None) is None
