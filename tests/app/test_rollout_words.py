"""What ``liftloop rollouts`` prints."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from typer.testing import CliRunner

from liftloop.adapters.ledger import open_ledger, session
from liftloop.adapters.rollouts import append_transition
from liftloop.adapters.settings import load_settings
from liftloop.adapters.tables import RolloutTransition
from liftloop.adapters.workspace import Workspace
from liftloop.app.cli import app
from liftloop.app.rollout_words import rollout_lines

run = CliRunner()

ONE: dict[str, Any] = {
    "id": "r-1", "stage": "canary", "days_live": 14, "challenger_version": "p-new",
    "incumbent_version": "p-old", "canary": ["a"], "control": ["b", "c"],
    "steps": [{"as_of": "2026-03-16", "act": "hold", "reason": "Undecided."}],
    "exposed": [{"segment": "a", "since": "2026-03-02", "days": 14},
                {"segment": "b", "since": "2026-03-15", "days": 1}],
    "guardrails": [{"name": "revenue", "verdict": "review", "sentence": "No sales."}],
    "looks": [{"day": "2026-03-15", "effect": 0.1, "low": -0.4, "high": 3.0}],
    "would_promote": ["Revenue must pass.", "2 more days."], "would_roll_back": ["A loss."],
    "money_at_risk": {"sentence": "Expected loss so far 12."},
}  # fmt: skip


def test_a_running_rollout_is_told_whole() -> None:
    text = "\n".join(rollout_lines(ONE))
    for words in (
        "r-1: canary, day 14", "p-new in place of p-old", "control: c", "b (1 day)",
        "revenue  not measurable  No sales.", "+10% (-40% to +300%)", "money at risk: Expected",
        "(drawn from -100% to +100%, | is zero)", "would promote it: Revenue must pass.",
        "2 more days.", "would end it:     A loss.",
    ):  # fmt: skip
        assert words in text, words


def test_the_bar_shows_zero_the_effect_and_the_bounds_cut_at_its_ends() -> None:
    (line,) = [text for text in rollout_lines(ONE) if "+300%" in text]
    drawn = line[line.index("2026-03-15") + 12 :][:41]
    assert drawn.index("|") == 20 and drawn.index("o") == 22
    assert drawn.rstrip().endswith("-") and len(drawn) == 41


def test_an_ended_rollout_is_short_and_its_steps_are_told_when_asked() -> None:
    ended = {**ONE, "stage": "rolled_back"}
    text = "\n".join(rollout_lines(ended))
    assert "rolled back since 2026-03-16" in text and "guardrails:" not in text
    assert "control at its start: c" in text  # who joined later may have left the ledger's state
    assert "2026-03-16 hold: Undecided." in "\n".join(rollout_lines(ended, steps=True))


def test_the_command_reads_the_last_verdicts_from_the_ledger(busy_workspace: Workspace) -> None:
    verdict = {
        "name": "incremental profit", "verdict": "undecided", "recommendation": "hold",
        "sentence": "Between -20% and +40%.",
        "evidence": {"day": "2026-01-18", "relative_effect": 0.1, "low": -0.2, "high": 0.4,
                     "margin": 0.1},
    }  # fmt: skip
    with session(open_ledger(str(load_settings(busy_workspace).ledger_url))) as db:
        append_transition(
            db,
            transition=RolloutTransition(
                key="t-two", rollout_id="r-one", as_of=date(2026, 1, 19), from_stage="canary",
                to_stage="canary", act="hold", reason="Undecided.",
                evidence=json.dumps({"verdicts": [verdict]}),
                created_at=datetime(2026, 1, 19, tzinfo=UTC),
            ),
        )  # fmt: skip
    place = ["--workspace", str(busy_workspace.root)]
    text = run.invoke(app, ["rollouts", *place]).output
    assert "undecided" in text and "Between -20% and +40%." in text
    assert "Incremental profit must pass." in text
    (shown,) = json.loads(run.invoke(app, ["rollouts", "--json", *place]).output)
    assert shown["looks"][0]["in_force"] == 7
    assert [step["act"] for step in shown["steps"]] == ["start", "hold"]
    assert shown["exposed"] == [{"segment": "central", "since": "2026-01-12", "days": 7}]
