"""Keeping what was settled: one transaction holds the decision, its lines, the rollout's steps and
the audit entry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlmodel import Session

from liftloop.adapters.audit.sealing import AuditEvent, content_of, row_content
from liftloop.adapters.ledger.decisions import record_decision
from liftloop.adapters.ledger.records import append_audit, save_policy, session, training
from liftloop.adapters.ledger.rollouts import (
    ROLLOUT_CHANGES,
    append_transition,
    rollout,
    start_rollout,
    transitions,
)
from liftloop.adapters.ledger.tables import Decision, Proposal, RolloutRecord, RolloutTransition
from liftloop.core.access.escalation import Escalation
from liftloop.core.curves.gain import LineDetails, budget_lines
from liftloop.core.curves.interacting import separable_at
from liftloop.core.exploration.budget_variation import Variation
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.ids import canonical, key
from liftloop.core.policy import BudgetLine, Cell, Policy, digests
from liftloop.core.rollout.effective_policy import Settlement
from liftloop.core.rollout.state import Transition
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.pipeline.rollout import varied_cells
from liftloop.reporting.ensemble_weights import weights_of
from liftloop.reporting.explain_moves import explain_stage
from tasks.context import Loop
from tasks.model.curves import curves_of, expectations, gain_of
from tasks.provenance import keep_settings, provenance


@dataclass(frozen=True, slots=True)
class DecisionOutcome:
    """What a day came to, and the steps that led there.

    Attributes
    ----------
    steps, record
        Of the stream under way, in order; with ``record``, the first step of a new one.
    plan
        The budgets, for all segments, of a plan that entered the stream.
    meanwhile
        The steps of the stream that goes on while the plan waits for a person.
    verdicts
        The guardrails' on the plan.
    variation
        What of the budgets differs on purpose from what the waves follow.
    to_do
        Who must do what before the plan that is held may go; "" where none is held.
    """

    settlement: Settlement
    steps: tuple[Transition, ...] = ()
    record: RolloutRecord | None = None
    plan: Policy | None = None
    meanwhile: tuple[Transition, ...] = ()
    verdicts: tuple[GuardrailVerdict, ...] = ()
    variation: Variation | None = None
    to_do: str = ""

    @property
    def step(self) -> Transition | None:
        """The last step."""
        return self.steps[-1] if self.steps else None


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """What a decision is about and rests on: a proposal, a look on a day without one, or a person.

    Attributes
    ----------
    subject
        Names it in the decision's key.
    incumbent, proposed
        The budgets in force before, and those of the proposal.
    actor, act
        Who does what, for the audit trail; by default the loop, and the decision's kind.
    words
        What every cell is told, instead of the proposal's sentences.
    notes
        More for the decision's evidence.
    defaults
        The cells and days whose values were defaults
        (:func:`tasks.evidence.health.defaults_behind`).
    judged_total
        What the plan's total is worth at its margin
        (:func:`tasks.decision.total_proposals.judged_record`); None where that is not known.
    escalation
        Which rules make it wait for whom.
    """

    as_of: date
    subject: str
    incumbent: Policy
    training_key: str | None
    facts: str
    proposal: Proposal | None = None
    proposed: Policy | None = None
    actor: str = ""
    act: str = ""
    words: str = ""
    origin: str = "rollout"
    notes: Mapping[str, Any] = field(default_factory=dict)
    defaults: Sequence[Mapping[str, Any]] = ()
    judged_total: Mapping[str, Any] | None = None
    escalation: Escalation = field(default_factory=Escalation)


def record(
    loop: Loop, grounds: DecisionContext, outcome: DecisionOutcome, *, waits: bool = False
) -> Decision:
    """The decision, kept once with all that belongs to it."""
    composed = compose(loop, grounds, outcome, waits=waits)
    decision = composed.decision
    policies = (grounds.incumbent, outcome.settlement.policy, outcome.plan)
    kept = [policy for policy in policies if policy is not None]
    with session(loop.engine) as db:
        for policy in kept:
            save_policy(db, policy=policy, origin=grounds.origin, at=loop.now())
        _record_steps(db, loop, outcome, waits=waits)
        record_decision(db, decision=decision, lines=composed.lines)
        keep_settings(db, loop)
        append_audit(
            db,
            AuditEvent(
                key=key("a", "decide", decision.id),
                actor=grounds.actor or loop.actor,
                act=grounds.act or decision.kind,
                subject=decision.id,
                payload={
                    "proposal": decision.proposal_id,
                    "policy": decision.policy_version,
                    "instead_of": grounds.incumbent.version,
                    "state": decision.state,
                    "rollout": decision.rollout_id,
                    "reason": decision.reason,
                    "content": content_of(decision, composed.lines),
                    "budgets": digests(*kept),
                    **_defaults(grounds),
                    **grounds.notes,
                    **provenance(loop),
                },
                at=loop.now(),
            ),
        )
    return decision


@dataclass(frozen=True, slots=True)
class Composed:
    """A decision and its lines, not kept yet."""

    decision: Decision
    lines: tuple[BudgetLine, ...]


def compose(
    loop: Loop, grounds: DecisionContext, outcome: DecisionOutcome, *, waits: bool = False
) -> Composed:
    """The decision that an outcome comes to, with its budgets. Writes nothing."""
    settled, step = outcome.settlement, outcome.step
    found = gain_of(loop, grounds.training_key, policy=settled.policy, incumbent=grounds.incumbent)
    decision = Decision(
        id=key("d", grounds.subject, settled.kind, settled.policy.version),
        sequence=0,
        kind=settled.kind,
        as_of=grounds.as_of,
        effective_from=grounds.as_of,
        state="awaiting_approval" if waits else "in_force",
        policy_version=settled.policy.version,
        previous_policy_version=grounds.incumbent.version,
        proposal_id=grounds.proposal.id if grounds.proposal else None,
        rollout_id=step.after.rollout_id if step else None,
        training_key=grounds.training_key,
        facts=grounds.facts,
        settings_hash=loop.settings_hash,
        expected_gain=found.mean,
        gain_low=found.low,
        gain_high=found.high,
        reason=settled.reason,
        evidence=canonical(
            {
                **_evidence(outcome),
                **_ensemble(loop, grounds.training_key),
                **_defaults(grounds),
                **({"judged_total": grounds.judged_total} if grounds.judged_total else {}),
                **({"approval": grounds.escalation.as_dict()} if grounds.escalation.met else {}),
                **grounds.notes,
            }
        ),
        created_at=loop.now(),
    )
    lines = budget_lines(
        decision_id=decision.id,
        effective_from=grounds.as_of,
        policy=settled.policy,
        previous=grounds.incumbent,
        details=LineDetails(
            stages=settled.stages,
            expected=expectations(loop, grounds.training_key, grounds.as_of, settled.policy),
            reasons=_reasons(grounds, outcome, _stage_words(loop, grounds, settled)),
        ),
    )
    return Composed(decision, lines)


def _record_steps(db: Session, loop: Loop, outcome: DecisionOutcome, *, waits: bool) -> None:
    """The steps in their order; nothing of a plan that waits happens yet."""
    for step in outcome.meanwhile if waits else outcome.steps:
        record_step(db, loop, step, None if waits else outcome.record)


def record_step(db: Session, loop: Loop, step: Transition, record: RolloutRecord | None) -> bool:
    """Keep a rollout's step, and the rollout itself when this is its first.

    A hold is kept once a day. Any other act has its place among the acts of the rollout in its key,
    so that a pause after a resumption on the same day is another one.
    """
    if record is not None and step.act == "start":
        start_rollout(db, rollout=record)
    id = step.after.rollout_id
    earlier = transitions(db, rollout_id=id)
    acts = [t for t in earlier if t.act != "hold"]
    turn = () if step.act in ("hold", "start") else (len(acts),)
    if step.act == "prove":
        append_audit(
            db,
            AuditEvent(
                key=key("a", "prove", id, step.on),
                actor=loop.actor,
                act="prove",
                subject=id,
                payload={"reason": step.reason, "reference": step.after.reference},
                at=loop.now(),
            ),
        )
    taken = RolloutTransition(
        key=key("t", id, step.on, step.act, *turn),
        rollout_id=id,
        as_of=step.on,
        from_stage=step.before.stage,
        to_stage=step.after.stage,
        act=step.act,
        reason=step.reason,
        evidence=canonical(step.as_dict()),
        created_at=loop.now(),
    )
    kept = append_transition(db, transition=taken)
    if kept:
        _seal_step(db, loop, taken, rollout(db, id=id))
    if kept and earlier and "positions" not in json.loads(earlier[-1].evidence)["state"]:
        _note_adoption(db, loop, id)
    return kept


def _seal_step(
    db: Session, loop: Loop, step: RolloutTransition, record: RolloutRecord | None
) -> None:
    """The step's audit entry: it seals all that the ledger says of the step and of its rollout."""
    append_audit(
        db,
        AuditEvent(
            key=key("a", "step", step.key),
            actor=loop.actor,
            act="step",
            subject=step.key,
            payload={
                "rollout": step.rollout_id,
                "took": step.act,
                "stage": step.to_stage,
                "reason": step.reason,
                "content": row_content(step),
                "rollout_content": row_content(record, changes=ROLLOUT_CHANGES) if record else None,
            },
            at=loop.now(),
        ),
    )


