"""A workspace whose rollout began under the version before, which tested each plan by itself, goes
on; what that version decided is not made again by other rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from liftloop.adapters.audit.trail import entries
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import policy, session
from liftloop.adapters.ledger.rollouts import rollouts
from liftloop.app.cli import app
from liftloop.core.errors import Declined
from liftloop.core.rollout.state import RolloutState
from tasks.decision.replay import replay
from tasks.decision.rollout import look_once
from tasks.operate import acts
from tests.tasks.conftest import World

Begin = Callable[..., dict[str, Any]]


def as_before(state: RolloutState, *, waves: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """A state of one plan as the version before wrote it."""
    since = state.started_on.isoformat()
    follow = [name for wave, at in zip(waves, state.positions, strict=False) if at for name in wave]
    return {
        "rollout_id": state.rollout_id,
        "stage": state.stage,
        "started_on": since,
        "paused_since": state.paused_since.isoformat() if state.paused_since else None,
        "paused_days": 0,
        "paused_by": state.paused_by,
        "step": int(state.stage == "ramp"),
        "since": since,
        "interrupted": "canary" if state.stage == "paused" else None,
        "held_days": 0,
        "exposed": dict.fromkeys(sorted(follow), since),
    }


@pytest.fixture
def begin(world: World, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """A cycle, and whatever follows it at once, recorded as the version before did: its sealed
    entries, its states, and waves without the segments that never joined."""
    world.set("\nallowance = 0.08", "\nallowance = 0.01")
    names = ("central", "east")

    def begun(then: Callable[[], object] = lambda: None) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setattr(RolloutState, "as_dict", lambda state: as_before(state, waves=(names,)))
            settled = world.cycle()
            then()
        with session(world.loop.engine) as db:
            for record in rollouts(db):
                waves = json.loads(record.design)["waves"]
                assert tuple(waves[0]) == names
                design = json.dumps({**json.loads(record.design), "waves": waves[:-1]})
                db.connection().execute(
                    text("UPDATE rolloutrecord SET design = :design"), {"design": design}
                )
        return settled

    return begun


def trail(world: World) -> list[str]:
    with session(world.loop.engine, read_only=True) as db:
        return [e.act for record in rollouts(db) for e in entries(db, subject=record.id)]


def shown(world: World) -> str:
    done = CliRunner().invoke(app, ["rollouts", "--workspace", str(world.workspace.root)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_rollout_of_the_version_before_goes_on_as_one_whose_first_plan_that_is(
    world: World, begin: Begin
) -> None:
    first = begin()
    old = world.rollout()
    assert old is not None
    assert (old.state.positions, old.waves[0]) == ((1, 0, 0), ("central", "east"))
    assert sorted(name for wave in old.waves for name in wave) == sorted(
        {cell.segment for cell in old.current.cells}
    )
    assert old.reference == world.before()
    assert "begun by an earlier version of LiftLoop" in shown(world)
    world.live(first)
    settled = world.cycle()
    now = world.rollout()
    assert now is not None
    assert settled["kind"] == "move", settled["reason"]
    assert (now.state.rollout_id, now.state.newest) == (old.state.rollout_id, 2)
    assert (now.state.started_on, now.state.reference) == (
        old.state.started_on,
        old.state.reference,
    )
    assert now.state.baseline > 0
    assert now.current.total == old.reference.total
    assert "wave 1 (central, east): plan 2" in shown(world)


def test_what_became_of_it_is_in_the_trail_once(world: World, begin: Begin) -> None:
    first = begin()
    assert trail(world) == []
    for days in (2, 3):
        found = look_once(world.loop, world.day + timedelta(days=days))
        assert found is not None and found["new"]
    world.live(first)
    world.cycle()
    assert trail(world) == ["adopt"]


def test_one_that_loses_is_taken_back_to_the_budgets_before_it(world: World, begin: Begin) -> None:
    first = begin()
    old = world.rollout()
    assert old is not None
    world.live(first, world.harmed(("central", "east")))
    found = look_once(world.loop, world.day)
    assert found is not None and found["kind"] == "roll_back", found
    assert world.rollout() is None
    with session(world.loop.engine, read_only=True) as db:
        last = decisions(db, state="in_force")[0]
        assert policy(db, version=last.policy_version) == old.reference
    assert "aken back" in shown(world)


def test_one_that_a_person_paused_stays_paused_until_it_is_resumed(
    world: World, begin: Begin
) -> None:
    place = str(world.workspace.root)
    first = begin(lambda: acts.pause_rollout(place, reason="holiday", actor="ana", on=world.day))
    old = world.rollout()
    assert old is not None and (old.state.stage, old.state.paused_by) == ("paused", "ana")
    assert "aused" in shown(world)
    world.live(first)
    held = world.cycle()
    assert (held["kind"], world.budgets(held["id"])) == ("hold", old.current)
    acts.resume_rollout(place, actor="ana", on=world.day)
    world.live(held)
    assert world.cycle()["kind"] in ("move", "promote")


def test_one_in_its_shadow_enters_the_first_wave_when_its_days_are_over(
    world: World, begin: Begin
) -> None:
    world.set("\nshadow_days = 0", "\nshadow_days = 7")
    world.set("\nallowance = 0.01", "\nallowance = 0.08")  # so that it fits as a whole
    first = begin()
    old = world.rollout()
    assert old is not None and (old.state.stage, old.state.newest) == ("shadow", 0)
    world.live(first)
    assert world.cycle()["kind"] == "move"
    now = world.rollout()
    assert now is not None and now.state.positions == (1, 0, 0)


def test_a_plan_of_the_version_before_that_waits_is_not_approved_but_planned_anew(
    world: World, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFTLOOP_NOW", f"{world.day}T06:00:00+00:00")
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting, place = begin(), str(world.workspace.root)
    with pytest.raises(Declined, match="rules of an earlier version"):
        acts.approve(place, waiting["id"], actor="ana")
    with session(world.loop.engine, read_only=True) as db:
        assert decisions(db)[0].state == "awaiting_approval"
    assert acts.reject(place, waiting["id"], reason="old", actor="ana")


def test_what_the_version_before_decided_cannot_be_told_by_a_replay(
    world: World, begin: Begin
) -> None:
    first, place = begin(), str(world.workspace.root)
    found = replay(place, first["id"])
    assert {check.name: check.verdict for check in found.checks} == {
        "audit trail": "same",
        "sealed entry": "same",
        "model": "same",
        "proposal": "same",
        "decision": "cannot be told",
    }
    assert found.checks[-1].sentence == (
        "It was decided by the rules of an earlier version, which tested each plan by itself; this "
        "version cannot make it again."
    )
    world.live(first)
    assert replay(place, world.cycle()["id"]).same


def test_a_plan_that_the_version_before_held_in_its_cool_down_cannot_be_told_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liftloop.core.rollout.effective_policy import stay
    from liftloop.pipeline.rollout import RolloutDecision

    why = "This plan was rolled back; it is barred until 2026-03-03."
    with monkeypatch.context() as patch:
        patch.setattr(
            "tasks.decision.rollout.decide",
            lambda inputs, **_: RolloutDecision(stay(inputs.in_force, why)),
        )
        held = world.cycle()
    [decided] = replay(str(world.workspace.root), held["id"]).checks[-1:]
    assert (decided.verdict, held["reason"]) == ("cannot be told", why)
