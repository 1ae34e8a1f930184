"""The ledger's door: what the loop decided, on what, and what came of it.

Functions are keyword-only, take a session, and write under a key: writing again changes nothing.
The caller's transaction (:func:`session`) decides what becomes visible together.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, insert, update
from sqlmodel import Session, SQLModel, col, select

from liftloop.adapters.audit.sealing import append_audit, canonical_json
from liftloop.adapters.ledger.engine import open_ledger, session
from liftloop.adapters.ledger.migrate import head_revision, is_current, upgrade
from liftloop.adapters.ledger.tables import (
    MonitorVerdict,
    Pause,
    PolicyBudget,
    PolicyVersion,
    Training,
)
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

__all__ = [
    "active_pauses",
    "add_pause",
    "append_audit",
    "canonical_json",
    "champion_training",
    "head_revision",
    "insert_once",
    "insert_rows",
    "is_current",
    "last_training",
    "last_verdict",
    "lift_pause",
    "mark_champion",
    "next_sequence",
    "open_ledger",
    "policy",
    "record_training",
    "record_verdict",
    "save_policy",
    "session",
    "tests_of",
    "training",
    "trainings",
    "upgrade",
    "verdicts",
]


def insert_once(session: Session, row: SQLModel) -> bool:
    """Add ``row`` unless one with its primary key is there; whether it was added."""
    kind = type(row)
    names = [column.name for column in kind.__table__.primary_key]  # type: ignore[attr-defined]
    if session.get(kind, tuple(getattr(row, name) for name in names)) is not None:
        return False
    session.add(row)
    session.flush()
    return True


def insert_rows(session: Session, table: type[SQLModel], rows: list[dict[str, Any]]) -> None:
    """Insert many rows at once: five times as fast as objects one by one."""
    if rows:
        session.execute(insert(table), rows)


def next_sequence(session: Session, column: Any) -> int:
    """The number after the greatest in ``column``; without gaps, since writers take turns."""
    return int(session.exec(select(func.coalesce(func.max(column), 0))).one()) + 1


def save_policy(session: Session, *, policy: Policy, origin: str, at: datetime) -> bool:
    """Keep a policy under its version; ``origin``: observed, imported, proposed or rollout.

    Returns False when it is there already (its first origin stays).
    """
    version = policy.version  # a hash over all cells: once, not once a row
    kept = insert_once(session, PolicyVersion(version=version, created_at=at, origin=origin))
    if kept:
        insert_rows(
            session,
            PolicyBudget,
            [
                {
                    "version": version,
                    "segment": cell.segment,
                    "channel": cell.channel,
                    "daily_cents": to_cents(amount),
                }
                for cell, amount in policy.budgets
            ],
        )
    return kept


def policy(session: Session, *, version: str) -> Policy | None:
    """The policy of that version, to the cent, or None where it was never saved."""
    if session.get(PolicyVersion, version) is None:
        return None
    rows = session.exec(select(PolicyBudget).where(PolicyBudget.version == version)).all()
    return Policy.of({Cell(r.segment, r.channel): from_cents(r.daily_cents) for r in rows})


def record_training(session: Session, *, training: Training) -> bool:
    """Keep a training under its key; False when it is there already."""
    return insert_once(session, training)


def training(session: Session, *, key: str) -> Training | None:
    return session.get(Training, key)


def trainings(
    session: Session, *, model_name: str | None = None, limit: int | None = None
) -> list[Training]:
    """Trainings, the last one first."""
    query = select(Training).order_by(
        col(Training.as_of).desc(), col(Training.created_at).desc(), col(Training.key)
    )
    if model_name is not None:
        query = query.where(Training.model_name == model_name)
    return list(session.exec(query.limit(limit)))


def last_training(
    session: Session, *, model_name: str, as_of: date, at: datetime | None = None
) -> Training | None:
    """The last training of a model as of a day, by what was recorded before the instant ``at``
    (default: now)."""
    query = select(Training).where(Training.model_name == model_name, Training.as_of <= as_of)
    if at is not None:
        query = query.where(col(Training.created_at) < at)
    order = (col(Training.as_of).desc(), col(Training.created_at).desc(), col(Training.key))
    return session.exec(query.order_by(*order).limit(1)).first()


def champion_training(session: Session, *, model_name: str) -> Training | None:
    """The training whose model is in force."""
    return session.exec(
        select(Training).where(Training.model_name == model_name, Training.state == "champion")
    ).first()


def tests_of(training: Training) -> list[dict[str, Any]]:
    """What a training recorded of the tests it learned from, as plain values; none in trainings
    before it was recorded."""
    return list(json.loads(training.examination or "{}").get("tests", []))


def mark_champion(
    session: Session, *, key: str, model_version: str, run_id: str, reason: str = ""
) -> bool:
    """Make the training under ``key`` the champion of its model; the one before is superseded.

    The registry's alias follows only after this is committed. Returns False when it is champion
    with that version already.
    """
    chosen = session.get(Training, key)
    if chosen is None:
        raise KeyError(f"no training {key} in the ledger")
    if chosen.state == "champion" and chosen.model_version == model_version:
        return False
    session.exec(
        update(Training)
        .where(col(Training.model_name) == chosen.model_name, col(Training.state) == "champion")
        .values(state="superseded")
    )
    chosen.state, chosen.model_version, chosen.run_id = "champion", model_version, run_id
    chosen.reason = reason or chosen.reason
    session.add(chosen)
    session.flush()
    return True


def record_verdict(session: Session, *, verdict: MonitorVerdict) -> bool:
    """Keep a monitor's verdict under its key; False when it is there already."""
    return insert_once(session, verdict)


def verdicts(
    session: Session,
    *,
    before: date | None = None,
    made_by: datetime | None = None,
    limit: int | None = None,
) -> list[MonitorVerdict]:
    """Monitor verdicts as of days before ``before``, made by the instant ``made_by``; the last one
    first."""
    query = select(MonitorVerdict).order_by(
        col(MonitorVerdict.as_of).desc(), col(MonitorVerdict.created_at).desc()
    )
    if before is not None:
        query = query.where(MonitorVerdict.as_of < before)
    if made_by is not None:
        query = query.where(MonitorVerdict.created_at <= made_by)
    return list(session.exec(query.limit(limit)))


def last_verdict(session: Session) -> MonitorVerdict | None:
    return next(iter(verdicts(session, limit=1)), None)


def add_pause(session: Session, *, pause: Pause) -> bool:
    """Keep a pause under its id; False when it is there already."""
    return insert_once(session, pause)


def active_pauses(session: Session, *, at: datetime | None = None) -> list[Pause]:
    """Pauses not lifted, the oldest first; with ``at``, those that held at that instant."""
    query = select(Pause).order_by(col(Pause.since), col(Pause.id))
    if at is None:
        return list(session.exec(query.where(col(Pause.lifted_at).is_(None))))
    held = col(Pause.lifted_at).is_(None) | (col(Pause.lifted_at) > at)
    return list(session.exec(query.where(Pause.since <= at, held)))


def lift_pause(session: Session, *, id: str, at: datetime) -> bool:
    """Lift a pause; False when there is none of that id, or it was lifted before."""
    found = session.get(Pause, id)
    if found is None or found.lifted_at is not None:
        return False
    found.lifted_at = at
    session.add(found)
    session.flush()
    return True
