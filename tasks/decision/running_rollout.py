"""The stream of plans as the ledger has it, and what a step of it is decided by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pandas as pd
from sqlmodel import Session

from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import policy, session
from liftloop.adapters.ledger.rollouts import active_rollout, rollouts, transitions
from liftloop.adapters.ledger.tables import RolloutRecord
from liftloop.adapters.names.aliases import Aliases
from liftloop.core.errors import DamagedWorkspace
from liftloop.core.policy import Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.state import ENDED, RolloutState
from liftloop.core.rollout.stream_effect import BEFORE_DAYS
from liftloop.core.rollout.transitions import adopt
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.rollout import Ended, RolloutInputs
from tasks.context import Loop, View, view
from tasks.evidence.health import budgets_over_time
from tasks.evidence.user_tests import costs_known
from tasks.model.curves import curves_of, learned_until, source_of

Waves = tuple[tuple[str, ...], ...]
UNJOINED = Aliases()


def running_rollout(db: Session, *, names: Aliases = UNJOINED) -> Running | None:
    """The stream under way, under the joined names, or None."""
    record = active_rollout(db)
    return as_running(db, record, names=names) if record else None


def head_before(db: Session, day: date, *, names: Aliases = UNJOINED) -> Policy | None:
    """The newest plan of the stream that was under way when ``day`` began, or None where none was:
    what a plan for ``day`` is made from, however often it is made."""
    for record in rollouts(db):
        steps = [t for t in transitions(db, rollout_id=record.id) if t.as_of < day]
        if steps:
            state = state_from(json.loads(steps[-1].evidence)["state"], record)
            if state.stage in ENDED:
                return None
            return as_running(db, record, state=state, names=names).head
    return None


def as_running(
    db: Session,
    record: RolloutRecord,
    *,
    state: RolloutState | None = None,
    before: int | None = None,
    names: Aliases = UNJOINED,
) -> Running:
    """A recorded stream as the core sees it; as it was in ``state``, before the decision of the
    sequence ``before``, or as it is now.

    Raises
    ------
    DamagedWorkspace
        When the ledger lacks its decisions in force, its steps, or what they record.
    """
    last = next(
        (
            d
            for d in decisions(db, rollout_id=record.id)
            if d.state == "in_force" and (before is None or d.sequence < before)
        ),
        None,
    )
    if last is None:
        raise _incomplete(record, "no decision of it is in force")
    state = state or state_of(db, record)
    versions = {state.reference, *(plan.version for plan in state.plans)}
    return Running(
        state,
        _joined_waves(waves_of(record), names),
        {version: names.policy(_policy(db, version)) for version in sorted(versions)},
        names.policy(_policy(db, last.policy_version)),
    )


def _joined_waves(waves: Waves, names: Aliases) -> Waves:
    """The waves under the joined names; a segment is in the first that one of its names was in."""
    if not names:
        return waves
    seen: set[str] = set()
    joined, found = names.names("segment"), []
    for wave in waves:
        new = sorted({joined.get(name, name) for name in wave} - seen)
        seen |= set(new)
        found.append(tuple(new))
    return tuple(found)


def waves_of(record: RolloutRecord) -> Waves:
    """The segments of each wave. A rollout of the version before named those that never joined
    apart; they are the last wave."""
    canary = json.loads(record.canary_segments)
    waves = [list(wave) for wave in json.loads(record.design).get("waves") or [canary]]
    named = {name for wave in waves for name in wave}
    rest = sorted(set(json.loads(record.control_segments)) - named)
    return tuple(tuple(sorted(wave)) for wave in (*waves, *([rest] if rest else [])))


def state_of(db: Session, record: RolloutRecord) -> RolloutState:
    """Where a stream is: the state its last transition left.

    Raises
    ------
    DamagedWorkspace
        When the ledger has no transition of it, or one that records no state.
    """
    steps = transitions(db, rollout_id=record.id)
    if not steps:
        raise _incomplete(record, "none of its steps is there")
    try:
        return state_from(json.loads(steps[-1].evidence)["state"], record)
    except (ValueError, KeyError, TypeError):
        where = f"its step of {steps[-1].as_of} does not record the state it left"
        raise _incomplete(record, where) from None


def _incomplete(record: RolloutRecord, what: str) -> DamagedWorkspace:
    return DamagedWorkspace(
        f"The ledger's record of the rollout {record.id} is not whole: {what}.",
        fix="liftloop audit verify tells what else is missing; liftloop restore brings a backup "
        "back.",
    )


def state_from(values: Mapping[str, Any], record: RolloutRecord) -> RolloutState:
    """A state as the ledger keeps it; one of a rollout that began as a test of a single plan goes
    on as a stream whose first plan that is."""
    if "positions" in values:
        return RolloutState.from_dict(values)
    return adopt(
        values,
        reference=record.incumbent_version,
        plan=record.challenger_version,
        waves=waves_of(record),
    )


def _policy(db: Session, version: str) -> Policy:
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return found


def ended_streams(loop: Loop) -> tuple[Ended, ...]:
    """Streams that were taken back, oldest first, each with what it is expected to have lost."""
    found = []
    with session(loop.engine, read_only=True) as db:
        for record in rollouts(db):
            if record.stage != "rolled_back":
                continue
            step = next(
                t for t in reversed(transitions(db, rollout_id=record.id)) if t.act == "roll_back"
            )
            said = json.loads(step.evidence)
            if "positions" not in said["state"] or (loop.at and step.created_at >= loop.at):
                continue
            state = RolloutState.from_dict(said["state"])
            lost = max(-state.risk.expected, 0.0) if state.risk else 0.0
            until = said["barred_until"]
            found.append(
                Ended(state, step.as_of, lost, date.fromisoformat(until) if until else None)
            )
    return tuple(sorted(found, key=lambda each: each.on))


def rollout_facts(loop: Loop, as_of: date) -> View:
    """The facts that a stream is judged by."""
    return view(loop, as_of, ["holdout", "performance", "sales"])


def plan_facts(loop: Loop, as_of: date, *, source: str) -> dict[str, pd.DataFrame]:
    """The facts that guardrails judge a plan by: with the users, where it rests on their tests."""
    facts = rollout_facts(loop, as_of).frames
    if source != "units":
        return {**facts, "units": costs_known(loop, as_of)}
    return {**facts, "units": view(loop, as_of, ["units"])["units"]}


def inputs_of(
    loop: Loop,
    as_of: date,
    *,
    in_force: Policy,
    running: Running | None,
    holds: Holds,
    training_key: str | None,
) -> RolloutInputs:
    """All that a step on ``as_of`` rests on."""
    since = running.state.reference_on if running else as_of
    return RolloutInputs(
        loop.settings,
        plan_facts(loop, as_of, source=source_of(loop, training_key)),
        as_of,
        in_force,
        holds,
        budgets=budgets_over_time(loop, as_of, since=since - timedelta(days=BEFORE_DAYS)),
        curves=curves_of(loop, training_key),
        model_until=learned_until(loop, training_key),
        ended=ended_streams(loop),
    )


def training_of(loop: Loop, running: Running, *, before: int | None = None) -> str | None:
    """The training that the last decision on a stream rested on."""
    with session(loop.engine, read_only=True) as db:
        found = [
            d.training_key
            for d in decisions(db, rollout_id=running.state.rollout_id)
            if d.state == "in_force" and (before is None or d.sequence < before)
        ]
    return next(iter(found), None)
