from __future__ import annotations

import json
from datetime import date, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.guardrails import GuardrailVerdict, Verdict
from liftloop.core.policy import Stage
from liftloop.core.rollout import (
    ENDED,
    RolloutConfig,
    RolloutState,
    advance,
    pause,
    resume,
    roll_back,
    start,
)

BEGAN = date(2026, 3, 2)
CONFIG = RolloutConfig(min_days=14, max_days=56)
GOOD = CanaryEvidence((Look(BEGAN, 1.0, 1.0, 14),), 100.0, 50.0)
ADVICE = {"pass": "promote", "undecided": "hold", "fail": "roll_back", "review": "hold"}
LIVE = RolloutState("r1", "canary", BEGAN)


def verdict(kind: str, advice: str | None = None) -> GuardrailVerdict:
    return GuardrailVerdict("profit", kind, advice or ADVICE[kind], f"It is {kind}.")  # type: ignore[arg-type]


def day(n: int) -> date:
    return BEGAN + timedelta(days=n)


def test_a_rollout_starts_as_a_canary() -> None:
    first = start("r1", on=BEGAN, reason="New plan.", canary=["a"])
    assert (first.act, first.before.stage, first.after.stage) == ("start", "incumbent", "canary")
    assert first.changes_budgets


@pytest.mark.parametrize(
    ("kinds", "days", "act", "stage"),
    [
        (["pass"], 14, "promote", "full"),
        (["pass", "pass"], 20, "promote", "full"),
        (["pass"], 13, "hold", "canary"),
        (["undecided"], 20, "hold", "canary"),
        (["pass", "review"], 20, "hold", "canary"),
        (["review"], 20, "hold", "canary"),
        ([], 20, "hold", "canary"),
        (["fail"], 1, "roll_back", "rolled_back"),
        (["pass", "fail"], 20, "roll_back", "rolled_back"),
        (["review", "fail"], 20, "roll_back", "rolled_back"),
        (["undecided"], 56, "roll_back", "rolled_back"),
        (["review"], 56, "roll_back", "rolled_back"),
        ([], 56, "roll_back", "rolled_back"),
        (["pass"], 56, "promote", "full"),
    ],
)
def test_a_canary_moves_as_its_verdicts_say(
    kinds: list[str], days: int, act: str, stage: str
) -> None:
    step = advance(LIVE, GOOD, [verdict(k) for k in kinds], day(days), CONFIG)
    assert (step.act, step.after.stage) == (act, stage)
    assert step.reason
    assert len(step.verdicts) == len(kinds)


def test_undecided_at_the_end_holds_when_so_set_and_never_ships() -> None:
    config = RolloutConfig(min_days=14, max_days=56, inconclusive="hold")
    step = advance(LIVE, GOOD, [verdict("undecided")], day(90), config)
    assert (step.act, step.after.stage) == ("hold", "canary")
    assert "until someone decides" in step.reason


def test_a_pass_without_sound_evidence_does_not_promote() -> None:
    for weak in (CanaryEvidence((), 1.0, 1.0), CanaryEvidence(GOOD.looks, 1.0, 1.0, "Broken.")):
        assert advance(LIVE, weak, [verdict("pass")], day(20), CONFIG).act == "hold"


def test_a_rolled_back_policy_is_barred_for_the_cool_down() -> None:
    step = advance(LIVE, GOOD, [verdict("fail")], day(5), CONFIG)
    assert step.barred_until == day(5 + 28)
    assert "It is fail." in step.reason


def test_a_guardrail_pauses_and_the_rollout_resumes_by_itself() -> None:
    stopped = advance(LIVE, GOOD, [verdict("review", "pause")], day(5), CONFIG)
    assert (stopped.act, stopped.after.stage) == ("pause", "paused")
    still = advance(stopped.after, GOOD, [verdict("review", "pause")], day(8), CONFIG)
    assert (still.act, still.after.stage) == ("hold", "paused")
    back = advance(stopped.after, GOOD, [verdict("undecided")], day(9), CONFIG)
    assert (back.act, back.after.stage) == ("resume", "canary")
    assert back.after.paused_days == 4


def test_only_a_person_ends_a_persons_pause() -> None:
    stopped = pause(LIVE, now=day(5), by="ada", reason="Holiday.").after
    assert advance(stopped, GOOD, [verdict("pass")], day(40), CONFIG).act == "hold"
    going = resume(stopped, now=day(40), reason="Back.").after
    assert (going.stage, going.paused_days) == ("canary", 35)


def test_a_failing_guardrail_rolls_back_a_paused_rollout_too() -> None:
    stopped = pause(LIVE, now=day(5), by="ada", reason="Holiday.").after
    assert advance(stopped, GOOD, [verdict("fail")], day(6), CONFIG).act == "roll_back"


def test_pauses_do_not_count_towards_the_days() -> None:
    state = RolloutState("r1", "canary", BEGAN, paused_days=10)
    assert state.days_in_stage(day(20)) == 10
    assert advance(state, GOOD, [verdict("pass")], day(20), CONFIG).act == "hold"
    assert advance(state, GOOD, [verdict("pass")], day(24), CONFIG).act == "promote"


@pytest.mark.parametrize("stage", sorted(ENDED))
@pytest.mark.parametrize("kind", get_args(Verdict))
def test_an_ended_rollout_stays_ended(stage: Stage, kind: str) -> None:
    over = RolloutState("r1", stage, BEGAN)
    step = advance(over, GOOD, [verdict(kind)], day(20), CONFIG)
    assert (step.act, step.after) == ("hold", over)
    assert roll_back(over, now=day(20), config=CONFIG, reason="").act == "hold"
    assert pause(over, now=day(20), by="ada", reason="").act == "hold"
    assert resume(over, now=day(20), reason="").act == "hold"


def test_a_state_and_its_transition_survive_json() -> None:
    stopped = pause(LIVE, now=day(5), by="ada", reason="Holiday.", verdicts=[verdict("review")])
    text = json.dumps(stopped.as_dict())
    assert RolloutState.from_dict(json.loads(text)["state"]) == stopped.after
    assert json.loads(text)["verdicts"][0]["sentence"] == "It is review."
    assert RolloutState.from_dict(json.loads(json.dumps(LIVE.as_dict()))) == LIVE


def test_a_dwell_longer_than_the_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="min_days"):
        RolloutConfig(min_days=60, max_days=56)


EVENTS = st.lists(
    st.tuples(st.lists(st.sampled_from(get_args(Verdict)), max_size=3), st.integers(1, 9)),
    max_size=12,
)


@given(EVENTS, st.sampled_from(["roll_back", "hold"]))
def test_no_path_leads_from_a_verdict_that_does_not_pass_to_promotion(
    events: list[tuple[list[str], int]], inconclusive: str
) -> None:
    config = RolloutConfig(min_days=7, max_days=28, inconclusive=inconclusive)  # type: ignore[arg-type]
    state, now = LIVE, BEGAN
    for kinds, ahead in events:
        now += timedelta(days=ahead)
        step = advance(state, GOOD, [verdict(k) for k in kinds], now, config)
        if step.act == "promote":
            assert kinds
            assert set(kinds) == {"pass"}
        if "fail" in kinds and state.stage not in ENDED:
            assert step.after.stage == "rolled_back"
        if state.stage in ENDED:
            assert step.after == state
        state = step.after
