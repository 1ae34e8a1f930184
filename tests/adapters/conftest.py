"""A ledger of each kind: the same tests run on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, text

from liftloop.adapters.ledger.records import open_ledger, session, upgrade
from liftloop.adapters.ledger.tables import Table


def _said(server: Engine, statement: str) -> None:
    with server.connect() as connection:
        connection.execute(text(statement))


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Engine) -> Iterator[URL]:
    """A PostgreSQL database of this session's own, dropped at the end."""
    name = f"liftloop_{uuid.uuid4().hex[:12]}"
    _said(postgres_server, f"CREATE DATABASE {name}")
    yield postgres_server.url.set(database=name)
    _said(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def _schema(database: URL, name: str) -> str:
    """An empty schema, made, as the address of a ledger: cheaper than a database each."""
    owner = create_engine(database, isolation_level="AUTOCOMMIT")
    _said(owner, f"CREATE SCHEMA {name}")
    owner.dispose()
    address = database.update_query_dict({"options": f"-csearch_path={name}"})
    return address.render_as_string(hide_password=False)


@pytest.fixture
def postgres_url(postgres_database: URL) -> Iterator[str]:
    """An empty place for a ledger on PostgreSQL."""
    url = _schema(postgres_database, f"own_{uuid.uuid4().hex[:12]}")
    yield url
    open_ledger(url).dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty place for a ledger is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def sqlite_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite ledger to copy: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("model") / "ledger.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_model(postgres_database: URL) -> Iterator[str]:
    """A migrated ledger on PostgreSQL, emptied for each test that uses it."""
    url = _schema(postgres_database, "model")
    upgrade(url)
    yield url
    open_ledger(url).dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, sqlite_model: Path) -> Engine:
    """An empty ledger, migrated."""
    if request.param == "sqlite":
        shutil.copy(sqlite_model, tmp_path / "ledger.db")
        return open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    engine = open_ledger(request.getfixturevalue("postgres_model"))
    names = ", ".join(table.name for table in Table.metadata.sorted_tables)
    with session(engine) as opened:
        opened.connection().exec_driver_sql(f"TRUNCATE {names}")
    return engine
