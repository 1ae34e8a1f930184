from __future__ import annotations

import os
import shutil
import sqlite3
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from sqlalchemy import Engine

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.doctor import diagnosis
from liftloop.adapters.doctor.diagnosis import PYTHON, diagnose
from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import append_audit, open_ledger, session
from liftloop.adapters.ledger.tables import Delivery
from liftloop.adapters.notify import queue_message
from liftloop.reporting.messages.slack_blocks import Words
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_prefect_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("LIFTLOOP_LEDGER_URL", raising=False)


def found(findings: list[DoctorFinding], check: str) -> DoctorFinding:
    """The finding of that check; of several, the worst."""
    named = [finding for finding in findings if finding.check == check]
    return min(named, key=lambda finding: (finding.ok is not False, finding.ok is not None))


def ledger_of(workspace: Workspace) -> Engine:
    return open_ledger(str(load_settings(workspace).ledger_url))


def test_a_new_workspace_is_in_order(fresh_workspace: Workspace) -> None:
    findings = diagnose(fresh_workspace)
    assert [finding for finding in findings if finding.ok is False] == []
    checks = {finding.check for finding in findings}
    assert {
        "Python",
        "fastapi",
        "sqlalchemy",
        "pandas",
        "other packages",
        "workspace",
        "disk",
        "configuration",
        "ledger",
        "audit trail",
        "unfinished work",
        "webhook",
        "platforms",
        "facts",
        "model registry",
        "champion",
        "Prefect",
        "streams",
    } == checks


def test_without_a_workspace_the_installation_is_checked() -> None:
    assert {finding.check for finding in diagnose(None)} >= {"Python", "fastapi", "Prefect"}


def test_a_version_outside_its_pin_tells_the_symptom(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"fastapi": "0.155.0", "sqlalchemy": "2.1.9", "pandas": "3.1.0"}
    monkeypatch.setattr(diagnosis, "_installed", versions.get)
    findings = diagnose(None)
    assert "no flow runs" in found(findings, "fastapi").detail
    assert "silently never start" in found(findings, "sqlalchemy").detail
    assert "Evidently" in found(findings, "pandas").detail
    assert found(findings, "other packages").ok is False
    assert all(finding.fix for finding in findings if finding.ok is False)


def test_a_workspace_that_is_not_there_is_told_how_to_make(tmp_path: Path) -> None:
    findings = diagnose(Workspace(tmp_path / "none"))
    assert "liftloop init" in found(findings, "workspace").fix
    assert "liftloop init" in found(findings, "configuration").fix
    assert not (tmp_path / "none").exists()


def test_each_damage_is_found_and_no_check_raises(fresh_workspace: Workspace) -> None:
    shutil.rmtree(fresh_workspace.archive)
    fresh_workspace.config.write_text("cycle_day = 7\n")
    (fresh_workspace.registry / "mlflow.db").write_bytes(b"not a database" * 100)
    table = fresh_workspace.facts / "sales" / "current" / "_delta_log"
    table.mkdir(parents=True)
    (table / "00000000000000000000.json").write_text("{")
    findings = diagnose(fresh_workspace)
    for check in ("workspace", "configuration", "model registry", "facts"):
        assert found(findings, check).ok is False, check
        assert found(findings, check).fix, check
    assert "cycle_day" in found(findings, "configuration").detail


@pytest.mark.parametrize("damage", ["gone", "garbage", "empty"])
def test_a_broken_ledger_is_named(fresh_workspace: Workspace, damage: str) -> None:
    if damage == "gone":
        fresh_workspace.ledger.unlink()
    else:
        fresh_workspace.ledger.write_bytes(b"x" * 5000 if damage == "garbage" else b"")
    findings = diagnose(fresh_workspace)
    assert found(findings, "ledger").ok is False
    assert found(findings, "ledger").fix


