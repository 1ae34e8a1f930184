"""The command line: commands are documented, have an example, and say errors in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from liftloop.adapters.workspace import Workspace
from liftloop.app.cli import app
from liftloop.core.errors import Declined, LiftLoopError, RefusedFile, UnknownName

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


GROUPS = [name for name, command in COMMANDS.items() if getattr(command, "commands", None)]


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_of_commands_has_an_example_takes_a_workspace_and_shows_something(
    name: str,
) -> None:
    said = run.invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert f"Example: liftloop {name} " in said.output
    assert "--workspace" in said.output and "--json" in said.output


@pytest.mark.parametrize("words", [["quarantine", "list"], ["monitor", "ui"]], ids=" ".join)
def test_an_option_before_a_command_that_would_not_see_it_is_refused(words: list[str]) -> None:
    said = run.invoke(app, [words[0], "--workspace", "shop", words[1]])
    assert said.exit_code == 2
    assert f"write --workspace after the command: liftloop {' '.join(words)}" in said.output


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
    for words in (["quarantine"], ["quarantine", "list"]):
        assert "The quarantine is empty" in run.invoke(app, [*words, *place]).output
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
    for words in (["rollback"], ["resume"], ["resume", "--rollout"]):
        said = run.invoke(app, [*words, *place])
        assert isinstance(said.exception, Declined), words
        assert said.exception.exit_status == 1


def set_by_hand(workspace: Workspace, text: str) -> None:
    """Budgets in force from 2 March 2026: ``text`` has lines of segment,channel,daily_budget."""
    file = workspace.root / "mine.csv"
    file.write_text(f"segment,channel,daily_budget\n{text}", encoding="utf-8")
    place = ["--workspace", str(workspace.root)]
    said = run.invoke(app, ["budgets", "--set", str(file), "--from", "2026-03-02", *place])
    assert said.exit_code == 0, said.exception


def test_a_name_that_is_not_there_is_bad_usage_and_the_list_is_named(
    fresh_workspace: Workspace,
) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    set_by_hand(fresh_workspace, "eu,search,100.10\n")
    for words in (["approve", "d-no"], ["reject", "d-no"], ["rollback", "--to", "d-no"]):
        said = run.invoke(app, [*words, *place])
        assert isinstance(said.exception, UnknownName), words
        assert said.exception.exit_status == 2
        assert "d-no. liftloop budgets --decisions lists" in str(said.exception)
    said = run.invoke(app, ["rollback", "--model", "--to", "99", *place])
    assert isinstance(said.exception, UnknownName)
    known = json.loads(run.invoke(app, ["budgets", "--json", *place]).output)["id"]
    said = run.invoke(app, ["approve", known, *place])  # it is there, and a rule forbids it
    assert isinstance(said.exception, Declined)
    assert said.exception.exit_status == 1
    assert "it is in force" in str(said.exception)


@pytest.mark.parametrize("name", ["approve", "reject", "rollback"])
def test_the_help_names_the_list_of_decisions(name: str) -> None:
    said = run.invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert "liftloop budgets --decisions lists them" in said.output


def test_a_pause_is_kept_until_it_is_lifted(fresh_workspace: Workspace) -> None:
    place = ["--workspace", str(fresh_workspace.root), "--channel", "social"]
    assert "Paused" in run.invoke(app, ["pause", *place, "--reason", "tracking broken"]).output
    assert isinstance(run.invoke(app, ["pause", *place]).exception, Declined)
    assert "Resumed" in run.invoke(app, ["resume", *place]).output
    said = run.invoke(app, ["resume", *place])
    assert isinstance(said.exception, Declined)
    assert str(said.exception) == "Nothing is paused: there is nothing to resume."


def test_pauses_are_told_by_their_cells_and_by_what_lifts_them(busy_workspace: Workspace) -> None:
    place = ["--workspace", str(busy_workspace.root)]
    said = run.invoke(app, ["pause", "--channel", "social", *place]).output
    assert "Paused: social in all segments." in said
    assert "until liftloop resume --channel social." in said
    assert "misspelt" not in said
    said = run.invoke(app, ["pause", "--segment", "nort h", *place]).output
    assert "Paused: nort h x all channels." in said
    assert "liftloop resume --segment 'nort h'" in said
    assert "compare the names with liftloop budgets" in said
    again = str(run.invoke(app, ["pause", "--channel", "social", *place]).exception)
    assert again.startswith("Paused already: social in all segments. liftloop resume --channel")
    other = str(run.invoke(app, ["resume", *place]).exception)
    assert "no pause of all segments and channels" in other
    assert "social in all segments (liftloop resume --channel social)" in other
    said = run.invoke(app, ["resume", "--segment", "nort h", *place]).output
    assert "Resumed: nort h x all channels." in said
    assert "Still paused: social in all segments" in said


def test_a_name_may_be_typed_in_letters_and_marks(fresh_workspace: Workspace) -> None:
    set_by_hand(fresh_workspace, "S\u00fcd,search,100.10\n")
    place = ["--workspace", str(fresh_workspace.root)]
    said = run.invoke(app, ["pause", "--segment", "Su\u0308d", *place]).output
    assert "Paused: S\u00fcd x all channels." in said
    assert "misspelt" not in said
    assert "Resumed" in run.invoke(app, ["resume", "--segment", "S\u00fcd", *place]).output


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
