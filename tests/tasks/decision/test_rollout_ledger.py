"""Rollouts in the ledger: the shadow, looks between cycles, cool-downs, approvals, and people."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest

from liftloop.adapters.audit.trail import entries
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import policy, session
from liftloop.adapters.ledger.rollouts import rollouts
from liftloop.adapters.ledger.tables import RolloutRecord
from liftloop.core.errors import DamagedWorkspace, Declined
from liftloop.core.policy import Policy
from tasks.decision.reallocate import propose_once
from tasks.decision.rollout import look_once, settle_once
from tasks.model.train import promote_once, train_once
from tasks.operate import acts, budget_acts

SMALL = ("\nallowance = 0.08", "\nallowance = 0.01")  # plans enter the first wave only
COOL_DOWN = timedelta(days=28)


def record_of(world: Any) -> RolloutRecord:
    with session(world.loop.engine, read_only=True) as db:
        return rollouts(db)[0]


def in_force(world: Any) -> Policy:
    with session(world.loop.engine, read_only=True) as db:
        last = decisions(db, state="in_force")[0]
        found = policy(db, version=last.policy_version)
    assert found is not None
    return found


def acts_of(world: Any, rollout_id: str) -> list[str]:
    return [s.act for s in world.steps(rollout_id) if s.act != "hold"]


def moved(world: Any, before: Policy) -> set[str]:
    now, then = in_force(world).as_dict(), before.as_dict()
    return {cell.segment for cell in then if now[cell] != then[cell]}


def test_the_waves_are_kept_with_the_seed_that_drew_them(world: Any) -> None:
    world.cycle()
    record, running = record_of(world), world.rollout()
    design = json.loads(record.design)
    assert design["seed"] == record.seed
    assert sorted(design["waves"][0]) == json.loads(record.canary_segments)
    assert tuple(tuple(wave) for wave in design["waves"]) == running.waves
    assert sorted(design["order"]) == list(running.segments)
    assert set(design["matches"][0]) == set(design["waves"][0])


def test_a_plan_that_is_kept_for_some_days_moves_nothing_before_they_are_over(world: Any) -> None:
    world.set("\nshadow_days = 0", "\nshadow_days = 14")
    first = world.cycle()
    hidden = world.rollout()
    assert (first["kind"], hidden.state.stage, hidden.state.newest) == ("hold", "shadow", 0)
    assert f"no segment follows it before {world.day + timedelta(days=14)}" in first["reason"]
    assert world.budgets(first["id"]) == hidden.reference
    world.live(first)
    second = world.cycle()
    assert world.rollout().state.newest == 0
    assert world.budgets(second["id"]) == hidden.reference
    world.live(second)
    third = world.cycle()
    now = world.rollout()
    assert (third["kind"], now.state.positions) == ("move", (1, 0, 0)), third["reason"]
    assert moved(world, hidden.reference) == set(hidden.waves[0])
    assert in_force(world).total == hidden.reference.total


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


def test_a_look_after_the_days_plan_says_nothing_new(world: Any) -> None:
    first = world.cycle()
    found = look_once(world.loop, world.day)
    assert found is not None and not found["new"]
    assert [s.act for s in world.steps(world.rollout().state.rollout_id)] == ["start"]
    world.live(first)
    later = look_once(world.loop, world.day)
    assert later is not None and later["new"]
    assert world.cycle()["kind"] != "hold"  # a look in the morning does not keep a plan out


def test_without_a_rollout_there_is_nothing_to_look_at(world: Any) -> None:
    assert look_once(world.loop, world.day) is None


def lose(world: Any, last: dict[str, Any], segments: tuple[str, ...]) -> dict[str, Any]:
    """Weeks in which these segments lose, looked at between cycles, until the rollout ends."""
    for _ in range(6):
        world.live(last, world.harmed(segments))
        found = look_once(world.loop, world.day)
        assert found is not None
        if found["kind"] == "roll_back":
            return found
    raise AssertionError("six weeks of losses, and it goes on")


def test_a_look_takes_a_losing_rollout_back_and_the_days_cycle_does_not_undo_it(
    world: Any,
) -> None:
    first = world.cycle()
    began = world.rollout()
    gone = lose(world, first, began.following(1))
    assert gone["new"] and gone["id"]
    assert in_force(world) == began.reference
    assert look_once(world.loop, world.day) is None
    late = world.cycle()
    assert late["state"] == "declined"
    assert "next cycle plans from there" in late["reason"]
    assert in_force(world) == began.reference
    assert acts_of(world, began.state.rollout_id) == ["start", "roll_back"]


def test_a_cycle_that_takes_a_rollout_back_is_not_undone_by_another_one_that_day(
    world: Any,
) -> None:
    world.set(*SMALL)
    first = world.cycle()
    began = world.rollout()
    world.live(first, world.harmed(began.following(1)))
    gone = world.cycle()
    assert gone["kind"] == "roll_back", gone["reason"]
    assert world.cycle() == {**gone, "new": False}
    world.set("max_step = 0.25", "max_step = 0.10")  # another plan for the same day
    assert world.cycle()["state"] == "declined"
    assert in_force(world) == began.reference
    assert acts_of(world, began.state.rollout_id) == ["start", "roll_back"]


def test_two_different_plans_of_a_day_move_the_waves_once(world: Any) -> None:
    world.set(*SMALL)
    world.live(world.cycle())
    second = world.cycle()
    before, budgets = world.rollout().state, in_force(world)
    world.set("max_step = 0.25", "max_step = 0.10")
    again = world.cycle()
    assert (again["id"], again["state"]) == (None, "declined")
    assert f"moved on {world.day} already" in again["reason"]
    assert (world.rollout().state, in_force(world)) == (before, budgets)
    world.live(second)
    assert world.cycle()["id"] is not None


def test_a_plan_waits_out_the_cool_down_and_then_starts_with_less_room(world: Any) -> None:
    first = world.cycle()
    began = world.rollout()
    last = lose(world, first, began.following(1))
    back = world.day
    for _ in range(3):
        world.live(last)
        last = world.cycle()
        assert last["kind"] == "hold"
        assert f"no plan enters before {back + COOL_DOWN}" in last["reason"]
        assert in_force(world) == began.reference
    world.live(last)
    assert world.day == back + COOL_DOWN
    assert world.cycle()["kind"] == "move"
    again = world.rollout()
    assert again.state.rollout_id != began.state.rollout_id
    assert again.state.record == json_record(world, began.state.rollout_id)
    assert len(again.following(again.state.newest)) < len(began.following(1))
    assert again.state.risk.left < began.state.risk.left / 2


def json_record(world: Any, rollout_id: str) -> tuple[Any, ...]:
    """What the stream that was taken back left of promises and what became of them."""
    from liftloop.core.rollout.state import RolloutState

    last = json.loads(world.steps(rollout_id)[-1].evidence)
    record = RolloutState.from_dict(last["state"]).record
    assert record[-1].measured < 0
    return record


def test_a_paused_rollout_moves_nothing_and_is_taken_back_all_the_same(world: Any) -> None:
    world.set(*SMALL)
    first = world.cycle()
    began, budgets = world.rollout(), in_force(world)
    place = str(world.workspace.root)
    acts.pause_rollout(place, reason="holiday", actor="ana", on=world.day)
    with pytest.raises(Declined, match="already"):
        acts.pause_rollout(place, reason="", actor="bob", on=world.day)
    assert world.rollout().state.paused_by == "ana"
    world.live(first)
    held = world.cycle()
    assert (held["kind"], in_force(world)) == ("hold", budgets)
    assert "Paused by ana" in held["reason"]
    lose(world, held, began.following(1))
    assert acts_of(world, began.state.rollout_id) == ["start", "pause", "roll_back"]
    assert in_force(world) == began.reference


def test_a_rollout_that_was_paused_moves_on_after_it_is_resumed(world: Any) -> None:
    world.set(*SMALL)
    first = world.cycle()
    began, place = world.rollout().state, str(world.workspace.root)
    acts.pause_rollout(place, reason="holiday", actor="ana", on=world.day)
    world.live(first)
    held = world.cycle()
    acts.resume_rollout(place, actor="ana", on=world.day)
    running = world.rollout().state
    assert (running.stage, running.positions) == ("canary", began.positions)
    assert running.held_days == 7
    world.live(held)
    assert world.cycle()["kind"] in ("move", "promote")
    assert world.rollout().state.positions > began.positions


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


@pytest.fixture
def today(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the clock to the world's day."""

    def hold() -> None:
        monkeypatch.setenv("LIFTLOOP_NOW", f"{world.day}T06:00:00+00:00")

    hold()
    return hold


