"""The loop's own worth in the audit trail: which segments stand still since when, and what each
month showed. They need no table: an entry each, sealed as all others.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.tables import AuditEntry

STANDING, WORTH = "standing holdout", "worth"


def entries_of(session: Session, act: str, *, at: datetime | None = None) -> list[dict[str, Any]]:
    """What the entries of an act say, the last one first; with ``at``, of those made by then."""
    query = select(AuditEntry.payload).where(AuditEntry.act == act)
    if at is not None:
        query = query.where(AuditEntry.at <= at)
    found = session.exec(query.order_by(col(AuditEntry.sequence).desc())).all()
    return [json.loads(payload) for payload in found]


def standing(session: Session, *, at: datetime | None = None) -> dict[str, Any] | None:
    """The standing holdout in force now, or at the instant ``at``: rule, segments, start; None
    where none was ever drawn."""
    return next(iter(entries_of(session, STANDING, at=at)), None)


def worth_known(session: Session, *, as_of: date) -> dict[str, Any] | None:
    """The last figure known on ``as_of``."""
    day = as_of.isoformat()
    return next((said for said in entries_of(session, WORTH) if said["as_of"] <= day), None)
