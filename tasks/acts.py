"""What a person does to the loop: approve, reject, roll back, pause, resume. Each act is one ledger
transaction with its audit entry; budgets that change go out through the same door as a cycle's."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

from sqlmodel import Session

from liftloop.adapters.decisions import (
    budgets_in_force,
    decision,
    record_decision,
    set_decision_state,
)
from liftloop.adapters.ledger import (
    active_pauses,
    add_pause,
    append_audit,
    lift_pause,
    policy,
    save_policy,
    session,
)
from liftloop.adapters.policies import read_policy
from liftloop.adapters.rollouts import active_rollout, append_transition
from liftloop.adapters.tables import Decision, Pause, RolloutRecord, RolloutTransition
from liftloop.core.decide import budget_lines
from liftloop.core.errors import Declined
from liftloop.core.keys import canonical, key
from liftloop.core.policy import Policy
from liftloop.core.rollout import start as first_step
from tasks.context import Loop, open_loop
from tasks.publish import publish
from tasks.recording import record_step

WAITING = "awaiting_approval"


def approve(workspace: str, id: str, *, actor: str) -> str:
    """Put a waiting decision in force and publish its budgets."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        found = _waiting(db, id)
        newer = budgets_in_force(db, before=date.max)
        if newer and newer[1].effective_from >= found.effective_from:
            raise Declined(
                f"{id} cannot be approved any more: {newer[1].id} took effect on "
                f"{newer[1].effective_from}. Run liftloop cycle for a new proposal."
            )
        set_decision_state(db, id=id, state="in_force", expected=WAITING)
        _begin_rollout(db, loop, found)
        _note(db, loop, actor=actor, act="approve", subject=id, payload={})
    publish(loop, id)
    return f"Approved: the budgets of {id} take effect on {found.effective_from}."


def _begin_rollout(db: Session, loop: Loop, approved: Decision) -> None:
    """Start the canary that was planned when the decision began to wait."""
    planned = json.loads(approved.evidence).get("rollout")
    if planned is not None:
        record = RolloutRecord.model_validate(planned)
        step = first_step(
            record.id,
            on=approved.effective_from,
            reason=approved.reason,
            canary=json.loads(record.canary_segments),
        )
        record_step(db, loop, step, record)


def set_budgets(workspace: str, path: Path, *, start: date | None, actor: str) -> str:
    """Put the budgets of a file in force: segment, channel, daily_budget; CSV."""
    loop = open_loop(workspace)
    target = read_policy(path)
    effective = start or loop.today() + timedelta(days=1)
    with session(loop.engine) as db:
        now = budgets_in_force(db, before=date.max)
        if now and now[1].effective_from > effective:
            raise Declined(f"{now[1].id} is in force from {now[1].effective_from} already.")
        _end_rollout(db, loop, effective, f"budgets set by hand by {actor}")
        current = now[0] if now else target
        save_policy(db, policy=target, origin="imported", at=loop.now())
        reason = f"Set by {actor} from {path.name}."
        act = Decision(
            id=key("d", "set", target.version, current.version, effective),
            sequence=0,
            kind="move",
            as_of=effective,
            effective_from=effective,
            state="in_force",
            policy_version=target.version,
            previous_policy_version=current.version,
            facts="{}",
            settings_hash=loop.settings_hash,
            expected_gain=0.0,
            gain_low=0.0,
            gain_high=0.0,
            reason=reason,
            evidence=canonical({"actor": actor, "file": path.name}),
            created_at=loop.now(),
        )
        lines = budget_lines(
            decision_id=act.id,
            effective_from=effective,
            policy=target,
            previous=current,
            stages={},
            expected={},
            reasons=dict.fromkeys(target.cells, reason),
        )
        record_decision(db, decision=act, lines=lines)
        _note(db, loop, actor=actor, act="set", subject=act.id, payload={"policy": target.version})
    publish(loop, act.id)
    return f"Set: {len(target.cells)} cells, {target.total:,.2f} a day, from {effective}."


