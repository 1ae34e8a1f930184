"""What may not move is one answer: the plan, every step of a rollout and an approval ask for it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.ledger.records import session
from liftloop.core.errors import Declined
from liftloop.core.policy import Policy
from tasks.decision.holds import holds_on
from tasks.decision.rollout import look_once
from tasks.decision.running_rollout import running_rollout
from tasks.open_work import review_waiting_once
from tasks.operate.acts import approve
from tasks.operate.acts import pause as pause_cells

SOUTH = "south"
SMALL = ("\nallowance = 0.08", "\nallowance = 0.01")  # a plan does not fit but in the first wave


def times_hundred(feeds: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The clicks and impressions of one segment come in another unit."""
    frame = feeds["performance"].copy()
    mine = (frame["segment"] == SOUTH).to_numpy()
    for column in ("clicks", "impressions"):
        frame[column] = frame[column].where(~mine, frame[column] * 100)
    return {**feeds, "performance": frame}


def of_south(policy: Policy) -> list[Decimal]:
    return [amount for cell, amount in policy.budgets if cell.segment == SOUTH]


def a_week(world: Any, policy: Policy, *, broken: bool) -> None:
    frame = pd.DataFrame(
        [(cell.segment, cell.channel, amount) for cell, amount in policy.budgets],
        columns=["segment", "channel", "daily_budget"],
    )
    feeds = world.market.step(frame, 7)
    world.day += timedelta(days=7)
    world.take_in(times_hundred(feeds) if broken else feeds)


def in_force(world: Any) -> Policy:
    with session(world.loop.engine, read_only=True) as db:
        running = running_rollout(db)
    assert running is not None
    return running.current


def test_cells_of_a_broken_feed_do_not_move_with_any_step_of_a_rollout(world: Any) -> None:
    world.set(*SMALL)
    first = world.cycle()
    assert first["kind"] == "move"
    held = of_south(in_force(world))
    for _ in range(3):
        a_week(world, in_force(world), broken=True)
        known = holds_on(world.loop, world.day, in_force(world), source="holdout")
        assert {cell.segment for cell in known.held(in_force(world))} == {SOUTH}
        look_once(world.loop, world.day)
        world.cycle()
        assert of_south(in_force(world)) == held


def test_the_same_cells_move_where_their_feed_is_sound(world: Any) -> None:
    world.set(*SMALL)
    world.cycle()
    held = of_south(in_force(world))
    for _ in range(3):
        a_week(world, in_force(world), broken=False)
        world.cycle()
    assert of_south(in_force(world)) != held


def test_a_plan_that_waits_cannot_be_approved_while_a_cell_it_moves_is_paused(world: Any) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0")
    first = world.cycle()
    assert first["state"] == "awaiting_approval"
    moved = {
        cell.segment
        for cell, amount in world.budgets(first["id"]).budgets
        if amount != dict(world.before().budgets).get(cell)
    }
    segment = sorted(moved)[0]
    pause_cells(str(world.workspace.root), segment=segment, channel="*", reason="stock", actor="a")
    with pytest.raises(Declined, match=f"{segment} x .*paused by a"):
        approve(str(world.workspace.root), first["id"], actor="ana")
    assert review_waiting_once(world.loop, world.day) == [first["id"]]
