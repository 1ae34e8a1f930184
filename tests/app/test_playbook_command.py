"""liftloop playbook: notes and what experiments supposed and found."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.ledger.experiments import MEASURED, UNMEASURED, end_experiment
from liftloop.adapters.ledger.playbook import notes
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import MonitorVerdict
from liftloop.app.cli import app
from liftloop.core.experiments.design import Experiment
from tasks.context import open_loop
from tasks.experiments.runs import ExperimentPromise, start_experiment
from tasks.monitor.monitor import verdict_values
from tasks.operate.playbook import playbook

run = CliRunner()


def written(place: Path, text: str, *options: str) -> str:
    """The id of a note."""
    done = run.invoke(app, ["playbook", "note", text, "--workspace", str(place), *options])
    assert done.exit_code == 0, done.output
    return done.output.split()[1].rstrip(".")


def found(place: Path, *words: str) -> list[dict[str, Any]]:
    done = run.invoke(app, ["playbook", *words, "--json", "--workspace", str(place)])
    assert done.exit_code == 0, done.output
    return list(json.loads(done.output))


def out_of_stock(place: Path) -> str:
    days = ["--on", "2026-01-07", "--until", "2026-01-09"]
    where = ["--kind", "event", "--cell", "north x video", "--by", "ana"]
    return written(place, "Video was out of Stock", *days, *where)


def test_notes_are_found_by_any_of_their_words_in_any_case(shop: Path) -> None:
    event = out_of_stock(shop)
    lesson = written(shop, "Short tests tell little", "--kind", "lesson", "--about", event)
    assert event.startswith("n-")
    assert [one["id"] for one in found(shop)] == [event, lesson]
    for words in (["STOCK"], ["ana", "video"], ["north"], ["2026-01-07"]):
        assert [one["id"] for one in found(shop, *words)] == [event]
    assert [one["id"] for one in found(shop, event)] == [event, lesson]  # cited
    assert found(shop, "stock", "little") == []
    table = run.invoke(app, ["playbook", "lesson", "-w", str(shop)], env={"COLUMNS": "200"}).output
    assert "Short tests tell little" in table and event in table and "Stock" not in table


def test_a_note_is_kept_once_and_sealed(shop: Path) -> None:
    assert out_of_stock(shop) == out_of_stock(shop)
    assert len(found(shop)) == 1
    loop = open_loop(shop)
    with session(loop.engine) as db:
        assert verify(db).intact
        (note,) = notes(db)
        note.text = "Nothing happened"
        db.add(note)
        db.flush()
        assert f"the note {note.id} was changed" in verify(db).problems
        db.delete(note)
        db.flush()
        assert f"the note {note.id} is gone from the ledger" in verify(db).problems
        db.rollback()


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--kind", "rumour"], 1, "no kind of note"),
        (["--kind", "lesson", "--about", "d-0"], 2, "no decision, experiment or note d-0"),
        (["--kind", "event", "--on", "2026-03-02", "--until", "2026-03-01"], 1, "turn the days"),
        (["--kind", "event", "--cell", "north"], 2, ""),
    ],
)
def test_what_cannot_be_noted_is_refused(
    shop: Path, options: list[str], status: int, words: str
) -> None:
    done = run.invoke(app, ["playbook", "note", "x", *options, "-w", str(shop)])
    refusal: Any = done.exception
    assert getattr(refusal, "exit_status", done.exit_code) == status
    assert words in f"{refusal} {done.output}"
    assert found(shop) == []


def test_an_event_is_named_beside_an_alarm_of_its_days_alone(shop: Path) -> None:
    event = out_of_stock(shop)
    loop = open_loop(shop)

    def values(as_of: date, *, drifted: bool = True) -> dict[str, Any]:
        verdict = MonitorVerdict(
            key="m-1",
            as_of=as_of,
            drifted=drifted,
            summary="Sales fell.",
            evidence='{"health": null}',
            created_at=datetime(2026, 1, 13, tzinfo=UTC),
        )
        return verdict_values(loop, verdict, new=False)

    beside = "Video was out of Stock (north x video), 2026-01-07 to 2026-01-09"
    said = f"Sales fell. Noted for these days: {beside} [{event}]."
    assert values(date(2026, 1, 13))["summary"] == said
    assert values(date(2026, 1, 7))["summary"] == "Sales fell."  # days before it
    assert values(date(2026, 2, 6))["summary"] == said  # 28 days are compared: from the 9th on
    assert values(date(2026, 2, 7))["summary"] == "Sales fell."
    assert values(date(2026, 1, 13), drifted=False)["events"] == []


def test_hypotheses_and_results_of_experiments_are_entries_by_themselves(shop: Path) -> None:
    loop = open_loop(shop)
    for name, segment, channel in (("spring", "east", "social"), ("autumn", "west", "search")):
        planned = Experiment(
            name=name,
            channel=channel,
            segments=(segment,),
            design="geo",
            change=-1.0,
            start=date(2027, 1, 4),
            end=date(2027, 1, 17),
            seed=1,
        )
        start_experiment(str(shop), planned, promise=ExperimentPromise(), actor="ana")
    assert [one["kind"] for one in found(shop)] == ["hypothesis", "hypothesis"]
    with session(loop.engine) as db:
        end_experiment(
            db, name="spring", state=MEASURED, result='{"sentence": "It earns 2.00."}', reason=""
        )
        end_experiment(db, name="autumn", state=UNMEASURED, result="{}", reason="Not measured: x.")
    entries = {(one.id, one.kind): one for one in playbook(loop)}
    assert entries["spring", "result"].text == "It earns 2.00."
    assert entries["autumn", "result"].text == "Not measured: x."
    assert "changes no sales" in entries["spring", "hypothesis"].text
    assert [one["id"] for one in found(shop, "earns")] == ["spring"]