def _note_adoption(db: Session, loop: Loop, id: str) -> None:
    append_audit(
        db,
        AuditEvent(
            key=key("a", "adopt", id),
            actor=loop.actor,
            act="adopt",
            subject=id,
            payload={
                "reason": "It began as a test of one plan, under an earlier version of LiftLoop. "
                "It goes on as a rollout whose first plan that is."
            },
            at=loop.now(),
        ),
    )


def _evidence(outcome: DecisionOutcome) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, step in zip(("step", "proven"), reversed(outcome.steps), strict=False):
        before = step.before.as_dict()
        found[name] = {
            "act": step.act,
            "on": step.on,
            "before": before,
            "reason": step.reason,
            **step.as_dict(),
        }
    if outcome.record is not None:
        found["rollout"] = outcome.record.model_dump(mode="json")
    if outcome.verdicts:
        found["guardrails"] = list(outcome.verdicts)
    if outcome.variation is not None:
        found["variation"] = outcome.variation.as_dict()
    if outcome.to_do:
        found["to_do"] = outcome.to_do
    return found


def _defaults(grounds: DecisionContext) -> dict[str, Any]:
    return {"defaults": list(grounds.defaults)} if grounds.defaults else {}


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


_AFTER_A_STEP = {
    "promote": "Now on the plan of the wave ahead.",
    "roll_back": "Back to the last budgets whose gain was measured.",
    "pause": "Unchanged while the rollout is paused.",
}


