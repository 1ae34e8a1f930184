"""The audit trail's one way to grow: each entry sealed with the hash of the one before it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Session, SQLModel, col, select

from liftloop.adapters.ledger.tables import AuditEntry, AuditHead, Decision, Proposal
from liftloop.core.ids import canonical
from liftloop.core.policy import BudgetLine, to_cents

FIRST_HASH = "0" * 64  # what the first entry of the audit trail follows
LINE = tuple(field.name for field in fields(BudgetLine))  # plain values, which need no deep copy


def canonical_json(value: Any) -> str:
    """The one JSON text of ``value``: sorted keys, no spaces; money and days as text."""
    return canonical(_plain(value))


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


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What an entry of the audit trail tells: who did what to which subject, and when.

    ``key`` names the event: one that is told again is the same event. ``at`` is aware.
    """

    key: str
    actor: str
    act: str
    subject: str
    payload: Mapping[str, Any]
    at: datetime


def append_audit(session: Session, event: AuditEvent) -> bool:
    """Add one entry to the audit trail, sealed with the hash of the one before it.

    Returns
    -------
    bool
        False, and nothing changed, when an entry under the event's key is already there.
    """
    known = select(AuditEntry.sequence).where(AuditEntry.key == event.key)
    if session.exec(known).first() is not None:
        return False
    last = session.exec(
        select(AuditEntry.sequence, AuditEntry.hash)
        .order_by(col(AuditEntry.sequence).desc())
        .limit(1)
    ).first()
    sequence, previous = (last[0] + 1, last[1]) if last else (1, FIRST_HASH)
    entry = AuditEntry(
        sequence=sequence,
        key=event.key,
        at=event.at.astimezone(UTC),
        actor=event.actor,
        act=event.act,
        subject=event.subject,
        payload=canonical_json(event.payload),
        previous_hash=previous,
        hash="",
    )
    entry.hash = seal(entry)
    session.add(entry)
    head = session.get(AuditHead, 1) or AuditHead(entries=0, hash=FIRST_HASH)
    head.entries, head.hash = sequence, entry.hash
    session.add(head)
    session.flush()
    return True


def head_with(session: Session, subject: str) -> str:
    """The hash of the entry that made ``subject``: it stands for the whole trail up to there,
    whatever was written since, so that who is killed and runs again tells the same."""
    mine = select(AuditEntry.hash).where(AuditEntry.subject == subject)
    query = mine.order_by(col(AuditEntry.sequence)).limit(1)
    return session.exec(query).first() or FIRST_HASH


def content_of(row: Decision | Proposal, lines: Sequence[BudgetLine] = ()) -> str:
    """Stands for all that was said and figured of a decision, with its lines, or of a proposal, so
    that no word of it can be changed unseen. A decision's state may change later."""
    said = row.model_dump(mode="json", exclude={"sequence", "state", "created_at"})
    rows = [
        {
            **{name: getattr(line, name) for name in LINE},
            "daily_budget": to_cents(line.daily_budget),
            "previous_daily_budget": to_cents(line.previous_daily_budget),
        }
        for line in sorted(lines, key=lambda line: (line.segment, line.channel))
    ]
    return hashlib.sha256(canonical([said, rows]).encode()).hexdigest()


def row_content(row: SQLModel, *, changes: frozenset[str] = frozenset()) -> str:
    """Stands for all that a row says but what ``changes`` later."""
    said = row.model_dump(mode="json", exclude={*changes, "created_at"})
    return hashlib.sha256(canonical(said).encode()).hexdigest()


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
