"""Backup and restore, as a drill: while the workspace is at work, on both ledgers, and damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.audit.trail import verify
from liftloop.adapters.backup import MANIFEST, back_up, restore
from liftloop.adapters.facts.checks import facts_faults
from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.read_facts import content_hash, read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.migrate import upgrade
from liftloop.adapters.ledger.records import append_audit, open_ledger, session
from liftloop.app.cli import app
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

HEAD = "date,segment,orders,revenue\n"


def take(workspace: Workspace, day: int) -> None:
    path = workspace.inbox / f"sales-{day:02}.csv"
    path.write_text(f"{HEAD}2026-03-{day:02},a,1,{day}\n2026-03-01,a,1,{day}\n", encoding="utf-8")
    settings = load_settings(workspace)
    said = deliver(
        Intake(workspace, open_ledger(str(settings.ledger_url)), account_of(settings.account)), path
    )
    assert said.refused is None


def content(workspace: Workspace) -> str:
    return content_hash(read_facts(workspace, "sales", as_of=None, timezone="UTC"))


def is_whole(workspace: Workspace) -> bool:
    engine = open_ledger(str(load_settings(workspace).ledger_url))
    with session(engine, read_only=True) as opened:
        intact = verify(opened).intact
    return intact and facts_faults(workspace, engine=engine, all_versions=True) == []


@pytest.mark.parametrize("name", ["backup", "backup.tar", "backup.tar.gz", "backup.tgz"])
def test_what_was_backed_up_is_restored(
    fresh_workspace: Workspace, tmp_path: Path, name: str
) -> None:
    for day in (2, 3):
        take(fresh_workspace, day)
    (fresh_workspace.outbox / "messages").mkdir()
    (fresh_workspace.outbox / "messages" / "1.json").write_text("{}")
    made = back_up(fresh_workspace, tmp_path / name)
    assert made.problems == ()
    again = restore(tmp_path / name, tmp_path / "again")
    assert (again.problems, again.audit_head) == ((), made.audit_head)
    there = Workspace(tmp_path / "again")
    assert is_whole(there)
    assert content(there) == content(fresh_workspace)
    assert (there.outbox / "messages" / "1.json").read_text() == "{}"
    assert all(folder.is_dir() for folder in there.folders)
    with closing(sqlite3.connect(there.ledger)) as ledger:
        assert ledger.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    take(there, 4)  # it works on
    assert is_whole(there)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_backup_made_while_the_workspace_is_at_work_is_whole(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    take(fresh_workspace, 2)
    failed: list[BaseException] = []
    stop = threading.Event()

    def work(act: Callable[[int], None]) -> None:
        number = 3
        while not stop.is_set() and number < 29:
            try:
                act(number)
            except BaseException as error:
                failed.append(error)
                return
            number += 1

    def note(number: int) -> None:
        engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))
        with session(engine) as opened:
            append_audit(
                opened,
                AuditEvent(
                    key=f"n-{number}-{datetime.now(UTC)}",
                    actor="me",
                    act="remark",
                    subject="x",
                    payload={},
                    at=datetime.now(UTC),
                ),
            )

    workers = [
        threading.Thread(target=work, args=(lambda day: take(fresh_workspace, day),)),
        threading.Thread(target=work, args=(note,)),
    ]
    for worker in workers:
        worker.start()
    try:
        for number in range(4):
            back_up(fresh_workspace, tmp_path / f"backup-{number}.tar")
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failed == []
    for number in range(4):
        again = restore(tmp_path / f"backup-{number}.tar", tmp_path / f"again-{number}")
        assert again.problems == ()
        assert is_whole(Workspace(tmp_path / f"again-{number}"))


def test_a_damaged_backup_is_refused_whole(fresh_workspace: Workspace, tmp_path: Path) -> None:
    take(fresh_workspace, 2)
    back_up(fresh_workspace, tmp_path / "backup")
    ledger = (tmp_path / "backup" / "ledger.db").read_bytes()

    def changed() -> None:
        (tmp_path / "backup" / "ledger.db").write_bytes(ledger[:-1] + b"x")

    def gone() -> None:
        (tmp_path / "backup" / "ledger.db").unlink()

    def none() -> None:
        (tmp_path / "backup" / MANIFEST).write_text("{")

    for damage, words in ((changed, "was changed"), (gone, "is missing"), (none, "no readable")):
        damage()
        with pytest.raises(RefusedFile, match=words):
            restore(tmp_path / "backup", tmp_path / "again")
        assert not (tmp_path / "again").exists()
    (tmp_path / "none.tar.gz").write_bytes(b"no archive")
    with pytest.raises(RefusedFile, match="cannot be unpacked"):
        restore(tmp_path / "none.tar.gz", tmp_path / "again")


def test_nothing_that_is_there_is_written_over(fresh_workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.tar.gz").write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already"):
        back_up(fresh_workspace, tmp_path / "mine.tar.gz")
    with pytest.raises(ConfigurationError, match="inside the workspace"):
        back_up(fresh_workspace, fresh_workspace.root / "backup.tar.gz")
    back_up(fresh_workspace, tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(tmp_path / "backup", fresh_workspace.root)


def test_a_damaged_workspace_is_backed_up_and_said_to_be_damaged(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    take(fresh_workspace, 2)
    next((fresh_workspace.facts / "sales" / "current").rglob("*.parquet")).unlink()
    run = CliRunner()
    words = ["--workspace", str(fresh_workspace.root)]
    said = run.invoke(app, ["backup", str(tmp_path / "b.tgz"), *words])
    assert said.exit_code == 1
    assert "Damaged: sales/current: data file" in said.output
    said = run.invoke(
        app, ["restore", str(tmp_path / "b.tgz"), "--workspace", str(tmp_path / "again")]
    )
    assert "Damaged" in said.output
    assert run.invoke(app, ["repair", "--workspace", str(tmp_path / "again")]).exit_code == 0
    assert is_whole(Workspace(tmp_path / "again"))


def test_others_cannot_read_a_backup(fresh_workspace: Workspace, tmp_path: Path) -> None:
    back_up(fresh_workspace, tmp_path / "backup.tar.gz")
    back_up(fresh_workspace, tmp_path / "folder")
    assert (tmp_path / "backup.tar.gz").stat().st_mode & 0o077 == 0
    assert (tmp_path / "folder").stat().st_mode & 0o077 == 0


def test_a_ledger_on_postgresql_is_in_the_backup(
    fresh_workspace: Workspace,
    tmp_path: Path,
    postgres_database: object,
    postgres_server: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sqlalchemy import text

    names = [f"liftloop_backup_{os.getpid()}_{end}" for end in ("from", "to")]
    server = postgres_server
    with server.connect() as connection:
        for name in names:
            connection.execute(text(f"CREATE DATABASE {name}"))
    urls = [server.url.set(database=name).render_as_string(hide_password=False) for name in names]
    try:
        monkeypatch.setenv("LIFTLOOP_LEDGER_URL", urls[0])
        upgrade(urls[0])
        take(fresh_workspace, 2)
        made = back_up(fresh_workspace, tmp_path / "backup")
        monkeypatch.setenv("LIFTLOOP_LEDGER_URL", urls[1])
        again = restore(tmp_path / "backup", tmp_path / "again")
        assert (again.problems, again.audit_head) == ((), made.audit_head)
        assert is_whole(Workspace(tmp_path / "again"))
        take(Workspace(tmp_path / "again"), 3)
        with pytest.raises(ConfigurationError, match="holds another ledger"):
            restore(tmp_path / "backup", tmp_path / "once-more")
        assert not (tmp_path / "once-more").exists()
        monkeypatch.delenv("LIFTLOOP_LEDGER_URL")  # and into a file
        assert restore(tmp_path / "backup", tmp_path / "in-a-file").problems == ()
        assert is_whole(Workspace(tmp_path / "in-a-file"))
    finally:
        for url in urls:
            open_ledger(url).dispose()
        with server.connect() as connection:
            for name in names:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_the_ledgers_file_is_whole_by_itself_when_a_program_ends(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    """What is in SQLite's write-ahead log is in the file after the program's end."""
    code = (
        "from datetime import UTC, datetime\n"
        "from liftloop.adapters.audit.sealing import AuditEvent, append_audit\n"
        "from liftloop.adapters.ledger.records import open_ledger, session\n"
        f"with session(open_ledger('sqlite:///{fresh_workspace.ledger}')) as opened:\n"
        "    event = AuditEvent('k', 'me', 'note', 'x', {}, datetime.now(UTC))\n"
        "    append_audit(opened, event)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    shutil.copy(fresh_workspace.ledger, tmp_path / "alone.db")
    with closing(sqlite3.connect(tmp_path / "alone.db")) as alone:
        assert alone.execute("SELECT count(*) FROM auditentry").fetchone() == (1,)
