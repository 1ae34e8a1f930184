"""A running rollout as the ledger has it, and what its canary segments show."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

from sqlmodel import Session

from liftloop.adapters.decisions import decisions
from liftloop.adapters.ledger import policy, session
from liftloop.adapters.rollouts import active_rollout, transitions
from liftloop.adapters.tables import RolloutRecord
from liftloop.core.curves import ResponseCurves
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.policy import Policy
from liftloop.core.profit import Prediction
from liftloop.core.rollout import RolloutState
from liftloop.core.settlement import Running
from tasks.context import Loop, view
from tasks.curves import curves_of
from tasks.settling import baseline_of, predicted, seen_in_canary


def running_rollout(db: Session) -> Running | None:
    """The rollout under way, or None."""
    record = active_rollout(db)
    return as_running(db, record) if record else None


def as_running(db: Session, record: RolloutRecord) -> Running:
    """A recorded rollout as the core sees it."""
    found = next(d for d in decisions(db, rollout_id=record.id) if d.state == "in_force")
    state = state_of(db, record)
    canary = tuple(json.loads(record.canary_segments))
    everyone = {*canary, *json.loads(record.control_segments)}
    return Running(
        state=state,
        canary=canary,
        control=tuple(sorted(everyone - set(state.exposed))),
        challenger=_policy(db, record.challenger_version),
        incumbent=_policy(db, record.incumbent_version),
        current=_policy(db, found.policy_version),
        exposed=state.exposed,
        waves=(canary,),
    )


def state_of(db: Session, record: RolloutRecord) -> RolloutState:
    """Where a rollout stands: the state its last transition left. A state that was written before
    states named their segments exposes the canary since the start."""
    said = json.loads(transitions(db, rollout_id=record.id)[-1].evidence)["state"]
    state = RolloutState.from_dict(said)
    if "exposed" in said:
        return state
    canary = dict.fromkeys(json.loads(record.canary_segments), record.started_on)
    return replace(state, exposed=canary)


def _policy(db: Session, version: str) -> Policy:
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return found


def evidence_of(loop: Loop, as_of: date, running: Running) -> CanaryEvidence:
    """What the canary shows so far, by the facts known on ``as_of``."""
    return seen_in_canary(
        loop.settings,
        view(loop, as_of, ["holdout", "performance", "sales"]).frames,
        running=running,
        as_of=as_of,
        baseline=baseline_of(
            _curves_at_start(loop, running), running=running, margin=loop.settings.budget.margin
        ),
    )


def prediction_of(loop: Loop, running: Running, evidence: CanaryEvidence) -> Prediction | None:
    """The gain the model predicted when the rollout began, as a share of the canary's baseline."""
    return predicted(
        _curves_at_start(loop, running),
        running=running,
        evidence=evidence,
        margin=loop.settings.budget.margin,
    )


def _curves_at_start(loop: Loop, running: Running) -> ResponseCurves | None:
    """The curves the rollout was begun on."""
    with session(loop.engine, read_only=True) as db:
        began = decisions(db, rollout_id=running.state.rollout_id)[-1]
    return curves_of(loop, began.training_key)
