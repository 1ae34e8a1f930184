"""What is open when a rollout's day begins: a decision that never went out or was never told, and
plans that wait for a person's approval."""

from __future__ import annotations

from datetime import date, timedelta

from sqlmodel import Session, select

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.decisions import (
    budgets_in_force,
    decision,
    decisions,
    set_decision_state,
)
from liftloop.adapters.ledger.records import append_audit, policy, session
from liftloop.adapters.ledger.tables import AuditEntry, Message
from liftloop.adapters.notify import queue_message
from liftloop.core.curves.gain import Estimate
from liftloop.core.ids import key
from liftloop.core.policy import Policy
from liftloop.pipeline.guardrails import PlanEvidence, guard_plan
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.reporting.escalation import WaitingApproval, approval_message
from tasks.context import Loop, open_loop
from tasks.decision.escalation import due_on, escalation_of_decision
from tasks.decision.holds import holds_on
from tasks.decision.running_rollout import plan_facts
from tasks.links import act_links
from tasks.model.curves import learned_until, source_of
from tasks.step import step

REMINDED = timedelta(days=1)  # before the last day


@step("what never went out")
def unpublished(workspace: str) -> list[str]:
    """The decision in force, if a kill kept its budgets from going out or people from being told: a
    look that took a rollout back is finished by the next one, whatever day that is."""
    return unpublished_once(open_loop(workspace))


def unpublished_once(loop: Loop) -> list[str]:
    """As :func:`unpublished`; what came before it does not matter any more."""
    with session(loop.engine, read_only=True) as db:
        last = budgets_in_force(db, before=date.max)
        if last is None:
            return []
        head = last[1]
        note = select(AuditEntry).where(AuditEntry.key == key("a", "publish", head.id))
        told = db.get(Message, key("n", head.id, head.state))
        return [] if db.exec(note).first() and told else [head.id]


@step("review what waits")
def review_waiting(workspace: str, as_of: date) -> list[str]:
    """Judge the plans that wait for approval; those that a guardrail fails now, or for which nobody
    decided in time, are rejected. The day before its last one, a plan is told once more."""
    return review_waiting_once(open_loop(workspace), as_of)


def review_waiting_once(loop: Loop, as_of: date) -> list[str]:
    """The decisions that were rejected: each guardrail that failed is its reason, or that nobody
    decided in time."""
    with session(loop.engine, read_only=True) as db:
        waiting = [
            (
                d.id,
                d.training_key,
                _known(db, d.policy_version),
                _known(db, d.previous_policy_version),
            )
            for d in decisions(db, state="awaiting_approval")
            if d.effective_from <= as_of
        ]
        dates = {d.id: due_on(loop, d) for d in decisions(db, state="awaiting_approval")}
    rejected = []
    for id, due in dates.items():
        if due < as_of:
            why = f"Nobody decided by {due}: the current budgets stay."
            if _reject(loop, id, as_of, why):
                rejected.append(id)
                _tell_of_waiting(loop, id, due, is_withdrawn=True)
        elif due <= as_of + REMINDED:
            _tell_of_waiting(loop, id, due)
    for id, training_key, proposed, incumbent in waiting:
        source = source_of(loop, training_key)
        verdicts = guard_plan(
            loop.settings,
            PlanEvidence(
                plan_facts(loop, as_of, source=source), as_of, learned_until(loop, training_key)
            ),
            proposed=proposed,
            incumbent=incumbent,
            holds=holds_on(loop, as_of, incumbent, source=source),
        )
        against = " ".join(v.sentence for v in verdicts if v.verdict == "fail")
        if id not in rejected and against and _reject(loop, id, as_of, against):
            rejected.append(id)
    return rejected


def _reject(loop: Loop, id: str, as_of: date, why: str) -> bool:
    with session(loop.engine) as db:
        done = set_decision_state(db, id=id, state="rejected", expected="awaiting_approval")
        if done:
            append_audit(
                db,
                AuditEvent(
                    key=key("a", "reject", id, as_of),
                    actor=loop.actor,
                    act="reject",
                    subject=id,
                    payload={"reason": why},
                    at=loop.now(),
                ),
            )
    return done


def _tell_of_waiting(loop: Loop, id: str, due: date, *, is_withdrawn: bool = False) -> None:
    """Queue the message that a plan is soon withdrawn, or was; each once."""
    with session(loop.engine) as db:
        found = decision(db, id=id)
        assert found is not None  # it waited a moment ago
        known = found.training_key is not None
        words = approval_message(
            WaitingApproval(
                decision_id=id,
                effective_from=found.effective_from,
                due=due,
                asked=escalation_of_decision(found),
                outcome=outcome_words(loop.settings),
                gain=Estimate(found.expected_gain, found.gain_low, found.gain_high)
                if known
                else None,
                is_withdrawn=is_withdrawn,
                links=() if is_withdrawn else act_links(loop, found),
            )
        )
        kind = "withdrawn" if is_withdrawn else "reminder"
        queue_message(db, key=key("n", id, kind), kind="approval", words=words, at=loop.now())


def _known(db: Session, version: str) -> Policy:
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return found
