"""Rollouts in the ledger: a record, and transitions appended under keys."""

from __future__ import annotations

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.records import insert_once
from liftloop.adapters.ledger.tables import RolloutRecord, RolloutTransition

ROLLOUT_CHANGES = frozenset({"stage"})  # of a rollout, after it was begun
ENDED = ("full", "rolled_back")


def start_rollout(session: Session, *, rollout: RolloutRecord) -> bool:
    """Keep a rollout under its id; False when it is there already.

    Raises
    ------
    ValueError
        If another rollout is under way: two at once could not be told apart.
    """
    if session.get(RolloutRecord, rollout.id) is not None:
        return False
    running = active_rollout(session)
    if running is not None:
        raise ValueError(f"rollout {running.id} is still under way ({running.stage})")
    return insert_once(session, rollout)


def rollout(session: Session, *, id: str) -> RolloutRecord | None:
    return session.get(RolloutRecord, id)


def rollouts(session: Session, *, limit: int | None = None) -> list[RolloutRecord]:
    """Rollouts, the last one first."""
    query = select(RolloutRecord).order_by(
        col(RolloutRecord.started_on).desc(), col(RolloutRecord.created_at).desc()
    )
    return list(session.exec(query.limit(limit)))


def active_rollout(session: Session) -> RolloutRecord | None:
    """The rollout under way, if there is one."""
    query = select(RolloutRecord).where(col(RolloutRecord.stage).not_in(ENDED))
    return session.exec(query.order_by(col(RolloutRecord.started_on).desc())).first()


def append_transition(session: Session, *, transition: RolloutTransition) -> bool:
    """Append a transition under its key, and move the rollout to its stage.

    Returns False, and nothing changed, when it is there already.

    Raises
    ------
    ValueError
        If the rollout is unknown, or no longer in the stage the transition starts from.
    """
    if session.get(RolloutTransition, transition.key) is not None:
        return False
    record = session.get(RolloutRecord, transition.rollout_id)
    if record is None:
        raise ValueError(f"no rollout {transition.rollout_id} in the ledger")
    if transition.act != "start" and record.stage != transition.from_stage:
        raise ValueError(
            f"rollout {record.id} is in stage {record.stage}, not {transition.from_stage}"
        )
    record.stage = transition.to_stage
    session.add(record)
    transition.sequence = len(transitions(session, rollout_id=record.id)) + 1
    return insert_once(session, transition)


def transitions(session: Session, *, rollout_id: str) -> list[RolloutTransition]:
    """A rollout's transitions, the first one first."""
    query = select(RolloutTransition).where(RolloutTransition.rollout_id == rollout_id)
    return list(session.exec(query.order_by(col(RolloutTransition.sequence))))
