"""A rollout told from its recorded steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from liftloop.core.rollout_state import RolloutConfig, RolloutState
from liftloop.core.rollout_story import Step, tell

START = date(2026, 3, 2)
CONFIG = RolloutConfig(min_days=14, max_days=56)


def day(number: int) -> date:
    return START + timedelta(days=number)


def verdict(name: str, said: str = "pass", **evidence: float | str) -> dict[str, Any]:
    return {
        "name": name, "verdict": said, "recommendation": "hold",
        "sentence": f"What {name} saw.", "evidence": evidence,
    }  # fmt: skip


def profit(number: int, effect: float = 0.0, half: float = 0.5, said: str = "undecided"):
    return verdict(
        "incremental profit", said, day=day(number - 1).isoformat(), relative_effect=effect,
        low=effect - half, high=effect + half, margin=0.1,
    )  # fmt: skip


STATE = RolloutState("r-1", "canary", START, since=START, exposed={"a": START})


def step(number: int, *verdicts: dict[str, Any], state: RolloutState = STATE, act: str = "hold"):
    evidence = {"state": state.as_dict(), "verdicts": list(verdicts)}
    before = "incumbent" if act == "start" else "canary"
    return Step(day(number), act, before, state.stage, "Because.", evidence)


BEGUN = step(0, act="start")


def told(*steps: Step):
    return tell([BEGUN, *steps], canary=["a"], started_on=START, config=CONFIG)


def test_a_rollout_that_has_just_begun_says_what_it_waits_for() -> None:
    story = told()
    assert story.exposed == {"a": (START, 0)}
    assert story.looks == () and story.money is None
    assert story.would_promote == (
        "14 more days in this stage.", "Every guardrail must be judged, and pass.",
    )  # fmt: skip
    assert story.marks == ((0, "canary"),)
    assert "day 0" in story.sentence


def test_before_the_first_look_a_failing_guardrail_takes_it_back_already() -> None:
    assert any("a guardrail that fails" in words for words in told().would_roll_back)
    judged = told(step(7, profit(7))).would_roll_back
    assert not any("a guardrail that fails" in words for words in judged)


def test_bounds_are_one_a_day_of_evidence_in_order() -> None:
    story = told(step(7, profit(7, 0.3)), step(8, profit(7, 0.1)), step(14, profit(14)))
    assert [(look.in_force, look.effect) for look in story.looks] == [(7, 0.1), (14, 0.0)]
    assert story.margin == 0.1


def test_what_does_not_pass_must_and_the_days_left_are_counted() -> None:
    story = told(step(13, profit(13), verdict("revenue"), verdict("data health", "review")))
    assert story.would_promote == (
        "1 more day in this stage.",
        "Incremental profit must pass. What incremental profit saw.",
        "Data health must pass. What data health saw.",
    )
    ready = told(step(14, profit(14, said="pass"), verdict("revenue")))
    assert ready.would_promote == ("Nothing is missing: the next cycle promotes it.",)


def test_each_guardrail_that_may_fail_says_how_far_it_is_from_it() -> None:
    story = told(
        step(
            14, profit(14, 0.05, 0.3),
            verdict("loss budget", expected_loss=1200.0, upper_bound=9000.0, budget=5000.0),
            verdict("revenue", change_high=0.081, margin=0.05),
            verdict("cost per incremental conversion", change_high=0.6, margin=1 / 3),
            verdict("spend pacing", pacing_highest=1.02, over=1.3),
            verdict("channel share", channel="video", share=0.4, limit=0.8),
            verdict("data health"),
        )
    )  # fmt: skip
    words = "\n".join(story.would_roll_back)
    for part in ("+35%", "above 5,000 (it is 1,200)", "below -5%", "+8.1%", "below -33%",
                 "more than 130%", "102%", "past 80%", "video with 40%",
                 "after 56 days (42 from now)", "liftloop rollback"):  # fmt: skip
        assert part in words, part
    assert story.money is not None
    assert (story.money.expected_loss, story.money.budget) == (1200.0, 5000.0)


def test_the_money_at_risk_is_what_was_known_last() -> None:
    risk = verdict("loss budget", expected_loss=5.0, upper_bound=9.0)
    story = told(step(7, risk), step(14, verdict("loss budget", "review")))
    assert story.money is not None and story.money.upper_bound == 9.0
    assert "budget" not in story.money.sentence


def test_a_paused_rollout_has_to_be_resumed_first() -> None:
    paused = replace(STATE, stage="paused", paused_since=day(5), paused_by="ada")
    story = told(step(5, state=paused, act="pause"))
    assert "paused by ada" in story.would_promote[0]


@pytest.mark.parametrize("stage", ["full", "rolled_back"])
def test_an_ended_rollout_waits_for_nothing(stage: Any) -> None:
    story = told(step(20, profit(20), state=replace(STATE, stage=stage, exposed={})))
    assert story.would_promote == story.would_roll_back == ()
    assert story.exposed == {}
    assert story.days_live == 20
    where = {"full": "in all segments", "rolled_back": "rolled back"}
    assert where[stage] in story.sentence


def test_a_state_of_an_older_version_exposes_the_canary_since_the_start() -> None:
    old = {"state": {k: v for k, v in STATE.as_dict().items() if k != "exposed"}, "verdicts": []}
    story = tell(
        [Step(day(3), "hold", "canary", "canary", "", old)],
        canary=["a", "b"], started_on=START, config=CONFIG,
    )  # fmt: skip
    assert story.exposed == {"a": (START, 3), "b": (START, 3)}


def test_the_story_is_plain_values_for_json() -> None:
    import json

    story = told(step(14, profit(14), verdict("loss budget", expected_loss=1.0, upper_bound=2.0)))
    said = json.loads(json.dumps(story.as_dict()))
    assert said["looks"][0]["day"] == "2026-03-15"
    assert said["exposed"] == [{"segment": "a", "since": "2026-03-02", "days": 14}]
    assert said["money_at_risk"]["upper_bound"] == 2.0
    assert [g["name"] for g in said["guardrails"]] == ["incremental profit", "loss budget"]
