"""The command line: commands are documented, have an example, and say errors in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from liftloop.adapters.workspace import Workspace
from liftloop.app.cli import app
from liftloop.core.errors import Declined, LiftLoopError, RefusedFile

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
README = Path(__file__).parents[2] / "README.md"
run = CliRunner()


def every_command() -> list[list[str]]:
    found = []
    for name, command in COMMANDS.items():
        inner = getattr(command, "commands", None)
        found += [[name, sub] for sub in inner] if inner else [[name]]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example_and_takes_a_workspace(words: list[str]) -> None:
    said = run.invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert said.exit_code == 0
    assert f"Example: liftloop {' '.join(words)}" in said.output
    assert "--workspace" in said.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_readme_tells_of_every_command(name: str) -> None:
    assert f"`{name}" in README.read_text(encoding="utf-8")


def test_a_folder_that_is_no_workspace_is_named_with_the_way_out(tmp_path: Path) -> None:
    said = run.invoke(app, ["budgets", "--workspace", str(tmp_path)])
    assert isinstance(said.exception, LiftLoopError)
    assert said.exception.exit_status == 2
    assert "liftloop init" in str(said.exception)


def test_a_new_workspace_has_nothing_to_show_yet(fresh_workspace: Workspace) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    assert "No budgets were decided yet" in run.invoke(app, ["budgets", *place]).output
    assert "No rollout yet" in run.invoke(app, ["rollouts", *place]).output
    assert "The quarantine is empty" in run.invoke(app, ["quarantine", "list", *place]).output
    assert "No lift test" in run.invoke(app, ["experiments", *place]).output
    assert json.loads(run.invoke(app, ["budgets", "--json", *place]).output) is None


def test_budgets_set_by_hand_are_shown_exported_and_audited(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    file = tmp_path / "mine.csv"
    file.write_text(
        "segment,channel,daily_budget\neu,search,100.10\neu,social,49.90\n", encoding="utf-8"
    )
    said = run.invoke(app, ["budgets", "--set", str(file), "--from", "2026-03-02", *place])
    assert "2 cells, 150.00 a day, from 2026-03-02" in said.output
    shown = json.loads(run.invoke(app, ["budgets", "--json", *place]).output)
    assert [line["daily_budget"] for line in shown["budgets"]] == ["100.10", "49.90"]
    assert len(list(fresh_workspace.outbox.glob("budgets-2026-03-02-*"))) == 3
    trail = json.loads(run.invoke(app, ["audit", "--json", *place]).output)
    assert trail["verdict"]["intact"]
    assert [entry["act"] for entry in trail["entries"]][-2:] == ["set", "publish"]


def test_what_a_person_may_not_do_is_declined_with_status_1(fresh_workspace: Workspace) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    for words in (["approve", "d-none"], ["reject", "d-none"], ["rollback"], ["resume"]):
        said = run.invoke(app, [*words, *place])
        assert isinstance(said.exception, Declined), words
        assert said.exception.exit_status == 1


def test_a_pause_is_kept_until_it_is_lifted(fresh_workspace: Workspace) -> None:
    place = ["--workspace", str(fresh_workspace.root), "--channel", "social"]
    assert "Paused" in run.invoke(app, ["pause", *place, "--reason", "tracking broken"]).output
    assert isinstance(run.invoke(app, ["pause", *place]).exception, Declined)
    assert "Resumed" in run.invoke(app, ["resume", *place]).output
    assert isinstance(run.invoke(app, ["resume", *place]).exception, Declined)


def test_an_exported_trail_can_be_read_back(fresh_workspace: Workspace, tmp_path: Path) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    run.invoke(app, ["pause", *place])
    run.invoke(app, ["audit", "--export", str(tmp_path / "trail.csv"), *place])
    assert "pause" in (tmp_path / "trail.csv").read_text(encoding="utf-8")
    said = run.invoke(app, ["audit", "--export", str(tmp_path / "trail.txt"), *place])
    assert isinstance(said.exception, Declined)


def test_a_file_that_is_no_budgets_is_refused_whole(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("segment,channel\neu,search\n", encoding="utf-8")
    said = run.invoke(
        app, ["budgets", "--set", str(file), "--workspace", str(fresh_workspace.root)]
    )
    assert isinstance(said.exception, RefusedFile)
    assert "daily_budget" in str(said.exception)
    assert list(fresh_workspace.outbox.glob("budgets-*")) == []
