"""The ledger's door: engines, transactions, migrations and the audit trail's one way to grow.

Both stores behave alike: one writer at a time, chosen when its transaction begins (``BEGIN
IMMEDIATE`` on SQLite, an advisory lock on PostgreSQL). So read-then-write is safe, sequences have
no gaps, and two writers can never deadlock. Readers wait for nobody.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool
from sqlmodel import Session, select

from liftloop.adapters.tables import AuditEntry
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed

FIRST_HASH = "0" * 64  # what the first entry of the audit trail follows
WAIT_SECONDS = 30
_WRITER_LOCK = 0x11F7_100B  # PostgreSQL advisory lock: any number, as long as it is always this one
_READ_ONLY = "liftloop_read_only"


def ledger_address(url: str) -> URL:
    """``url`` parsed, with our driver filled in.

    Raises
    ------
    ConfigurationError
        If it is no URL, or names a database other than SQLite and PostgreSQL.
    """
    fix = "use sqlite:////path/ledger.db or postgresql://user@host:5432/name."
    try:
        address = make_url(url)
    except ArgumentError:
        raise ConfigurationError("ledger_url is not a database URL.", fix=fix) from None
    if address.drivername in ("postgres", "postgresql"):
        return address.set(drivername="postgresql+psycopg")
    if address.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigurationError(
            f"ledger_url: the ledger cannot live in {address.drivername!r}.", fix=fix
        )
    return address


def open_ledger(url: str) -> Engine:
    """The engine for ``url``, made once a process. Connects when first used.

    On SQLite ``synchronous`` is FULL: the ledger promises that an intention is durable before its
    effect is visible, and NORMAL may lose the last commits when the power fails. A commit then
    costs one fsync, a few milliseconds, and a cycle makes a few dozen.
    """
    return _engine(ledger_address(url), os.getpid())


@lru_cache(maxsize=32)
def _engine(address: URL, pid: int) -> Engine:
    return _make_engine(address)


def _make_engine(address: URL, **more: Any) -> Engine:
    if address.get_backend_name() == "sqlite":
        more.setdefault("connect_args", {"timeout": WAIT_SECONDS})
        engine = create_engine(address, **more)
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
        return engine
    more.setdefault("connect_args", {"connect_timeout": 10})
    engine = create_engine(address, pool_pre_ping=True, **more)
    event.listen(engine, "begin", _on_postgres_begin)
    return engine


def _on_sqlite_connect(connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _on_sqlite_begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _on_postgres_begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_READ_ONLY, False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")


@contextmanager
def session(engine: Engine, *, read_only: bool = False) -> Iterator[Session]:
    """Exactly one transaction: committed when the block ends, rolled back when it raises.

    Parameters
    ----------
    read_only
        See one consistent state and wait for no writer; writing then fails.

    Raises
    ------
    OutsideServiceFailed
        If the database cannot be reached, is locked, full, or lacks the ledger's tables.
    """
    bound = engine.execution_options(**{_READ_ONLY: True}) if read_only else engine
    with plain_words(engine.url), Session(bound, expire_on_commit=False) as opened:
        try:
            yield opened
            opened.commit()
        except BaseException:
            opened.rollback()
            raise


@contextmanager
def plain_words(address: URL) -> Iterator[None]:
    """Turn the database's trouble into one sentence with a way out; never shows a password."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        trouble = _explain(address, error)
        if trouble is None:
            raise
        raise trouble from error


def _explain(address: URL, error: Exception) -> OutsideServiceFailed | None:
    said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    service = f"The ledger ({address.render_as_string(hide_password=True)})"
    if isinstance(error, ProgrammingError) or "no such table" in said or "no such column" in said:
        if not any(word in said for word in ("no such", "does not exist")):
            return None
        return OutsideServiceFailed(
            service, f"it lacks what this version needs ({said}).", fix="run liftloop init."
        )
    if type(error).__name__ not in ("OperationalError", "InterfaceError", "TimeoutError"):
        return None
    for sign, problem, fix in _TROUBLES:
        if sign in said:
            return OutsideServiceFailed(service, f"{problem} ({said}).", fix=fix)
    return OutsideServiceFailed(
        service, f"{said}.", fix="check that it runs and may be used; liftloop doctor helps."
    )


