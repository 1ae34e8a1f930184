"""Days without spend: kept in all segments, whatever a rollout says, and given back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.ledger.decisions import budgets_in_force, decision
from liftloop.adapters.ledger.records import session
from liftloop.core.policy import Policy
from tasks.decision.no_spend_days import keep_no_spend_days_once, withheld
from tasks.decision.replay import replay


def budgets(world: Any) -> Policy:
    with session(world.loop.engine, read_only=True) as db:
        found = budgets_in_force(db, before=world.day + timedelta(days=60))
    assert found is not None
    return found[0]


def dark(world: Any, first: int, last: int) -> None:
    path, day = world.workspace.config, world.day
    text = path.read_text(encoding="utf-8")
    start, end = day + timedelta(days=first), day + timedelta(days=last)
    block = (
        f'\n[[budget.blackouts]]\nname = "mourning"\nchannels = ["social"]\n'
        f"start = {start}\nend = {end}\nno_spend = true\n"
    )
    path.write_text(text + block, encoding="utf-8")


def test_days_without_spend_end_a_rollout_and_give_the_budgets_back(world: Any) -> None:
    world.cycle()
    assert world.rollout() is not None
    before = budgets(world)
    dark(world, 3, 9)
    loop, day = world.loop, world.day
    assert keep_no_spend_days_once(loop, day + timedelta(days=2)) is None
    begun = keep_no_spend_days_once(loop, day + timedelta(days=3))
    assert begun is not None and world.rollout() is None
    now = budgets(world).as_dict()
    assert all((amount == 0) == (cell.channel == "social") for cell, amount in now.items())
    assert keep_no_spend_days_once(loop, day + timedelta(days=3)) is None

    world.day += timedelta(days=7)
    settled = world.cycle()  # within these days: what is withheld goes nowhere
    assert budgets(world).total <= sum(now.values())
    assert settled["state"] == "in_force"

    over = keep_no_spend_days_once(world.loop, day + timedelta(days=10))
    assert over is not None
    social = {c: x for c, x in budgets(world).budgets if c.channel == "social"}
    assert social == {c: x for c, x in before.budgets if c.channel == "social"}
    with session(world.loop.engine, read_only=True) as db:
        assert withheld(db) == {} and verify(db).intact
        assert decision(db, id=over) is not None
    assert replay(str(world.workspace.root), begun).same
