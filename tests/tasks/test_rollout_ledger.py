"""Rollouts in the ledger: the shadow, looks between cycles, newer plans, cool-downs, and people."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tasks.canary import failed_policies

from liftloop.adapters.decisions import decisions
from liftloop.adapters.ledger import policy, session
from liftloop.adapters.rollouts import rollout, rollouts
from liftloop.adapters.tables import RolloutRecord
from liftloop.core.errors import Declined
from liftloop.core.policy import Policy
from liftloop.core.rollout.effective_policy import alike, barred_until
from tasks import acts
from tasks.rollout import look_once, settle_once


def record_of(world: Any) -> RolloutRecord:
    with session(world.loop.engine, read_only=True) as db:
        return rollouts(db)[0]


def in_force(world: Any) -> Policy:
    with session(world.loop.engine, read_only=True) as db:
        last = decisions(db, state="in_force")[0]
        found = policy(db, version=last.policy_version)
    assert found is not None
    return found


def test_the_design_is_kept_with_the_rollout(world: Any) -> None:
    world.cycle()
    record = record_of(world)
    design = json.loads(record.design)
    assert design["seed"] == record.seed
    assert sorted(design["waves"][0]) == json.loads(record.canary_segments)
    assert len(design["order"]) == 6
    assert set(design["matches"][0]) == set(design["waves"][0])
    assert design["expected"]["mean"] > 0


def test_a_shadow_applies_nothing_and_becomes_a_canary_after_its_days(world: Any) -> None:
    world.set("\nshadow_days = 0", "\nshadow_days = 7")
    first = world.cycle()
    hidden = world.rollout()
    assert (first["kind"], hidden.state.stage, hidden.exposed) == ("hold", "shadow", {})
    assert world.budgets(first["id"]) == hidden.incumbent
    world.live(first)
    second = world.cycle()
    now = world.rollout()
    assert (second["kind"], now.state.stage) == ("promote", "canary"), second["reason"]
    assert set(now.exposed) == set(hidden.canary)
    assert set(now.exposed.values()) == {world.day}
    before, after = hidden.incumbent.as_dict(), world.budgets(second["id"]).as_dict()
    assert {c.segment for c in before if before[c] != after[c]} == set(hidden.canary)


def test_a_look_that_only_holds_is_kept_once_a_day_and_moves_nothing(world: Any) -> None:
    world.cycle()
    running, budgets = world.rollout(), in_force(world)
    day = world.day + timedelta(days=3)
    first, again = look_once(world.loop, day), look_once(world.loop, day)
    assert first is not None and again is not None
    assert (first["id"], first["kind"], first["new"], again["new"]) == (None, "hold", True, False)
    steps = world.steps(running.state.rollout_id)
    assert [(s.act, s.as_of) for s in steps] == [("start", world.day), ("hold", day)]
    assert json.loads(steps[-1].evidence)["verdicts"]
    assert in_force(world) == budgets
    assert look_once(world.loop, world.day) is not None  # an earlier day is told, and not judged
    assert len(world.steps(running.state.rollout_id)) == 2


def test_without_a_rollout_there_is_nothing_to_look_at(world: Any) -> None:
    assert look_once(world.loop, world.day) is None


def lose(world: Any, last: dict[str, Any], canary: tuple[str, ...]) -> dict[str, Any]:
    """Weeks in which the canary loses, looked at between cycles, until the rollout ends."""
    for _ in range(6):
        world.live(last, world.harmed(canary))
        found = look_once(world.loop, world.day)
        assert found is not None
        if found["kind"] == "roll_back":
            return found
    raise AssertionError(found["reason"])


def test_a_look_takes_a_losing_rollout_back_and_the_days_cycle_does_not_undo_it(
    world: Any,
) -> None:
    first = world.cycle()
    began = world.rollout()
    gone = lose(world, first, began.canary)
    assert gone["new"] and gone["id"]
    assert in_force(world).version == began.incumbent.version
    assert look_once(world.loop, world.day) is None
    late = world.cycle()
    assert late["state"] == "declined"
    assert "next cycle plans from there" in late["reason"]
    assert in_force(world).version == began.incumbent.version


def test_a_paused_rollout_is_taken_back_all_the_same_and_its_policy_is_barred(world: Any) -> None:
    first = world.cycle()
    began = world.rollout()
    place = str(world.workspace.root)
    acts.pause_rollout(place, reason="holiday", actor="ana", on=world.day)
    with pytest.raises(Declined, match="already"):
        acts.pause_rollout(place, reason="", actor="bob", on=world.day)
    assert world.rollout().state.paused_by == "ana"
    lose(world, first, began.canary)
    acts_so_far = [s.act for s in world.steps(began.state.rollout_id) if s.act != "hold"]
    assert acts_so_far == ["start", "pause", "roll_back"]
    near = Policy.of({c: v + Decimal("0.01") for c, v in began.challenger.budgets})
    assert alike(near, began.challenger)
    until = barred_until(near, failed_policies(world.loop))
    assert until == world.day + timedelta(days=28)


def test_a_person_pauses_and_resumes_a_rollout_more_than_once_a_day(world: Any) -> None:
    world.cycle()
    place, on = str(world.workspace.root), world.day
    for _ in range(2):
        acts.pause_rollout(place, reason="", actor="ana", on=on)
        assert world.rollout().state.stage == "paused"
        acts.resume_rollout(place, actor="ana", on=on)
        assert world.rollout().state.stage == "canary"
    with pytest.raises(Declined, match="Nothing is paused"):
        acts.resume_rollout(place, actor="ana", on=on)


def test_a_newer_plan_replaces_a_rollout_that_goes_back_first(world: Any) -> None:
    world.set('\nnewer = "wait"', '\nnewer = "replace"')
    first = world.cycle()
    old = world.rollout()
    world.live(first)
    second = world.cycle()
    new = world.rollout()
    assert second["kind"] == "move", second["reason"]
    assert new.state.rollout_id != old.state.rollout_id
    assert new.incumbent == old.incumbent
    last = world.steps(old.state.rollout_id)[-1]
    assert (last.act, last.to_stage) == ("roll_back", "rolled_back")
    assert json.loads(last.evidence)["barred_until"] is None
    kept, mixed = old.incumbent.as_dict(), in_force(world).as_dict()
    assert all(mixed[c] == kept[c] for c in kept if c.segment not in new.exposed)
    with session(world.loop.engine, read_only=True) as db:
        gone = rollout(db, id=old.state.rollout_id)
        assert gone is not None and gone.stage == "rolled_back"


def test_a_replacement_that_waits_for_approval_leaves_the_rollout_until_then(world: Any) -> None:
    world.set('\nnewer = "wait"', '\nnewer = "replace"')
    first = world.cycle()
    old = world.rollout()
    world.live(first)
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting = world.cycle()
    assert waiting["state"] == "awaiting_approval"
    assert world.rollout().state.rollout_id == old.state.rollout_id
    assert world.steps(old.state.rollout_id)[-1].act == "hold"
    acts.approve(str(world.workspace.root), waiting["id"], actor="ana")
    assert world.rollout().state.rollout_id != old.state.rollout_id
    assert world.steps(old.state.rollout_id)[-1].act == "roll_back"


def test_a_rollback_by_hand_after_a_hold_goes_to_the_budgets_before_the_rollout(
    world: Any,
) -> None:
    first = world.cycle()
    began = world.rollout()
    world.live(first)
    assert world.cycle()["kind"] == "hold"
    acts.roll_back(str(world.workspace.root), to=None, reason="stock", actor="ana")
    assert in_force(world) == began.incumbent
    step = world.steps(began.state.rollout_id)[-1]
    said = json.loads(step.evidence)
    assert said["state"]["stage"] == "rolled_back"
    assert date.fromisoformat(said["barred_until"]) == step.as_of + timedelta(days=28)
    with pytest.raises(Declined, match="in force already"):
        acts.roll_back(str(world.workspace.root), to=began.incumbent.version, reason="", actor="a")


def test_a_rollback_to_an_earlier_decision_ends_the_rollout_and_says_whose_act_it_was(
    world: Any,
) -> None:
    world.set("\nenabled = true", "\nenabled = false")
    first = world.cycle()
    world.live(first)
    world.set("\nenabled = false", "\nenabled = true")
    second = world.cycle()
    assert world.rollout() is not None, second["reason"]
    with session(world.loop.engine, read_only=True) as db:
        start = decisions(db)[-1].previous_policy_version
    acts.roll_back(str(world.workspace.root), to=start, reason="stock", actor="ana")
    assert (in_force(world).version, world.rollout()) == (start, None)


def test_a_shadow_is_ended_by_hand_although_no_budget_changes(world: Any) -> None:
    world.set("\nshadow_days = 0", "\nshadow_days = 7")
    world.cycle()
    began = world.rollout()
    acts.roll_back(str(world.workspace.root), to=None, reason="no", actor="ana")
    assert world.rollout() is None
    assert in_force(world) == began.incumbent


def test_a_plan_without_a_proposal_for_its_day_settles_nothing(world: Any) -> None:
    assert settle_once(world.loop, world.day, None)["state"] == "declined"
