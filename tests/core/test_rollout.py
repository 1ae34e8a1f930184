"""The machine: every state meets every event, and no path leads from harm to promotion."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.guardrails import GuardrailVerdict, Verdict
from liftloop.core.policy import Stage
from liftloop.core.rollout.transitions import (
    ENDED,
    RolloutConfig,
    RolloutState,
    Transition,
    advance,
    meet_newer,
    pause,
    resume,
    roll_back,
    start,
    unfit,
)

BEGAN = date(2026, 3, 2)
CONFIG = RolloutConfig(min_days=14, max_days=56, shadow_days=7, ramp_min_days=7)
WAVES = (("a", "b"), ("c",), ("d", "e"))
GOOD = CanaryEvidence((Look(BEGAN, 1.0, 1.0, 14),), 100.0, 50.0)
ADVICE = {"pass": "promote", "undecided": "hold", "fail": "roll_back", "review": "hold"}
CANARY = dict.fromkeys("ab", BEGAN)
LIVE = RolloutState("r1", "canary", BEGAN, exposed=CANARY)


def verdict(kind: str, advice: str | None = None) -> GuardrailVerdict:
    return GuardrailVerdict("profit", kind, advice or ADVICE[kind], f"It is {kind}.")  # type: ignore[arg-type]


def day(n: int) -> date:
    return BEGAN + timedelta(days=n)


SHADOW = RolloutState("r1", "shadow", BEGAN)
RAMP = replace(LIVE, stage="ramp", step=1, since=BEGAN, exposed={**CANARY, "c": BEGAN})
LAST = replace(RAMP, step=2, exposed={**RAMP.exposed, "d": BEGAN, "e": BEGAN})


def by_ada(state: RolloutState) -> RolloutState:
    return pause(state, now=BEGAN, by="ada", reason="Holiday.").after


def by_guardrail(state: RolloutState) -> RolloutState:
    return pause(state, now=BEGAN, by="guardrail", reason="Late.").after


STATES: dict[str, RolloutState] = {
    "shadow": SHADOW,
    "canary": LIVE,
    "ramp 1": RAMP,
    "ramp 2": LAST,
    **{
        f"{name}, {who}": stop(state)
        for name, state in (("shadow", SHADOW), ("canary", LIVE), ("ramp 1", RAMP))
        for who, stop in (("ada", by_ada), ("guardrail", by_guardrail))
    },
    "full": replace(LAST, stage="full"),
    "rolled back": replace(LIVE, stage="rolled_back", exposed={}),
}

# What each event leads to: the act and the stage after it.
STAYS = "stays"
EVENTS = (
    "passes early", "passes", "fails", "undecided", "review", "asks pause", "none",
    "max days", "rolled back by hand", "paused by hand", "resumed by hand", "newer waits",
    "newer replaces",
)  # fmt: skip


def meet(state: RolloutState, event: str) -> Transition:
    """The event, on a day that is past the stage's least days but where its name says otherwise."""
    kinds = {
        "passes early": ["pass"], "passes": ["pass", "pass"], "fails": ["pass", "fail"],
        "undecided": ["pass", "undecided"], "review": ["review"], "none": [],
        "max days": ["undecided"],
    }  # fmt: skip
    now = {"passes early": day(3), "max days": day(70)}.get(event, day(20))
    if event in kinds:
        return advance(state, GOOD, [verdict(k) for k in kinds[event]], now, CONFIG, WAVES)
    if event == "asks pause":
        return advance(state, GOOD, [verdict("review", "pause")], now, CONFIG, WAVES)
    if event == "rolled back by hand":
        return roll_back(state, now=now, config=CONFIG, reason="Stock ran out.")
    if event == "paused by hand":
        return pause(state, now=now, by="bob", reason="Sale.")
    if event == "resumed by hand":
        return resume(state, now=now, reason="Back.")
    newer = "replace" if event == "newer replaces" else "wait"
    return meet_newer(state, now=now, config=replace(CONFIG, newer=newer))


