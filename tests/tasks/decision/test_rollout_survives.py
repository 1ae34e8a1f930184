"""A rollout's steps, stopped at every write and done again, end as if nothing had happened.

Every statement that writes to the ledger, every commit and every file of the outbox is a point.
What was not committed is lost there, as in a kill.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlmodel import col, select

from liftloop.adapters.files.outbox import read_budgets
from liftloop.adapters.ledger.decisions import budget_lines, decisions
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import (
    AuditEntry,
    PolicyVersion,
    RolloutRecord,
    RolloutTransition,
)
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.reallocate import propose_once
from tasks.decision.rollout import look_once, settle_once
from tasks.open_work import unpublished_once
from tasks.operate.publish import export

pytestmark = pytest.mark.slow


class Stopped(BaseException):
    """The process ends here."""


@contextmanager
def stopped_at(point: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Stop at the write of this number; the list holds how many there were."""
    seen = [0]

    def write(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == point:
            raise Stopped

    def statement(_c: Any, _k: Any, text: str, *_: Any) -> None:
        if text.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            write()

    put = os.replace

    def replace(*names: Any, **more: Any) -> None:
        write()
        put(*names, **more)

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", write)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replace)
            yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "commit", write)


Day = Callable[[Path, date], None]


def a_cycle(root: Path, day: date) -> None:
    """What the flow does on a day with a plan, without Prefect."""
    loop = open_loop(root)
    finish(loop)
    told = settle_once(loop, day, propose_once(loop, day, source="holdout")["id"])
    if told["id"]:
        export(loop, told["id"])


def a_look(root: Path, day: date) -> None:
    """What the flow does on a day without one."""
    loop = open_loop(root)
    finish(loop)
    told = look_once(loop, day)
    if told and told["id"]:
        export(loop, told["id"])


def finish(loop: Loop) -> None:
    for begun in unpublished_once(loop):
        export(loop, begun)


def kept(root: Path) -> dict[str, Any]:
    """All that must be the same: ledger and outbox."""
    place = Workspace(root)
    with session(open_loop(root).engine, read_only=True) as db:
        return {
            "decisions": [
                (d.id, d.sequence, d.kind, d.state, d.policy_version, d.rollout_id, d.reason)
                for d in decisions(db)
            ],
            "lines": [budget_lines(db, decision_id=d.id) for d in decisions(db)],
            "steps": [
                (t.key, t.sequence, t.act, t.to_stage, t.evidence)
                for t in db.exec(select(RolloutTransition).order_by(RolloutTransition.key))
            ],
            "rollouts": [
                (r.id, r.stage, r.design)
                for r in db.exec(select(RolloutRecord).order_by(RolloutRecord.id))
            ],
            "policies": sorted(p.version for p in db.exec(select(PolicyVersion))),
            "trail": [
                (a.sequence, a.act, a.subject, a.payload)
                for a in db.exec(select(AuditEntry).order_by(col(AuditEntry.sequence)))
            ],
            "outbox": {p.name: p.read_bytes() for p in sorted(place.outbox.glob("budgets-*"))},
            "read back": [read_budgets(p) for p in sorted(place.outbox.glob("*.csv"))],
        }


def stop_everywhere(
    what: Day, before: Path, day: date, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, dict[str, Any]]:
    """How many points there are, and what a day in peace leaves; each stopped day leaves the same
    once it was done again. The clock stands still, for a decision's content names instants."""
    monkeypatch.setenv("LIFTLOOP_NOW", f"{day}T06:00:00+00:00")

    def copy(name: str) -> Path:
        return Path(shutil.copytree(before, tmp_path / name))

    def run(root: Path, point: int) -> int:
        with stopped_at(point, monkeypatch) as seen, suppress(Stopped):
            what(root, day)
        return seen[0]

    peace = copy("peace")
    points = run(peace, 0)
    expected = kept(peace)
    for point in range(1, points + 1):
        root = copy(f"stopped-{point}")
        assert run(root, point) == point
        what(root, day)
        assert kept(root) == expected, f"after a stop at write {point} of {points}"
        shutil.rmtree(root)
    return points, expected


def test_the_first_step_of_a_rollout_survives_a_stop_at_every_write(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, after = stop_everywhere(a_cycle, world.workspace.root, world.day, tmp_path, monkeypatch)
    assert points >= 15
    assert [step[2] for step in after["steps"]] == ["start"]


def test_a_rollback_survives_a_stop_at_every_write_and_restores_the_reference_once(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = world.cycle()
    began = world.rollout()
    for _ in range(6):
        world.live(last, world.harmed(began.following(1)))
        before = Path(shutil.copytree(world.workspace.root, tmp_path / f"week-{world.day}"))
        found = look_once(world.loop, world.day)
        if found and found["kind"] == "roll_back":
            break
    assert found is not None and found["kind"] == "roll_back"
    points, after = stop_everywhere(a_look, before, world.day, tmp_path, monkeypatch)
    assert points >= 10
    assert [step[2] for step in after["steps"]].count("roll_back") == 1
    assert after["decisions"][0][4] == began.reference.version
