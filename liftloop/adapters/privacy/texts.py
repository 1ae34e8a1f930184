"""Texts that name a person: rows in quarantine, messages and verdicts in the ledger, and files."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlmodel import Session, SQLModel, col, select, update

from liftloop.adapters.ledger.engine import plain_words, session
from liftloop.adapters.ledger.tables import Delivery, Message, MonitorVerdict, QuarantinedRow
from liftloop.adapters.privacy.archived_rows import text_of
from liftloop.adapters.privacy.identity import Unit
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.feeds.consent import UNIT_FEEDS
from liftloop.settings.workspace import Workspace

FORGOTTEN_ROW = "forgotten"  # the state of a row in quarantine that is kept as a count alone
NOTHING = "{}"
_MASK = "#"
_WORDS: tuple[tuple[type[SQLModel], tuple[str, ...]], ...] = (
    (Message, ("text", "blocks")),
    (MonitorVerdict, ("summary", "evidence")),
    (Delivery, ("notes",)),
)
_MASKED = {".log", ".md", ".html", ".json", ".jsonl", ".csv", ".txt", ".yaml", ".1", ""}


@dataclass(slots=True)
class Places:
    """Files that named a person. ``waiting`` are deliveries to come, whose rows of the person will
    be left out; ``left`` could not be cleaned."""

    masked: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def clear_quarantine(unit: Unit, *, engine: Engine) -> int:
    """Empty a person's rows in quarantine, whatever their state; how many. They stay as counts."""
    with session(engine) as opened:
        rows = opened.exec(
            select(
                QuarantinedRow.delivery_id,
                QuarantinedRow.row_number,
                QuarantinedRow.feed,
                QuarantinedRow.row,
            ).where(QuarantinedRow.row != NOTHING)
        ).all()
        found = [(one[0], one[1]) for one in rows if names_unit(unit, one[2], one[3])]
        for delivery, number in found:
            opened.connection().execute(
                update(QuarantinedRow)
                .where(col(QuarantinedRow.delivery_id) == delivery)
                .where(col(QuarantinedRow.row_number) == number)
                .values(row=NOTHING, state=FORGOTTEN_ROW)
            )
    return len(found)


def names_unit(unit: Unit, feed: str, row: str) -> bool:
    """Whether a row as it was received (JSON) is of a person, or names it."""
    if unit.is_in(row.encode("utf-8", "replace")):
        return True
    if feed not in UNIT_FEEDS:
        return False
    return str(json.loads(row).get("unit_id", "")).strip() == unit.id


def clear_ledger_texts(unit: Unit, *, engine: Engine) -> int:
    """Mask a person in messages, verdicts and notes of deliveries; in how many rows."""
    if not unit.is_distinctive:
        return 0
    changed = 0
    with session(engine) as opened:
        for table, columns in _WORDS:
            changed += sum(
                _masked(opened, row, columns, unit) for row in opened.exec(select(table))
            )
    return changed


def _masked(opened: Session, row: Any, columns: tuple[str, ...], unit: Unit) -> bool:
    changed = False
    for name in columns:
        before = str(getattr(row, name) or "").encode()
        after = unit.pattern.sub(_mask, before)
        if after != before:
            setattr(row, name, after.decode())
            opened.add(row)
            changed = True
    return changed


def _mask(found: Any) -> bytes:
    return _MASK.encode() * len(found.group())


def compact_ledger(engine: Engine) -> None:
    """Let nothing remain in the ledger's files of what was changed in its tables.

    Raises
    ------
    OutsideServiceFailed
        If other programs keep it busy: run again when they have ended.
    """
    with plain_words(engine.url):
        raw = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with closing(raw):
            if engine.dialect.name != "sqlite":
                for table in ("quarantinedrow", "message", "monitorverdict", "delivery"):
                    raw.execute(text(f"VACUUM (FULL) {table}"))
                return
    place = str(engine.url.database)
    engine.dispose()
    try:
        with closing(sqlite3.connect(place, timeout=30, isolation_level=None)) as opened:
            opened.execute("VACUUM")
            busy = opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        raise _busy(str(error)) from None
    if busy:
        raise _busy("its write-ahead log is in use")


def _busy(why: str) -> OutsideServiceFailed:
    return OutsideServiceFailed(
        "The ledger",
        f"old content could not be written over ({why}).",
        fix="let other LiftLoop programs end (liftloop down), then run the command again.",
    )


def clear_files(workspace: Workspace, unit: Unit) -> Places:
    """Look for a person in every file of the workspace, unpacked; mask it in logs and pages, drop
    refused files that name it, and say where it is left.

    An id that is not distinctive is not looked for: it could be any number.
    """
    found = Places()
    if not unit.is_distinctive:
        return found
    for path in _files(workspace):
        content = _unpacked(path)
        if not any(unit.is_in(part) for part in content):
            continue
        name = str(path.relative_to(workspace.root))
        inside = path.relative_to(workspace.root).parts[0]
        if inside in (workspace.inbox.name, "streams"):
            found.waiting.append(name)
        elif inside == workspace.refused.name:
            path.unlink()
            found.dropped.append(name)
        elif inside in _CLEARED and path.suffix in _MASKED and _mask_file(path, unit):
            found.masked.append(name)
        else:
            found.left.append(name)
    return found


_CLEARED = ("logs", "reports", "registry")


def _files(workspace: Workspace) -> Iterator[Path]:
    for path in sorted(workspace.root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _unpacked(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what it holds where it is packed."""
    content = path.read_bytes()
    yield content
    if content[:4] == b"PAR1":
        yield text_of(path)
    elif content[:2] == b"\x1f\x8b":
        try:
            yield gzip.decompress(content)
        except (OSError, EOFError):
            return
    elif content[:4] == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(path) as packed:
                for name in packed.namelist():
                    part = packed.read(name)
                    yield part
                    yield part.replace(b"\x00\x00\x00", b"")  # NumPy's text has 4 bytes a character
        except zipfile.BadZipFile:
            return


def _mask_file(path: Path, unit: Unit) -> bool:
    """Write over a person's id where it stands, so that whoever appends to the file goes on."""
    content = path.read_bytes()
    with path.open("rb+") as file:
        for match in unit.pattern.finditer(content):
            file.seek(match.start())
            file.write(_mask(match))
    return not unit.is_in(path.read_bytes())
