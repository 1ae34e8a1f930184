"""The command line: commands are documented, have an example, and say errors in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.records import open_ledger
from liftloop.app.cli import app
from liftloop.core.errors import (
    ConfigurationError,
    Declined,
    LiftLoopError,
    RefusedFile,
    UnknownName,
)
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

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
    text = " ".join(said.output.replace("│", " ").split())  # it is in a box
    assert "write --workspace after the command: " in text
    assert f"liftloop {' '.join(words)} --workspace ..." in text


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
    for words in (["rollback", "--model", "--to", "99"], ["replay", "d-no"]):
        assert isinstance(run.invoke(app, [*words, *place]).exception, UnknownName), words
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
    assert f"liftloop resume {place[0]} {place[1]} --channel social." in said
    assert "misspelt" not in said
    said = run.invoke(app, ["pause", "--segment", "nort h", *place]).output
    assert "Paused: nort h x all channels." in said
    assert f"liftloop resume {place[0]} {place[1]} --segment 'nort h'" in said
    assert "compare the names with " in said
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
    assert said.exit_code == 2
    assert "name the file .csv or .json" in said.output
    assert not (tmp_path / "trail.txt").exists()


def test_a_hash_noted_earlier_must_be_whole_before_the_trail_is_called_broken(
    fresh_workspace: Workspace,
) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    run.invoke(app, ["pause", *place])
    known = json.loads(run.invoke(app, ["audit", "--json", *place]).output)["verdict"]["final_hash"]
    assert run.invoke(app, ["audit", "--known-hash", known, *place]).exit_code == 0
    assert run.invoke(app, ["audit", "--known-hash", "0" * 63 + "1", *place]).exit_code == 1
    said = run.invoke(app, ["audit", "--known-hash", known[:12], *place])
    assert said.exit_code == 2
    assert "no whole hash" in said.output and "BROKEN" not in said.output


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


def test_options_that_would_do_nothing_are_refused(fresh_workspace: Workspace) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    for words, needs in ((["--shift", "0.2"], "--weeks"), (["--from", "2026-03-02"], "--set")):
        said = run.invoke(app, ["budgets", *words, *place])
        assert said.exit_code == 2
        assert needs in said.output


def test_a_file_that_is_not_there_is_told_before_anything_starts(
    fresh_workspace: Workspace,
) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    for words in (
        ["ingest", "no.csv"],
        ["ingest", "--map", "no.csv"],
        ["ingest", "--plugin", "no.csv"],
        ["quarantine", "readmit", "no.csv"],
        ["budgets", "--set", "no.csv"],
        ["budgets", "--weeks", "3", "--calendar", "no.csv"],
    ):
        said = run.invoke(app, [*words, *place])
        assert isinstance(said.exception, ConfigurationError), words
        assert str(said.exception) == "no.csv does not exist. Fix: correct the path."


def test_the_quarantine_says_what_comes_next(fresh_workspace: Workspace, tmp_path: Path) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    mend = tmp_path / "mend.csv"
    said = run.invoke(app, ["quarantine", "export", str(mend), *place]).output
    assert said.startswith("Nothing to mend")
    said = run.invoke(app, ["quarantine", "readmit", *place]).output
    assert said.startswith("Nothing to re-admit: the quarantine is empty")
    file = fresh_workspace.inbox / "sales.csv"
    file.write_text(
        "date,segment,orders,revenue\n2026-03-01,a,-1,9\n2026-03-01,b,-2,9\n", encoding="utf-8"
    )
    settings = load_settings(fresh_workspace)
    engine = open_ledger(str(settings.ledger_url))
    deliver(Intake(fresh_workspace, engine, account_of(settings.account)), file)
    assert "orders_not_negative 2" in run.invoke(app, ["quarantine", *place]).output
    assert "The quarantine has no units rows" in run.invoke(
        app, ["quarantine", "--feed", "units", *place]
    ).output.replace("\n", " ")
    failed = run.invoke(app, ["quarantine", "--feed", "unit", *place]).exception
    assert isinstance(failed, ConfigurationError)
    assert "use one of performance, holdout, units" in str(failed)
    said = run.invoke(app, ["quarantine", "readmit", *place]).output
    assert "no open row keeps the rules." in said
    assert f"liftloop quarantine {place[0]} {place[1]} says" in said
    said = run.invoke(app, ["quarantine", "export", str(mend), *place]).output
    assert said.startswith("2 rows written to")
    assert f"liftloop quarantine readmit {place[0]} {place[1]} {mend}" in said
    mend.write_text(mend.read_text(encoding="utf-8").replace('"-1"', '"1"'), encoding="utf-8")
    said = run.invoke(app, ["quarantine", "readmit", str(mend), *place]).output
    assert "1 sales row, 1 stored" in said
    assert "Other rows are still in quarantine" in said


@pytest.mark.usefixtures("prefect_server")
def test_ingest_names_what_it_looked_at_and_where_broken_rows_are(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    said = run.invoke(app, ["ingest", *place]).stdout
    assert "Nothing to take in: the inbox is empty." in said
    (tmp_path / "none").mkdir()
    said = run.invoke(app, ["ingest", str(tmp_path / "none"), *place]).stdout
    assert f"Nothing to take in: no files in {tmp_path / 'none'}." in said
    file = fresh_workspace.inbox / "sales.csv"
    file.write_text("date,segment,orders,revenue\n2026-03-01,a,-1,9\n", encoding="utf-8")
    ended = run.invoke(app, ["ingest", *place])
    assert ended.exit_code == 0
    assert f"liftloop quarantine {place[0]} {place[1]}\n" in ended.stdout
