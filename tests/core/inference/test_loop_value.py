"""What the loop gained: moved segments against those that stand still."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from liftloop.core.inference.loop_value import (
    MonthGain,
    Worth,
    months_between,
    worth_against_holdout,
    worth_by_model,
)
from liftloop.core.inference.panels import Daily

START = date(2026, 1, 5)
BEFORE, AFTER = 56, 55  # until 1 March
UNTIL = START + timedelta(days=AFTER)
NAMES = tuple("abcdefghij")
STANDING = ("c", "h")
EARNS, SELLS, SPENDS = 1_000.0, 10_000.0, 800.0


def facts(seed: int = 0, *, error: float = 300.0, noise: float = 0.03) -> Daily:
    """Ten segments alike, 1,000 a day by ads, 10,000 in all, a common shock in the sales."""
    rng = np.random.default_rng(seed)
    shape = (BEFORE + AFTER, len(NAMES))
    walk = np.cumsum(0.002 * rng.normal(size=shape), axis=0)
    earned = EARNS * np.exp(walk)
    shock = 0.02 * rng.normal(size=(len(walk), 1))
    own = noise * rng.normal(size=shape)
    return Daily(
        START - timedelta(days=BEFORE),
        NAMES,
        earned + error * rng.normal(size=shape),
        np.full(shape, error),
        (SELLS - EARNS) * (1 + shock + own) + earned,
        np.full(shape, SPENDS),
    )


def gaining(daily: Daily, a_day: float, names: tuple[str, ...]) -> Daily:
    """From the start on, these segments earn so much more a day."""
    lift, sales = daily.lift.copy(), daily.sales.copy()
    columns = [NAMES.index(name) for name in names]
    lift[BEFORE:, columns] += a_day
    sales[BEFORE:, columns] += a_day
    return replace(daily, lift=lift, sales=sales)


def worth(daily: Daily, **more: Any) -> Worth:
    asked: dict[str, Any] = {"standing": STANDING, "start": START, "until": UNTIL, "margin": 1.0}
    found = worth_against_holdout(daily, **{**asked, **more})
    assert isinstance(found, Worth), found
    return found


MOVED = tuple(name for name in NAMES if name not in STANDING)


def test_without_noise_the_gain_is_what_the_moved_segments_earned_more() -> None:
    quiet = facts(error=1.0, noise=0.0001)
    gain = worth(gaining(quiet, 100.0, MOVED)).gain - worth(quiet).gain
    assert gain == pytest.approx(100 * 8 * AFTER, rel=0.02)


def test_what_happens_to_all_segments_alike_is_no_gain() -> None:
    quiet = facts(error=1.0, noise=0.0001)
    gain = worth(gaining(quiet, 100.0, NAMES)).gain - worth(quiet).gain
    assert abs(gain) < 0.02 * 100 * 8 * AFTER


def test_what_the_standing_segments_lose_is_what_the_moved_ones_were_spared() -> None:
    quiet = facts(error=1.0, noise=0.0001)
    gain = worth(gaining(quiet, -100.0, STANDING)).gain - worth(quiet).gain
    assert gain == pytest.approx(100 * 8 * AFTER, rel=0.05)


def test_months_are_calendar_months_and_add_up() -> None:
    found = worth(facts())
    assert [(month.first, month.days) for month in found.months] == [
        (START, 27),
        (date(2026, 2, 1), 28),
    ]
    assert sum(month.gain for month in found.months) == pytest.approx(found.gain)
    assert found.low < found.gain < found.high


def test_a_share_of_revenue_as_profit_counts_so_much() -> None:
    quiet = facts(error=1.0, noise=0.0001)
    more = gaining(quiet, 100.0, MOVED)
    gain = worth(more, margin=0.5).gain - worth(quiet, margin=0.5).gain
    assert gain == pytest.approx(0.5 * 100 * 8 * AFTER, rel=0.03)


def test_two_kinds_of_evidence_are_surer_than_one() -> None:
    both = facts()
    lifts = replace(both, sales=np.full_like(both.sales, np.nan))
    sales_too, alone = worth(both), worth(lifts)
    assert sales_too.high - sales_too.low < alone.high - alone.low


def test_a_month_nobody_measured_is_left_out_and_said() -> None:
    daily = facts()
    lift, sales = daily.lift.copy(), daily.sales.copy()
    february = slice(BEFORE + 27, None)
    lift[february, 0] = sales[february, 0] = np.nan
    found = worth(replace(daily, lift=lift, sales=sales))
    assert [month.first.month for month in found.months] == [1]
    assert found.notes == ("Not measured, and not counted: February 2026.",)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"standing": ()}, "stand still"),
        ({"standing": NAMES}, "others that move"),
        ({"start": START - timedelta(days=40)}, "16 days before"),
        ({"until": START}, "No day"),
    ],
)
def test_what_cannot_be_measured_is_said(more: dict[str, Any], why: str) -> None:
    asked: dict[str, Any] = {"standing": STANDING, "start": START, "until": UNTIL, "margin": 1.0}
    found = worth_against_holdout(facts(), **{**asked, **more})
    assert isinstance(found, str)
    assert why in found


def test_facts_without_lifts_and_sales_measure_nothing() -> None:
    daily = facts()
    nothing = np.full_like(daily.lift, np.nan)
    bare = replace(daily, lift=nothing, lift_error=nothing, sales=nothing)
    found = worth_against_holdout(bare, standing=STANDING, start=START, until=UNTIL, margin=1.0)
    assert isinstance(found, str)


def covered(seeds: range) -> int:
    """In how many worlds the interval holds the true gain of 30 a day and segment."""
    true = 30.0 * 8 * AFTER
    found = [worth(gaining(facts(seed), 30.0, MOVED)) for seed in seeds]
    return sum(one.low <= true <= one.high for one in found)


def test_the_interval_holds_the_truth_in_about_nine_of_ten_worlds() -> None:
    hits = covered(range(40))
    assert hits >= binom.ppf(0.001, 40, 0.9)  # fewer would happen in 1 of 1,000 cases


@pytest.mark.slow
def test_the_interval_holds_the_truth_in_nine_of_ten_worlds() -> None:
    low, high = (binom.ppf(share, 400, 0.9) for share in (0.001, 0.999))
    assert low <= covered(range(1000, 1400)) <= high + 25  # wandering is allowed for generously


@settings(max_examples=30, deadline=None)
@given(days=st.integers(1, 800), later=st.integers(0, 400))
def test_months_cover_each_day_once(days: int, later: int) -> None:
    start = START + timedelta(days=later)
    spans = months_between(start, start + timedelta(days=days))
    assert spans[0][0] == start
    assert spans[-1][1] == start + timedelta(days=days)
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert all(
        (first.year, first.month)
        == ((end - timedelta(days=1)).year, (end - timedelta(days=1)).month)
        for first, end in spans
    )


def test_by_the_model_the_gain_is_what_was_measured_less_what_was_foretold() -> None:
    daily = facts(error=1.0)
    mean = float(daily.lift[BEFORE:].mean(axis=0).sum())
    found = worth_by_model(
        daily,
        foretold=np.array([9_000.0, 9_200.0]),
        budget=8_000.0,
        start=START,
        until=UNTIL,
        margin=1.0,
    )
    assert isinstance(found, Worth)
    assert found.gain == pytest.approx(AFTER * (mean - 8_000 - (9_100 - 8_000)))
    assert (found.high - found.low) / 2 == pytest.approx(AFTER * 100 * 1.645, rel=0.01)
    assert "not measured: no segment is held out" in found.sentence("EUR")


def test_the_model_says_nothing_of_segments_without_lifts() -> None:
    daily = facts()
    lift = daily.lift.copy()
    lift[BEFORE:, 3] = np.nan
    found = worth_by_model(
        replace(daily, lift=lift),
        foretold=np.ones(2),
        budget=1.0,
        start=START,
        until=UNTIL,
        margin=1.0,
    )
    assert isinstance(found, str)


def test_the_sentence_says_since_when_how_sure_and_against_whom() -> None:
    found = Worth(
        START,
        UNTIL,
        1234.0,
        -10.0,
        2500.0,
        "holdout",
        ("south",),
        (MonthGain(START, 27, 1.0, 1.0),),
    )
    assert found.sentence("EUR") == (
        "+1,234 EUR profit from 2026-01-05 to 2026-02-28 (90 % interval -10 to +2,500; "
        "it may be nothing), measured against a segment held out (south)."
    )
