"""Checking the audit trail, and handing it to people who will check it themselves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlmodel import Session, col, select

from liftloop.adapters.sealing import FIRST_HASH, append_audit, seal
from liftloop.adapters.tables import AuditEntry

__all__ = [
    "AuditVerdict",
    "append_audit",
    "entries",
    "export_csv",
    "export_json",
    "payload_of",
    "verify",
]

COLUMNS = (
    "sequence", "key", "at", "actor", "act", "subject", "payload", "previous_hash", "hash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What checking the whole trail found.

    ``final_hash`` stands for every entry before it: who noted it down earlier can tell whether
    anything was changed, or cut off the end, since.
    """

    intact: bool
    entries: int
    final_hash: str
    first_broken: int | None = None
    problem: str = ""


def entries(session: Session, *, subject: str | None = None) -> Iterator[AuditEntry]:
    """The trail in order; with ``subject``, only what concerns it."""
    query = select(AuditEntry).order_by(col(AuditEntry.sequence))
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    return iter(session.exec(query.execution_options(yield_per=1000)))


def payload_of(session: Session, *, subject: str) -> dict[str, Any] | None:
    """What the first entry about ``subject`` says, the one that made it; None where there is
    none."""
    first = next(entries(session, subject=subject), None)
    return None if first is None else json.loads(first.payload)


def verify(session: Session, *, known_hash: str | None = None) -> AuditVerdict:
    """Check that each entry is whole, in its place, and follows the one before.

    Parameters
    ----------
    known_hash
        A final hash noted earlier (an export shows it). The trail must still contain it: a trail
        whose last entries were cut off is consistent in itself, and only this tells.
    """
    previous, count, seen = FIRST_HASH, 0, known_hash in (None, FIRST_HASH)
    for entry in entries(session):
        problem = _problem(entry, previous, count + 1)
        if problem:
            return AuditVerdict(False, count, previous, entry.sequence, problem)
        previous, count = entry.hash, count + 1
        seen = seen or entry.hash == known_hash
    if not seen:
        problem = "the hash noted earlier is not in the trail: entries were cut off or rewritten"
        return AuditVerdict(False, count, previous, count + 1, problem)
    return AuditVerdict(True, count, previous)


def _problem(entry: AuditEntry, previous: str, place: int) -> str:
    if entry.sequence != place:
        return f"entry {place} is missing: entry {entry.sequence} stands in its place"
    if entry.previous_hash != previous:
        return f"entry {place} does not follow entry {place - 1}: one of them was replaced"
    if seal(entry) != entry.hash:
        return f"entry {place} ({entry.act} {entry.subject}) was edited after it was written"
    return ""


def export_json(session: Session) -> str:
    """The whole trail as JSON: ``entries``, their number, and the final hash to compare."""
    rows = [_row(entry) for entry in entries(session)]
    body = [row | {"payload": json.loads(str(row["payload"]))} for row in rows]
    final = str(rows[-1]["hash"]) if rows else FIRST_HASH
    return json.dumps(
        {"entries": body, "count": len(rows), "final_hash": final}, indent=2, ensure_ascii=False
    )


def export_csv(session: Session) -> str:
    """The whole trail as CSV, one entry a row. The last row's ``hash`` is the final hash."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for entry in entries(session):
        writer.writerow(_row(entry))
    return text.getvalue()


def _row(entry: AuditEntry) -> dict[str, str | int]:
    row = {name: getattr(entry, name) for name in COLUMNS}
    return row | {"at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}