RUNNING_ROW = {
    "passes early": ("hold", STAYS),
    "fails": ("roll_back", "rolled_back"),
    "undecided": ("hold", STAYS),
    "review": ("hold", STAYS),
    "asks pause": ("pause", "paused"),
    "none": ("hold", STAYS),
    "max days": ("roll_back", "rolled_back"),
    "rolled back by hand": ("roll_back", "rolled_back"),
    "paused by hand": ("pause", "paused"),
    "resumed by hand": ("hold", STAYS),
    "newer waits": ("hold", STAYS),
    "newer replaces": ("roll_back", "rolled_back"),
}
ADAS_ROW = {
    **dict.fromkeys(EVENTS, ("hold", "paused")),
    "fails": ("roll_back", "rolled_back"),
    "rolled back by hand": ("roll_back", "rolled_back"),
    "resumed by hand": ("resume", "back"),
}
GUARDRAILS_ROW = {
    "passes early": ("resume", "back"),
    "passes": ("resume", "back"),
    "fails": ("roll_back", "rolled_back"),
    "undecided": ("resume", "back"),
    "review": ("resume", "back"),
    "asks pause": ("hold", "paused"),
    "none": ("hold", "paused"),
    "max days": ("resume", "back"),
    "rolled back by hand": ("roll_back", "rolled_back"),
    "paused by hand": ("pause", "paused"),
    "resumed by hand": ("resume", "back"),
    "newer waits": ("hold", "paused"),
    "newer replaces": ("roll_back", "rolled_back"),
}
TABLE: dict[str, dict[str, tuple[str, str]]] = {
    "shadow": {**RUNNING_ROW, "passes": ("promote", "canary")},
    "canary": {**RUNNING_ROW, "passes": ("promote", "ramp")},
    "ramp 1": {**RUNNING_ROW, "passes": ("promote", "ramp")},
    "ramp 2": {**RUNNING_ROW, "passes": ("promote", "full")},
    **{f"{name}, ada": ADAS_ROW for name in ("shadow", "canary", "ramp 1")},
    **{f"{name}, guardrail": GUARDRAILS_ROW for name in ("shadow", "canary", "ramp 1")},
    "full": dict.fromkeys(EVENTS, ("hold", STAYS)),
    "rolled back": dict.fromkeys(EVENTS, ("hold", STAYS)),
}


def test_the_table_knows_every_state_and_every_event() -> None:
    assert set(TABLE) == set(STATES)
    assert all(set(row) == set(EVENTS) for row in TABLE.values())


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("name", sorted(STATES))
def test_every_state_meets_every_event(name: str, event: str) -> None:
    state = STATES[name]
    act, stage = TABLE[name][event]
    step = meet(state, event)
    expected = {STAYS: state.stage, "back": state.level}.get(stage, stage)
    assert (step.act, step.after.stage) == (act, expected)
    assert step.reason
    assert step.before == state
    if act == "hold":
        assert step.after == state
    if expected in ("canary", "ramp", "paused", "shadow") and act != "promote":
        assert step.after.exposed == state.exposed


@pytest.mark.parametrize("name", [n for n, s in STATES.items() if s.stage not in ENDED])
def test_only_a_failure_or_a_persons_rollback_bars_the_policy(name: str) -> None:
    assert meet(STATES[name], "fails").barred_until == day(20 + 28)
    assert meet(STATES[name], "rolled back by hand").barred_until == day(20 + 28)
    assert meet(STATES[name], "newer replaces").barred_until is None


def test_a_rollout_starts_as_a_canary_or_in_the_shadow() -> None:
    first = start("r1", on=BEGAN, reason="New plan.", canary=["a"])
    assert (first.act, first.before.stage, first.after.stage) == ("start", "incumbent", "canary")
    assert first.after.exposed == {"a": BEGAN}
    assert first.changes_budgets
    hidden = start("r1", on=BEGAN, reason="New plan.", canary=["a"], shadow=True)
    assert (hidden.after.stage, hidden.after.exposed) == ("shadow", {})
    assert not hidden.changes_budgets


def test_segments_join_stage_by_stage_each_with_its_own_first_day() -> None:
    state, now = SHADOW, BEGAN
    seen: list[tuple[Stage, int, dict[str, date]]] = []
    for days in (7, 14, 7, 7):
        now += timedelta(days=days)
        step = advance(state, GOOD, [verdict("pass")], now, CONFIG, WAVES)
        assert step.act == "promote"
        assert step.changes_budgets
        state = step.after
        seen.append((state.stage, state.step, dict(state.exposed)))
    assert [(stage, k) for stage, k, _ in seen] == [
        ("canary", 0), ("ramp", 1), ("ramp", 2), ("full", 0),
    ]  # fmt: skip
    canary, third = dict.fromkeys("ab", day(7)), {"c": day(21)}
    assert seen[0][2] == canary
    assert seen[1][2] == canary | third
    assert seen[2][2] == canary | third | dict.fromkeys("de", day(28))


