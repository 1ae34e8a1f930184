"""Generalized least squares of a common change in level."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from liftloop.core.level_shift import Panel, each_alone, level_shift


def panel(outcome: np.ndarray, exposure: np.ndarray, **more: Any) -> Panel:
    series = outcome.shape[1]
    rest: dict[str, Any] = {"variance": np.ones(outcome.shape), "memory": 0.0}
    return Panel(outcome, exposure, **{**rest, "loading": np.ones(series), **more})


def covariance(days: int, series: int, memory: float, shock: float) -> np.ndarray:
    """Of all (day, series) pairs, by the model's own words."""
    lag = np.abs(np.subtract.outer(np.arange(days), np.arange(days)))
    return np.kron(memory**lag, np.eye(series) + shock)


def by_hand(outcome: np.ndarray, exposure: np.ndarray, cov: np.ndarray) -> tuple[float, float]:
    """Textbook generalized least squares: X'V^-1 X."""
    days, series = outcome.shape
    known = np.isfinite(outcome.ravel())
    design = np.column_stack([np.kron(np.ones((days, 1)), np.eye(series)), exposure.ravel()])[known]
    weight = np.linalg.inv(cov[np.ix_(known, known)])
    spread = np.linalg.inv(design.T @ weight @ design)
    return float((spread @ design.T @ weight @ outcome.ravel()[known])[-1]), float(spread[-1, -1])


def test_without_memory_it_is_the_mean_after_less_the_mean_before() -> None:
    outcome = np.array([[1.0], [3.0], [9.0], [11.0]])
    exposure = np.array([[0.0], [0.0], [1.0], [1.0]])
    found = level_shift(panel(outcome, exposure), [1, 2, 3])
    assert math.isnan(found.effect[0])
    assert found.information[0] == 0.0
    assert found.effect[1:] == pytest.approx([7.0, 8.0])
    assert found.information[1:] == pytest.approx([1 / 1.5, 1.0])


@pytest.mark.parametrize("shock", [0.0, 0.7])
def test_it_is_generalized_least_squares_with_memory_and_common_shocks(shock: float) -> None:
    rng = np.random.default_rng(0)
    outcome = rng.normal(size=(20, 4))
    exposure = np.zeros((20, 4))
    exposure[12:, 0] = exposure[16:, 1] = 0.5
    found = level_shift(panel(outcome, exposure, memory=0.6, shock_variance=shock), [14, 19])
    for place, look in enumerate((14, 19)):
        effect, variance = by_hand(
            outcome[: look + 1], exposure[: look + 1], covariance(look + 1, 4, 0.6, shock)
        )
        assert found.effect[place] == pytest.approx(effect)
        assert 1 / found.information[place] == pytest.approx(variance)


def test_a_day_that_is_not_known_leaves_a_gap_across_which_memory_fades() -> None:
    rng = np.random.default_rng(1)
    outcome = rng.normal(size=(15, 1))
    outcome[[4, 9, 10]] = np.nan
    exposure = np.zeros((15, 1))
    exposure[8:] = 1.0
    found = level_shift(panel(outcome, exposure, memory=0.5), [14])
    effect, variance = by_hand(outcome, exposure, covariance(15, 1, 0.5, 0.0))
    assert found.effect[0] == pytest.approx(effect)
    assert 1 / found.information[0] == pytest.approx(variance)


def test_a_free_common_step_makes_it_a_difference_in_differences() -> None:
    outcome = np.array([[0.0, 0.0], [0.0, 0.0], [5.0, 3.0], [5.0, 3.0]])
    exposure = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    free = level_shift(panel(outcome, exposure, step_variance=math.inf, start=2), [3])
    none = level_shift(panel(outcome, exposure, start=2), [3])
    assert free.effect[0] == pytest.approx(2.0)
    assert none.effect[0] == pytest.approx(5.0)


def test_looks_have_independent_increments() -> None:
    """Cov(effect_i, effect_j) = Var(effect_j): what makes looking every day free. The correlation
    of 4,000 pairs has a standard error of 0.016 at most."""
    rng = np.random.default_rng(2)
    exposure = np.zeros((40, 2))
    exposure[20:, 0] = 1.0
    early, late = [], []
    for _ in range(4000):
        noise = np.zeros((40, 2))
        noise[0] = rng.normal(size=2)
        for day in range(1, 40):
            noise[day] = 0.5 * noise[day - 1] + math.sqrt(0.75) * rng.normal(size=2)
        found = level_shift(panel(noise, exposure, memory=0.5), [25, 39])
        early.append(found.effect[0])
        late.append(found.effect[1])
    information = found.information
    assert np.var(late) * information[1] == pytest.approx(1.0, abs=5 * math.sqrt(2 / 4000))
    shared = np.corrcoef(early, late)[0, 1]
    assert shared == pytest.approx(math.sqrt(information[0] / information[1]), abs=0.06)


def test_the_unit_of_money_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    outcome, exposure = rng.normal(size=(12, 3)), np.zeros((12, 3))
    exposure[6:, 0] = 2.0
    one = level_shift(panel(outcome, exposure, memory=0.3), [11])
    other = level_shift(
        panel(1e6 * outcome, exposure, memory=0.3, variance=np.full((12, 3), 1e12)), [11]
    )
    assert other.effect[0] == pytest.approx(1e6 * one.effect[0])
    assert other.information[0] == pytest.approx(one.information[0] / 1e12)


def test_each_series_alone_is_the_effect_had_it_alone_been_exposed() -> None:
    rng = np.random.default_rng(4)
    outcome, unit = rng.normal(size=(16, 4)), np.array([1.0, 2.0, 0.5, 3.0])
    more: dict[str, Any] = {
        "memory": 0.4, "shock_variance": 0.3, "step_variance": 0.2, "start": 9
    }  # fmt: skip
    found = each_alone(panel(outcome, np.zeros((16, 4)), **more), unit)
    for series in range(4):
        exposure = np.zeros((16, 4))
        exposure[9:, series] = unit[series]
        alone = level_shift(panel(outcome, exposure, **more), [15])
        assert found.effect[series] == pytest.approx(alone.effect[0])
        assert found.information[series] == pytest.approx(alone.information[0])
