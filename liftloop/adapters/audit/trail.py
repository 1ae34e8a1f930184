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

from liftloop.adapters.audit.ledger_checks import differing, end_differs
from liftloop.adapters.audit.sealing import FIRST_HASH, seal
from liftloop.adapters.files.spreadsheet import disarmed
from liftloop.adapters.ledger.tables import AuditEntry

COLUMNS = (
    "sequence",
    "key",
    "at",
    "actor",
    "act",
    "subject",
    "payload",
    "previous_hash",
    "hash",
)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place that holds heads of the trail beside it.

    Attributes
    ----------
    kind
        signature, outbox files, messages or anchor file.
    heads
        How many heads were found there.
    entries
        The trail is proven by them up to this entry.
    sentence
        What was found, for a person.
    problems
        Why they contradict the trail; none where they do not.
    """

    kind: str
    heads: int
    entries: int
    sentence: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What checking the whole trail found.

    ``final_hash`` stands for every entry before it: who noted it down earlier can tell whether
    anything was changed, or cut off the end, since. ``problem`` is the first of ``problems``.
    ``anchors`` are the places outside of the trail that it was compared with.
    """

    intact: bool
    entries: int
    final_hash: str
    first_broken: int | None = None
    problem: str = ""
    problems: tuple[str, ...] = ()
    anchors: tuple[Anchor, ...] = ()


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


def verify(session: Session, *, known_hash: str | None = None, tables: bool = True) -> AuditVerdict:
    """Check that each entry is whole, in its place, and follows the one before, and that the ledger
    says what the entries say: counts, amounts, states, and where the trail ends.

    Parameters
    ----------
    known_hash
        A final hash noted earlier (an export shows it). The trail must still contain it: a trail
        whose last entries were cut off is consistent in itself, and only this tells.
    tables
        False: only the entries themselves, and where the ledger knows that they end.
    """
    previous, count, seen = FIRST_HASH, 0, known_hash in (None, FIRST_HASH)
    for entry in entries(session):
        problem = entry_problem(entry, previous, count + 1)
        if problem:
            return AuditVerdict(False, count, previous, entry.sequence, problem, (problem,))
        previous, count = entry.hash, count + 1
        seen = seen or entry.hash == known_hash
    found = list(differing(session) if tables else end_differs(session))
    if not seen:
        problem = "the hash noted earlier is not in the trail: entries were cut off or rewritten"
        found.insert(0, (count + 1, problem))
    if found:
        problems = tuple(dict.fromkeys(problem for _, problem in found))
        return AuditVerdict(False, count, previous, found[0][0], problems[0], problems)
    return AuditVerdict(True, count, previous)


def entry_problem(entry: AuditEntry, previous: str, place: int) -> str:
    """Why an entry does not stand in its place of the chain; "" where it does."""
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
    """The whole trail as CSV, one entry a row. The last row's ``hash`` is the final hash. Text
    that a spreadsheet would run as a formula gets an apostrophe in front."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for entry in entries(session):
        writer.writerow({name: disarmed(cell) for name, cell in _row(entry).items()})
    return text.getvalue()


def _row(entry: AuditEntry) -> dict[str, str | int]:
    row = {name: getattr(entry, name) for name in COLUMNS}
    return row | {"at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}
