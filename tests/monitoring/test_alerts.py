"""Each trouble is told once while it stands; a storm of alarms makes one training."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts import Earlier, Telling, tell
from monitoring.causes.cause import Cause, Finding, Triage

DAY = date(2026, 3, 2)


def finding(cause: Cause, subject: str) -> Finding:
    return Finding(cause, "down", f"{subject} is down.", (subject,))


def verdict(day: int, *found: Finding) -> Triage:
    return Triage(DAY + timedelta(days=day), found[0] if found else None, found)


def after(found: Triage, earlier: Earlier) -> tuple[Telling, Earlier]:
    """What is told, and what the next look reads back from the evidence that is kept."""
    told = tell(found, earlier, cooldown_days=7)
    return told, Earlier.of({"triage": found.as_dict(), "told": told.as_dict()})


SEARCH, SOCIAL = (finding(Cause.RESPONSE, name) for name in ("search", "social"))
LATE = finding(Cause.FEED, "sales")


def test_a_standing_alarm_is_told_once_and_trains_once() -> None:
    told, earlier = after(verdict(0, SEARCH), Earlier())
    assert told.fresh == (SEARCH,)
    assert told.train
    for day in range(1, 20):
        told, earlier = after(verdict(day, SEARCH), earlier)
        assert not told.fresh
        assert not told.train


def test_a_second_trouble_waits_for_the_cool_down_and_then_trains() -> None:
    _, earlier = after(verdict(0, SEARCH), Earlier())
    told, earlier = after(verdict(2, SEARCH, SOCIAL), earlier)
    assert told.fresh == (SOCIAL,)
    assert not told.train
    assert "2026-03-09" in told.waiting
    told, earlier = after(verdict(7, SEARCH, SOCIAL), earlier)
    assert told.train
    told, _ = after(verdict(14, SEARCH, SOCIAL), earlier)
    assert not told.train


def test_a_broken_feed_is_mended_before_anything_is_learned() -> None:
    told, earlier = after(verdict(0, LATE, SEARCH), Earlier())
    assert told.broken == (LATE,)
    assert not told.train
    assert "mended" in told.waiting
    told, _ = after(verdict(1, SEARCH), earlier)
    assert told.recovered == (LATE.identity,)
    assert told.train


def test_a_season_or_noise_tells_nobody() -> None:
    quiet = (finding(Cause.SEASON, "demand"), finding(Cause.NOISE, "features"))
    told, _ = after(verdict(0, *quiet), Earlier())
    assert not told.fresh
    assert not told.train


def test_a_trouble_that_went_and_came_back_is_told_again() -> None:
    _, earlier = after(verdict(0, SEARCH), Earlier())
    _, earlier = after(verdict(5), earlier)
    told, _ = after(verdict(30, SEARCH), earlier)
    assert told.fresh == (SEARCH,)
    assert told.train


def test_evidence_from_before_there_was_a_triage_is_read_as_nothing_found() -> None:
    assert Earlier.of({"drift": {"drifted": True}, "health": None}) == Earlier()


ALL = {"search": SEARCH, "social": SOCIAL, "late": LATE}


@given(st.lists(st.sets(st.sampled_from(sorted(ALL))), max_size=40))
def test_trainings_are_never_closer_than_the_cool_down(storm: list[set[str]]) -> None:
    earlier, asked = Earlier(), []
    for day, found in enumerate(storm):
        told, earlier = after(verdict(day, *(ALL[name] for name in sorted(found))), earlier)
        if told.train:
            asked.append(day)
    assert all(b - a >= 7 for a, b in pairwise(asked))