def test_without_a_ramp_a_canary_that_passes_goes_to_all_segments() -> None:
    step = advance(LIVE, GOOD, [verdict("pass")], day(14), CONFIG, WAVES[:1])
    assert (step.act, step.after.stage) == ("promote", "full")
    assert advance(LIVE, GOOD, [verdict("pass")], day(14), CONFIG).after.stage == "full"


@pytest.mark.parametrize(("state", "dwell"), [(SHADOW, 7), (LIVE, 14), (RAMP, 7), (LAST, 7)])
def test_a_stage_lasts_its_least_days(state: RolloutState, dwell: int) -> None:
    early = advance(state, GOOD, [verdict("pass")], day(dwell - 1), CONFIG, WAVES)
    assert (early.act, early.reason) == ("hold", "All guardrails pass; 1 more days to go.")
    assert advance(state, GOOD, [verdict("pass")], day(dwell), CONFIG, WAVES).act == "promote"


def test_a_pass_without_sound_evidence_promotes_only_in_the_shadow() -> None:
    for weak in (CanaryEvidence((), 1.0, 1.0), CanaryEvidence(GOOD.looks, 1.0, 1.0, "Broken.")):
        for state in (LIVE, RAMP):
            assert advance(state, weak, [verdict("pass")], day(20), CONFIG, WAVES).act == "hold"
        assert advance(SHADOW, weak, [verdict("pass")], day(20), CONFIG, WAVES).act == "promote"


def test_undecided_at_the_end_holds_when_so_set_and_never_ships() -> None:
    config = replace(CONFIG, inconclusive="hold")
    for state in (SHADOW, LIVE, RAMP):
        step = advance(state, GOOD, [verdict("undecided")], day(90), config, WAVES)
        assert (step.act, step.after) == ("hold", state)
        assert "until someone decides" in step.reason


def test_a_stage_that_passes_lasts_its_least_days_also_past_the_end() -> None:
    late = replace(RAMP, since=day(54))
    assert advance(late, GOOD, [verdict("pass")], day(58), CONFIG, WAVES).act == "hold"
    assert advance(late, GOOD, [verdict("pass")], day(61), CONFIG, WAVES).act == "promote"
    assert advance(late, GOOD, [verdict("undecided")], day(58), CONFIG, WAVES).act == "roll_back"


def test_data_that_stays_broken_ends_the_rollout_and_a_persons_pause_does_not() -> None:
    broken = [verdict("review", "pause")]
    assert advance(by_guardrail(LIVE), GOOD, broken, day(55), CONFIG, WAVES).act == "hold"
    assert advance(by_guardrail(LIVE), GOOD, broken, day(56), CONFIG, WAVES).act == "roll_back"
    assert advance(LIVE, GOOD, broken, day(56), CONFIG, WAVES).act == "roll_back"
    assert advance(by_ada(LIVE), GOOD, broken, day(300), CONFIG, WAVES).act == "hold"


def test_a_persons_pause_replaces_a_guardrails_and_not_the_other_way_round() -> None:
    mine = pause(by_guardrail(RAMP), now=day(4), by="ada", reason="Holiday.").after
    assert (mine.paused_by, mine.interrupted, mine.paused_days, mine.held_days) == (
        "ada", "ramp", 4, 0,
    )  # fmt: skip
    assert pause(mine, now=day(6), by="guardrail", reason="Late.").act == "hold"
    assert pause(mine, now=day(6), by="bob", reason="Me, too.").act == "hold"
    back = resume(mine, now=day(9), reason="Back.").after
    assert (back.stage, back.step, back.paused_days, back.held_days) == ("ramp", 1, 9, 5)


def test_pauses_stop_the_stages_clock_and_a_persons_the_whole_rollouts() -> None:
    state = replace(LIVE, paused_days=10, held_days=4)
    assert (state.days_in_stage(day(20)), state.days_live(day(20))) == (10, 16)
    assert advance(state, GOOD, [verdict("pass")], day(20), CONFIG, WAVES).act == "hold"
    promoted = advance(state, GOOD, [verdict("pass")], day(24), CONFIG, WAVES).after
    assert (promoted.paused_days, promoted.held_days, promoted.since) == (0, 4, day(24))


