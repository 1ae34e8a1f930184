"""The audit trail's one way to grow: each entry sealed with the hash of the one before it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Session, col, select

from liftloop.adapters.tables import AuditEntry
from liftloop.core.keys import canonical

FIRST_HASH = "0" * 64  # what the first entry of the audit trail follows


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
        select(AuditEntry.sequence, AuditEntry.hash)
        .order_by(col(AuditEntry.sequence).desc())
        .limit(1)
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
