"""What a past plan would have been under other settings."""

from __future__ import annotations

import json

import pytest
from sqlmodel import func, select
from typer.testing import CliRunner

from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import AuditEntry
from liftloop.app.cli import app
from liftloop.core.errors import ConfigurationError, Declined, InfeasibleBudget
from tasks.decision.what_if import what_if
from tasks.operate import budget_acts
from tests.tasks.conftest import World


def test_smaller_steps_move_less_by_the_facts_of_then_and_nothing_is_written(world: World) -> None:
    first = world.cycle()
    world.live(first)
    world.cycle()
    entries = count(world)
    found = what_if(str(world.workspace.root), first["id"], ["budget.max_step=0.05"])
    assert found.rows
    for _, before, was, now in found.rows:
        assert abs(now - before) <= abs(was - before)
        assert abs(float(now / before) - 1) <= 0.05 + 1e-3
    assert found.now[0].share_moved < found.was[0].share_moved
    assert f"moved {found.now[0].share_moved:.1%} of the money instead of" in found.sentence
    assert found.now[1].total == found.before.total
    assert count(world) == entries


def test_the_settings_of_then_give_the_plan_of_then(world: World) -> None:
    first = world.cycle()
    world.set("max_step = 0.25", "max_step = 0.10")
    found = what_if(str(world.workspace.root), first["id"], ["budget.max_step=0.25"])
    assert found.rows == []
    assert "would have been the same" in found.sentence


@pytest.mark.parametrize(
    "change",
    ["budget", "budget.max_stp=0.1", "model.draws=10", "budget.max_step=no", "cycle_days=3"],
)
def test_what_is_no_setting_of_a_plan_is_refused(world: World, change: str) -> None:
    first = world.cycle()
    with pytest.raises(ConfigurationError):
        what_if(str(world.workspace.root), first["id"], [change])


def test_rules_that_cannot_hold_together_are_named(world: World) -> None:
    first = world.cycle()
    limits = 'budget.limits=[{segment="*", channel="*", floor=1e9}]'
    with pytest.raises(InfeasibleBudget):
        what_if(str(world.workspace.root), first["id"], [limits])


def test_an_act_without_a_plan_cannot_be_planned_otherwise(world: World) -> None:
    world.live(world.cycle())
    budget_acts.roll_back(str(world.workspace.root), to=None, reason="no", actor="ann")
    place = ["--workspace", str(world.workspace.root)]
    shown = CliRunner().invoke(app, ["replay", "--set", "budget.max_step=0.1", "--json", *place])
    assert shown.exit_code == 0, shown.output  # the last plan, not the rollback after it
    told = json.loads(shown.output)
    assert told["otherwise"]["share_moved"] < told["then"]["share_moved"]
    with pytest.raises(Declined, match="no decision d-1"):
        what_if(str(world.workspace.root), "d-1", ["budget.max_step=0.1"])
    both = ["replay", "--all", "--set", "budget.max_step=0.1", *place]
    assert CliRunner().invoke(app, both).exit_code == 2


def count(world: World) -> int:
    with session(world.loop.engine, read_only=True) as db:
        return int(db.exec(select(func.count()).select_from(AuditEntry)).one())
