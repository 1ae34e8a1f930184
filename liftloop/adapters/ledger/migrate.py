"""Bringing the ledger's tables to this version, from the program itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine, inspect, text
from sqlalchemy.pool import NullPool

from liftloop.adapters.ledger.engine import (
    READ_ONLY,
    ledger_address,
    make_engine,
    plain_words,
)
from liftloop.adapters.ledger.fresh_ledger import write_ahead

VERSION_TABLE = "liftloop_version"  # as in migrations/env.py


def upgrade(url: str) -> None:
    """Bring the ledger's tables to this version; made on first use.

    Safe when two processes do it at once: the second waits, then finds nothing to do. A migration
    is one transaction, so a killed one leaves no trace.
    """
    address = ledger_address(url)
    engine = make_engine(address, poolclass=NullPool)
    try:
        with plain_words(address):
            if _revision(engine) == head_revision():
                return
            from alembic import command  # half a second, needed here alone

            _write_ahead(engine)
            with engine.begin() as connection:
                config = _alembic()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    finally:
        engine.dispose()


def is_current(engine: Engine) -> bool:
    """Whether the ledger's tables are those of this version."""
    with plain_words(engine.url):
        return _revision(engine) == head_revision()


def head_revision() -> str:
    """The revision of this version's tables: migrations are numbered, and their files bear the
    numbers. Alembic would read them all."""
    return max(path.name for path in (_folder() / "versions").glob("[0-9]*.py")).split("_")[0]


def _folder() -> Path:
    return Path(__file__).resolve().parents[1] / "migrations"


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


def _revision(engine: Engine) -> str | None:
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        path = Path(engine.url.database)
        if path.parent.is_dir() and not path.exists():
            return None  # connecting would make an empty file
    with engine.execution_options(**{READ_ONLY: True}).connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
        return version


def _write_ahead(engine: Engine) -> None:
    """Switch a SQLite file to WAL."""
    if engine.url.get_backend_name() != "sqlite" or not engine.url.database:
        return
    raw = engine.raw_connection()
    try:
        write_ahead(cast(sqlite3.Connection, raw.driver_connection))
    finally:
        raw.close()
