"""What a kill may leave half done is finished when it is done again, and nothing else happens."""

from __future__ import annotations

from typing import Any

from liftloop.adapters.decisions import decisions
from liftloop.adapters.ledger import session
from tasks import acts
from tasks.notify import announce_once
from tasks.waiting import unpublished_once


def test_a_rollback_by_hand_done_again_is_not_taken_back(world: Any) -> None:
    world.cycle()
    began, place = world.rollout(), str(world.workspace.root)
    acts.roll_back(place, to=None, reason="stock", actor="ana")
    assert "already" in acts.roll_back(place, to=None, reason="stock", actor="ana")
    with session(world.loop.engine, read_only=True) as db:
        last, *before = decisions(db, state="in_force")
    assert (last.kind, last.policy_version) == ("roll_back", began.reference.version)
    assert len(before) == 1


def test_a_decision_that_went_out_and_was_not_told_is_still_open(world: Any) -> None:
    first = world.cycle()
    assert unpublished_once(world.loop) == [first["id"]]
    announce_once(world.loop, first["id"], None)
    assert unpublished_once(world.loop) == []
