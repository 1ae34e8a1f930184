"""The doctor: up to which day there are facts, and what it says of a folder that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.read_facts import last_dates
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.records import open_ledger
from liftloop.app.cli import app
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

run = CliRunner()


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "LIFTLOOP_LEDGER_URL", "LIFTLOOP_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


def told(workspace: Workspace, *words: str, now: str) -> Any:
    return run.invoke(
        app,
        ["doctor", "--workspace", str(workspace.root), *words],
        env={"LIFTLOOP_NOW": f"{now}T12:00:00+00:00"},
    )


def test_facts_that_are_long_past_are_a_warning_with_what_to_do(busy_workspace: Workspace) -> None:
    assert str(last_dates(busy_workspace)["performance"]) == "2026-01-04"
    said = told(busy_workspace, now="2026-12-01")
    (line,) = [line for line in said.output.splitlines() if "facts of performance" in line]
    assert line.startswith("warn")
    assert "the last day delivered is 2026-01-04, 330 days late on 2026-12-01" in line
    assert "deliver newer files" in said.output
    assert "to look at" in said.output.splitlines()[-1]
    found = json.loads(told(busy_workspace, "--json", now="2026-12-01").output)
    (one,) = [each for each in found if each["check"] == "facts of performance"]
    assert one["ok"] is None and one["fix"]


@pytest.mark.parametrize(("now", "mark"), [("2026-01-08", "ok"), ("2026-01-09", "warn")])
def test_facts_may_be_as_late_as_the_settings_let_pass(
    busy_workspace: Workspace, now: str, mark: str
) -> None:
    (line,) = [
        line
        for line in told(busy_workspace, now=now).output.splitlines()
        if "facts of performance" in line
    ]
    assert line.split()[0] == mark
    assert "2026-01-04" in line


def test_old_facts_alone_leave_the_exit_status_0(fresh_workspace: Workspace) -> None:
    file = fresh_workspace.inbox / "sales-old.csv"
    file.write_text("date,segment,orders,revenue\n2026-01-04,eu,3,90\n", encoding="utf-8")
    settings = load_settings(fresh_workspace)
    engine = open_ledger(str(settings.ledger_url))
    deliver(Intake(fresh_workspace, engine, account_of(settings.account)), file)
    said = told(fresh_workspace, now="2026-12-01")
    assert "warn  facts of sales" in said.output
    assert "Nothing to mend, 1 to look at." in said.output
    assert said.exit_code == 0


def test_a_named_folder_that_is_no_workspace_is_bad_usage(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        said = run.invoke(app, ["doctor", "--workspace", str(folder)])
        assert said.exit_code == 2
        assert f"liftloop init --workspace {folder}" in said.output
        assert "MEND  workspace" in said.output
        assert "model registry" not in said.output
    assert not (tmp_path / "nowhere").exists()


def test_before_there_is_a_workspace_the_installation_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run.invoke(app, ["doctor"])
    assert said.exit_code == 0
    assert "note  workspace: workspace does not exist" in said.output
    assert "liftloop init" in said.output


def test_a_workspace_that_lost_its_settings_is_told_so(fresh_workspace: Workspace) -> None:
    fresh_workspace.config.unlink()
    said = told(fresh_workspace, now="2026-01-05")
    assert said.exit_code == 2
    assert "MEND  configuration" in said.output


def test_the_command_that_makes_a_workspace_can_be_copied(tmp_path: Path) -> None:
    said = run.invoke(app, ["doctor", "--workspace", str(tmp_path / "my shop")]).output
    assert f"liftloop init --workspace '{tmp_path / 'my shop'}'" in said