def test_a_promotion_whose_budgets_cannot_be_made_waits_and_ends_at_max_days() -> None:
    wished = advance(LIVE, GOOD, [verdict("pass")], day(20), CONFIG, WAVES)
    held = unfit(wished, CONFIG, "The floors do not fit.")
    assert (held.act, held.after) == ("hold", LIVE)
    assert "The floors do not fit." in held.reason
    late = advance(LIVE, GOOD, [verdict("pass")], day(56), CONFIG, WAVES)
    assert unfit(late, CONFIG, "No.").act == "roll_back"
    assert unfit(late, replace(CONFIG, inconclusive="hold"), "No.").act == "hold"


@pytest.mark.parametrize("state", [SHADOW, LIVE, RAMP, by_ada(LAST), by_guardrail(SHADOW)])
def test_a_state_and_its_transition_survive_json(state: RolloutState) -> None:
    step = pause(state, now=day(5), by="bob", reason="Holiday.", verdicts=[verdict("review")])
    said = json.loads(json.dumps(step.as_dict()))
    assert RolloutState.from_dict(said["state"]) == step.after
    assert said["verdicts"][0]["sentence"] == "It is review."


def test_states_written_before_the_ramp_are_still_read() -> None:
    old = {
        "rollout_id": "r1", "stage": "canary", "started_on": "2026-03-02", "paused_since": None,
        "paused_days": 3, "paused_by": "",
    }  # fmt: skip
    state = RolloutState.from_dict(old)
    assert (state.days_in_stage(day(20)), state.days_live(day(20))) == (17, 17)


@pytest.mark.parametrize(
    "wrong", [{"min_days": 60}, {"min_days": 0}, {"shadow_days": -1}, {"ramp_min_days": -1}]
)
def test_days_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="days"):
        RolloutConfig(**wrong)  # type: ignore[arg-type]


LOOKS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(get_args(Verdict)), max_size=3),
        st.integers(1, 9),
        st.sampled_from(["", "", "", "pause", "resume", "asks pause", "newer"]),
        st.booleans(),
    ),
    max_size=25,
)


@given(LOOKS, st.sampled_from(["roll_back", "hold"]), st.booleans(), st.sampled_from([0, 5]))
def test_no_path_leads_from_a_verdict_that_does_not_pass_to_promotion(
    looks: list[tuple[list[str], int, str, bool]], inconclusive: str, shadow: bool, days: int
) -> None:
    config = RolloutConfig(
        min_days=7, max_days=60, inconclusive=inconclusive, shadow_days=days,  # type: ignore[arg-type]
        ramp_min_days=3,
    )  # fmt: skip
    now = BEGAN
    state = start("r1", on=now, reason="New.", canary=WAVES[0], shadow=shadow).after
    failed = False
    for kinds, ahead, by_hand, measured in looks:
        now += timedelta(days=ahead)
        if by_hand == "pause":
            state = pause(state, now=now, by="ada", reason="Stop.").after
        elif by_hand == "resume":
            state = resume(state, now=now, reason="Go.").after
        elif by_hand == "newer":
            state = meet_newer(state, now=now, config=config).after
        verdicts = [verdict(k) for k in kinds]
        if by_hand == "asks pause":
            verdicts.append(verdict("review", "pause"))
        evidence = GOOD if measured else CanaryEvidence((), 1.0, 1.0, "Nothing yet.")
        step = advance(state, evidence, verdicts, now, config, WAVES)
        if step.act == "promote":
            assert kinds
            assert {v.verdict for v in verdicts} == {"pass"}
            assert measured or state.stage == "shadow"
            assert state.stage != "paused"
            assert state.days_in_stage(now) >= config.dwell(state.stage)
            assert not failed
        if "fail" in kinds and state.stage not in ENDED:
            assert step.after.stage == "rolled_back"
            failed = True
        if state.stage in ENDED:
            assert step.after == state
        assert failed <= (step.after.stage in ENDED)
        assert set(step.after.exposed) <= {name for wave in WAVES for name in wave}
        if step.after.stage not in ENDED:
            kept = step.after.exposed
            assert all(kept[name] == first for name, first in state.exposed.items())
        state = step.after
