"""A past decision, made again: the same whatever happened since, and different where the record was
changed."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import session
from liftloop.app.cli import app
from liftloop.core.curves.gain import Estimate
from liftloop.core.errors import Declined
from tasks.context import Loop, view
from tasks.decision import record_decision as recording
from tasks.decision.replay import Replay, decision_ids, replay
from tasks.evidence.ingest import intake_of
from tasks.operate import acts, budget_acts
from tests.tasks.conftest import World

NAMES = ["audit trail", "sealed entry", "model", "proposal", "decision"]


def again(world: World, id: str | None = None, **asked: bool) -> Replay:
    return replay(str(world.workspace.root), id, **asked)


def verdicts(found: Replay) -> dict[str, str]:
    return {check.name: check.verdict for check in found.checks}


def written(world: World, statement: str, **values: Any) -> None:
    with session(world.loop.engine) as db:
        done = db.connection().execute(text(statement), values)
        assert done.rowcount > 0


def weeks_later(world: World) -> None:
    """All that changes between a decision and its replay: weeks, corrections, settings, pauses."""
    for _ in range(2):
        world.live(world.cycle())
    told = view(world.loop, world.day, ["performance"])["performance"].copy()
    told["spend"] = told["spend"] * 1.1
    path = world.workspace.inbox / "corrections.parquet"
    told.drop(columns="reported_at", errors="ignore").to_parquet(path)
    deliver(intake_of(world.loop), path)
    acts.pause(str(world.workspace.root), segment="*", channel="*", reason="stop", actor="ann")
    world.set("max_step = 0.25", "max_step = 0.10")


def test_a_plan_and_its_first_step_come_out_the_same_whatever_happened_since(world: World) -> None:
    first = world.cycle()
    assert first["kind"] == "move"
    world.live(first)
    weeks_later(world)
    found = again(world, first["id"], refit=True)
    assert [c for c in found.checks if c.differences] == []
    assert verdicts(found) == dict.fromkeys(NAMES, "same")
    assert found.same
    assert "to the cent" in found.sentence


def test_every_decision_of_a_rollout_that_is_taken_back_comes_out_the_same(world: World) -> None:
    world.set("\nallowance = 0.08", "\nallowance = 0.01")
    settled = world.cycle()
    kinds = [settled["kind"]]
    for week in range(8):
        running = world.rollout()
        assert running is not None
        world.live(settled, world.harmed(running.following(1)) if week else None)
        settled = world.cycle()
        kinds.append(settled["kind"])
        if settled["kind"] == "roll_back":
            break
    assert kinds[-1] == "roll_back"
    world.live(settled)
    kinds.append(world.cycle()["kind"])  # in the cool-down
    ids = decision_ids(str(world.workspace.root))
    assert len(ids) == len(kinds)
    for id in ids:
        found = again(world, id)
        assert [c.differences for c in found.checks if c.differences] == []
        assert found.same


def test_without_naming_one_it_is_the_last_and_a_persons_act_is_no_rules(world: World) -> None:
    world.live(world.cycle())
    budget_acts.roll_back(str(world.workspace.root), to=None, reason="no", actor="ann")
    found = again(world)
    assert found.decision.kind == "roll_back"
    assert verdicts(found)["decision"] == "not made again"
    assert found.same
    assert "person" in found.sentence


def test_a_waiting_plan_comes_out_the_same_before_and_after_its_approval(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFTLOOP_NOW", f"{world.day}T06:00:00+00:00")
    world.set("#approve_above = 0.1", "approve_above = 0.0")
    waiting = world.cycle()
    assert waiting["state"] == "awaiting_approval"
    assert again(world).same
    acts.approve(str(world.workspace.root), waiting["id"], actor="ann")
    assert again(world, waiting["id"]).same


def test_whoever_changes_the_record_is_found(world: World) -> None:
    id = world.cycle()["id"]
    written(world, "UPDATE decision SET reason = 'because' WHERE id = :id", id=id)
    found = again(world)
    assert (verdicts(found)["sealed entry"], verdicts(found)["decision"]) == (
        "different",
        "other words",
    )
    assert not found.same
    assert "NOT" in found.sentence
    places = [x.place for c in found.checks if c.name == "sealed entry" for x in c.differences]
    assert places == ["content"]


def test_budgets_that_were_changed_are_found(world: World) -> None:
    id = world.cycle()["id"]
    written(
        world,
        "UPDATE decisionline SET daily_cents = daily_cents + 1 WHERE decision_id = :id",
        id=id,
    )
    told = verdicts(again(world))
    assert (told["audit trail"], told["sealed entry"], told["decision"]) == (
        "same",
        "different",
        "different",
    )


def test_settings_that_were_changed_in_the_trail_break_it(world: World) -> None:
    world.cycle()
    written(
        world,
        "UPDATE auditentry SET payload = replace(payload, :was, :now) WHERE act = 'settings'",
        was='"max_step":0.25',
        now='"max_step":0.5',
    )
    found = again(world)
    assert verdicts(found)["audit trail"] == "different"
    assert verdicts(found)["decision"] == "cannot be told"
    assert not found.same


def test_a_decision_older_than_the_record_cannot_be_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(recording, "provenance", lambda loop: {})
        world.cycle()
    found = again(world)
    assert verdicts(found)["decision"] == "cannot be told"
    assert not found.same
    assert "cannot be made again" in found.sentence


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE decisionline SET reason = 'because'",
        "UPDATE decision SET evidence = '{}'",
        "UPDATE proposal SET cells = '{}'",
        "UPDATE proposal SET reason = 'because'",
    ],
)
def test_no_word_of_a_decision_or_its_plan_can_be_changed_unseen(world: World, change: str) -> None:
    world.cycle()
    written(world, change)
    assert verdicts(again(world))["sealed entry"] == "different"


def test_evidence_that_was_emptied_and_a_registry_that_is_gone_cannot_be_told(world: World) -> None:
    world.live(world.cycle())
    world.cycle()  # a look at the rollout, or a plan that meets it
    written(world, "UPDATE decision SET evidence = '{}', proposal_id = NULL")
    shutil.rmtree(world.workspace.root / "registry" / "artifacts")
    told = verdicts(again(world))
    assert (told["sealed entry"], told["model"], told["decision"]) == (
        "different",
        "cannot be told",
        "cannot be told",
    )


def test_a_record_that_cannot_be_read_and_settings_of_another_version_are_no_traceback(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.cycle()
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "deciding_settings", lambda loop: {"gone": 1})
        world.live(first)
        world.cycle()
    assert verdicts(again(world))["decision"] == "cannot be told"
    written(world, "UPDATE decision SET evidence = 'nonsense'")
    told = verdicts(again(world))
    assert (told["sealed entry"], told["decision"]) == ("different", "cannot be told")


def test_curves_that_were_exchanged_are_found(world: World) -> None:
    world.cycle()
    for path in (world.workspace.root / "registry").rglob("curves.npz"):
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        first = next(name for name, values in arrays.items() if values.dtype == float)
        np.savez(path, **{**arrays, first: arrays[first] * 1.001})
    found = again(world)
    assert verdicts(found)["model"] == "different"
    assert not found.same


def test_another_wording_of_todays_version_is_no_other_decision(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cycle()
    monkeypatch.setattr(
        "liftloop.pipeline.rollout.steps.moved_words", lambda *asked: "In other words."
    )
    found = again(world)
    assert verdicts(found) == {**dict.fromkeys(NAMES, "same"), "decision": "other words"}
    assert found.same
    assert "to the cent; today's version words it otherwise" in found.sentence


def test_another_figure_is_another_decision_and_is_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cycle()
    monkeypatch.setattr(
        "tasks.decision.record_decision.gain_of", lambda *_, **__: Estimate(1.0, 0.5, 1.5)
    )
    found = again(world)
    [decided] = [check for check in found.checks if check.name == "decision"]
    assert decided.verdict == "different"
    assert "expected_gain: was " in "\n".join(map(str, decided.differences))
    assert "is 1.0" in "\n".join(map(str, decided.differences))


def test_other_software_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tasks.provenance.software", lambda: {"numpy": "1.0.0"})
        world.cycle()
    assert "numpy was 1.0.0, is" in again(world).software


def test_an_unknown_decision_is_refused_with_where_to_look(world: World) -> None:
    with pytest.raises(Declined, match="nothing to replay"):
        again(world)
    with pytest.raises(Declined, match="budgets --decisions"):
        again(world, "d-nothing")


def test_the_command_exits_with_1_where_anything_differs(world: World) -> None:
    id = world.cycle()["id"]
    place = ["--workspace", str(world.workspace.root)]
    done = CliRunner().invoke(app, ["replay", *place])
    assert done.exit_code == 0, done.output
    assert "comes out the same" in done.output
    shown = json.loads(CliRunner().invoke(app, ["replay", id, "--json", *place]).output)
    assert shown["same"]
    assert [check["name"] for check in shown["checks"]] == NAMES
    written(world, "UPDATE decision SET reason = 'because' WHERE id = :id", id=id)
    for asked in (["--all"], ["--all", "--json"], [id]):
        assert CliRunner().invoke(app, ["replay", *asked, *place]).exit_code == 1
    assert CliRunner().invoke(app, ["replay", id, "--all", *place]).exit_code == 2
