"""What a kill may leave half done is finished when it is done again, and nothing else happens."""

from __future__ import annotations

from typing import Any

import pytest

from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import session
from liftloop.core.errors import UnknownName
from tasks.open_work import unpublished_once
from tasks.operate import budget_acts
from tasks.report.notify import announce_once


def test_a_rollback_by_hand_done_again_is_not_taken_back(world: Any) -> None:
    world.cycle()
    began, place = world.rollout(), str(world.workspace.root)
    budget_acts.roll_back(place, to=None, reason="stock", actor="ana")
    assert "already" in budget_acts.roll_back(place, to=None, reason="stock", actor="ana")
    with session(world.loop.engine, read_only=True) as db:
        last, *before = decisions(db, state="in_force")
    assert (last.kind, last.policy_version) == ("roll_back", began.reference.version)
    assert len(before) == 1


def test_a_rollback_to_no_name_is_refused(world: Any) -> None:
    world.cycle()
    with pytest.raises(UnknownName):
        budget_acts.roll_back(str(world.workspace.root), to="", reason="", actor="ana")


def test_a_decision_that_went_out_and_was_not_told_is_still_open(world: Any) -> None:
    first = world.cycle()
    assert unpublished_once(world.loop) == [first["id"]]
    announce_once(world.loop, first["id"], None)
    assert unpublished_once(world.loop) == []
