"""Generalized least squares of a common change in level."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from liftloop.core.inference.gls import Beside, Panel, each_alone, level_shift


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
    more: dict[str, Any] = {"memory": 0.4, "shock_variance": 0.3, "step_variance": 0.2, "start": 9}
    found = each_alone(panel(outcome, np.zeros((16, 4)), **more), unit)
    for series in range(4):
        exposure = np.zeros((16, 4))
        exposure[9:, series] = unit[series]
        alone = level_shift(panel(outcome, exposure, **more), [15])
        assert found.effect[series] == pytest.approx(alone.effect[0])
        assert found.information[series] == pytest.approx(alone.information[0])


# -- effects beside the one that is asked for ------------------------------------------------------


def dense(
    outcome: np.ndarray, exposure: np.ndarray, cov: np.ndarray, beside: Beside
) -> tuple[float, float]:
    """Textbook generalized least squares: an effect with a prior adds ``variance * x x'`` to the
    covariance, a free one is a column of the design."""
    cov, free = cov.copy(), [exposure]
    for k, variance in enumerate(beside.variances):
        x = beside.exposures[:, :, k].ravel()
        if math.isinf(variance):
            free.insert(0, beside.exposures[:, :, k])
        else:
            cov += variance * np.outer(x, x)
    days, series = outcome.shape
    known = np.isfinite(outcome.ravel())
    design = np.column_stack(
        [np.kron(np.ones((days, 1)), np.eye(series)), *(x.ravel() for x in free)]
    )[known]
    weight = np.linalg.inv(cov[np.ix_(known, known)])
    spread = np.linalg.inv(design.T @ weight @ design)
    return float((spread @ design.T @ weight @ outcome.ravel()[known])[-1]), float(spread[-1, -1])


@pytest.mark.parametrize("shock", [0.0, 0.7])
@pytest.mark.parametrize(
    "variances", [[0.5], [math.inf], [0.04, math.inf, 3.0]], ids=["prior", "free", "three"]
)
def test_effects_beside_are_columns_with_a_prior_at_every_look(
    shock: float, variances: list[float]
) -> None:
    rng = np.random.default_rng(6)
    outcome, exposure = rng.normal(size=(24, 3)), np.zeros((24, 3))
    outcome[[5, 15], 1] = np.nan
    exposure[10:, 0] = exposure[16:, 1] = 0.8
    others = np.zeros((24, 3, 3))
    others[8:, :, 0] = 1.0  # all series alike
    others[4:, 0, 1] = others[4:, 2, 1] = rng.normal(size=20)
    others[12:, 1, 2], others[12:, 2, 2] = 1.5, -1.5
    beside = Beside(others[:, :, : len(variances)], np.array(variances))
    asked = panel(outcome, exposure, memory=0.6, shock_variance=shock)
    found = level_shift(asked, [13, 18, 23], beside=beside)
    for place, look in enumerate((13, 18, 23)):
        until = Beside(beside.exposures[: look + 1], beside.variances)
        known = outcome[: look + 1].copy()
        effect, variance = dense(known, exposure[: look + 1], gapped(known, 0.6, shock), until)
        assert found.effect[place] == pytest.approx(effect, rel=1e-5, abs=1e-7)
        assert 1 / found.information[place] == pytest.approx(variance, rel=1e-5)


def gapped(outcome: np.ndarray, memory: float, shock: float) -> np.ndarray:
    """The covariance with a common shock that, on the day after a gap, is carried by what a series
    has of new noise then (as the module's own whitening has it): found by whitening each pair."""
    days, series = outcome.shape
    own = np.kron(
        memory ** np.abs(np.subtract.outer(np.arange(days), np.arange(days))), np.eye(series)
    )
    if shock == 0.0:
        return own
    known = np.isfinite(outcome)
    carried = np.zeros((days, series, days))  # the share of each day's fresh common shock
    for s in range(series):
        last: int | None = None
        for t in range(days):
            if not known[t, s]:
                continue
            kept = 0.0 if last is None else memory ** (t - last)
            if last is not None:
                carried[t, s] = kept * carried[last, s]
            carried[t, s, t] += math.sqrt(1 - kept**2)
            last = t
    flat = carried.reshape(days * series, days)
    return np.asarray(own + shock * flat @ flat.T)


def test_a_free_common_effect_beside_is_the_free_step_of_the_panel() -> None:
    rng = np.random.default_rng(7)
    outcome, exposure = rng.normal(size=(20, 3)), np.zeros((20, 3))
    exposure[9:, 0] = exposure[13:, 1] = 1.0
    step = np.broadcast_to((np.arange(20) >= 9)[:, None, None], (20, 3, 1)).astype(float)
    for variance in (0.2, math.inf):
        one = level_shift(
            panel(outcome, exposure, memory=0.4, step_variance=variance, start=9), [19]
        )
        other = level_shift(
            panel(outcome, exposure, memory=0.4), [19], beside=Beside(step, np.array([variance]))
        )
        assert other.effect[0] == pytest.approx(one.effect[0], rel=1e-6)
        assert other.information[0] == pytest.approx(one.information[0], rel=1e-6)


def test_an_effect_that_only_the_other_can_explain_is_not_measured() -> None:
    """Exposed alike, on the same days: a free effect beside it takes all there is to see."""
    rng = np.random.default_rng(8)
    outcome, exposure = rng.normal(size=(16, 2)), np.zeros((16, 2))
    exposure[8:, 0] = 1.0
    beside = Beside(2.0 * exposure[:, :, None], np.array([math.inf]))
    alone = level_shift(panel(outcome, exposure), [15])
    found = level_shift(panel(outcome, exposure), [15], beside=beside)
    assert alone.information[0] == pytest.approx(4.0)  # of 8 days before and 8 after
    assert found.information[0] < 1e-6


def test_an_effect_beside_that_has_not_begun_changes_nothing() -> None:
    rng = np.random.default_rng(9)
    outcome, exposure = rng.normal(size=(16, 2)), np.zeros((16, 2))
    exposure[8:, 0] = 1.0
    later = np.zeros((16, 2, 1))
    later[14:] = 1.0
    alone = level_shift(panel(outcome, exposure, memory=0.3), [12])
    both = level_shift(
        panel(outcome, exposure, memory=0.3), [12], beside=Beside(later, np.array([0.01]))
    )
    assert both.effect[0] == pytest.approx(alone.effect[0])
    assert both.information[0] == pytest.approx(alone.information[0])
