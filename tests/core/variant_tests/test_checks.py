"""Checks find units in a wrong ratio, effects that fade and effects of one weekday."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from liftloop.core.variant_tests.checks import ALPHA, CheckCode, check_test
from liftloop.core.variant_tests.comparison import VariantQuestion
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import AssignedBy, Metric

DAYS = np.datetime64("2026-01-05") + np.arange(56)  # a Monday
QUESTION = VariantQuestion(("old", "new"), Metric.CONVERSIONS, smallest_effect=0.05)
HALVES = np.array([0.5, 0.5])


def facts(
    seed: int, *, share: float = 0.5, effect: np.ndarray | float = 0.0, clumps: int = 1
) -> VariantDays:
    """20,000 units a day, counted in ``clumps`` that stay together."""
    rng = np.random.default_rng(seed)
    first = clumps * rng.binomial(20_000 // clumps, 1 - share, 56)
    units = np.stack([first, 20_000 - first]).astype(float)
    rate = 0.05 * np.exp(0.2 * rng.standard_normal(56)) * np.ones((2, 56))
    rate[1] *= 1 + effect
    value = rng.binomial(units.astype(int), rate).astype(float)
    return VariantDays(("old", "new"), DAYS, units, units, value, value)


def codes(found: VariantDays) -> list[CheckCode]:
    return [one.code for one in check_test(found, QUESTION, shares=HALVES)]


def test_a_wrong_ratio_is_found_with_its_numbers() -> None:
    found = check_test(facts(1, share=0.495), QUESTION, shares=HALVES)
    assert [one.code for one in found] == [CheckCode.SAMPLE_RATIO]
    assert found[0].numbers["share"] == pytest.approx(0.495, abs=0.002) or found[0].numbers[
        "share"
    ] == pytest.approx(0.505, abs=0.002)
    assert found[0].numbers["expected_share"] == 0.5


def test_units_that_stay_together_are_no_wrong_ratio() -> None:
    loud = [bool(codes(facts(seed, clumps=100))) for seed in range(30)]
    assert sum(loud) <= 1


def test_shares_may_change_from_day_to_day() -> None:
    shares = np.stack([np.linspace(0.5, 0.2, 56), np.linspace(0.5, 0.8, 56)])
    rng = np.random.default_rng(2)
    first = rng.binomial(20_000, shares[0]).astype(float)
    units = np.stack([first, 20_000 - first])
    moved = replace(facts(2), units=units, value=units * 0.05, value_squares=units * 0.05)
    assert check_test(moved, QUESTION, shares=shares) == ()
    assert codes(moved) == [CheckCode.SAMPLE_RATIO]


def test_an_effect_that_fades_is_a_novelty() -> None:
    found = check_test(facts(3, effect=0.4 * np.exp(-np.arange(56) / 14)), QUESTION)
    assert CheckCode.NOVELTY in [one.code for one in found]
    numbers = found[0].numbers
    assert numbers["first_effect"] > 0.15 and abs(numbers["last_effect"]) < 0.1


def test_an_effect_that_grows_is_none() -> None:
    assert codes(facts(4, effect=np.linspace(0.0, 0.4, 56))) == []


def test_an_effect_of_saturdays_is_named() -> None:
    saturday = np.where(np.arange(56) % 7 == 5, 0.3, 0.0)
    found = check_test(facts(5, effect=saturday), QUESTION, shares=HALVES)
    assert [one.code for one in found] == [CheckCode.WEEKDAY]
    assert found[0].numbers["weekday"] == 5
    assert found[0].numbers["effect"] == pytest.approx(0.3, abs=0.06)
    assert found[0].numbers["other_effect"] == pytest.approx(0.0, abs=0.03)


def test_a_steady_effect_raises_no_finding() -> None:
    loud = sum(bool(codes(facts(100 + seed, effect=0.1))) for seed in range(100))
    assert loud <= stats.binom.isf(1e-3, 100, 3 * ALPHA)


def test_regions_are_not_checked_by_their_users() -> None:
    geo = replace(QUESTION, assigned_by=AssignedBy.GEO)
    assert check_test(facts(6, share=0.4), geo, shares=HALVES) == ()
