from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from liftloop.core.policy import Cell, Policy
from monitoring.feeds.data_health import HealthConfig, health
from monitoring.feeds.recent_days import CellFeeds
from monitoring.verdicts import HealthVerdict

AS_OF = date(2026, 3, 30)
NORTH, SOUTH = Cell("north", "search"), Cell("south", "search")
POLICY = Policy.of({NORTH: Decimal("100"), SOUTH: Decimal("100")})


def feed(**last_day_before: int) -> pd.DataFrame:
    """100 spent a day for 40 days, until so many days before yesterday."""
    rows = []
    for segment in ("north", "south"):
        for back in range(1 + last_day_before.get(segment, 0), 41):
            rows.append(
                {
                    "date": AS_OF - timedelta(days=back),
                    "segment": segment,
                    "channel": "search",
                    "spend": Decimal("100.00"),
                    "impressions": 1000,
                    "clicks": 20,
                }
            )
    return pd.DataFrame(rows)


def judge(frame: pd.DataFrame, **more: Any) -> HealthVerdict:
    asked: dict[str, Any] = {"policy": POLICY, "as_of": AS_OF}
    feeds = CellFeeds(frame, more.pop("holdout", None), more.pop("sales", None))
    return health(feeds, **{**asked, **more})


def test_feeds_in_time_pause_nothing() -> None:
    verdict = judge(feed())
    assert verdict.paused == {}
    assert verdict.summary == "All 2 cells report in time and agree with their budgets."


def test_one_cell_is_named_and_not_counted() -> None:
    rows = feed()
    alone = health(
        CellFeeds(rows[rows["segment"] == "north"]),
        policy=Policy.of({NORTH: Decimal(100)}),
        as_of=AS_OF,
    )
    assert alone.summary == "north x search reports in time and agrees with its budget."


@pytest.mark.parametrize(("late", "paused"), [(3, False), (4, True)])
def test_a_cell_is_paused_when_its_feed_is_later_than_allowed(late: int, paused: bool) -> None:
    verdict = judge(feed(north=late))
    assert (NORTH in verdict.paused) == paused
    assert SOUTH not in verdict.paused
    if paused:
        assert verdict.paused[NORTH] == "performance is 4 days late (last day 2026-03-25)"
        assert "1 of 2 cells are paused" in verdict.summary


def test_a_feed_that_came_back_is_not_paused_any_more() -> None:
    assert judge(feed(north=9)).paused
    assert not judge(feed()).paused


def test_a_cell_without_any_facts_is_paused_unless_it_has_no_budget() -> None:
    south = feed().loc[lambda f: f.segment == "south"]
    assert judge(south).paused == {NORTH: "no performance facts at all"}
    silent = Policy.of({NORTH: Decimal("0"), SOUTH: Decimal("100")})
    assert judge(south, policy=silent).paused == {}


def test_a_late_holdout_pauses_the_cells_that_have_one_when_no_default_may_stand_in() -> None:
    arms = pd.DataFrame(
        {"date": [AS_OF - timedelta(days=8)], "segment": ["north"], "channel": ["search"]}
    )
    late = "holdout is 7 days late (last day 2026-03-22)"
    strict = judge(feed(), holdout=arms, config=HealthConfig(default_days=6))
    assert strict.paused == {NORTH: late}
    found = judge(feed(), holdout=arms)
    assert found.paused == {}
    assert found.cells[0].stands_in == (f"{late}: the model's forecast stands in for its lifts",)


def test_gaps_warn_and_many_gaps_pause() -> None:
    frame = feed()
    back = (pd.Timestamp(AS_OF) - pd.to_datetime(frame.date)).dt.days
    north = frame.segment == "north"
    few = judge(frame[~(north & back.isin([5, 6]))]).cells[0]
    assert few.missing_days == 2
    assert few.warnings == ("2 of 28 days are missing",)
    assert not few.paused
    many = judge(frame[~(north & (back % 2 == 0))]).cells[0]
    assert "days are missing" in many.paused


def test_clicks_without_impressions_are_told_and_pause_when_they_are_the_rule() -> None:
    frame = feed()
    north = frame.segment == "north"
    frame.loc[frame.index[north][:2], "impressions"] = 0
    assert judge(frame).cells[0].warnings == (
        "performance has clicks without impressions on 2 of 28 days",
    )
    frame.loc[north, "impressions"] = 0
    assert "clicks without impressions since" in judge(frame).paused[NORTH]