def test_a_plan_that_waits_for_approval_leaves_the_rollout_where_it_is_until_then(
    world: Any, today: Any
) -> None:
    world.set(*SMALL)
    world.live(world.cycle())
    old, budgets = world.rollout().state, in_force(world)
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    today()
    waiting = world.cycle()
    assert waiting["state"] == "awaiting_approval"
    assert world.rollout().state.positions == old.positions
    assert acts_of(world, old.rollout_id) == ["start"]
    assert in_force(world) == budgets
    acts.approve(str(world.workspace.root), waiting["id"], actor="ana")
    assert world.rollout().state.newest == old.newest + 1
    assert acts_of(world, old.rollout_id) == ["start", "move"]
    assert in_force(world) == world.budgets(waiting["id"])
    assert world.rollout().current == in_force(world)


def test_a_plan_that_waited_while_its_rollout_was_paused_is_not_approved(
    world: Any, today: Any
) -> None:
    world.set(*SMALL)
    world.live(world.cycle())
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    today()
    waiting, place = world.cycle(), str(world.workspace.root)
    acts.pause_rollout(place, reason="sale", actor="ana", on=world.day)
    before = world.rollout().state
    with pytest.raises(Declined, match="its rollout moved on since"):
        acts.approve(place, waiting["id"], actor="ana")
    assert world.rollout().state == before
    with session(world.loop.engine, read_only=True) as db:
        assert decisions(db, state="awaiting_approval")[0].id == waiting["id"]


