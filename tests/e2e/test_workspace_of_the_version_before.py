"""A workspace that the version before the rooms were rearranged has made, kept as it was: it
replays to the cent and to the word, its model opens, and its rollout goes on.

Made by ``init``, ``ingest`` and two ``cycle`` calls (2026-01-06 and 2026-01-13) on four segments of
a simulated market; reports are left out.
"""

from __future__ import annotations

import tarfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import champion_training, session
from tasks.context import open_loop
from tasks.decision.reallocate import propose_once
from tasks.decision.replay import decision_ids, replay
from tasks.decision.rollout import settle_once
from tasks.decision.running_rollout import running_rollout
from tasks.model.curves import MODEL_OF, curves_of

KEPT = Path(__file__).parent.parent / "fixtures" / "workspace_before_the_rooms.tar.gz"
NEXT = date(2026, 1, 20)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "shop"
    with tarfile.open(KEPT) as kept:
        kept.extractall(place, filter="data")
    return place


def test_decisions_are_made_again_to_the_cent_and_to_the_word(workspace: Path) -> None:
    ids = decision_ids(str(workspace))
    assert len(ids) == 2
    for id in ids:
        again = replay(str(workspace), id, refit=True)
        assert again.same, again.as_dict()
        assert "to the cent and to the word" in again.sentence


def test_its_model_opens_and_its_rollout_goes_on(workspace: Path) -> None:
    loop = open_loop(workspace)
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
        before = running_rollout(db)
    assert champion is not None and before is not None
    curves = curves_of(loop, champion.key)
    assert curves is not None and len(curves.cells) == 8
    assert np.isfinite(curves.mean_revenue(np.full(8, 100.0))).all()
    plan = propose_once(loop, NEXT, source="holdout")
    settled = settle_once(loop, NEXT, plan["id"])
    assert settled["state"] == "in_force"
    with session(loop.engine, read_only=True) as db:
        after = running_rollout(db)
        assert decisions(db, state="in_force")[0].id == settled["id"]
    assert after is not None and after.state.rollout_id == before.state.rollout_id
