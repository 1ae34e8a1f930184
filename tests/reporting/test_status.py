"""One status, one sentence: what a person has to do comes first."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from liftloop.core.curves.gain import Estimate
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.reporting.status import Situation, StatusKind, Trial, WaitingPlan, status_of

WELL = Situation(OutcomeWords("EUR"), has_facts=True, in_force_from=date(2026, 3, 2), cells=24)
GAIN = Estimate(247.0, 8.0, 499.0)
WAITING = WaitingPlan("d-1", date(2026, 3, 9), "", GAIN, days=3, within=14)
PAUSE = ("social in all segments", date(2026, 3, 1), "ana", "no tags", "liftloop resume")


def test_where_nothing_is_to_do_it_says_so() -> None:
    status = status_of(WELL)
    assert (status.kind, status.notices) == (StatusKind.WELL, ())
    assert status.sentence == "Nothing to do. Budgets in force since 2 Mar 2026."


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"waiting": [WAITING]}, StatusKind.NEEDS_YOU, "wait for your approval"),
        ({"audit_problem": "entry 3"}, StatusKind.NEEDS_YOU, "audit trail is broken: entry 3"),
        ({"quarantined": 1}, StatusKind.NEEDS_YOU, "1 row is in quarantine"),
        ({"proposed_total": "A total of 900 waits."}, StatusKind.NEEDS_YOU, "A total of 900"),
        ({"has_facts": False}, StatusKind.NEEDS_YOU, "No data yet"),
        ({"in_force_from": None}, StatusKind.NEEDS_YOU, "run a cycle"),
        ({"pauses": [PAUSE], "paused_cells": 24}, StatusKind.STUCK, "(24 of 24 cells): no tags"),
        ({"held": "A plan is held."}, StatusKind.STUCK, "A plan is held."),
        ({"taken_back": "Taken back."}, StatusKind.STUCK, "Taken back."),
        ({"alarm": "Sales fell."}, StatusKind.STUCK, "Sales fell."),
        ({"is_known": False}, StatusKind.STUCK, "No response is known yet"),
        ({"trial": Trial(2, 6, GAIN, is_paused=True)}, StatusKind.STUCK, "is paused"),
        ({"trial": Trial(2, 6, GAIN)}, StatusKind.TESTING, "in 2 of 6 segments; expected +247"),
        ({"trial": Trial(6, 6, None)}, StatusKind.TESTING, "in all segments."),
    ],
)
def test_each_thing_has_its_status_and_sentence(
    change: dict[str, object], kind: StatusKind, words: str
) -> None:
    status = status_of(replace(WELL, **change))  # type: ignore[arg-type]  # by the table above
    assert status.kind == kind
    assert words in status.sentence


def test_what_needs_a_person_comes_before_what_is_stuck_and_on_trial() -> None:
    everything = replace(
        WELL, trial=Trial(2, 6, GAIN), pauses=[PAUSE], quarantined=7, waiting=[WAITING]
    )
    status = status_of(everything)
    assert [n.kind for n in status.notices] == [
        StatusKind.NEEDS_YOU,
        StatusKind.NEEDS_YOU,
        StatusKind.STUCK,
        StatusKind.TESTING,
    ]
    assert status.sentence.endswith("And 3 more below.")
    assert status.notices[0].subject == "d-1"


@pytest.mark.parametrize(("days", "words"), [(13, "in 1 day."), (14, "by the next cycle")])
def test_a_plan_that_waits_says_what_waiting_costs_and_when_it_ends(days: int, words: str) -> None:
    (notice,) = status_of(replace(WELL, waiting=[replace(WAITING, days=days)])).notices
    assert "A day of waiting costs about +247." in notice.sentence
    assert words in notice.sentence


def test_a_gain_in_conversions_is_said_in_conversions() -> None:
    counted = replace(WELL, words=OutcomeWords("EUR", counted=True), trial=Trial(1, 2, GAIN))
    assert "expected +247 conversions a day" in status_of(counted).sentence