def reject(workspace: str, id: str, *, reason: str, actor: str) -> str:
    """Refuse a waiting decision; the budgets in force stay."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        _waiting(db, id)
        set_decision_state(db, id=id, state="rejected", expected=WAITING)
        _note(db, loop, actor=actor, act="reject", subject=id, payload={"reason": reason})
    return f"Rejected: {id}. The budgets in force stay."


def roll_back(workspace: str, *, to: str | None, reason: str, actor: str) -> str:
    """Put an earlier policy back in force from tomorrow, and end a running rollout."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        now = budgets_in_force(db, before=date.max)
        if now is None:
            raise Declined("Nothing was decided yet: there is nothing to roll back.")
        current, last = now
        target = _target(db, to, last)
        if target.version == current.version:
            raise Declined(f"The budgets of {target.version} are in force already.")
        effective = max(loop.today() + timedelta(days=1), last.effective_from + timedelta(days=1))
        words = reason or "rolled back by hand"
        act = Decision(
            id=key("d", "roll_back", last.id, target.version),
            sequence=0,
            kind="roll_back",
            as_of=effective,
            effective_from=effective,
            state="in_force",
            policy_version=target.version,
            previous_policy_version=current.version,
            rollout_id=_end_rollout(db, loop, effective, words),
            facts=last.facts,
            settings_hash=loop.settings_hash,
            expected_gain=-last.expected_gain,
            gain_low=-last.gain_high,
            gain_high=-last.gain_low,
            reason=f"Rolled back by {actor}: {words}.",
            evidence=canonical({"undoes": last.id, "actor": actor}),
            created_at=loop.now(),
        )
        lines = budget_lines(
            decision_id=act.id,
            effective_from=effective,
            policy=target,
            previous=current,
            stages={cell.segment: "rolled_back" for cell in target.cells},
            expected={},
            reasons=dict.fromkeys(target.cells, act.reason),
        )
        record_decision(db, decision=act, lines=lines)
        _note(
            db,
            loop,
            actor=actor,
            act="roll_back",
            subject=act.id,
            payload={"from": current.version, "to": target.version, "reason": words},
        )
    publish(loop, act.id)
    return f"Rolled back: the budgets of {target.version} take effect on {effective}."


def pause(workspace: str, *, segment: str, channel: str, reason: str, actor: str) -> str:
    """Stop budget moves for the cells a pattern names."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        if any(p.segment == segment and p.channel == channel for p in active_pauses(db)):
            raise Declined(f"{segment} x {channel} is paused already.")
        now = loop.now()
        stop = Pause(
            id=key("h", segment, channel, now.isoformat()),
            segment=segment,
            channel=channel,
            reason=reason,
            actor=actor,
            since=now,
        )
        add_pause(db, pause=stop)
        _note(
            db,
            loop,
            actor=actor,
            act="pause",
            subject=f"{segment} x {channel}",
            payload={"reason": reason, "pause": stop.id},
        )
    return f"Paused: {segment} x {channel} keeps its budgets until liftloop resume."


def resume(workspace: str, *, segment: str, channel: str, actor: str) -> str:
    """Lift a pause."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        found = [p for p in active_pauses(db) if (p.segment, p.channel) == (segment, channel)]
        if not found:
            raise Declined(f"{segment} x {channel} is not paused.")
        for stop in found:
            lift_pause(db, id=stop.id, at=loop.now())
            _note(
                db,
                loop,
                actor=actor,
                act="resume",
                subject=f"{segment} x {channel}",
                payload={"pause": stop.id},
            )
    return f"Resumed: {segment} x {channel} moves again from the next cycle on."


def _waiting(db: Session, id: str) -> Decision:
    found = decision(db, id=id)
    if found is None:
        raise Declined(f"There is no decision {id}. liftloop budgets lists them.")
    if found.state != WAITING:
        raise Declined(f"{id} does not wait for approval: it is {found.state}.")
    return found


def _target(db: Session, to: str | None, last: Decision) -> Policy:
    """The policy a rollback goes to: a named decision's or version's, or what ``last`` replaced."""
    version = last.previous_policy_version
    if to is not None:
        named = decision(db, id=to)
        version = named.policy_version if named else to
    found = policy(db, version=version)
    if found is None:
        raise Declined(f"There is no decision or policy {to}. liftloop budgets lists them.")
    return found


def _end_rollout(db: Session, loop: Loop, on: date, reason: str) -> str | None:
    running = active_rollout(db)
    if running is None:
        return None
    append_transition(
        db,
        transition=RolloutTransition(
            key=key("r", running.id, "by hand", on),
            rollout_id=running.id,
            as_of=on,
            from_stage=running.stage,
            to_stage="rolled_back",
            act="roll_back",
            reason=reason,
            created_at=loop.now(),
        ),
    )
    return running.id


def _note(
    db: Session, loop: Loop, *, actor: str, act: str, subject: str, payload: dict[str, object]
) -> None:
    append_audit(
        db,
        key=key("a", act, subject, payload, loop.now().isoformat()),
        actor=actor,
        act=act,
        subject=subject,
        payload=payload,
        at=loop.now(),
    )
