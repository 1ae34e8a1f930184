"""Lift tests against the reported spend and each other: the odd one is named and bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.response.fit import FitFeeds, ResponseFit, fit_response
from tests.models.response.test_fit import FIXED, World, experiments

WORLD = World(6, 3, 20, noise=0.5, seed=7)


def lift_test(delta: float = 6000.0, **changes: Any) -> pd.DataFrame:
    return experiments(WORLD, "c1", ["s0", "s1"], delta=delta).assign(**changes)


def named(fit: ResponseFit) -> dict[str, str]:
    rows = fit.tests[fit.tests["conflict"] != ""]
    return dict(zip(rows["experiment"], rows["conflict"], strict=True))


def revenue(fit: ResponseFit) -> np.ndarray:
    return fit.curves.mean_revenue(WORLD.spend.mean(axis=0))


def test_a_test_that_agrees_is_not_named_and_keeps_its_error() -> None:
    fit = WORLD.fit(experiments=lift_test())
    assert named(fit) == {} and fit.diagnostics["tests_in_conflict"] == 0
    line = fit.tests.iloc[0]
    assert line.standard_error == pytest.approx(0.02 * line.incremental_revenue)
    assert {"age_days", "weight"} <= set(fit.tests.columns)


@pytest.mark.parametrize("beside", [True, False])
def test_one_absurd_row_is_named_and_the_rest_goes_on(beside: bool) -> None:
    absurd = lift_test(incremental_revenue=90_000.0, standard_error=1e-6, experiment="absurd")
    rows = pd.concat([lift_test(), absurd], ignore_index=True)
    lifts = WORLD.lifts if beside else WORLD.lifts.iloc[:0]
    fit = WORLD.fit(experiments=rows, lifts=lifts)
    assert list(named(fit)) == ["absurd"]
    assert "+90,000 (standard error 1e-06)" in named(fit)["absurd"]
    sane = WORLD.fit(experiments=lift_test(), lifts=lifts)
    np.testing.assert_allclose(revenue(fit), revenue(sane), rtol=0.15)


def test_a_precise_test_does_not_outweigh_twenty_weeks_of_holdouts() -> None:
    sure = lift_test(incremental_revenue=0.0, standard_error=0.01)
    fit = WORLD.fit(experiments=sure)
    assert "t1" in named(fit)
    spend = WORLD.spend.mean(axis=0)
    mine = [i for i, c in enumerate(WORLD.cells) if c.channel == "c1"]
    assert revenue(fit)[mine].sum() > 0.6 * WORLD.revenue(spend)[mine].sum()


def test_a_raise_that_was_never_spent_is_named() -> None:
    usual = float(WORLD.daily["s0"]["c1"].mean() + WORLD.daily["s1"]["c1"].mean())
    claimed = 50 * 14 * usual
    fit = WORLD.fit(experiments=inside(claimed, 84, 14, gain=0.0, error=0.1 * claimed))
    assert "more was spent" in named(fit)["t1"] and "is reported" in named(fit)["t1"]
    assert fit.tests["standard_error"].iloc[0] >= 0.5 * (14 * usual)


def inside(delta: float, first: int, days: int, gain: float, error: float) -> pd.DataFrame:
    """A test on days of the world, of s0 and s1 in c1."""
    start = WORLD.daily.index[first]
    return lift_test(delta=delta).assign(
        start=start,
        end=start + pd.Timedelta(days=days - 1),
        incremental_revenue=gain,
        standard_error=error,
    )


def test_a_cut_that_no_report_shows_is_named_and_one_that_is_there_is_not() -> None:
    daily = WORLD.daily.copy()
    usual = float(daily["s0"]["c1"].mean() + daily["s1"]["c1"].mean())
    row = inside(-14 * usual, 84, 14, gain=-8 * usual, error=5 * usual)
    unseen = WORLD.fit(experiments=row)
    assert "less was spent" in named(unseen)["t1"]
    daily.loc[daily.index[84:98], [("s0", "c1"), ("s1", "c1")]] = 0.0
    seen = fit_response(
        FitFeeds(lifts=WORLD.lifts, daily_spend=daily, experiments=row), config=FIXED
    )
    assert named(seen) == {}


def test_a_platform_test_whose_spend_is_the_usual_one_is_not_named() -> None:
    usual = float(WORLD.daily["s0"]["c1"].mean() + WORLD.daily["s1"]["c1"].mean())
    row = inside(14 * usual * 0.9, 84, 14, gain=14 * usual * 0.9, error=7 * usual)
    assert "more was spent" not in str(named(WORLD.fit(experiments=row)))


def test_two_tests_that_contradict_each_other_are_told_with_nothing_else_to_go_by() -> None:
    rows = pd.concat(
        [
            lift_test(incremental_revenue=9000.0, standard_error=300.0, experiment="high"),
            lift_test(incremental_revenue=0.0, standard_error=300.0, experiment="none"),
        ],
        ignore_index=True,
    )
    fit = WORLD.fit(experiments=rows, lifts=WORLD.lifts.iloc[:0])
    assert len(named(fit)) == 1  # either of them: the other is then alone
    assert np.isfinite(revenue(fit)).all()


def test_sound_tests_are_hardly_ever_named() -> None:
    rng = np.random.default_rng(11)
    count, total = 0, 40
    for _ in range(total):
        names = [f"s{i}" for i in rng.choice(6, 3, replace=False)]
        row = experiments(WORLD, f"c{rng.integers(3)}", names, delta=float(rng.uniform(2e3, 9e3)))
        error = float(abs(row.incremental_revenue.iloc[0])) * rng.uniform(0.05, 0.5)
        row = row.assign(
            incremental_revenue=row.incremental_revenue + error * rng.standard_normal(),
            standard_error=error,
        )
        count += len(named(WORLD.fit(experiments=row)))
    assert count <= 2  # the threshold is 3.5 standard deviations; spend is finite and curves bend
