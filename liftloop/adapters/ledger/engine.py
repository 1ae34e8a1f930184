"""The ledger's engines and transactions.

Both stores behave alike: one writer at a time, chosen when its transaction begins (``BEGIN
IMMEDIATE`` on SQLite, an advisory lock on PostgreSQL). So read-then-write is safe, sequences have
no gaps, and two writers can never deadlock. Readers wait for nobody.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from liftloop.core.errors import ConfigurationError, OutsideServiceFailed

WAIT_SECONDS = 30
_WRITER_LOCK = 0x11F7_100B  # PostgreSQL advisory lock: any number, as long as it is always this one
READ_ONLY = "liftloop_read_only"


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
    engine = make_engine(address)
    if address.get_backend_name() == "sqlite" and address.database:
        atexit.register(_make_whole, weakref.ref(engine), Path(address.database), pid)
    return engine


def _make_whole(opened: weakref.ref[Engine], place: Path, pid: int) -> None:
    """Bring what is in SQLite's write-ahead log into the ledger's own file, so that it is whole by
    itself when the program has ended. While another program uses it, that one's end does."""
    engine = opened()
    if engine is None or os.getpid() != pid or not place.is_file():
        return
    with suppress(Exception):  # a damaged ledger is told by who uses it, not by who ends
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA busy_timeout = 0")
            connection.cursor().execute("PRAGMA query_only = OFF")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
    engine.dispose()


def make_engine(address: URL, **more: Any) -> Engine:
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
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _on_postgres_begin(connection: Connection) -> None:
    if connection.get_execution_options().get(READ_ONLY, False):
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
    bound = engine.execution_options(**{READ_ONLY: True}) if read_only else engine
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
    kind = type(error).__name__
    if kind not in ("OperationalError", "InterfaceError", "TimeoutError", "DatabaseError"):
        return None
    for sign, problem, fix in _TROUBLES:
        if sign in said:
            return OutsideServiceFailed(service, f"{problem} ({said}).", fix=fix)
    return OutsideServiceFailed(
        service, f"{said}.", fix="check that it runs and may be used; liftloop doctor helps."
    )


_TROUBLES = (
    (
        "database is locked",
        f"another program kept it for over {WAIT_SECONDS} s",
        "let that program end (or stop it), then run the command again.",
    ),
    (
        "lock timeout",
        f"another program kept it for over {WAIT_SECONDS} s",
        "let that program end (or stop it), then run the command again.",
    ),
    (
        "unable to open database file",
        "its folder does not exist or may not be entered",
        "run liftloop init, or correct ledger_url.",
    ),
    ("readonly database", "it may not be written", "give this user the right to write it."),
    ("disk is full", "the disk is full", "free some space; nothing was half written."),
    (
        "disk I/O error",
        "the disk is full or does not answer",
        "free some space, or check the disk; nothing was half written.",
    ),
    ("not a database", "that file is not a SQLite database", "correct ledger_url."),
    ("malformed", "the file is damaged", "restore it from a backup."),
    ("Connection refused", "no PostgreSQL answers there", "start it, or correct ledger_url."),
    (
        "password authentication failed",
        "it refused the password",
        "correct the user and password in LIFTLOOP_LEDGER_URL.",
    ),
    ("resolve host", "its host name is unknown", "correct the host in ledger_url."),
    ("does not exist", "that database or user does not exist", "create it, or correct ledger_url."),
)
