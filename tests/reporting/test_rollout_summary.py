"""A rollout in summary, from its recorded steps."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.rollout.transitions import (
    Exposure,
    NewBudgets,
    begin,
    hold,
    move,
    pause,
    roll_back,
)
from liftloop.reporting.rollout_sentences import allowance_sentence, named
from liftloop.reporting.rollout_summary import RecordedStep, summarize


def test_each_wave_says_which_plan_it_has_and_since_when(made: SimpleNamespace) -> None:
    found = made.told(*made.flowing())
    assert [(w.segments, w.plan, w.since) for w in found.waves] == [
        (("north", "west"), 3, made.day(14)),
        (("south",), 2, made.day(14)),
        (("central", "east"), 1, made.day(14)),
    ]
    assert found.sentence == (
        "Running since 2 March 2026. north and west: plan 3; south: plan 2; central and east: "
        "plan 1."
    )


def test_a_plan_says_when_it_was_made_and_how_far_of_its_step_it_goes(
    made: SimpleNamespace,
) -> None:
    found = made.told(made.started())
    (plan,) = found.plans
    assert (plan.version, plan.made_on, plan.waves, plan.since) == (
        "p-1",
        made.START,
        (1,),
        made.START,
    )
    assert found.plan_label(1) == "plan 1 of 2 March 2026, 50% of its step"
    assert found.plan_label(0) == "the budgets before"
    assert found.sentence.endswith(
        "north and west: plan 1; central, east and south: the budgets before."
    )


def test_what_is_at_risk_is_one_sentence_with_amounts(made: SimpleNamespace) -> None:
    assert made.told(made.started()).risk_sentences == (
        "Of 12,000 EUR at risk this quarter 3,400 are in use.",
        "Measured so far: +1,500 (90 % interval -145 to +3,145); promised: +2,000.",
        "Plans are believed to deliver 55% of what they promise (give or take 20%).",
    )
    lost = replace(made.RISK, lost=500.0)
    assert allowance_sentence(lost, "EUR").endswith("are in use, 500 of it lost by earlier plans.")


def test_a_measurement_is_kept_for_each_day_the_last_of_it(made: SimpleNamespace) -> None:
    steps = made.flowing()
    again = hold(
        steps[-1].after, on=made.day(14), reason="Again.", verdicts=(made.profit(1_600.0, 1_700.0),)
    )
    found = made.told(*steps, again)
    assert [(m.on, m.gained, m.low) for m in found.measured] == [
        (made.day(7), 500.0, -1_500.0),
        (made.day(14), 1_600.0, -100.0),
    ]


def test_a_proof_ends_the_old_count_and_a_new_one_begins(made: SimpleNamespace) -> None:
    steps = made.proven()
    later = hold(
        steps[-1].after, on=made.day(28), reason="Later.", verdicts=(made.profit(10.0, 900.0),)
    )
    found = made.told(*steps, later)
    assert found.proven_on == made.day(21)
    assert found.proofs[0].sentence("EUR") == (
        "23 March 2026: +4,000 EUR measured (90 % interval +2,355 to +5,645), +2,000 promised."
    )
    assert found.proofs[0].version == "p-1"
    assert [plan.proven for plan in found.plans] == [True, False, False]
    assert [m.since for m in found.measured] == [made.START] * 3 + [made.day(21)]


def test_what_moves_it_forward_is_room_and_a_proof(made: SimpleNamespace) -> None:
    assert made.told(*made.flowing()).would_go_on == (
        "With the next plan every wave moves up one place, in as many waves as what could be lost "
        "allows (8,600 EUR are left).",
        "A measured gain with a lower bound above 0 (-300 EUR now): then the gain is proven: it "
        "frees what is in use for it, and later plans are compared with the proven budgets.",
    )


def test_a_proof_waits_for_a_plan_that_reached_every_wave(made: SimpleNamespace) -> None:
    assert "(none yet), and a plan that has reached every wave" in "".join(
        made.told(made.started()).would_go_on
    )
    assert "and a newer plan that has reached every wave" in "".join(
        made.told(*made.proven()).would_go_on
    )


def test_with_an_allowance_of_nothing_a_plan_waits_for_its_proof(made: SimpleNamespace) -> None:
    terms = replace(made.TERMS, proven_only=True)
    found = made.told(made.started(), terms=terms)
    assert found.would_go_on[0].startswith("The allowance is 0: a plan stays in the first wave")
    assert len(found.would_slow) == 1


def test_what_slows_it_names_the_part_of_one_plan(made: SimpleNamespace) -> None:
    first, second, *_ = made.told(*made.flowing()).would_slow
    assert first.startswith("A plan that needs more than 2,400 EUR of the allowance (20% of it)")
    assert "(55% so far)" in second


def test_what_takes_it_back_names_how_far_each_limit_is(made: SimpleNamespace) -> None:
    measured: dict[str, dict[str, float | str]] = {
        "revenue": {"change_high": 0.081, "margin": 0.05},
        "cost per incremental conversion": {"change_high": 0.6, "margin": 1 / 3},
        "spend pacing": {"pacing_highest": 1.02, "over": 1.3},
        "channel share": {"channel": "video", "share": 0.4, "limit": 0.8},
    }
    limits = tuple(
        GuardrailVerdict(name, "pass", "promote", "Fine.", evidence)
        for name, evidence in measured.items()
    )
    steps = made.flowing()
    quiet = hold(
        steps[-1].after,
        on=made.day(15),
        reason="Quiet.",
        risk=made.RISK,
        verdicts=(made.profit(1_500.0, 1_800.0), *limits),
    )
    found = made.told(*steps, quiet)
    for words, part in zip(
        found.would_take_back,
        (
            "(+3,300 EUR now)",
            "first 28 days",
            "above 3,000 EUR (25% of the allowance)",
            "+8.1%",
            "33%",
            "102%",
            "video with 40%",
            "liftloop rollback",
        ),
        strict=True,
    ):
        assert part in words
    assert "(expected so far: +1,200; at risk: 3,400)" in found.would_take_back[2]
    assert "A guardrail that fails: revenue, cost per incremental conversion, spend pacing, " in (
        found.take_back_brief
    )
    assert "+8.1%" not in found.take_back_brief


def test_a_plan_in_the_shadow_says_when_it_may_enter(made: SimpleNamespace) -> None:
    state = begin("r-1", on=made.START, reference="p-0", waves=3, baseline=1_000.0)
    shadow = move(
        state,
        Exposure((0, 0, 0), 1.0),
        on=made.START,
        reason="Kept.",
        budgets=NewBudgets(version="p-1"),
    )
    found = made.told(shadow, terms=replace(made.TERMS, shadow_days=7))
    assert found.stage == "shadow"
    assert "Plan 1 may enter the first wave from 9 March 2026 on" in found.would_go_on[0]
    assert found.plans[0].since is None
    assert found.would_take_back == (
        "No segment has new budgets yet; liftloop rollback drops the plan.",
    )


def test_a_pause_says_who_and_how_to_go_on(made: SimpleNamespace) -> None:
    steps = made.flowing()
    stop = pause(steps[-1].after, now=made.day(16), by="ada", reason="A sale.")
    found = made.told(*steps, stop)
    assert found.sentence.startswith("Paused by ada on 18 March 2026; budgets stay. north and west")
    assert "liftloop resume --rollout" in found.would_go_on[0]


def test_a_sample_ratio_that_is_off_is_named_first(made: SimpleNamespace) -> None:
    steps = made.flowing()
    off = GuardrailVerdict("sample ratio", "review", "hold", "The arms are off.")
    quiet = hold(steps[-1].after, on=made.day(15), reason="Quiet.", verdicts=(off,))
    assert made.told(*steps, quiet).would_go_on[0] == (
        "Sample ratio must pass before a new plan enters. The arms are off."
    )


def test_a_rollout_that_was_taken_back_shows_its_cool_down_until_it_is_over(
    made: SimpleNamespace,
) -> None:
    steps = made.flowing()
    back = roll_back(steps[-1].after, now=made.day(20), cooldown_days=28, reason="It loses.")
    found = made.told(*steps, back)
    assert found.sentence == ("Taken back on 22 March 2026: all segments have the budgets before.")
    assert found.cooldown_until == made.day(48)
    assert found.cooldown_sentence == "Cool-down: no plan enters before 19 April 2026."
    assert found.would_go_on == found.would_slow == found.would_take_back == ()
    assert {(w.plan, w.since) for w in found.waves} == {(0, made.day(20))}
    assert made.told(*steps, back, now=made.day(48)).cooldown_until is None


def test_after_a_proof_it_is_taken_back_to_what_was_proven(made: SimpleNamespace) -> None:
    steps = made.proven()
    back = roll_back(steps[-1].after, now=made.day(40), cooldown_days=28, reason="It loses.")
    assert made.told(*steps, back).sentence.endswith("all segments have the proven budgets.")


def test_a_chart_names_the_steps_that_matter(made: SimpleNamespace) -> None:
    assert made.told(*made.proven()).marks == ((0, "started"), (21, "gain proven"))


OLD = {
    "state": {
        "rollout_id": "r-1",
        "stage": "canary",
        "started_on": "2026-03-02",
        "paused_days": 0,
        "paused_since": None,
        "paused_by": "",
        "step": 0,
        "since": "2026-03-02",
        "interrupted": None,
        "held_days": 0,
        "exposed": {"north": "2026-03-02"},
    },
    "verdicts": [
        {
            "name": "incremental profit",
            "verdict": "undecided",
            "recommendation": "hold",
            "sentence": "Between -20% and +40%.",
            "evidence": {"day": "2026-03-08", "relative_effect": 0.1, "low": -0.2, "high": 0.4},
        },
    ],
    "barred_until": None,
}


@pytest.mark.parametrize("evidence", [OLD, {}])
def test_steps_of_an_earlier_version_show_stage_dates_and_steps(
    made: SimpleNamespace, evidence: dict[str, Any]
) -> None:
    steps = [
        RecordedStep(made.START, "start", "incumbent", "canary", "It begins.", evidence),
        RecordedStep(made.day(7), "hold", "canary", "canary", "Undecided.", evidence),
    ]
    found = summarize(steps, waves=[], started_on=made.START, terms=made.TERMS)
    assert found.sentence == (
        "Stage canary, since 2 March 2026; begun by an earlier version of LiftLoop."
    )
    assert (found.waves, found.plans, found.risk, found.measured) == ((), (), None, ())
    assert [step.reason for step in found.steps] == ["It begins.", "Undecided."]
    said = json.loads(json.dumps(found.as_dict()))
    assert (said["risk"], said["waves"], said["proven_on"]) == (None, [], None)


def test_a_finished_rollout_of_an_earlier_version_says_so(made: SimpleNamespace) -> None:
    steps = [RecordedStep(made.day(40), "promote", "ramp", "full", "All join.", OLD)]
    found = summarize(steps, waves=[], started_on=made.START, terms=made.TERMS)
    assert found.sentence == "Finished on 11 April 2026: the new budgets are in all segments."


def test_a_summary_is_plain_values_for_json(made: SimpleNamespace) -> None:
    said = json.loads(json.dumps(made.told(*made.proven()).as_dict(), allow_nan=False))
    assert said["stage"] == "canary"
    assert said["waves"][0] == {
        "segments": ["north", "west"],
        "plan": 3,
        "since": "2026-03-16",
    }
    assert said["plans"][0]["made_on"] == "2026-03-02"
    assert (said["risk"]["in_use"], said["risk"]["measured"]) == (900.0, None)
    assert said["risk"]["sentence"] == "Of 12,000 EUR at risk this quarter 900 are in use."
    assert [m["on"] for m in said["measured"]] == ["2026-03-09", "2026-03-16", "2026-03-23"]
    assert (said["proven_on"], said["cooldown_until"]) == ("2026-03-23", None)
    assert said["would_take_back"][-1] == "By hand: liftloop rollback."


def test_many_names_are_cut_and_counted() -> None:
    assert named(["b"]) == "b"
    assert named(["b", "a"]) == "a and b"
    assert named([f"s{n}" for n in range(8)]) == "s0, s1, s2, s3, s4, s5 and 2 more"
