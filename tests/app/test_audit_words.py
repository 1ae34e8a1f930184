"""The audit trail as a finance person reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from liftloop.app.cli import app
from liftloop.reporting.history.audit_words import audit_row, clipped
from liftloop.settings.workspace import Workspace

run = CliRunner()


def row(act: str, subject: str, payload: Any, *, timezone: str = "UTC") -> tuple[Any, ...]:
    entry = {
        "sequence": 7,
        "at": "2026-03-01T23:30:12.563704Z",
        "actor": "ana",
        "act": act,
        "subject": subject,
        "payload": payload if isinstance(payload, str) else json.dumps(payload),
    }
    return audit_row(entry, timezone=timezone)


def test_an_entry_says_when_who_what_about_what_and_why() -> None:
    said = row("move", "d-1", {"reason": "Money moves.", "policy": "p-2"})
    assert said == (7, "2026-03-01 23:30", "ana", "decided: move", "decision d-1", "Money moves.")


def test_the_time_is_that_of_the_account() -> None:
    assert row("move", "d-1", {"reason": "x"}, timezone="Europe/Berlin")[1] == "2026-03-02 00:30"


@pytest.mark.parametrize(
    ("act", "subject", "payload", "about", "words"),
    [
        (
            "receive",
            "d-2eccf2",
            {
                "feed": "sales",
                "filename": "sales.csv",
                "received": 1240,
                "stored": 1238,
                "superseded": 0,
                "quarantined": 2,
            },
            "sales.csv",
            "1,240 rows of sales: 1,238 stored, 2 in quarantine.",
        ),
        (
            "publish",
            "d-1",
            {"files": ["b.csv", "b.json", "b.parquet"], "lines": 1},
            "decision d-1",
            "1 budget written to the outbox (csv, json, parquet).",
        ),
        (
            "train",
            "t-1",
            {"model": "response", "version": "8", "reason": "weekly cycle"},
            "training t-1",
            "response version 8, for: weekly cycle.",
        ),
        (
            "pause",
            "* x social",
            {"reason": "", "pause": "h-1"},
            "all segments x social",
            "No reason was given.",
        ),
        (
            "resume",
            "eu x *",
            {"pause": "h-1"},
            "eu x all channels",
            "Budgets move again from the next cycle on.",
        ),
        ("approve", "d-1", {}, "decision d-1", "Its budgets go out."),
        (
            "monitor",
            "m-1",
            {"as_of": "2026-02-23", "drifted": False, "summary": "No alarm."},
            "facts before 2026-02-23",
            "No alarm.",
        ),
        (
            "differs",
            "d-1",
            {"platform": "meta", "budgets": {"eu x social": ["10.00", "12.00"]}},
            "decision d-1",
            "meta: eu x social should be 10.00, is 12.00.",
        ),
        (
            "something new",
            "q-1",
            {"weight": 3, "inner": {"a": 1}, "by_hand": True},
            "q-1",
            "weight: 3, by hand: True",
        ),
    ],
)
def test_what_it_is_about_is_said_in_words(
    act: str, subject: str, payload: dict[str, Any], about: str, words: str
) -> None:
    assert row(act, subject, payload)[4:] == (about, words)


def test_settings_are_one_sentence() -> None:
    payload = {"account": {"currency": "USD"}, "budget": {"total": "40000.00"}, "drift": {"a": 1}}
    words = row("settings", "s-1", payload)[5]
    assert words.startswith("The settings that decide from here on. Total a day: 40,000.00 USD.")
    assert "drift" not in words
    assert len(words) < 120


def test_an_entry_that_was_edited_or_has_another_shape_is_shown_all_the_same() -> None:
    assert "not json" in row("move", "d-1", "not json")[5]
    assert row("receive", "d-1", {"feed": "sales"})[5] == "feed: sales"
    assert row("publish", "d-1", "[1]")[5] == "unreadable: [1]"


def test_a_long_reason_is_cut_after_a_sentence_or_between_words() -> None:
    assert clipped("One two.\nThree.", 40) == "One two. Three."
    assert clipped("First sentence here. Second goes on and on", 30) == "First sentence here. ..."
    assert clipped("alpha beta gamma delta epsilon", 20) == "alpha beta gamma ..."


def test_the_table_has_whole_words_at_any_width_and_json_stays(fresh_workspace: Workspace) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    run.invoke(app, ["pause", *place, "--by", "ana", "--reason", "tracking broken in Scandinavia"])
    for width in ("60", "80", "140"):
        said = run.invoke(app, ["audit", *place], env={"COLUMNS": width}).output
        assert "Scandinavia" in said and "ana" in said and "paused" in said
        assert "The trail is whole: 1 entry, sealed by" in said
    (entry,) = json.loads(run.invoke(app, ["audit", "--json", *place]).output)["entries"]
    assert json.loads(entry["payload"])["reason"] == "tracking broken in Scandinavia"
    assert entry["subject"] == "* x *"


def test_budgets_have_separators_a_total_and_the_expectation_is_named(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    file = tmp_path / "mine.csv"
    file.write_text(
        "segment,channel,daily_budget\nSüd Österreich,search,12345.10\nнорд,social,49.90\n",
        encoding="utf-8",
    )
    run.invoke(app, ["budgets", "--set", str(file), "--from", "2026-03-02", *place])
    for width in ("80", "160"):
        said = run.invoke(app, ["budgets", *place], env={"COLUMNS": width}).output
        (total,) = [line for line in said.splitlines() if "total" in line]
        assert total.count("12,395.00") == 2
        assert "12,345.10" in said
        assert "Österreich" in said and "норд" in said
        assert "incremental" in said
    assert "expected incremental revenue a day" in said
    assert said.count("Set by operator from mine.csv.") == 1
    found = json.loads(run.invoke(app, ["budgets", "--json", *place]).output)
    assert [line["daily_budget"] for line in found["budgets"]] == ["12345.10", "49.90"]


def test_a_terminal_too_narrow_for_columns_gets_a_line_a_value(busy_workspace: Workspace) -> None:
    words = ["budgets", "--workspace", str(busy_workspace.root)]
    said = run.invoke(app, words, env={"COLUMNS": "30"}).output
    assert "  segment: central" in said
    assert "  expected incremental revenue a day: " in said
    assert "  segment: total" in said
