"""Fatigue is found by difference to siblings, and not where season, mix, volume or price did it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.fatigue import (
    CreativeFacts,
    CreativeFatigue,
    FatigueRule,
    Finding,
    find_fatigue,
)
from liftloop.core.variant_tests.observations import VariantDays

DAYS = 70
TIME = np.linspace(0, 1, DAYS)
UNITS = np.full((4, DAYS), 10_000.0)
FALL = np.log(0.6)  # the planted one loses 40 % over the days
RULE = FatigueRule()


def days(logs: Array, units: Array = UNITS, *, seed: int = 0) -> VariantDays:
    """Creatives by days with log rates ``logs`` (v, d) around 0.5 %."""
    value = np.random.default_rng(seed).poisson(units * 0.005 * np.exp(logs)).astype(float)
    when = np.datetime64("2026-03-02") + np.arange(logs.shape[1])
    return VariantDays(tuple("abcdef"[: len(logs)]), when, units, units * 0.005, value)


def finding(facts: VariantDays | dict[str, VariantDays]) -> tuple[CreativeFatigue, ...]:
    return find_fatigue(CreativeFacts(facts if isinstance(facts, dict) else {"all": facts}), RULE)


def planted(which: int = 1, size: float = FALL) -> Array:
    logs = np.repeat(np.array([[0.1], [0.0], [-0.2], [0.2]]), DAYS, axis=1)
    logs[which] += size * TIME
    return logs


def test_the_tired_creative_is_found_with_its_fall_per_thousand_impressions() -> None:
    found = finding(days(planted()))
    assert [one.finding is Finding.FALLING for one in found] == [False, True, False, False]
    tired = found[1]
    truth = 1 - np.exp(FALL / 700)  # 700,000 impressions in all
    assert tired.low < truth < tired.high
    assert tired.fall == pytest.approx(truth, rel=0.3)
    assert tired.fall_observed == pytest.approx(0.4, abs=0.1)


def test_season_and_price_move_all_and_tire_none() -> None:
    common = -0.6 * TIME + np.where(TIME > 0.5, -0.3, 0.0) + 0.2 * np.sin(np.arange(DAYS))
    found = finding(days(planted(size=0.0) + common))
    assert not any(one.finding in {Finding.FALLING, Finding.BROKE} for one in found)


def test_a_mix_that_shifts_is_no_fatigue() -> None:
    part = np.repeat(np.array([[0.5]]), 4, axis=0) * np.ones(DAYS)
    part[1] = 0.9 - 0.8 * TIME  # from those who buy much to those who buy little
    strata = {
        "much": days(planted(size=0.0) + 0.5, UNITS * part, seed=1),
        "little": days(planted(size=0.0) - 0.5, UNITS * (1 - part), seed=2),
    }
    pooled = replace(
        strata["much"],
        units=UNITS,
        value=strata["much"].value + strata["little"].value,
    )
    assert finding(pooled)[1].finding is Finding.FALLING  # what a naive reading would say
    assert finding(strata)[1].finding is not Finding.FALLING


def test_a_growing_volume_that_saturates_is_no_fatigue() -> None:
    rng = np.random.default_rng(3)
    units = UNITS * np.exp(rng.normal(0, 0.2, UNITS.shape))
    units[1] *= 3**TIME
    logs = planted(size=0.0) - 0.4 * np.log(units / 10_000)
    assert finding(days(logs, units))[1].finding is not Finding.FALLING


def test_a_fall_on_one_day_is_not_taken_for_fatigue() -> None:
    logs = planted(size=0.0)
    logs[2, 40:] -= 0.5
    broke = finding(days(logs))[2]
    assert broke.finding is Finding.BROKE
    assert broke.broke_on is not None and abs(broke.broke_on - 40) <= 3


def test_who_gets_better_does_not_make_the_others_tired() -> None:
    found = finding(days(planted(size=0.5)))
    assert not any(one.finding is Finding.FALLING for one in found)


def test_two_of_four_can_be_tired() -> None:
    logs = planted()
    logs[3] += 1.3 * FALL * TIME
    assert [one.finding is Finding.FALLING for one in finding(days(logs))] == [
        False,
        True,
        False,
        True,
    ]


def test_a_creative_alone_needs_the_cells_expected_response() -> None:
    season = 0.3 * np.sin(6 * TIME)
    alone = days((season + FALL * TIME)[None], UNITS[:1])
    assert finding(alone)[0].finding is Finding.NO_COMPARISON
    facts = CreativeFacts({"all": alone}, expected=0.02 * np.exp(season), expected_error=0.1)
    assert find_fatigue(facts, RULE)[0].finding is Finding.FALLING
    seasonal = days((season - 0.5 * TIME)[None], UNITS[:1])
    facts = CreativeFacts({"all": seasonal}, expected=np.exp(season - 0.5 * TIME))
    assert find_fatigue(facts, RULE)[0].finding is not Finding.FALLING


def test_all_fall_alike_is_seen_beside_the_expected_response() -> None:
    logs = np.repeat((FALL * TIME)[None], 3, axis=0)
    facts = CreativeFacts({"all": days(logs, UNITS[:3])})
    assert not any(one.finding is Finding.FALLING for one in find_fatigue(facts, RULE))
    facts = replace(facts, expected=np.ones(DAYS), expected_error=0.03)
    assert all(one.finding is Finding.FALLING for one in find_fatigue(facts, RULE))


def test_days_that_are_young_are_left_out() -> None:
    whole = days(planted(size=0.0))
    matured = np.clip(np.arange(DAYS, 0, -1) / 20, 0.05, 1.0)
    slow = whole.value.copy()
    slow[1] *= matured**2  # converts later than its siblings
    told = replace(whole, value=slow, matured=matured)
    assert finding(replace(whole, value=slow))[1].finding in {Finding.FALLING, Finding.BROKE}
    assert finding(told)[1].finding not in {Finding.FALLING, Finding.BROKE}


def test_few_conversions_are_too_early_and_many_are_steady() -> None:
    few = days(planted(size=0.0), UNITS / 20)
    assert {one.finding for one in finding(few)} == {Finding.TOO_EARLY}
    many = days(planted(size=0.0), UNITS * 20)
    assert {one.finding for one in finding(many)} == {Finding.STEADY}
    early = finding(many.first(2))
    assert {one.finding for one in early} == {Finding.TOO_EARLY}


def test_strata_with_other_creatives_are_refused() -> None:
    facts = days(planted())
    with pytest.raises(ValueError, match="same creatives"):
        CreativeFacts({"x": facts, "y": facts.of(["a", "b"])})
