"""What takes effect: budgets all at once, or a step of a stream of plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.allowance import KeptPromise, Promise
from liftloop.core.rollout.effective_policy import (
    Running,
    alike,
    at_once,
    follow,
    stages_of,
    stay,
)
from liftloop.core.rollout.state import RolloutState
from liftloop.core.rollout.transitions import (
    Expected,
    Exposure,
    NewBudgets,
    begin,
    hold,
    move,
    pause,
    prove,
    resume,
    roll_back,
)

BEGAN = date(2026, 3, 2)
SEGMENTS = ("a", "b", "c", "still")
WAVES = (("b",), ("a",), ("c",))


def policy(search: int) -> Policy:
    cells = {Cell(s, "search"): Decimal(search) for s in SEGMENTS}
    return Policy.of({**cells, **{Cell(s, "tv"): Decimal(100 - search) for s in SEGMENTS}})


OLD, ONE, TWO = policy(50), policy(60), policy(70)


def day(n: int) -> date:
    return BEGAN + timedelta(days=n)


def fresh() -> Running:
    state = begin("r-1", on=BEGAN, reference=OLD.version, waves=3, baseline=100.0)
    return Running(state, WAVES, {OLD.version: OLD}, OLD)


def grown() -> Running:
    """Two plans: the newest in b, the first in a, the reference in c."""
    running = fresh()
    for number, (plan, places) in enumerate(((ONE, (1, 0, 0)), (TWO, (2, 1, 0)))):
        step = move(
            running.state,
            Exposure(places, 1.0),
            on=day(7 * number),
            reason="",
            budgets=NewBudgets(version=plan.version),
        )
        running = running.after(step, plan, plan=plan)
    return running


def test_without_a_rollout_the_plan_reaches_every_segment_at_once() -> None:
    settled = at_once(ONE, OLD, "pays")
    assert (settled.kind, settled.policy) == ("move", ONE)
    assert settled.stages == dict.fromkeys(SEGMENTS, "full")


def test_a_plan_that_changes_nothing_is_a_hold() -> None:
    assert at_once(OLD, OLD, "nothing pays") == stay(OLD, "nothing pays")
    assert stay(OLD, "").kind == "hold"
    assert stay(OLD, "").stages == dict.fromkeys(SEGMENTS, "incumbent")


def test_a_stream_knows_its_plans_its_head_and_who_follows_them() -> None:
    running = grown()
    assert running.reference == OLD
    assert running.head == TWO
    assert running.segments == ("a", "b", "c")
    assert [running.policy_of(n) for n in (0, 1, 2)] == [OLD, ONE, TWO]
    assert [running.following(n) for n in (0, 1, 2)] == [("a", "b", "c"), ("a", "b"), ("b",)]
    assert fresh().head == OLD


def test_the_newest_plan_is_a_canary_an_earlier_one_a_ramp_and_the_reference_the_incumbent() -> (
    None
):
    """Segment ``still`` is in no wave."""
    assert stages_of(grown()) == {
        "b": "canary",
        "a": "ramp",
        "c": "incumbent",
        "still": "incumbent",
    }


def test_where_every_wave_has_the_newest_plan_it_is_full() -> None:
    running = grown()
    step = move(running.state, Exposure((2, 2, 2)), on=day(14), reason="Up.")
    after = running.after(step, TWO)
    assert stages_of(after) == {"a": "full", "b": "full", "c": "full", "still": "incumbent"}
    assert set(after.policies) == {OLD.version, ONE.version, TWO.version}  # plan 1 is still young
    late = move(running.state, Exposure((2, 2, 2)), on=day(60), reason="Up.")
    assert set(running.after(late, TWO).policies) == {OLD.version, TWO.version}


@pytest.mark.parametrize(
    ("act", "kind", "stage"),
    [
        ("pause", "pause", "paused"),
        ("resume", "hold", "canary"),
        ("roll_back", "roll_back", "rolled_back"),
        ("hold", "hold", "canary"),
        ("promote", "promote", "full"),
    ],
)
def test_each_act_is_told_as_what_it_does_to_budgets(act: str, kind: str, stage: str) -> None:
    running = grown()
    state = running.state
    paused = pause(state, now=day(8), by="ana", reason="Stop.")
    steps = {
        "pause": paused,
        "resume": resume(paused.after, now=day(9), reason="Go."),
        "roll_back": roll_back(state, now=day(9), cooldown_days=28, reason="Harm."),
        "hold": hold(state, on=day(9), reason="Quiet."),
        "promote": move(state, Exposure((2, 2, 2)), on=day(9), reason="Up."),
    }
    step = steps[act]
    put = OLD if act == "roll_back" else running.current
    settled = follow(step, running.after(step, put))
    assert (settled.kind, settled.policy, settled.reason) == (kind, put, step.reason)
    assert settled.stages["b"] == stage
    assert settled.stages["still"] == "incumbent"


def test_a_proof_keeps_the_budgets_and_forgets_the_old_reference() -> None:
    running = grown()
    up = move(running.state, Exposure((2, 2, 1)), on=day(14), reason="")
    running = running.after(up, TWO)
    step = prove(
        running.state,
        on=day(21),
        reason="",
        kept=KeptPromise(Promise(9.0, 1.0), 9.0, 1.0),
        expected=Expected(baseline=100.0, promise=(1.0, 1.0)),
    )
    after = running.after(step, TWO)
    assert (follow(step, after).kind, after.reference) == ("hold", ONE)
    assert OLD.version not in after.policies


def test_in_the_shadow_every_segment_of_the_stream_is_named_so() -> None:
    running = fresh()
    step = move(
        running.state,
        Exposure((0, 0, 0), 1.0),
        on=BEGAN,
        reason="",
        budgets=NewBudgets(version=ONE.version),
    )
    after = running.after(step, OLD, plan=ONE)
    assert stages_of(after)["a"] == "shadow"
    assert (follow(step, after).policy, after.head) == (OLD, ONE)


def test_policies_within_a_cent_in_every_cell_are_the_same_plan() -> None:
    near = Policy.of({cell: amount + Decimal("0.01") for cell, amount in ONE.budgets})
    far = Policy.of({cell: amount + Decimal("0.02") for cell, amount in ONE.budgets})
    extra = Policy.of({**ONE.as_dict(), Cell("a", "radio"): Decimal("0.02")})
    assert alike(ONE, ONE)
    assert alike(ONE, near)
    assert not alike(ONE, far)
    assert not alike(ONE, extra)


def test_the_next_state_replaces_the_stream_and_leaves_the_old_one_as_it_was() -> None:
    running = grown()
    before: RolloutState = running.state
    running.after(pause(before, now=day(9), by="ana", reason=""), OLD)
    assert running.state == before == replace(before)
    assert running.current == TWO
