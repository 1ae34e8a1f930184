"""Bringing the ledger's tables to this version, from the program itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.pool import NullPool

from liftloop.adapters.engine import (
    READ_ONLY,
    WAIT_SECONDS,
    ledger_address,
    make_engine,
    plain_words,
)


def upgrade(url: str) -> None:
    """Bring the ledger's tables to this version; made on first use.

    Safe when two processes do it at once: the second waits, then finds nothing to do. A migration
    is one transaction, so a killed one leaves no trace.
    """
    from alembic import command  # half a second, needed here alone

    address = ledger_address(url)
    engine = make_engine(address, poolclass=NullPool)
    try:
        with plain_words(address):
            if _revision(engine) == head_revision():
                return
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
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _revision(engine: Engine) -> str | None:
    from alembic.runtime.migration import MigrationContext

    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        path = Path(engine.url.database)
        if path.parent.is_dir() and not path.exists():
            return None  # connecting would make an empty file
    with engine.execution_options(**{READ_ONLY: True}).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "liftloop_version"})
        return context.get_current_revision()


def _write_ahead(engine: Engine) -> None:
    """Switch a SQLite file to WAL. Two processes doing so at once get "locked" in spite of the
    driver's patience, hence the loop."""
    if engine.url.get_backend_name() != "sqlite" or not engine.url.database:
        return
    raw = engine.raw_connection()
    give_up = time.monotonic() + WAIT_SECONDS
    try:
        while raw.cursor().execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                raw.cursor().execute("PRAGMA journal_mode = WAL")
            except engine.dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
    finally:
        raw.close()
