"""Experiments in the ledger: a record each, and what became of it."""

from __future__ import annotations

import json
from datetime import date, datetime

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.records import insert_once
from liftloop.adapters.ledger.tables import ExperimentRecord
from liftloop.core.experiments.design import Experiment

RUNNING, STOPPED, MEASURED, UNMEASURED = "running", "stopped", "measured", "unmeasured"
EXPERIMENT_CHANGES = frozenset({"state", "stopped_on", "stopped_at", "reason", "result"})
UNSEALED = frozenset({"stopped_at"})  # an instant is the entry's own
EXPERIMENT_ACTS = frozenset({"start_experiment", "stop_experiment", "end_experiment"})


def add_experiment(session: Session, *, record: ExperimentRecord) -> bool:
    """Keep an experiment under its name; False when one of that name is there already."""
    return insert_once(session, record)


def experiment(session: Session, *, name: str) -> ExperimentRecord | None:
    return session.get(ExperimentRecord, name)


def plan_of(record: ExperimentRecord) -> Experiment:
    """The experiment as it was planned."""
    return Experiment.from_dict(json.loads(record.plan))


def experiments(session: Session) -> list[ExperimentRecord]:
    """All experiments, the one that began last first."""
    order = (col(ExperimentRecord.starts_on).desc(), col(ExperimentRecord.name))
    return list(session.exec(select(ExperimentRecord).order_by(*order)))


def waiting_for_a_result(session: Session) -> list[ExperimentRecord]:
    """Experiments that run, or were stopped, and are not measured yet; by name."""
    query = select(ExperimentRecord).where(col(ExperimentRecord.state).in_((RUNNING, STOPPED)))
    return list(session.exec(query.order_by(col(ExperimentRecord.name))))


def holding(session: Session, *, at: datetime | None = None) -> list[ExperimentRecord]:
    """Experiments that nobody stopped, by what was recorded at the instant ``at`` (default: now);
    whether their days include one is theirs to say."""
    query = select(ExperimentRecord).order_by(col(ExperimentRecord.name))
    if at is None:
        return list(session.exec(query.where(col(ExperimentRecord.stopped_at).is_(None))))
    not_yet = col(ExperimentRecord.stopped_at).is_(None) | (col(ExperimentRecord.stopped_at) > at)
    return list(session.exec(query.where(col(ExperimentRecord.created_at) <= at, not_yet)))


def stop_experiment(
    session: Session, *, name: str, on: date, at: datetime, reason: str
) -> ExperimentRecord | None:
    """Stop a running experiment from the day ``on``; None when there is none that runs."""
    found = experiment(session, name=name)
    if found is None or found.state != RUNNING:
        return None
    found.state, found.stopped_on, found.stopped_at, found.reason = STOPPED, on, at, reason
    session.add(found)
    session.flush()
    return found


def end_experiment(
    session: Session, *, name: str, state: str, result: str, reason: str
) -> ExperimentRecord | None:
    """Keep what came of an experiment; None when it is kept already, or there is none."""
    found = experiment(session, name=name)
    if found is None or found.state not in (RUNNING, STOPPED):
        return None
    found.state, found.result = state, result
    found.reason = " ".join(filter(None, (found.reason, reason)))
    session.add(found)
    session.flush()
    return found