@pytest.mark.parametrize(
    ("factor", "warned", "paused"),
    [("1.00", False, False), ("1.50", True, False), ("100", False, True), ("0.01", False, True)],
)
def test_spend_far_from_the_budget_in_force_warns_or_pauses(
    factor: str, warned: bool, paused: bool
) -> None:
    frame = feed()
    frame["spend"] = [
        s * Decimal(factor) if name == "north" else s
        for name, s in zip(frame.segment, frame.spend, strict=True)
    ]
    cell = judge(frame, in_force_since=AS_OF - timedelta(days=7)).cells[0]
    assert bool(cell.warnings) == warned
    assert bool(cell.paused) == paused
    assert cell.pacing == pytest.approx(float(factor))


def test_pacing_waits_for_three_days_under_the_new_budgets() -> None:
    assert judge(feed(), in_force_since=AS_OF - timedelta(days=2)).cells[0].pacing is None
    assert judge(feed(), in_force_since=None).cells[0].pacing is None


def test_facts_on_or_after_the_day_are_ignored_and_the_input_is_not_changed() -> None:
    frame = feed(north=9)
    later = frame.assign(date=AS_OF)
    both = pd.concat([frame, later], ignore_index=True)
    copy = both.copy()
    assert judge(both) == judge(frame)
    pd.testing.assert_frame_equal(both, copy)


def test_an_empty_feed_pauses_every_cell_that_spends() -> None:
    verdict = judge(feed().iloc[:0], config=HealthConfig(max_lag_days=1))
    assert set(verdict.paused) == {NORTH, SOUTH}
    assert json.loads(json.dumps(verdict.as_dict()))["cells"][0]["last_day"] is None


def arms(**last_day_before: int) -> pd.DataFrame:
    """Both arms of both cells for 40 days, until so many days before yesterday."""
    rows = [
        (AS_OF - timedelta(days=back), segment, "search", arm, 5000)
        for segment in ("north", "south")
        for back in range(1 + last_day_before.get(segment, 0), 41)
        for arm in ("treated", "control")
    ]
    return pd.DataFrame(rows, columns=["date", "segment", "channel", "arm", "users"])


@pytest.mark.parametrize("days", range(1, 21))
def test_a_late_feed_has_a_default_first_and_is_paused_later(days: int) -> None:
    verdict = judge(feed(north=days), holdout=arms())
    cell = verdict.cells[0]
    assert bool(cell.stands_in) == (3 < days <= 10)
    assert bool(cell.paused) == (days > 10)
    assert SOUTH not in verdict.paused and not verdict.cells[1].stands_in
    if cell.stands_in:
        assert "the budgets set stand in for its spend" in verdict.defaults
        assert verdict.defaults in verdict.summary


def test_no_default_stands_in_where_no_other_feed_of_the_cell_is_sound() -> None:
    verdict = judge(feed(north=5), holdout=arms(north=5))
    assert set(verdict.paused) == {NORTH}
    assert verdict.cells[0].stands_in == ()


@pytest.mark.parametrize(("back", "paused"), [(1, True), (2, False), (5, False)])
def test_a_feed_that_comes_back_after_a_long_gap_must_be_sound_for_two_days(
    back: int, paused: bool
) -> None:
    frame = feed()
    ago = (pd.Timestamp(AS_OF) - pd.to_datetime(frame["date"])).dt.days
    gone = (frame["segment"] == "north") & (ago > back) & (ago <= back + 15)
    verdict = judge(frame[~gone], holdout=arms())
    assert (NORTH in verdict.paused) == paused
    assert SOUTH not in verdict.paused


@pytest.mark.parametrize("days", [5, 12])
def test_a_feed_in_a_wrong_unit_is_late_from_its_first_such_day(days: int) -> None:
    frame = feed()
    ago = (pd.Timestamp(AS_OF) - pd.to_datetime(frame["date"])).dt.days
    cents = (frame["segment"] == "north") & (ago <= days)
    frame["spend"] = [s * 100 if c else s for s, c in zip(frame["spend"], cents, strict=True)]
    cell = judge(frame, holdout=arms(), in_force_since=AS_OF - timedelta(days=7)).cells[0]
    said = cell.paused if days > 10 else " ".join(cell.stands_in)
    assert f"performance is in a wrong unit since {AS_OF - timedelta(days=days)}" in said
