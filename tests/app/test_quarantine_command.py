"""liftloop quarantine on the command line: what waits for a setting, and what is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger
from liftloop.app.cli import app
from liftloop.app.commands.inputs import data
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

run = CliRunner()
GOOGLE = "date,campaign_name,cost_micros,impressions,clicks,currency_code\n"
POUNDS = "2026-03-01,brand,12500000,100,5,GBP\n2026-03-02,brand,2500000,100,5,GBP\n"
BAD = "2026-03-03,brand,-1000000,100,5,USD\n2026-03-04,brand,-2000000,100,5,USD\n"


def call(workspace: Workspace, *words: str, **more: Any) -> Any:
    return run.invoke(app, [*words, "--workspace", str(workspace.root)], **more)


def take(workspace: Workspace, text: str, **options: Any) -> DeliverySummary:
    file = workspace.inbox / "google.csv"
    file.write_text(GOOGLE + text, encoding="utf-8")
    settings = load_settings(workspace)
    return deliver(
        Intake(workspace, open_ledger(str(settings.ledger_url)), account_of(settings.account)),
        file,
        options=ImportOptions(**options),
    )


def set_account(workspace: Workspace, **values: str) -> None:
    text = workspace.config.read_text(encoding="utf-8")
    for name, value in values.items():
        before = getattr(load_settings(workspace).account, name)
        text = text.replace(f'\n{name} = "{before}"', f'\n{name} = "{value}"', 1)
    workspace.config.write_text(text, encoding="utf-8")


def spend(workspace: Workspace) -> dict[str, float]:
    facts = read_facts(workspace, "performance", as_of=None, timezone="UTC")
    return {str(k): float(v) for k, v in facts.groupby("segment")["spend"].sum().items()}


def open_rules(workspace: Workspace) -> dict[str, Any]:
    said = call(workspace, "quarantine", "list", "--json")
    return dict(json.loads(said.stdout)["counts"])


def test_readmit_takes_rows_back_once_the_currency_is_set(fresh_workspace: Workspace) -> None:
    take(fresh_workspace, POUNDS)
    set_account(fresh_workspace, currency="GBP")
    said = call(fresh_workspace, "quarantine", "readmit").stdout
    assert "google.csv: 2 performance rows, 2 stored." in said
    assert "currency is GBP (USD before)" in said
    assert "the quarantine is empty" in call(fresh_workspace, "quarantine", "readmit").stdout
    assert spend(fresh_workspace) == {"all": 15.0}


def test_readmit_stores_nothing_twice_under_another_segment(fresh_workspace: Workspace) -> None:
    take(fresh_workspace, POUNDS)
    set_account(fresh_workspace, currency="GBP")
    take(fresh_workspace, POUNDS, segment="UK")
    call(fresh_workspace, "quarantine", "readmit")
    assert spend(fresh_workspace) == {"UK": 15.0}
    assert open_rules(fresh_workspace) == {}


def test_rows_are_discarded_by_rule_with_a_reason(fresh_workspace: Workspace) -> None:
    taken = take(fresh_workspace, POUNDS + BAD)
    words = ["quarantine", "discard", "--rule", "spend_not_negative"]
    said = call(fresh_workspace, *words, "--because", "a refund", "--yes", "--by", "ana")
    assert said.exit_code == 0, said.exception
    assert "2 rows discarded" in said.stdout
    assert "spend_not_negative" not in str(open_rules(fresh_workspace))
    assert open_rules(fresh_workspace)["performance"]["currency_has_rate"] == 2
    assert taken.received == taken.stored + taken.superseded + taken.quarantined
    trail = json.loads(call(fresh_workspace, "audit", "--json").stdout)["entries"][-1]
    assert (trail["act"], trail["actor"]) == ("discard", "ana")
    assert json.loads(trail["payload"])["reason"] == "a refund"
    set_account(fresh_workspace, currency="GBP")
    call(fresh_workspace, "quarantine", "readmit")
    assert spend(fresh_workspace) == {"all": 15.0}


def test_rows_are_discarded_by_delivery_or_by_an_exported_file(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    first = take(fresh_workspace, POUNDS)
    take(fresh_workspace, BAD)
    said = call(
        fresh_workspace,
        "quarantine",
        "discard",
        "--delivery",
        str(first.delivery_id),
        "--because",
        "test account",
        "--yes",
        "--json",
    )
    assert json.loads(said.stdout) == {"discarded": 2}
    export = tmp_path / "bad.csv"
    call(fresh_workspace, "quarantine", "export", str(export))
    words = ["quarantine", "discard", str(export), "--because", "broken", "--yes"]
    assert "2 rows discarded" in call(fresh_workspace, *words).stdout
    assert "Nothing to discard" in call(fresh_workspace, *words).stdout
    assert open_rules(fresh_workspace) == {}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--because", "x", "--yes"], "Which rows?"),
        (["--feed", "performance", "--yes"], "without a reason"),
        (["--feed", "performance", "--because", " ", "--yes"], "without a reason"),
        (["--rule", "no_such_rule", "--because", "x", "--yes"], "No open row broke 'no_such_rule'"),
        (["--delivery", "d-0", "--because", "x", "--yes"], "No open row is of delivery 'd-0'"),
        (["--feed", "perf", "--because", "x", "--yes"], "There is no feed 'perf'"),
        (["--feed", "performance", "--because", "x"], "spend 15.00 GBP"),
    ],
)
def test_nothing_is_discarded_by_a_slip(
    fresh_workspace: Workspace, words: list[str], problem: str
) -> None:
    take(fresh_workspace, POUNDS)
    said = call(fresh_workspace, "quarantine", "discard", *words)
    assert isinstance(said.exception, ConfigurationError)
    assert said.exception.exit_status == 2
    assert problem in str(said.exception)
    assert open_rules(fresh_workspace) == {"performance": {"currency_has_rate": 2}}


def test_a_file_that_is_no_export_discards_nothing(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    take(fresh_workspace, POUNDS)
    path = tmp_path / "x.csv"
    path.write_text("delivery_id,row_number\nnone,1\n", encoding="utf-8")
    said = call(fresh_workspace, "quarantine", "discard", str(path), "--because", "x", "--yes")
    assert isinstance(said.exception, RefusedFile)
    assert open_rules(fresh_workspace) == {"performance": {"currency_has_rate": 2}}


@pytest.mark.parametrize(("answer", "left", "status"), [("n\n", 2, 1), ("y\n", 0, 0)])
def test_on_a_terminal_it_asks(
    fresh_workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    left: int,
    status: int,
) -> None:
    take(fresh_workspace, POUNDS)
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(data, "sys", terminal)
    said = call(
        fresh_workspace,
        "quarantine",
        "discard",
        "--feed",
        "performance",
        "--because",
        "x",
        input=answer,
    )
    assert (
        "2 rows of google.csv (currency_has_rate 2; spend 15.00 GBP) would never be" in said.stdout
    )
    assert said.exit_code == status
    assert open_rules(fresh_workspace).get("performance", {}).get("currency_has_rate", 0) == left