_FOLLOWS = "Follows a week behind: now on the plan of the wave ahead."


def _stage_words(loop: Loop, grounds: DecisionContext, settled: Settlement) -> dict[Cell, str]:
    """Why the cells of a first stage move, where their budgets are not the proposed ones."""
    curves = curves_of(loop, grounds.training_key) if settled.kind == "move" else None
    if curves is None or grounds.proposed is None:
        return {}
    budgets, proposed = settled.policy.as_dict(), grounds.proposed.as_dict()
    inside = [cell for cell in budgets if settled.stages.get(cell.segment) == "canary"]
    words = explain_stage(
        cells=inside,
        policy=settled.policy,
        incumbent=grounds.incumbent,
        curves=separable_at(curves, grounds.incumbent),
        margin=loop.settings.budget.margin,
        words=outcome_words(loop.settings),
    )
    return {cell: said for cell, said in words.items() if budgets[cell] != proposed.get(cell)}


def _reasons(
    grounds: DecisionContext, outcome: DecisionOutcome, stage_words: Mapping[Cell, str]
) -> dict[Any, str]:
    """Why each cell moved or not. The proposal's sentences hold where the settled budget is the
    proposed one; elsewhere the rollout's stage is the reason (``stage_words``)."""
    settled = outcome.settlement
    if grounds.words:
        return dict.fromkeys(settled.policy.cells, grounds.words)
    cells = json.loads(grounds.proposal.cells).values() if grounds.proposal else []
    said = {(s, c): text for s, c, text in cells}
    before, words = grounds.incumbent.as_dict(), {}
    varied = varied_cells(outcome.variation)
    planned = grounds.proposed.as_dict() if grounds.proposed else {}
    for cell, amount in settled.policy.budgets:
        stage = settled.stages.get(cell.segment, "incumbent")
        own = said.get((cell.segment, cell.channel), "")
        if cell in varied:
            words[cell] = varied[cell]
        elif settled.kind in _AFTER_A_STEP and before.get(cell) == amount:
            words[cell] = "Unchanged."
        elif settled.kind in _AFTER_A_STEP:
            words[cell] = _AFTER_A_STEP[settled.kind]
        elif settled.kind == "move" and stage in ("incumbent", "ramp"):
            moved = before.get(cell) != amount
            words[cell] = _FOLLOWS if moved else "Waits: the new plan is in the first wave."
        elif settled.kind == "hold" and own and planned.get(cell, amount) != amount:
            words[cell] = f"Unchanged. Planned was: {own[0].lower()}{own[1:]}"
        else:
            words[cell] = stage_words.get(cell) or own or "Unchanged."
    return words
