"""What a training leaves is what the page says its recommendations rest on; and weekly profit."""

from __future__ import annotations

import pytest

from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import session
from liftloop.reporting.grounds import drivers, evidence_sentence, members
from tasks.report.before_and_after import before_and_after
from tasks.report.grounds import model_grounds
from tests.tasks.conftest import World


def test_a_decisions_model_names_its_evidence_its_members_and_shap_values(world: World) -> None:
    made = world.cycle()
    with session(world.loop.engine, read_only=True) as db:
        (found,) = (one for one in decisions(db) if one.id == made["id"])
    grounds = model_grounds(world.loop, found.training_key)
    assert grounds is not None
    cell = world.before().cells[0]
    assert evidence_sentence(grounds, cell).startswith("holdout; 10 measured lifts of this cell")
    assert sum(weight for _, weight in members(grounds)) == pytest.approx(1.0)
    shares, of = drivers(grounds, cell)
    assert "SHAP values in this cell" in of
    assert all(0 <= share <= 1 for _, share in shares)
    assert model_grounds(world.loop, None) is None


def test_weeks_begin_with_the_first_decision_that_moves(world: World) -> None:
    assert before_and_after(world.loop) is None
    start = world.day
    made = world.cycle()
    world.live(made)
    found = before_and_after(world.loop)
    assert found is not None
    (week,) = found.weeks
    assert (week.first, week.days, found.decided) == (start, 7, (start,))
    assert week.predicted is not None and week.measured is not None
    assert week.left.low < week.left.mean < week.left.high
    # measured in one week to within four standard errors (1.645 of them are the half interval)
    error = (week.measured.high - week.measured.low) / 2 / 1.645
    assert abs(week.measured.mean - week.predicted) < 4 * error
