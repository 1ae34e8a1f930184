"""liftloop review: how a month went, and what another objective would have decided."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.loop_value_entries import WORTH
from liftloop.adapters.ledger.records import append_audit, session
from liftloop.app.cli import app
from liftloop.core.arrays import Z90
from liftloop.core.errors import Declined
from tasks.context import Loop, open_loop
from tasks.operate.playbook import NewNote, write_note
from tasks.report.review import review_of

run = CliRunner()


def noted(loop: Loop, kind: str, text: str, day: date, about: str = "") -> str:
    new = NewNote(text=text, kind=kind, first=day, about=about)
    return write_note(loop, new, actor="ana")


@pytest.fixture
def not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plan can be made again."""

    def refuse(*_: object) -> NoReturn:
        raise Declined("It was made before LiftLoop kept what a replay needs.")

    monkeypatch.setattr("tasks.report.review.what_if", refuse)


def test_the_month_is_told_on_a_page_and_as_json(shop: Path) -> None:
    loop = open_loop(shop)
    event = noted(loop, "event", "A <b>price</b> cut", date(2026, 1, 7))
    supposed = noted(loop, "hypothesis", "Social saturates", date(2026, 1, 5))
    open_one = noted(loop, "hypothesis", "Search does not", date(2026, 1, 5))
    lesson = noted(loop, "lesson", "It does", date(2026, 1, 20), about=supposed)
    noted(loop, "lesson", "Of another month", date(2026, 2, 1))

    done = run.invoke(app, ["review", "--json", "--workspace", str(shop)])
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.output)
    assert said["month"] == "2026-01"  # of the last decision
    assert [one["realized"] is None for one in said["decisions"]] == [False, True]
    (deviation,) = said["deviations"]
    assert "more than expected, though" in deviation["sentence"]
    assert [one["id"] for one in deviation["events"]] == [event]
    assert [one["id"] for one in said["lessons"]] == [lesson]
    assert [one["id"] for one in said["open_questions"]] == [open_one]
    assert [one.startswith('With budget.objective="cvar"') for one in said["otherwise"]] == [
        True,
        True,
    ]
    assert "instead of +272" in said["otherwise"][0]

    page = (shop / said["page"]).read_text(encoding="utf-8")
    assert said["page"] == "reports/review-2026-01.html"
    assert "Review of January 2026" in page and "A &lt;b&gt;price&lt;/b&gt; cut" in page
    assert "Search does not" in page and "Of another month" not in page


@pytest.mark.usefixtures("not_again")
def test_a_plan_that_cannot_be_made_again_is_told_why(shop: Path) -> None:
    found = review_of(open_loop(shop), date(2026, 1, 31))
    assert len(found.otherwise) == 2
    assert all("could not be planned again: It was made before" in one for one in found.otherwise)


@pytest.mark.usefixtures("not_again")
def test_the_months_gain_is_the_one_that_was_measured(shop: Path) -> None:
    loop = open_loop(shop)
    months = [
        {"first": "2026-01-06", "days": 26, "gain": 4000.0, "error": 1000.0},
        {"first": "2026-02-01", "days": 28, "gain": 500.0, "error": 100.0},
    ]
    payload = {"as_of": "2026-03-05", "sentence": "+4,500 USD profit.", "months": months}
    with session(loop.engine) as db:
        append_audit(
            db,
            AuditEvent(
                key="a-worth",
                actor="liftloop",
                act=WORTH,
                subject="2026-03-01",
                payload=payload,
                at=loop.now(),
            ),
        )
    found = review_of(loop, date(2026, 1, 1))
    assert found.gained == "+4,500 USD profit." and found.month_gain is not None
    assert found.month_gain.mean == 4000.0
    assert found.month_gain.low == pytest.approx(4000 - Z90 * 1000)
    quiet = review_of(loop, date(2026, 4, 1))
    assert quiet.month_gain is None and quiet.decisions == () and quiet.otherwise == ()


def test_a_month_is_written_with_its_year(shop: Path) -> None:
    done = run.invoke(app, ["review", "--month", "January", "-w", str(shop)])
    assert done.exit_code == 2 and "is not a month" in " ".join(done.output.split())
