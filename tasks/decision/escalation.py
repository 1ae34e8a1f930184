"""What makes a plan wait for whom, as the ledger has it."""

from __future__ import annotations

import json
from datetime import date

from sqlmodel import col, select

from liftloop.adapters.ledger.records import champion_training, session, training
from liftloop.adapters.ledger.tables import AuditEntry, Decision
from liftloop.core.access.escalation import Escalation, PlanTraits, Trigger, rules_met
from liftloop.pipeline.approval import PlanToApprove, escalation_at_once
from liftloop.pipeline.holds import Holds
from tasks.context import Loop
from tasks.decision.running_rollout import inputs_of
from tasks.model.curves import MODEL_OF

APPROVAL = "approval"  # in a decision's evidence
TAKEN_BACK = ("roll_back_model", "demote")  # acts of the audit trail


def rolled_back_days(loop: Loop, as_of: date, training_key: str | None) -> int | None:
    """Days since a model of the kind that planned was taken back, by a person or because it had
    decayed; None where none was."""
    if training_key is None:
        return None
    with session(loop.engine, read_only=True) as db:
        mine = training(db, key=training_key)
        query = (
            select(AuditEntry)
            .where(col(AuditEntry.act).in_(TAKEN_BACK))
            .order_by(col(AuditEntry.sequence).desc())
        )
        for entry in db.exec(query):
            fallen = training(db, key=entry.subject)
            same = mine and fallen and fallen.model_name == mine.model_name
            if same and (loop.at is None or entry.at < loop.at):
                return max((as_of - entry.at.date()).days, 0)
    return None


def escalation_by_hand(loop: Loop, on: date, plan: PlanToApprove) -> Escalation:
    """What the rules ask of budgets that a person sets, judged by the model in force."""
    rules = loop.settings.escalation_rules
    if all(rule.trigger == Trigger.SIZE for rule in rules):
        return rules_met(PlanTraits(share=plan.share), rules)
    with session(loop.engine, read_only=True) as db:
        known = [champion_training(db, model_name=name) for name in MODEL_OF.values()]
    trained = next((one.key for one in known if one is not None), None)
    inputs = inputs_of(
        loop, on, in_force=plan.instead_of, running=None, holds=Holds(), training_key=trained
    )
    return escalation_at_once(inputs, plan, rolled_back_days=rolled_back_days(loop, on, trained))


def escalation_of_decision(waiting: Decision) -> Escalation:
    """Which rules a decision met, as its evidence has it; none of one that was made before rules
    were kept."""
    found = json.loads(waiting.evidence).get(APPROVAL)
    return Escalation.from_dict(found) if found else Escalation()


def due_on(loop: Loop, waiting: Decision) -> date:
    """The last day on which a waiting decision can be decided."""
    return escalation_of_decision(waiting).due(
        waiting.effective_from, default_days=loop.settings.access.approve_within_days
    )
