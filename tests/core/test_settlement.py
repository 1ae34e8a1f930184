from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.assignment import CanaryChoice
from liftloop.core.rollout.effective_policy import (
    Running,
    alike,
    at_once,
    barred_until,
    begin,
    begun,
    follow,
    keep_in_shadow,
    needs_approval,
)
from liftloop.core.rollout.transitions import RolloutState, Transition, start


def policy(*amounts: int) -> Policy:
    cells = [Cell("eu", "search"), Cell("us", "search")]
    return Policy.of(zip(cells, map(Decimal, amounts), strict=True))


OLD, NEW, MIXED = policy(50, 50), policy(60, 40), policy(55, 45)
STATE = RolloutState("r-1", "canary", date(2026, 1, 5))
RUNNING = Running(STATE, ("eu",), ("us",), NEW, OLD, MIXED, {"eu": STATE.started_on})


def step(act: str, stage: str) -> Transition:
    after = replace(STATE, stage=stage)  # type: ignore[arg-type]
    return Transition(act, STATE, after, date(2026, 1, 19), "because")  # type: ignore[arg-type]


def test_without_a_rollout_the_plan_reaches_every_segment_at_once() -> None:
    settled = at_once(NEW, OLD, "pays")
    assert (settled.kind, settled.policy) == ("move", NEW)
    assert set(settled.stages.values()) == {"full"}


def test_a_plan_that_changes_nothing_is_a_hold() -> None:
    assert at_once(OLD, OLD, "nothing pays").kind == "hold"


def test_a_canary_exposes_its_segments_alone() -> None:
    settled = begin(MIXED, CanaryChoice(("eu",), ("us",), 7, 0.5), "canary first")
    assert settled.stages == {"eu": "canary", "us": "incumbent"}
    assert settled.policy == MIXED


def test_a_promotion_puts_the_challenger_everywhere() -> None:
    settled = follow(step("promote", "full"), RUNNING)
    assert (settled.kind, settled.policy) == ("promote", NEW)
    assert set(settled.stages.values()) == {"full"}


def test_a_rollback_restores_the_incumbent_to_the_byte() -> None:
    settled = follow(step("roll_back", "rolled_back"), RUNNING)
    assert (settled.kind, settled.policy.version) == ("roll_back", OLD.version)
    assert settled.stages == {"eu": "rolled_back", "us": "incumbent"}


def test_a_hold_and_a_pause_keep_what_is_in_force() -> None:
    assert follow(step("hold", "canary"), RUNNING).policy == MIXED
    assert follow(step("pause", "paused"), RUNNING).kind == "pause"


def test_a_large_move_waits_for_a_person_only_where_a_rule_asks() -> None:
    assert not needs_approval(0.9, None)
    assert needs_approval(0.11, 0.10)
    assert not needs_approval(0.10, 0.10)


CHOICE = CanaryChoice(("eu",), ("us",), 7, 0.5, waves=(("eu",),))


def test_in_the_shadow_nothing_is_applied_and_the_segments_to_come_are_named() -> None:
    settled = keep_in_shadow(OLD, CHOICE, "kept")
    assert (settled.kind, settled.policy) == ("hold", OLD)
    assert settled.stages == {"eu": "shadow", "us": "incumbent"}


def test_a_step_of_the_ramp_puts_its_own_budgets_in_force_in_the_segments_that_follow() -> None:
    joined = replace(STATE, stage="ramp", step=1, exposed={"eu": STATE.started_on})
    up = Transition("promote", STATE, joined, date(2026, 1, 19), "because")
    settled = follow(up, RUNNING, MIXED)
    assert (settled.kind, settled.policy) == ("promote", MIXED)
    assert settled.stages == {"eu": "ramp", "us": "incumbent"}


def test_a_rollout_after_its_step_knows_who_follows_and_who_is_control() -> None:
    begun_now = start("r-1", on=STATE.started_on, reason="", canary=("eu",))
    running = begun(begun_now, CHOICE, NEW, OLD, MIXED)
    assert (running.exposed, running.control) == ({"eu": STATE.started_on}, ("us",))
    both = {**running.exposed, "us": date(2026, 1, 19)}
    up = replace(begun_now, after=replace(begun_now.after, exposed=both))
    after = running.after(up, NEW)
    assert (after.exposed, after.control, after.current) == (both, (), NEW)
    assert after.segments == ("eu", "us")


def test_policies_within_a_cent_in_every_cell_are_the_same_plan() -> None:
    near = Policy.of({cell: amount + Decimal("0.01") for cell, amount in NEW.budgets})
    far = Policy.of({cell: amount + Decimal("0.02") for cell, amount in NEW.budgets})
    extra = Policy.of({**NEW.as_dict(), Cell("eu", "tv"): Decimal("0.02")})
    assert alike(NEW, NEW)
    assert alike(NEW, near)
    assert not alike(NEW, far)
    assert not alike(NEW, extra)


def test_a_failed_plan_is_barred_also_when_it_comes_again_a_cent_away() -> None:
    near = Policy.of({cell: amount + Decimal("0.01") for cell, amount in NEW.budgets})
    failed = [(near, date(2026, 2, 2)), (OLD, date(2026, 3, 3)), (NEW, date(2026, 2, 9))]
    assert barred_until(NEW, failed) == date(2026, 2, 9)
    assert barred_until(MIXED, failed) is None
