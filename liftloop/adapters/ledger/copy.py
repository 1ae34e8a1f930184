"""A ledger from one database to another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, insert, select
from sqlalchemy.engine import URL
from sqlmodel import Session

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.ledger.engine import ledger_address, open_ledger, session
from liftloop.adapters.ledger.migrate import upgrade
from liftloop.adapters.ledger.tables import Table as LedgerTable
from liftloop.core.errors import ConfigurationError, DamagedWorkspace

ROWS = 5_000  # at a time
NOBODY_WRITES = "see that nothing else writes to the new database, and copy again."


@dataclass(frozen=True, slots=True)
class CopiedLedger:
    """What was copied: rows by table, and the audit trail's entries and last hash, which are the
    same on both sides. ``new`` is False where all of it was there already."""

    rows: Mapping[str, int]
    audit_entries: int
    audit_head: str
    new: bool


def copy_ledger(source: Engine, target: str) -> CopiedLedger:
    """Copy every row of a ledger into an empty database, in one transaction, and compare both.

    The source is read as it is at one instant; what is written to it afterwards is not copied.

    Parameters
    ----------
    target
        The address of a database that exists (a SQLite file is made); its tables are made.

    Raises
    ------
    ConfigurationError
        If ``target`` is the source itself, or holds another ledger; it is left as it was.
    DamagedWorkspace
        If the source's audit trail is broken: a copy must not make it look sound.
    """
    address = ledger_address(target)
    if address == source.url:
        raise ConfigurationError(
            "The ledger is there already.", fix="give another address: --to URL."
        )
    upgrade(source.url.render_as_string(hide_password=False))
    upgrade(target)
    with session(source, read_only=True) as old, session(open_ledger(target)) as new:
        trail = verify(old)
        if not trail.intact:
            raise DamagedWorkspace(
                f"The audit trail is broken, nothing was copied: {trail.problem}.",
                fix="look at it: liftloop audit verify.",
            )
        present, wanted = _counts(new.connection()), _counts(old.connection())
        if any(present.values()):
            if present == wanted and verify(new).final_hash == trail.final_hash:
                return CopiedLedger(wanted, trail.entries, trail.final_hash, new=False)
            raise ConfigurationError(
                f"{_shown(address)} holds another ledger; nothing was changed.",
                fix="name an empty database, or move that file away.",
            )
        for table in LedgerTable.metadata.sorted_tables:
            _copy(table, old.connection(), new.connection())
        _compare(old, new, trail.final_hash)
        return CopiedLedger(wanted, trail.entries, trail.final_hash, new=True)


def rows_of(engine: Engine) -> dict[str, int]:
    """How many rows each table of a ledger has."""
    with session(engine, read_only=True) as opened:
        return _counts(opened.connection())


def _copy(table: Table, old: Connection, new: Connection) -> None:
    for rows in old.execute(select(table)).mappings().partitions(ROWS):
        new.execute(insert(table), [dict(row) for row in rows])


def _compare(old: Session, new: Session, head: str) -> None:
    """Raise, and thereby take the copy back, unless both hold the same rows and trail."""
    new.expire_all()
    for table in LedgerTable.metadata.sorted_tables:
        keys = list(table.primary_key)
        sides = (
            {_values(row) for row in side.connection().execute(select(table).order_by(*keys))}
            for side in (old, new)
        )
        if next(sides) != next(sides):
            raise DamagedWorkspace(
                f"The copy of the table {table.name} differs; it was taken back.", fix=NOBODY_WRITES
            )
    if verify(new).final_hash != head:
        raise DamagedWorkspace(
            "The copy of the audit trail differs; it was taken back.", fix=NOBODY_WRITES
        )


def _values(row: Any) -> tuple[Any, ...]:
    """A row as both databases give it: not-a-number equals itself."""
    return tuple(
        "nan" if isinstance(value, float) and math.isnan(value) else value for value in row
    )


def _counts(connection: Connection) -> dict[str, int]:
    return {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in LedgerTable.metadata.sorted_tables
    }


def _shown(address: URL) -> str:
    return address.render_as_string(hide_password=True)