_TROUBLES = (
    ("database is locked", f"another program kept it for over {WAIT_SECONDS} s",
     "let that program end (or stop it), then run the command again."),
    ("lock timeout", f"another program kept it for over {WAIT_SECONDS} s",
     "let that program end (or stop it), then run the command again."),
    ("unable to open database file", "its folder does not exist or may not be entered",
     "run liftloop init, or correct ledger_url."),
    ("readonly database", "it may not be written", "give this user the right to write it."),
    ("disk is full", "the disk is full", "free some space; nothing was half written."),
    ("not a database", "that file is not a SQLite database", "correct ledger_url."),
    ("malformed", "the file is damaged", "restore it from a backup."),
    ("Connection refused", "no PostgreSQL answers there", "start it, or correct ledger_url."),
    ("password authentication failed", "it refused the password",
     "correct the user and password in LIFTLOOP_LEDGER_URL."),
    ("resolve host", "its host name is unknown", "correct the host in ledger_url."),
    ("does not exist", "that database or user does not exist", "create it, or correct ledger_url."),
)  # fmt: skip


def upgrade(url: str) -> None:
    """Bring the ledger's tables to this version; made on first use.

    Safe when two processes do it at once: the second waits, then finds nothing to do. A migration
    is one transaction, so a killed one leaves no trace.
    """
    from alembic import command  # half a second, needed here alone

    address = ledger_address(url)
    engine = _make_engine(address, poolclass=NullPool)
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
    with engine.execution_options(**{_READ_ONLY: True}).connect() as connection:
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


def canonical_json(value: Any) -> str:
    """The one JSON text of ``value``: sorted keys, no spaces, ASCII; money and days as text."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no NaN; the text still says what was there
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(inner) for inner in value), key=str)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Decimal):
        return str(value)
    item = getattr(value, "item", None)  # a numpy number
    return _plain(item()) if callable(item) else str(value)


def append_audit(
    session: Session,
    *,
    key: str,
    actor: str,
    act: str,
    subject: str,
    payload: Mapping[str, Any],
    at: datetime,
) -> bool:
    """Add one entry to the audit trail, sealed with the hash of the one before it.

    Returns
    -------
    bool
        False, and nothing changed, when an entry under ``key`` is already there.
    """
    if session.exec(select(AuditEntry.sequence).where(AuditEntry.key == key)).first() is not None:
        return False
    last = session.exec(
        select(AuditEntry.sequence, AuditEntry.hash).order_by(AuditEntry.sequence.desc()).limit(1)
    ).first()
    sequence, previous = (last[0] + 1, last[1]) if last else (1, FIRST_HASH)
    entry = AuditEntry(
        sequence=sequence, key=key, at=at.astimezone(UTC), actor=actor, act=act, subject=subject,
        payload=canonical_json(payload), previous_hash=previous, hash="",
    )  # fmt: skip
    entry.hash = seal(entry)
    session.add(entry)
    session.flush()
    return True


def seal(entry: AuditEntry) -> str:
    """sha256 of the previous hash and the canonical JSON of all else the entry says."""
    body = canonical_json(
        {
            "sequence": entry.sequence,
            "key": entry.key,
            "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": entry.actor,
            "act": entry.act,
            "subject": entry.subject,
            "payload": entry.payload,
        }
    )
    return hashlib.sha256((entry.previous_hash + body).encode()).hexdigest()


def next_sequence(session: Session, column: Any) -> int:
    """The number after the greatest in ``column``; without gaps, since writers take turns."""
    return int(session.exec(select(func.coalesce(func.max(column), 0))).one()) + 1
