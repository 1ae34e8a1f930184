"""What a day makes of tests inside cells, without ledger or facts: by users, turns and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from liftloop.core.variant_tests.plan import Acting, AssignedBy, Metric, TestEnd, VariantTest
from liftloop.core.variant_tests.reading import ReadingVerdict
from liftloop.pipeline.variant_tests import TestReview, TestState, review_tests, turns_of
from liftloop.settings.schema import Settings

START = date(2026, 3, 2)
BASE = VariantTest(
    "hero",
    "A face sells more.",
    ("north", "south"),
    "social",
    ("old", "new"),
    Metric.CONVERSIONS,
    0.1,
    start=START,
    last=START + timedelta(days=83),
    acting=Acting.EVEN,
)


def sold(days: Mapping[date, Mapping[str, float]], *, units: int = 20_000) -> pd.DataFrame:
    """Rows of days with the rate of each variant that runs on them."""
    rng = np.random.default_rng(5)
    rows = [
        (day, variant, segment, units, float(rng.binomial(units, rate * shock)))
        for day, rates in days.items()
        for shock in [rng.normal(1.0, 0.03)]
        for variant, rate in rates.items()
        for segment in BASE.segments
    ]
    columns = ["date", "variant", "segment", "units", "conversions"]
    frame = pd.DataFrame(rows, columns=columns).assign(
        test="hero", channel="social", spend=10.0, revenue=0.0, revenue_sq=np.nan
    )
    frame["date"] = pd.to_datetime(frame["date"])
    return frame


def reviewed(test: VariantTest, rows: pd.DataFrame, *, days: int) -> TestReview:
    states = {"hero": TestState(test, test.first_shares)}
    return review_tests(Settings(), states, rows, as_of=START + timedelta(days=days))["hero"]


def a_day(at: int) -> date:
    return START + timedelta(days=at)


@pytest.mark.parametrize(("better", "winner"), [("new", "new"), ("old", "old"), ("", "")])
def test_turns_are_compared_round_by_round(better: str, winner: str) -> None:
    test = replace(BASE, assigned_by=AssignedBy.TIME, seed=7)
    days = {
        turn.first + timedelta(days=at): {turn.variant: 0.07 if turn.variant == better else 0.05}
        for turn in turns_of(test)
        for at in range((turn.last - turn.first).days + 1)
    }
    found = reviewed(test, sold(days), days=84)
    assert found.taking_over == winner
    assert found.reading.days == 84 // (7 * 2 * 2)  # two variants, turns of two weeks each


def test_groups_are_compared_with_their_own_past() -> None:
    """The north always sells twice as much, and has the new variant: that is no effect."""
    test = replace(BASE, assigned_by=AssignedBy.GEO)

    def rows(effect: float) -> pd.DataFrame:
        days = {
            a_day(at): {"old": 0.05, "new": 0.1 * (effect if at >= 0 else 1.0)}
            for at in range(-56, 42)
        }
        return sold(days)

    assert reviewed(test, rows(1.0), days=42).taking_over == ""
    assert reviewed(test, rows(1.4), days=42).taking_over == "new"
    assert reviewed(test, rows(0.6), days=42).taking_over == "old"


def test_a_winner_takes_over_by_steps_that_end_where_it_has_all() -> None:
    rows = sold({a_day(at): {"old": 0.05, "new": 0.07} for at in range(30)})
    state, shares = TestState(BASE, BASE.first_shares), []
    for at in range(20, 30):
        found = review_tests(Settings(), {"hero": state}, rows, as_of=a_day(at))["hero"]
        shares.append(found.shares.common["new"])
        assert sum(found.shares.common.values()) == pytest.approx(1.0)
        if found.end is not None:
            break
        state = replace(state, shares=found.shares)
    assert shares == pytest.approx([0.65, 0.8, 0.95, 1.0]) and found.end is TestEnd.WON


def test_a_test_whose_time_is_over_ends_as_it_stands() -> None:
    short = replace(BASE, last=a_day(9), smallest_effect=0.01)
    rows = sold({a_day(at): {"old": 0.05, "new": 0.05} for at in range(10)}, units=500)
    found = reviewed(short, rows, days=10)
    assert found.end is TestEnd.OVER and found.reading.verdict is ReadingVerdict.TOO_EARLY
    assert found.shares == short.first_shares


def test_a_test_waits_for_its_last_outcomes_and_its_winner_takes_over_to_the_end() -> None:
    test = replace(BASE, last=a_day(13), delay_days=5)
    rows = sold({a_day(at): {"old": 0.05, "new": 0.065} for at in range(14)})
    state, ends = TestState(test, test.first_shares), []
    for at in range(14, 28):
        found = review_tests(Settings(), {"hero": state}, rows, as_of=a_day(at))["hero"]
        ends.append(found.end)
        if found.end is not None:
            break
        state = TestState(test, found.shares, seen_until=found.seen_until)
    assert ends[0] is None and ends[-1] is TestEnd.WON and TestEnd.OVER not in ends
    assert found.shares.common["new"] == pytest.approx(1.0)


def test_young_days_do_not_count() -> None:
    """The new variant's customers take three days; the old one's buy at once."""
    test = replace(BASE, delay_days=3)
    days = {a_day(at): {"old": 0.05, "new": 0.05 if at < 17 else 0.01} for at in range(20)}
    found = reviewed(test, sold(days), days=20)
    assert found.taking_over == "" and found.reading.waiting_days == 3


def test_many_tests_that_run_together_need_more_than_one_alone() -> None:
    """Of an effect that is just conclusive alone, nothing is left beside two hundred without."""

    def rows(days: int) -> pd.DataFrame:
        return sold({a_day(at): {"old": 0.05, "new": 0.0545} for at in range(days)}, units=4000)

    alone = next(n for n in range(7, 84) if reviewed(BASE, rows(84), days=n).taking_over)
    others = {
        f"other {at}": TestState(replace(BASE, name=f"other {at}"), BASE.first_shares)
        for at in range(200)
    }
    states = {"hero": TestState(BASE, BASE.first_shares), **others}
    found = review_tests(Settings(), states, rows(84), as_of=a_day(alone))
    assert found["hero"].taking_over == ""


def test_segments_that_differ_get_shares_of_their_own_and_those_alike_the_same() -> None:
    """In the north the new one is better, in the south the old one; or both are alike."""

    def split(rates: dict[str, tuple[float, float]]) -> TestReview:
        parts = []
        for segment, (old, new) in rates.items():
            rows = sold({a_day(at): {"old": old, "new": new} for at in range(28)})
            parts.append(rows[rows["segment"] == segment])
        test = replace(BASE, acting=Acting.SPLIT, smallest_effect=0.01)
        state = TestState(test, test.first_shares)
        for at in range(20, 28):
            found = review_tests(Settings(), {"hero": state}, pd.concat(parts), as_of=a_day(at))
            state = replace(state, shares=found["hero"].shares)
        return found["hero"]

    apart = split({"north": (0.05, 0.055), "south": (0.055, 0.05)}).shares
    assert apart.of("north")["new"] > 0.7 and apart.of("south")["new"] < 0.3
    alike = split({"north": (0.05, 0.053), "south": (0.05, 0.053)})
    shares = [alike.shares.of(segment)["new"] for segment in BASE.segments]
    assert min(shares) > 0.7