def test_a_gain_that_is_proven_while_a_plan_waits_is_proven_once(world: Any, today: Any) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    world.set("channel_share = 0.8", "channel_share = 1.0")
    place, proven, last = str(world.workspace.root), 0, world.cycle()
    for _ in range(12):
        assert last["state"] == "awaiting_approval", last["reason"]
        acts.approve(place, last["id"], actor="ana")
        id = world.rollout().state.rollout_id
        if proven:
            break
        world.live(last)
        today()
        last = world.cycle()
        proven = acts_of(world, id).count("prove")
    assert (proven, acts_of(world, id)[-2:]) == (1, ["prove", "move"])
    with session(world.loop.engine, read_only=True) as db:
        assert [entry.act for entry in entries(db, subject=id)].count("prove") == 1
    assert world.rollout().state.proven_on == world.day


def test_a_rollback_by_hand_goes_to_the_budgets_that_the_rollout_is_compared_with(
    world: Any,
) -> None:
    first = world.cycle()
    began = world.rollout()
    world.live(first)
    world.cycle()
    budget_acts.roll_back(str(world.workspace.root), to=None, reason="stock", actor="ana")
    assert in_force(world) == began.reference
    step = world.steps(began.state.rollout_id)[-1]
    said = json.loads(step.evidence)
    assert said["state"]["stage"] == "rolled_back"
    assert date.fromisoformat(said["barred_until"]) == step.as_of + COOL_DOWN
    with pytest.raises(Declined, match="in force already"):
        budget_acts.roll_back(
            str(world.workspace.root), to=began.reference.version, reason="", actor="a"
        )


def test_no_plan_enters_after_a_rollback_by_hand_before_its_cool_down_ends(
    world: Any, today: Any
) -> None:
    first = world.cycle()
    budget_acts.roll_back(str(world.workspace.root), to=None, reason="stock", actor="ana")
    until = world.day + timedelta(days=1) + COOL_DOWN
    world.live(first)
    held = world.cycle()
    assert (held["kind"], world.rollout()) == ("hold", None)
    assert f"no plan enters before {until}" in held["reason"]


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
    budget_acts.roll_back(str(world.workspace.root), to=start, reason="stock", actor="ana")
    assert (in_force(world).version, world.rollout()) == (start, None)
    with session(world.loop.engine, read_only=True) as db:
        last = decisions(db)[0]
    assert (last.kind, json.loads(last.evidence)["actor"]) == ("roll_back", "ana")


def test_a_plan_that_nobody_follows_yet_is_dropped_by_hand_although_no_budget_changes(
    world: Any,
) -> None:
    world.set("\nshadow_days = 0", "\nshadow_days = 7")
    world.cycle()
    began = world.rollout()
    budget_acts.roll_back(str(world.workspace.root), to=None, reason="no", actor="ana")
    assert world.rollout() is None
    assert in_force(world) == began.reference


def test_rollouts_that_are_switched_off_close_the_stream_where_it_is(world: Any) -> None:
    world.set(*SMALL)
    world.live(world.cycle())
    began = world.rollout()
    world.set("\nenabled = true", "\nenabled = false")
    settled = world.cycle()
    assert world.rollout() is None
    assert world.steps(began.state.rollout_id)[-1].act == "close"
    assert settled["kind"] == "move"
    assert moved(world, began.reference) == set(began.segments)
    world.live(settled)
    assert world.cycle()["kind"] == "move"


def test_a_settle_that_was_killed_is_finished_by_the_next_one(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world.loop
    promote_once(loop, train_once(loop, world.day, source="holdout", reason="test"))
    planned = propose_once(loop, world.day, source="holdout")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tasks.decision.record_decision.record_decision", killed)
        with pytest.raises(KeyboardInterrupt):
            settle_once(loop, world.day, planned["id"])
    assert world.rollout() is None  # a step without its decision is not kept
    first, again = (settle_once(loop, world.day, planned["id"]) for _ in range(2))
    assert (first["new"], again) == (True, {**first, "new": False})
    assert acts_of(world, world.rollout().state.rollout_id) == ["start"]


def test_a_plan_without_a_proposal_for_its_day_settles_nothing(world: Any) -> None:
    assert settle_once(world.loop, world.day, None)["state"] == "declined"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE rollouttransition SET evidence = '{}'", "does not record the state it left"),
        ("UPDATE rollouttransition SET evidence = 'nonsense'", "does not record the state it left"),
        ("DELETE FROM rollouttransition", "none of its steps is there"),
        ("UPDATE decision SET state = 'superseded'", "no decision of it is in force"),
    ],
)
def test_a_rollout_whose_record_is_not_whole_is_one_sentence_with_a_fix(
    world: Any, change: str, what: str
) -> None:
    world.cycle()
    record = record_of(world)
    with session(world.loop.engine) as db:
        db.connection().exec_driver_sql(change)
    with pytest.raises(
        DamagedWorkspace, match=f"rollout {record.id} is not whole: .*{what}"
    ) as said:
        world.rollout()
    assert "Fix: " in str(said.value)
