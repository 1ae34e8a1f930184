"""Power and standard errors agree with statsmodels, with closed forms and with simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower, TTestPower

from liftloop.core.arrays import Array
from liftloop.core.experiments.power import (
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


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_the_standard_error_of_a_contrast_is_that_of_simulated_tests(memory: float) -> None:
    """1,500 simulated tests without an effect, of weeks that remember and that do not: the spread
    of their results, how often the test says otherwise, and how often it finds the effect it is
    said to find."""
    rng = np.random.default_rng(7)
    before, during, worlds = 24, 4, 1500
    results, errors, freedoms = np.empty(worlds), np.empty(worlds), np.empty(worlds)
    for world in range(worlds):
        sales = WeeklySales(("a", "b", "c", "d"), market(before + during, rng, memory=memory))
        found = sales.measured(["b", "d"], weeks=during)
        assert found is not None
        results[world], contrast = found
        errors[world], freedoms[world] = contrast.standard_error(during), contrast.freedom(during)
    assert np.sqrt((errors**2).mean()) == pytest.approx(results.std(), rel=0.06)
    assert (freedoms == 6).all()  # two tests that share no week, of three segments against one
    edge = stats.t.isf(0.025, 6)
    false = (np.abs(results / errors) > edge).mean()
    # the degrees of freedom are a lower bound, so a little less than 5 %; three standard errors
    # of a share in 1,500
    assert 0.02 < false < 0.05 + 3 * np.sqrt(0.05 * 0.95 / worlds)
    effect = detectable(float(results.std()), freedom=6)
    found_share = (np.abs((results + effect) / errors) > edge).mean()
    assert found_share == pytest.approx(0.8, abs=0.05)


def test_a_past_too_short_for_one_placebo_test_says_nothing() -> None:
    sales = WeeklySales(("a", "b", "c", "d"), market(7, np.random.default_rng(0)))
    contrast = sales.contrast(["a"])
    assert contrast is not None
    assert contrast.freedom(4) > 0
    assert contrast.freedom(6) == 0 and contrast.standard_error(6) == np.inf
    longer = WeeklySales(("a", "b", "c", "d"), market(12, np.random.default_rng(0)))
    assert longer.measured(["a"], weeks=6) is None


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


def test_a_test_of_nothing_is_called_something_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(3)
    trials, weeks, before = 1000, 4, 20
    level = rng.uniform(50, 200, 8)
    wrong = 0
    for _ in range(trials):
        common = np.exp(rng.normal(0, 0.1, (before + weeks, 1)))
        revenue = level * common * np.exp(rng.normal(0, 0.05, (before + weeks, 8)))
        found = WeeklySales(tuple("abcdefgh"), revenue).measured(["a", "b", "c"], weeks=weeks)
        assert found is not None
        effect, contrast = found
        edge = stats.t.isf(0.025, contrast.freedom(weeks)) * contrast.standard_error(weeks)
        wrong += abs(effect) > edge
    # three standard errors of a share of 5 % in 1,000
    assert wrong / trials == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / trials))


def test_a_planted_effect_is_measured() -> None:
    rng = np.random.default_rng(4)
    revenue = 100 * np.exp(rng.normal(0, 0.02, (24, 6)))
    revenue[-4:, :2] += 30
    found = WeeklySales(tuple("abcdef"), revenue).measured(["a", "b"], weeks=4)
    assert found is not None
    effect, contrast = found
    assert effect == pytest.approx(240, abs=3 * contrast.standard_error(4))
    assert WeeklySales(("a",), revenue[:, :1]).measured(["a"], weeks=4) is None


def test_a_total_beside_its_parts_is_no_contrast() -> None:
    parts = 100 * np.exp(np.random.default_rng(5).normal(0, 0.1, (20, 2)))
    revenue = np.column_stack([parts, parts.sum(axis=1)])
    assert WeeklySales(("a", "b", "all"), revenue).contrast(["all"]) is None
