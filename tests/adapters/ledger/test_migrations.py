from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from liftloop.adapters.ledger import migrate
from liftloop.adapters.ledger.records import head_revision, is_current, open_ledger, upgrade
from liftloop.adapters.ledger.tables import Table


def test_the_migrated_ledger_has_exactly_the_tables_the_program_knows(ledger_url: str) -> None:
    upgrade(ledger_url)
    with open_ledger(ledger_url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "liftloop_version", "compare_type": True}
        )
        differences = compare_metadata(context, Table.metadata)
    assert differences == [], "tables.py changed: add a migration"


def test_upgrading_again_changes_nothing(ledger_url: str) -> None:
    upgrade(ledger_url)
    before = inspect(open_ledger(ledger_url)).get_table_names()
    upgrade(ledger_url)
    assert inspect(open_ledger(ledger_url)).get_table_names() == before
    assert is_current(open_ledger(ledger_url))


def test_a_ledger_that_is_not_there_is_not_current_and_is_not_made_by_asking(
    tmp_path: Path,
) -> None:
    assert not is_current(open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}"))
    assert list(tmp_path.iterdir()) == []


def test_a_migration_that_fails_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a migration on SQLite would otherwise stay: its driver commits before each DDL."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    home = Path(migrate.__file__).parents[1] / "migrations"
    (folder / "env.py").write_text((home / "env.py").read_text())
    (folder / "versions" / "0001_breaks.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "revision, down_revision = '0001', None\n"
        "def upgrade():\n"
        "    op.create_table('half', sa.Column('id', sa.Integer, primary_key=True))\n"
        "    raise RuntimeError('killed')\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "__file__", str(tmp_path / "ledger" / "migrate.py"))
        with pytest.raises(RuntimeError, match="killed"):
            upgrade(url)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    upgrade(url)
    assert is_current(open_ledger(url))


def test_what_upgrading_needs_is_inside_the_package() -> None:
    folder = Path(migrate.__file__).parents[1] / "migrations"
    assert (folder / "env.py").is_file()
    assert (folder / "script.py.mako").is_file()
    head = ScriptDirectory(str(folder)).get_current_head()
    assert head_revision() == head, "the newest migration bears the highest number"


def test_every_number_column_takes_what_the_program_may_write(ledger_url: str) -> None:
    """Seeds go up to 2 ** 32 - 1, cents and counts far beyond; PostgreSQL's INTEGER ends at
    2 ** 31 - 1."""
    upgrade(ledger_url)
    counters = {"sequence", "attempts", "failures", "successes"}  # one at a time, from 0
    for table in inspect(open_ledger(ledger_url)).get_table_names():
        for column in inspect(open_ledger(ledger_url)).get_columns(table):
            if open_ledger(ledger_url).dialect.name != "sqlite" and column["name"] not in counters:
                assert str(column["type"]) != "INTEGER", f"{table}.{column['name']}"
