"""Rolling out: what takes effect on a day is settled once, recorded, and only then published."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from sqlmodel import Session

from liftloop.adapters.decisions import decisions, proposal, proposals, record_decision
from liftloop.adapters.ledger import append_audit, policy, save_policy, session, training
from liftloop.adapters.rollouts import (
    append_transition,
    rollouts,
    start_rollout,
    transitions,
)
from liftloop.adapters.tables import Decision, Proposal, RolloutRecord, RolloutTransition
from liftloop.core.decide import budget_lines
from liftloop.core.ensemble_words import weights_of
from liftloop.core.keys import canonical, key
from liftloop.core.policy import Policy
from liftloop.core.rollout import Transition
from liftloop.core.settlement import (
    Running,
    Settlement,
    follow,
    needs_approval,
)
from tasks.canary import evidence_of, prediction_of, running_rollout
from tasks.context import Loop, open_loop
from tasks.curves import expectations, gain_of
from tasks.health import health_of
from tasks.settling import enter, judge

NOTHING_PROPOSED = "none"

Step = tuple[Settlement, Transition | None, RolloutRecord | None]


@task(name="settle")
def settle(workspace: str, as_of: date, proposal_id: str | None) -> dict[str, Any]:
    """Decide what takes effect on ``as_of``, once a proposal."""
    return settle_once(open_loop(workspace), as_of, proposal_id)


def settle_once(loop: Loop, as_of: date, proposal_id: str | None) -> dict[str, Any]:
    """The decision on a proposal: id, whether it is new, kind, state and reason."""
    with session(loop.engine, read_only=True) as db:
        plan = _plan(db, as_of, proposal_id)
        if plan is None:
            return _nothing("There is no proposal for this day.")
        known = [d for d in decisions(db) if d.proposal_id == plan.id]
        later = [d for d in decisions(db, state="in_force") if d.effective_from > as_of]
        if known:
            return _told(known[0], new=False)
        if later:
            return _nothing(
                f"{later[0].id} is in force from {later[0].effective_from} already; a plan for "
                f"{as_of} would undo the future."
            )
        proposed = _policy(db, plan.policy_version)
        incumbent = _policy(db, plan.previous_policy_version)
        running = running_rollout(db)
    settlement, step, record = (
        _advance(loop, as_of, running) if running else _enter(loop, plan, proposed, incumbent)
    )
    waits = running is None and needs_approval(
        plan.share_moved if settlement.kind == "move" else 0.0, loop.settings.budget.approve_above
    )
    return _told(_record(loop, plan, incumbent, settlement, step, record, waits), new=True)


def _plan(db: Session, as_of: date, id: str | None) -> Proposal | None:
    if id is not None:  # NOTHING_PROPOSED is no proposal's id: an older one must not stand in
        return proposal(db, id=id)
    return next((p for p in proposals(db) if p.as_of == as_of), None)


def _policy(db: Session, version: str) -> Policy:
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return found


def _nothing(reason: str) -> dict[str, Any]:
    return {"id": None, "new": False, "kind": "hold", "state": "declined", "reason": reason}


def _told(decision: Decision, *, new: bool) -> dict[str, Any]:
    return {
        "id": decision.id,
        "new": new,
        "kind": decision.kind,
        "state": decision.state,
        "reason": decision.reason,
    }


def _enter(loop: Loop, plan: Proposal, proposed: Policy, incumbent: Policy) -> Step:
    """A new proposal: at once, or its canary, or a hold."""
    seed = int(key("seed", plan.id).removeprefix("seed-")[:8], 16)
    entry = enter(
        loop.settings,
        proposed=proposed,
        incumbent=incumbent,
        reason=plan.reason,
        as_of=plan.as_of,
        rollout_id=key("r", plan.id),
        seed=seed,
        barred_until=_barred_until(loop, proposed.version, plan.as_of),
    )
    if entry.step is None or entry.choice is None:
        return entry.settlement, None, None
    record = RolloutRecord(
        id=entry.step.after.rollout_id,
        challenger_version=proposed.version,
        incumbent_version=incumbent.version,
        canary_segments=canonical(entry.choice.canary),
        control_segments=canonical(entry.choice.control),
        seed=seed,
        started_on=plan.as_of,
        stage="canary",
        created_at=loop.now(),
    )
    return entry.settlement, entry.step, record


def _barred_until(loop: Loop, version: str, as_of: date) -> date | None:
    """Until when a policy that was rolled back may not come again, or None."""
    with session(loop.engine, read_only=True) as db:
        failed = [r for r in rollouts(db) if r.challenger_version == version]
        said = [t for r in failed for t in transitions(db, rollout_id=r.id)]
    until = [json.loads(t.evidence).get("barred_until") for t in said if t.act == "roll_back"]
    latest = max((date.fromisoformat(day) for day in until if day), default=None)
    return latest if latest and latest > as_of else None


def _advance(loop: Loop, as_of: date, running: Running) -> Step:
    """A running rollout: judged on its evidence, and on the health of its data."""
    evidence = evidence_of(loop, as_of, running)
    step = judge(
        loop.settings,
        running=running,
        as_of=as_of,
        evidence=evidence,
        prediction=prediction_of(loop, running, evidence),
        facts_health=health_of(loop, as_of, running.current, door="holdout"),
    )
    return follow(step, running), step, None


def _record(
    loop: Loop,
    plan: Proposal,
    incumbent: Policy,
    settled: Settlement,
    step: Transition | None,
    record: RolloutRecord | None,
    waits: bool,
) -> Decision:
    """One transaction: the decision, its lines, the rollout's step, the audit entry."""
    gain = gain_of(loop, plan.training_key, policy=settled.policy, incumbent=incumbent)
    decision = Decision(
        id=key("d", plan.id, settled.kind, settled.policy.version),
        sequence=0,
        kind=settled.kind,
        as_of=plan.as_of,
        effective_from=plan.as_of,
        state="awaiting_approval" if waits else "in_force",
        policy_version=settled.policy.version,
        previous_policy_version=incumbent.version,
        proposal_id=plan.id,
        rollout_id=step.after.rollout_id if step else None,
        training_key=plan.training_key,
        facts=plan.facts,
        settings_hash=loop.settings_hash,
        expected_gain=gain.mean,
        gain_low=gain.low,
        gain_high=gain.high,
        reason=settled.reason,
        evidence=canonical(_evidence(step, record) | _ensemble(loop, plan.training_key)),
        created_at=loop.now(),
    )
    lines = budget_lines(
        decision_id=decision.id,
        effective_from=plan.as_of,
        policy=settled.policy,
        previous=incumbent,
        stages=settled.stages,
        expected=expectations(loop, plan.training_key, plan.as_of, settled.policy),
        reasons=_reasons(plan, settled, incumbent),
    )
    with session(loop.engine) as db:
        save_policy(db, policy=settled.policy, origin="rollout", at=loop.now())
        if step is not None and not waits:
            record_step(db, loop, step, record)
        record_decision(db, decision=decision, lines=lines)
        append_audit(
            db,
            key=key("a", "decide", decision.id),
            actor=loop.actor,
            act=decision.kind,
            subject=decision.id,
            payload={
                "proposal": plan.id,
                "policy": decision.policy_version,
                "instead_of": incumbent.version,
                "state": decision.state,
                "rollout": decision.rollout_id,
                "reason": decision.reason,
            },
            at=loop.now(),
        )
    return decision


