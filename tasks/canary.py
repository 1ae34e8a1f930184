"""A running rollout as the ledger has it, and what it is judged by."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pandas as pd
from sqlmodel import Session

from liftloop.adapters.decisions import decisions
from liftloop.adapters.ledger import active_pauses, policy, session
from liftloop.adapters.rollouts import active_rollout, rollouts, transitions
from liftloop.adapters.tables import RolloutRecord
from liftloop.core.curves import ResponseCurves
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.policy import Policy
from liftloop.core.profit import Prediction
from liftloop.core.rollout import RolloutState
from liftloop.core.settlement import Running
from monitoring.verdicts import HealthVerdict
from tasks.context import Loop, View, view
from tasks.curves import curves_of
from tasks.judging import evidence_so_far, predicted
from tasks.planning import Frozen
from tasks.standing import standing_frozen


def running_rollout(db: Session) -> Running | None:
    """The rollout under way, or None."""
    record = active_rollout(db)
    return as_running(db, record) if record else None


def as_running(
    db: Session,
    record: RolloutRecord,
    *,
    state: RolloutState | None = None,
    before: int | None = None,
) -> Running:
    """A recorded rollout as the core sees it; as it was in ``state``, before the decision of the
    sequence ``before``, or as it stands now."""
    found = next(
        d
        for d in decisions(db, rollout_id=record.id)
        if d.state == "in_force" and (before is None or d.sequence < before)
    )
    state = state or state_of(db, record)
    canary = tuple(json.loads(record.canary_segments))
    everyone = {*canary, *json.loads(record.control_segments)}
    waves = json.loads(record.design).get("waves") or (canary,)
    return Running(
        state=state,
        canary=canary,
        control=tuple(sorted(everyone - set(state.exposed))),
        challenger=_policy(db, record.challenger_version),
        incumbent=_policy(db, record.incumbent_version),
        current=_policy(db, found.policy_version),
        exposed=state.exposed,
        waves=tuple(tuple(wave) for wave in waves),
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


def failed_policies(loop: Loop) -> list[tuple[Policy, date]]:
    """Policies that were rolled back, each with the end of its cool-down."""
    with session(loop.engine, read_only=True) as db:
        return [
            (_policy(db, record.challenger_version), date.fromisoformat(until))
            for record in rollouts(db)
            for step in transitions(db, rollout_id=record.id)
            if step.act == "roll_back"
            and (loop.at is None or step.created_at < loop.at)
            and (until := json.loads(step.evidence).get("barred_until")) is not None
        ]


def frozen_today(loop: Loop, health: HealthVerdict) -> Frozen:
    """Cells that may not move: a person paused them, they stand still to measure the loop, or their
    facts are late or broken."""
    with session(loop.engine, read_only=True) as db:
        pauses = [
            (p.segment, p.channel, f"paused by {p.actor}") for p in active_pauses(db, at=loop.at)
        ]
    broken = ((c.segment, c.channel, why) for c, why in health.paused.items())
    return (*pauses, *standing_frozen(loop), *broken)


def seen_facts(loop: Loop, as_of: date) -> View:
    """The facts a rollout is judged on."""
    return view(loop, as_of, ["holdout", "performance", "sales"])


def planned_facts(loop: Loop, as_of: date, *, door: str) -> dict[str, pd.DataFrame]:
    """The facts that guardrails judge a plan on: with the users, where it rests on their tests."""
    facts = seen_facts(loop, as_of).frames
    if door != "units":
        return facts
    return {**facts, "units": view(loop, as_of, ["units"])["units"]}


def evidence_of(loop: Loop, as_of: date, running: Running) -> CanaryEvidence:
    """What the exposed segments show so far, by the facts known on ``as_of``."""
    return evidence_so_far(
        loop.settings,
        seen_facts(loop, as_of).frames,
        running=running,
        as_of=as_of,
        curves=curves_at_start(loop, running),
    )


def prediction_of(loop: Loop, running: Running, evidence: CanaryEvidence) -> Prediction | None:
    """The gain the model predicted when the rollout began, as a share of the baseline."""
    return predicted(
        curves_at_start(loop, running),
        running=running,
        evidence=evidence,
        margin=loop.settings.budget.margin,
    )


def training_at_start(loop: Loop, running: Running) -> str | None:
    """The training the rollout was begun on."""
    with session(loop.engine, read_only=True) as db:
        return decisions(db, rollout_id=running.state.rollout_id)[-1].training_key


def curves_at_start(loop: Loop, running: Running) -> ResponseCurves | None:
    """The curves the rollout was begun on."""
    return curves_of(loop, training_at_start(loop, running))
