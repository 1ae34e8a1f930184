"""liftloop monitor where there is nothing to compare: it says so, and raises no all-clear."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.records import open_ledger
from liftloop.app.cli import app
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.monitor.comparable import nothing_to_compare


def with_sales(workspace: Workspace, first: str, last: str) -> None:
    """One order a day in one segment."""
    days = pd.date_range(first, last).strftime("%Y-%m-%d")
    rows = pd.DataFrame({"date": days, "segment": "eu", "orders": 1, "revenue": 30})
    path = workspace.inbox / "sales.csv"
    rows.to_csv(path, index=False)
    settings = load_settings(workspace)
    engine = open_ledger(str(settings.ledger_url))
    taken = deliver(Intake(workspace, engine, account_of(settings.account)), path)
    assert taken.refused is None


@pytest.mark.usefixtures("prefect_server")
def test_an_empty_workspace_is_no_all_clear(fresh_workspace: Workspace) -> None:
    words = ["monitor", "--as-of", "2026-03-02", "--workspace", str(fresh_workspace.root)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.exception
    assert "There is nothing to compare yet: no facts from before 2026-03-02" in said.stdout
    assert "liftloop ingest" in said.stdout
    assert "No alarm" not in said.stdout
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert found["summary"].startswith("There is nothing to compare yet")


def test_facts_that_began_too_late_are_told_with_the_day_they_suffice(
    fresh_workspace: Workspace,
) -> None:
    with_sales(fresh_workspace, "2026-02-01", "2026-03-20")
    loop = open_loop(fresh_workspace.root)
    said = nothing_to_compare(loop, date(2026, 3, 2))
    assert "begin on 2026-02-01" in said
    enough = date(2026, 2, 1) + timedelta(days=35)
    assert f"wait until {enough}" in said
    assert nothing_to_compare(loop, enough - timedelta(days=1)) != ""
    assert nothing_to_compare(loop, enough) == ""


def test_facts_that_are_long_past_are_told_with_the_day_to_look_back_to(
    fresh_workspace: Workspace,
) -> None:
    with_sales(fresh_workspace, "2025-11-01", "2026-01-31")
    loop = open_loop(fresh_workspace.root)
    said = nothing_to_compare(loop, date(2026, 6, 1))
    assert "liftloop monitor --as-of 2026-02-01" in said
    assert nothing_to_compare(loop, date(2026, 2, 1)) == ""
