"""``liftloop rollouts`` reads rollouts from the ledger: those of today and of earlier versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

from typer.testing import CliRunner

from liftloop.app.cli import app
from liftloop.core.rollout.state import Transition
from liftloop.core.rollout.transitions import roll_back
from liftloop.settings.workspace import Workspace

Recorder = Callable[..., None]
run = CliRunner()


def shown(workspace: Workspace, *options: str) -> str:
    result = run.invoke(app, ["rollouts", *options, "--workspace", str(workspace.root)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_rollout_under_way_is_shown_with_its_waves_and_risk(
    busy_workspace: Workspace, stream: list[Transition], record_steps: Recorder
) -> None:
    record_steps(busy_workspace, *stream)
    text = shown(busy_workspace)
    assert "r-two: Running since 2 February 2026. central: plan 1; east and north: the" in text
    assert "Of 12,000 USD at risk this quarter 3,400 are in use." in text
    assert "r-one: Finished on 26 January 2026: the new budgets are in all segments." in text
    assert "9 February 2026, no change: Quiet." in shown(busy_workspace, "--steps")


def test_json_keeps_its_keys_and_has_the_new_ones(
    busy_workspace: Workspace, stream: list[Transition], record_steps: Recorder
) -> None:
    record_steps(busy_workspace, *stream)
    new, old = json.loads(shown(busy_workspace, "--json"))
    assert (new["id"], new["stage"], new["started_on"]) == ("r-two", "canary", "2026-02-02")
    assert [step["act"] for step in new["steps"]] == ["start", "hold"]
    assert [wave["plan"] for wave in new["waves"]] == [1, 0]
    assert [plan["version"] for plan in new["plans"]] == ["p-1"]
    assert new["risk"]["allowance"] == 12_000.0
    assert new["measured"] == [
        {
            "on": "2026-02-09",
            "since": "2026-02-02",
            "gained": 500.0,
            "low": -1_500.0,
            "high": 2_500.0,
        }
    ]
    assert (new["proven_on"], new["cooldown_until"]) == (None, None)
    assert new["would_take_back"] and new["would_go_on"]
    assert (old["id"], old["stage"], old["waves"], old["risk"]) == ("r-one", "full", [], None)
    assert [step["act"] for step in old["steps"]] == ["start", "promote"]


def test_a_cool_down_is_shown_while_it_runs(
    busy_workspace: Workspace, stream: list[Transition], record_steps: Recorder
) -> None:
    back = roll_back(stream[-1].after, now=date(2026, 2, 16), cooldown_days=28, reason="It loses.")
    record_steps(busy_workspace, *stream, back)
    assert "Cool-down: no plan enters before 16 March 2026." in shown(busy_workspace)
    new, _ = json.loads(shown(busy_workspace, "--json"))
    assert (new["stage"], new["cooldown_until"]) == ("rolled_back", "2026-03-16")
    assert new["would_take_back"] == []


def test_a_rollout_of_an_earlier_version_is_shown_with_its_stage_and_steps(
    busy_workspace: Workspace,
) -> None:
    text = shown(busy_workspace, "--steps")
    assert "Stage canary, since 12 January 2026; begun by an earlier version" in text
    assert "12 January 2026, started: The canary begins." in text