def test_a_ledger_out_of_reach_is_named_without_its_password(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFTLOOP_LEDGER_URL", "postgresql://ann:secret@127.0.0.1:1/x")
    findings = diagnose(fresh_workspace)
    assert "no PostgreSQL answers" in found(findings, "ledger").detail
    assert not any("secret" in finding.detail + finding.fix for finding in findings)


def test_a_tampered_audit_trail_is_found(fresh_workspace: Workspace) -> None:
    with session(ledger_of(fresh_workspace)) as opened:
        for key in ("a", "b"):
            append_audit(
                opened, AuditEvent(key=key, actor="x", act="y", subject="z", payload={}, at=NOON)
            )
    with sqlite3.connect(fresh_workspace.ledger) as raw:
        raw.execute("UPDATE auditentry SET actor = 'mallory' WHERE sequence = 1")
    finding = found(diagnose(fresh_workspace), "audit trail")
    assert finding.ok is False
    assert "entry 1" in finding.detail


def test_unfinished_work_comes_with_what_finishes_it(fresh_workspace: Workspace) -> None:
    with session(ledger_of(fresh_workspace)) as opened:
        queue_message(opened, key="m", kind="k", words=Words("t", ()), at=NOON)
        opened.add(
            Delivery(
                id="y",
                feed="sales",
                filename="f",
                sha256="s",
                importer="i",
                received_at=NOON,
                rows_read=1,
                received=1,
                stored=1,
                superseded=0,
                quarantined=0,
                state="pending",
            )
        )
    (fresh_workspace.outbox / ".budgets-x.csv.part").write_text("half")
    findings = [f for f in diagnose(fresh_workspace) if f.check == "unfinished work"]
    assert [finding.ok for finding in findings] == [None, None, None]
    words = " ".join(finding.detail for finding in findings)
    for open_end in ("1 deliveries counted", "1 messages not yet", "1 half-written"):
        assert open_end in words
    assert all(finding.fix for finding in findings)


@pytest.mark.parametrize(
    ("notify", "asks"),
    [
        ("", "is notify.slack_webhook right?"),
        ('secret_block = "shop-slack"\n', "the Prefect Secret block shop-slack"),
    ],
)
def test_messages_that_wait_ask_about_the_webhook_that_is_in_use(
    fresh_workspace: Workspace, notify: str, asks: str
) -> None:
    fresh_workspace.config.write_text(f"[notify]\n{notify}")
    with session(ledger_of(fresh_workspace)) as opened:
        queue_message(opened, key="m", kind="k", words=Words("t", ()), at=NOON)
    (waits,) = [f for f in diagnose(fresh_workspace) if f.check == "unfinished work"]
    assert asks in waits.fix


def test_two_platforms_that_would_spend_twice_are_named_by_the_doctor(
    fresh_workspace: Workspace,
) -> None:
    block = '[[platforms.targets]]\nname = "{}"\nkind = "meta"\nsecret_env = "T"\n'
    fresh_workspace.config.write_text(block.format("ours") + block.format("theirs"))
    said = found(diagnose(fresh_workspace), "configuration")
    assert said.ok is False
    assert "ours and theirs would both spend the budget of every cell" in said.detail


def test_services_are_asked_but_nothing_is_sent(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://ann:secret@127.0.0.1:1/api")
    host = "hooks.invalid"  # a name that no network knows
    fresh_workspace.config.write_text(f'[notify]\nslack_webhook = "https://{host}/secret"\n')
    findings = diagnose(fresh_workspace)
    assert found(findings, "Prefect").ok is False
    assert found(findings, "webhook").detail == f"{host} cannot be found"
    assert not any("secret" in finding.detail for finding in findings)


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")
def test_a_file_with_a_secret_that_others_may_read_is_found(fresh_workspace: Workspace) -> None:
    def open_to_others() -> list[str]:
        return [f.fix for f in diagnose(fresh_workspace) if f.check == "secrets"]

    fresh_workspace.config.chmod(0o644)
    assert open_to_others() == [], "there is no secret in it"
    fresh_workspace.prefect_password.chmod(0o640)
    assert open_to_others() == [f"chmod 600 {fresh_workspace.prefect_password}"]
    fresh_workspace.prefect_password.chmod(0o600)
    for secret in (
        '[notify]\nslack_webhook = "https://hooks.invalid/x"\n',
        '[streams]\nurl = "redis://:word@127.0.0.1:1/0"\n',
    ):
        fresh_workspace.config.write_text(secret)
        assert open_to_others() == [f"chmod 600 {fresh_workspace.config}"]
    fresh_workspace.config.chmod(0o600)
    assert open_to_others() == []


def test_the_doctor_and_the_package_agree_on_python() -> None:
    declared = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert SpecifierSet(declared["requires-python"]) == PYTHON


def _deliver(workspace: Workspace, text: str, options: ImportOptions | None = None) -> None:
    path = workspace.root / "google.csv"
    path.write_text(text, encoding="utf-8")
    taken = deliver(
        Intake(workspace, ledger_of(workspace), account_of(load_settings(workspace).account)),
        path,
        options=options or ImportOptions(),
    )
    assert taken.stored, taken.sentence


GOOGLE = "date,campaign_name,cost_micros,impressions,clicks,currency_code\n" + "".join(
    f"2026-03-0{day},brand,{day}500000,100,5,USD\n" for day in range(1, 6)
)


def test_the_same_facts_under_two_segments_are_found_with_what_mends_them(
    fresh_workspace: Workspace,
) -> None:
    _deliver(fresh_workspace, GOOGLE, ImportOptions(segment="north"))
    assert not [f for f in diagnose(fresh_workspace) if f.check == "segments"]
    _deliver(fresh_workspace, GOOGLE, ImportOptions(stands="beside"))
    finding = found(diagnose(fresh_workspace), "segments")
    assert finding.ok is False
    assert "north and all have the same facts" in finding.detail
    assert "17.50 USD are counted twice" in finding.detail
    assert "--segment north --replace" in finding.fix
    _deliver(fresh_workspace, GOOGLE, ImportOptions(segment="north", stands="replace"))
    assert not [f for f in diagnose(fresh_workspace) if f.check == "segments"]


def test_stored_money_in_another_currency_than_the_accounts_is_found(
    fresh_workspace: Workspace,
) -> None:
    _deliver(fresh_workspace, GOOGLE)
    text = fresh_workspace.config.read_text(encoding="utf-8")
    text = text.replace('currency = "USD"', 'currency = "GBP"', 1)
    fresh_workspace.config.write_text(text, encoding="utf-8")
    finding = found(diagnose(fresh_workspace), "account")
    assert finding.ok is False
    assert "are in USD (17.50)" in finding.detail
