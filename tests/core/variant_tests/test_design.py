"""A design says how long a test takes, what it costs, and what it would collide with."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from liftloop.core.policy import Cell
from liftloop.core.variant_tests.comparison import VariantQuestion
from liftloop.core.variant_tests.design import (
    CollisionCode,
    NoiseSource,
    UnderWay,
    collisions,
    design_test,
    shares_for,
)
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import AssignedBy, Metric
from liftloop.core.variant_tests.reading import ReadingVerdict, effect_paths

START = np.datetime64("2025-06-02")
QUESTION = VariantQuestion(("old", "new"), Metric.CONVERSIONS, smallest_effect=0.05, worth=20.0)


def past(seed: int = 1, *, days: int = 56, rows: int = 1, own: float = 0.0) -> VariantDays:
    """20,000 units a day of which 5 % convert, in rows of equal size."""
    rng = np.random.default_rng(seed)
    units = np.full((rows, days), 20_000.0 / rows)
    shared = np.exp(0.2 * rng.standard_normal(days))
    level = 0.05 * shared / shared.mean() * np.exp(own * rng.standard_normal((rows, days)))
    value = rng.poisson(units * level).astype(float)
    names = tuple(f"row {i}" for i in range(rows))
    return VariantDays(names, START + np.arange(days), units, units / 4, value)


def test_units_of_a_test_that_is_read_once_are_the_textbooks() -> None:
    """n a variant = (1.96 + 0.84)^2 * 2 * (1 - p) / p / effect^2."""
    found = design_test(past(), QUESTION)
    assert found is not None and found.fixed_units is not None and found.source == NoiseSource.UNITS
    rate = past().value.sum() / past().units.sum()
    textbook = 2 * (1.95996 + 0.84162) ** 2 * 2 * (1 - rate) / rate / 0.05**2
    assert textbook <= found.fixed_units <= textbook + 20_000
    assert found.fixed_days is not None and found.days is not None
    assert found.fixed_days < found.days < 3 * found.fixed_days


def test_cost_is_the_share_of_the_others_times_what_a_win_is_worth() -> None:
    found = design_test(past(), QUESTION, delay_days=10)
    assert found is not None and found.days is not None
    win = 20.0 * 0.05 * past().value.mean()
    assert found.win_per_day == pytest.approx(win)
    assert found.cost == pytest.approx(0.5 * (found.days + 10) * win)
    assert found.waiting_days == 10 and found.units == found.days * 20_000


def test_planned_days_keep_their_promise() -> None:
    design = design_test(past(), QUESTION)
    assert design is not None and design.days is not None
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(200):
        units = np.full((2, design.days), 10_000.0)
        rate = np.array([[0.05], [0.0525]]) * np.exp(0.2 * rng.standard_normal(design.days))
        value = rng.poisson(units * rate).astype(float)
        facts = VariantDays(
            ("old", "new"), START + np.arange(design.days), units, units, value, value
        )
        found += ReadingVerdict.CONCLUSIVE in effect_paths(facts, QUESTION)[0].verdicts(QUESTION)
    assert abs(found / 200 - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 200)


def test_what_takes_too_long_is_said_with_what_could_be_found() -> None:
    small = replace(QUESTION, smallest_effect=0.01)
    found = design_test(past(), small)
    assert found is not None and not found.can_conclude and found.days is None
    assert 0.01 < found.detectable < 0.05
    assert found.cost == pytest.approx(0.5 * 90 * found.win_per_day)


def test_siblings_tell_what_a_day_does_to_all() -> None:
    revenue = replace(QUESTION, metric=Metric.REVENUE)
    alone, pair = design_test(past(), revenue), design_test(past(rows=4), revenue)
    assert alone is not None and pair is not None
    assert (alone.source, pair.source) == (NoiseSource.DAYS, NoiseSource.SIBLINGS)
    assert not alone.can_conclude and pair.days is not None and pair.days < 40
    rough = design_test(past(rows=4, own=0.1), revenue)
    assert rough is not None and (rough.days is None or rough.days > pair.days)


def test_the_first_of_several_has_more() -> None:
    four = replace(QUESTION, variants=("a", "b", "c", "d", "e"))
    assert list(shares_for(four).values()) == pytest.approx([1 / 3] + [1 / 6] * 4)
    assert set(shares_for(replace(four, assigned_by=AssignedBy.GEO)).values()) == {0.2}


def test_a_test_by_time_pays_for_its_wash_out() -> None:
    by_time = replace(QUESTION, assigned_by=AssignedBy.TIME, smallest_effect=0.2)
    found = design_test(past(days=400), by_time, limit_days=365, carryover=0.5)
    assert found is not None and found.source is NoiseSource.TURNS
    assert found.days is not None and found.days % 28 == 0  # rounds of two turns of two weeks
    assert found.washout_spend == pytest.approx(4 / 14 * found.days * 5_000)
    assert design_test(past(days=56), by_time) is None


def test_regions_are_planned_by_whole_weeks() -> None:
    geo = replace(QUESTION, assigned_by=AssignedBy.GEO, smallest_effect=0.5)
    found = design_test(past(), geo, limit_days=365)
    assert found is not None and found.days is not None and found.days % 7 == 0


def test_a_short_or_empty_past_gives_no_design() -> None:
    assert design_test(past(days=27), QUESTION) is None
    assert design_test(replace(past(), value=np.zeros((1, 56))), QUESTION) is None


def test_collisions_by_hand() -> None:
    north, south = Cell("north", "search"), Cell("south", "search")
    busy = UnderWay(
        rollout="r-1",
        rollout_segments=frozenset({"north"}),
        tests=(("headlines", (north,)), ("bids", (Cell("south", "social"),))),
        holdouts=frozenset({south}),
    )
    found = collisions((north, south), AssignedBy.USER, busy)
    assert [(one.code, one.cell, one.with_) for one in found] == [
        (CollisionCode.ROLLOUT_ON_SEGMENT, north, "r-1"),
        (CollisionCode.TEST_ON_CELL, north, "headlines"),
        (CollisionCode.TEST_ON_USERS, south, "bids"),
        (CollisionCode.HOLDOUT_MUST_STAY, south, "holdout"),
    ]
    assert len(collisions((south,), AssignedBy.USER, busy, leaves_out_holdout=True)) == 1
    assert collisions((Cell("west", "search"),), AssignedBy.USER, busy) == ()
