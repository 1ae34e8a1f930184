"""liftloop changelog: what changed, by whom, why, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.records import append_audit, session
from liftloop.app.cli import app
from tasks.context import open_loop
from tasks.provenance import keep_settings

run = CliRunner()


def changes(place: Path, *options: str) -> list[dict[str, Any]]:
    done = run.invoke(app, ["changelog", "--json", "--workspace", str(place), *options])
    assert done.exit_code == 0, done.output
    return list(json.loads(done.output))


def test_first_deliveries_models_settings_and_decisions_in_order(shop: Path) -> None:
    found = changes(shop)
    assert [one["entry"] for one in found] == sorted(one["entry"] for one in found)
    assert [one["what"] for one in found] == [
        "first delivery of holdout (read by contract)",
        "first delivery of performance (read by contract)",
        "first delivery of sales (read by contract)",
        "first settings",
        "model trained",
        "model put in force",
        "decided: move",
        "model trained",
        "model put in force",
        "decided: move",
    ]


def test_a_decision_shows_what_was_measured_beside_what_was_expected(shop: Path) -> None:
    first, second = changes(shop, "--kind", "budgets")
    assert first["expected_a_day"]["mean"] == pytest.approx(271.98, abs=0.01)
    measured = first["realized"]
    # the four days that were known on the 13th, at 272 a day
    assert measured["expected"]["mean"] == pytest.approx(4 * 271.98, abs=0.1)
    assert measured["measured"]["low"] < measured["measured"]["mean"] < measured["measured"]["high"]
    assert (measured["since"], measured["until"], measured["end"]) == (
        "2026-01-06",
        "2026-01-13",
        "so far",
    )
    assert second["realized"] is None and "Not measured yet." in second["came_of_it"]


def test_what_people_did_is_told_with_who_and_why(shop: Path) -> None:
    stop = ["pause", "--channel", "video", "--reason", "Stock is out.", "--by", "ana"]
    assert run.invoke(app, [*stop, "--workspace", str(shop)]).exit_code == 0
    done = run.invoke(
        app, ["names", "join", "Tv", "video", "--as", "channel", "--by", "bo", "-w", str(shop)]
    )
    assert done.exit_code == 0, done.output
    last = changes(shop)[-2:]
    assert [(one["kind"], one["who"], one["what"], one["why"]) for one in last] == [
        ("budgets", "ana", "paused", "Stock is out."),
        ("data", "bo", "names joined", "The channel Tv is read as video."),
    ]
    again = ["names", "join", "Tv", "video", "--as", "channel", "-w", str(shop)]
    assert run.invoke(app, again).exit_code == 0
    assert len(changes(shop, "--kind", "data")) == 4  # joined once


def test_settings_are_told_by_what_differs_also_when_old_ones_come_back(shop: Path) -> None:
    (first,) = changes(shop, "--kind", "settings")
    config = shop / "liftloop.toml"
    config.write_text(
        config.read_text(encoding="utf-8").replace("max_step = 0.25", "max_step = 0.1"),
        encoding="utf-8",
    )
    loop = open_loop(shop)
    with session(loop.engine) as db:
        keep_settings(db, loop)
        append_audit(
            db,
            AuditEvent(
                key="a-back",
                actor="liftloop",
                act="propose",
                subject="x-back",
                payload={"settings": first["about"].split()[1]},
                at=loop.now(),
            ),
        )
    _, changed, back = changes(shop, "--kind", "settings")
    step = {"key": "budget.max_step", "from": 0.25, "to": 0.1}
    assert step in changed["settings"] and "budget.max_step: 0.25 to 0.1" in changed["why"]
    assert {"key": "budget.max_step", "from": 0.1, "to": 0.25} in back["settings"]


def test_only_what_was_recorded_since_a_day(shop: Path) -> None:
    assert len(changes(shop, "--since", "2026-11-30")) == 10
    assert changes(shop, "--since", "2026-12-01") == []
    done = run.invoke(app, ["changelog", "--kind", "weather", "-w", str(shop)])
    assert done.exit_code == 2 and "weather" in done.output