def _ensemble(loop: Loop, training_key: str | None) -> dict[str, Any]:
    """Which members of the ensemble the plan rests on, with how much weight, and why."""
    if training_key is None:
        return {}
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=training_key)
    weights = weights_of(json.loads(trained.metrics)) if trained else {}
    return (
        {"ensemble": {"weights": weights, "reason": trained.reason}} if trained and weights else {}
    )


def _evidence(step: Transition | None, record: RolloutRecord | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if step is not None:
        found["step"] = asdict(step)
    if record is not None:
        found["rollout"] = record.model_dump(mode="json")
    return found


def record_step(db: Session, loop: Loop, step: Transition, record: RolloutRecord | None) -> None:
    """Keep a rollout's step, and the rollout itself when this is its first."""
    if record is not None:
        start_rollout(db, rollout=record)
    append_transition(
        db,
        transition=RolloutTransition(
            key=key("t", step.after.rollout_id, step.on, step.act),
            rollout_id=step.after.rollout_id,
            as_of=step.on,
            from_stage=step.before.stage,
            to_stage=step.after.stage,
            act=step.act,
            reason=step.reason,
            evidence=canonical(step.as_dict()),
            created_at=loop.now(),
        ),
    )


_AFTER_A_CANARY = {
    "promote": "The new budgets passed their test in the canary segments.",
    "roll_back": "Back to the budgets before: the new ones failed their test.",
    "pause": "Unchanged while the rollout is paused.",
}


def _reasons(plan: Proposal, settled: Settlement, incumbent: Policy) -> dict[Any, str]:
    """Why each cell moved or not. The proposal's sentences hold where the settled budget is the
    proposed one; elsewhere the rollout is the reason."""
    said = {(s, c): text for s, c, text in json.loads(plan.cells).values()}
    before, words = incumbent.as_dict(), {}
    judged = any(stage in ("canary", "ramp", "paused") for stage in settled.stages.values())
    for cell, amount in settled.policy.budgets:
        stage = settled.stages.get(cell.segment, "incumbent")
        own = said.get((cell.segment, cell.channel), "")
        if settled.kind == "move" and stage == "incumbent":
            words[cell] = "Waits: the new policy is tried in the canary segments first."
        elif settled.kind in _AFTER_A_CANARY:
            words[cell] = (
                _AFTER_A_CANARY[settled.kind] if before.get(cell) != amount else "Unchanged."
            )
        elif settled.kind == "hold" and judged:
            words[cell] = "Unchanged while the canary is judged."
        elif stage == "canary" and ": " in own:  # rescaled inside the canary: the move is another
            words[cell] = own.split(": ", 1)[1].capitalize()
        else:
            words[cell] = own or "Unchanged."
    return words


@task(name="show rollout")
def show_rollout(workspace: str, shown: dict[str, Any]) -> str:
    """Leave the decision as an artifact: the table of moves a person likes to read."""
    from tasks.pages import decision_markdown

    text = decision_markdown(open_loop(workspace), shown)
    create_markdown_artifact(text, key="budgets", description="What was decided, and why")
    return text
