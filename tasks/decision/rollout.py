"""Introducing budgets: what takes effect on a day is decided once, recorded, and then published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlmodel import Session

from liftloop.adapters.audit.trail import entries
from liftloop.adapters.ledger.decisions import (
    budgets_in_force,
    decisions,
    proposal,
    proposals,
)
from liftloop.adapters.ledger.records import policy, session
from liftloop.adapters.ledger.rollouts import rollouts, transitions
from liftloop.adapters.ledger.tables import Decision, Proposal, RolloutRecord
from liftloop.core.ids import canonical, key
from liftloop.core.policy import Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.pipeline.approval import PlanToApprove, escalation_of
from liftloop.pipeline.rollout import Proposed, RolloutDecision, decide
from tasks.context import Loop, open_loop
from tasks.decision.escalation import rolled_back_days
from tasks.decision.holds import holds_on
from tasks.decision.record_decision import DecisionContext, DecisionOutcome, record, record_step
from tasks.decision.running_rollout import inputs_of, rollout_facts, running_rollout, training_of
from tasks.decision.total_proposals import judged_total
from tasks.evidence.health import defaults_behind
from tasks.model.curves import source_of
from tasks.operate.manual_decisions import deciding
from tasks.step import leave_page, step

NOTHING_PROPOSED = "none"
STEPS = ("start", "move", "promote", "roll_back", "close")  # of which a day has one


@step("settle")
def settle(workspace: str, as_of: date, proposal_id: str | None) -> dict[str, Any]:
    """Decide what takes effect on ``as_of``, once a proposal."""
    return settle_once(open_loop(workspace), as_of, proposal_id)


def settle_once(loop: Loop, as_of: date, proposal_id: str | None) -> dict[str, Any]:
    """The decision on a proposal: id, whether it is new, kind, state and reason."""
    with deciding(loop):
        return _settle(loop.pinned(), as_of, proposal_id)


def _settle(loop: Loop, as_of: date, proposal_id: str | None) -> dict[str, Any]:
    with session(loop.engine, read_only=True) as db:
        plan = _plan(db, as_of, proposal_id)
        if plan is None:
            return _nothing("There is no proposal for this day.")
        known = [d for d in decisions(db) if d.proposal_id == plan.id]
        if known:
            return _summary(known[0], new=False)
        running = running_rollout(db, names=loop.names)
        head = running.head.version if running else None
        undone = _undoes(db, as_of, plan.previous_policy_version, head) or _moved_on(db, as_of)
        if undone:
            return _nothing(undone)
    settled = settlement_of(loop, plan, running)
    done = record(loop, settled.grounds, settled.outcome, waits=settled.waits)
    return _summary(done, new=True)


@dataclass(frozen=True, slots=True)
class UnrecordedDecision:
    """What a day comes to, not recorded yet; ``waits`` for a person."""

    grounds: DecisionContext
    outcome: DecisionOutcome
    waits: bool = False


def settlement_of(loop: Loop, plan: Proposal, running: Running | None) -> UnrecordedDecision:
    """What a proposal comes to, given the stream under way. Writes nothing."""
    with session(loop.engine, read_only=True) as db:
        proposed = _policy(db, plan.policy_version)
        before = loop.names.policy(_policy(db, plan.previous_policy_version))
        judged = judged_total(db, plan.id)
    in_force = running.current if running else before
    source = source_of(loop, plan.training_key)
    inputs = inputs_of(
        loop,
        plan.as_of,
        in_force=in_force,
        running=running,
        holds=holds_on(loop, plan.as_of, in_force, source=source),
        training_key=plan.training_key,
    )
    wanted = Proposed(proposed, plan.reason)
    found = decide(
        inputs,
        proposal=wanted,
        running=running,
        rollout_id=key("r", plan.id),
        seed=int(key("seed", plan.id).removeprefix("seed-")[:7], 16),
    )
    escalation = escalation_of(
        inputs,
        found,
        PlanToApprove(
            policy=proposed,
            instead_of=running.head if running else before,
            share=plan.share_moved,
            is_approved=running is not None and _was_approved(loop, running),
            rolled_back_days=rolled_back_days(loop, plan.as_of, plan.training_key),
        ),
    )
    waits = bool(escalation.met)
    meanwhile = decide(inputs, proposal=None, running=running) if waits and running else None
    grounds = DecisionContext(
        plan.as_of,
        plan.id,
        in_force,
        plan.training_key,
        plan.facts,
        plan,
        proposed,
        defaults=defaults_behind(loop, plan.as_of, in_force, training_key=plan.training_key),
        judged_total=judged,
        escalation=escalation,
    )
    return UnrecordedDecision(grounds, _outcome(loop, found, plan.as_of, meanwhile), waits)


def _was_approved(loop: Loop, running: Running) -> bool:
    """Whether a person approved the plan that the first wave follows."""
    with session(loop.engine, read_only=True) as db:
        plans = {p.id for p in proposals(db) if p.policy_version == running.head.version}
        ids = [d.id for d in decisions(db, state="in_force") if d.proposal_id in plans]
        return any(entry.act == "approve" for id in ids for entry in entries(db, subject=id))


def _outcome(
    loop: Loop, found: RolloutDecision, as_of: date, meanwhile: RolloutDecision | None = None
) -> DecisionOutcome:
    kept = None
    if found.started is not None and found.step is not None and found.plan is not None:
        waves = found.started.waves
        kept = RolloutRecord(
            id=found.step.after.rollout_id,
            challenger_version=found.plan.version,
            incumbent_version=found.started.reference.version,
            canary_segments=canonical(waves[0]),
            control_segments=canonical(sorted(name for wave in waves[1:] for name in wave)),
            seed=found.started.seed,
            design=canonical({**found.started.choice.as_dict(), "waves": waves}),
            started_on=as_of,
            stage=found.step.after.stage,
            created_at=loop.now(),
        )
    return DecisionOutcome(
        found.settlement,
        found.steps,
        kept,
        plan=found.plan,
        meanwhile=meanwhile.steps if meanwhile else (),
        verdicts=found.verdicts,
        variation=found.variation,
        to_do=found.to_do,
    )


def _plan(db: Session, as_of: date, id: str | None) -> Proposal | None:
    if id is not None:  # NOTHING_PROPOSED is no proposal's id: an older one must not be taken
        return proposal(db, id=id)
    return next((p for p in proposals(db) if p.as_of == as_of), None)


def _undoes(db: Session, as_of: date, previous: str, head: str | None) -> str:
    """Why a plan for ``as_of`` made from the policy ``previous`` comes too late, or "". ``head`` is
    the newest plan of the stream under way."""
    later = [d for d in decisions(db, state="in_force") if d.effective_from > as_of]
    if later:
        return (
            f"{later[0].id} is in force from {later[0].effective_from} already; a plan for "
            f"{as_of} would undo the future."
        )
    now = budgets_in_force(db, before=date.max)
    if now is None or now[1].effective_from != as_of or now[1].proposal_id is not None:
        return ""
    if previous not in (head, now[0].version):
        return (
            f"{now[1].id} changed the budgets of {as_of} ({now[1].kind}), which this plan was not "
            "made for; the next cycle plans from there."
        )
    return ""


def _moved_on(db: Session, as_of: date) -> str:
    """Why no other plan may move the rollout on ``as_of``: it moved or ended that day; "" where it
    did not."""
    for last in rollouts(db, limit=1):
        if any(t.as_of == as_of and t.act in STEPS for t in transitions(db, rollout_id=last.id)):
            return f"The rollout moved on {as_of} already; the next cycle plans from there."
    return ""


def _policy(db: Session, version: str) -> Policy:
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return found


def _nothing(reason: str, *, new: bool = False) -> dict[str, Any]:
    return {"id": None, "new": new, "kind": "hold", "state": "declined", "reason": reason}


def _summary(decision: Decision, *, new: bool) -> dict[str, Any]:
    return {
        "id": decision.id,
        "new": new,
        "kind": decision.kind,
        "state": decision.state,
        "reason": decision.reason,
    }


@step("look at rollout")
def look(workspace: str, as_of: date) -> dict[str, Any] | None:
    """Judge the stream under way on a day without a new plan; None when there is none."""
    return look_once(open_loop(workspace), as_of)


def look_once(loop: Loop, as_of: date) -> dict[str, Any] | None:
    """The stream's step of the day, as of :func:`settle_once`.

    A step that changes no budgets is kept in the ledger once a day and is no decision; on the day
    of a plan it says nothing new and is not kept. Any other step becomes a decision.
    """
    with deciding(loop):
        return _look(loop.pinned(), as_of)


def _look(loop: Loop, as_of: date) -> dict[str, Any] | None:
    with session(loop.engine, read_only=True) as db:
        running = running_rollout(db, names=loop.names)
        if running is None or _undoes(db, as_of, running.head.version, running.head.version):
            return None
        last = transitions(db, rollout_id=running.state.rollout_id)[-1]
    if last.as_of > as_of:
        return _nothing(f"The rollout was judged on {last.as_of} already.")
    looked = look_of(loop, as_of, running)
    step = looked.outcome.steps[-1]
    if step.act == "hold":
        if last.as_of == as_of and last.act in ("start", "move", "promote"):
            return _nothing(step.reason)
        with session(loop.engine) as db:
            new = [record_step(db, loop, each, None) for each in looked.outcome.steps]
        return _nothing(step.reason, new=any(new))
    return _summary(record(loop, looked.grounds, looked.outcome), new=True)


def look_of(
    loop: Loop, as_of: date, running: Running, *, before: int | None = None
) -> UnrecordedDecision:
    """What a day without a new plan comes to for the stream under way. Writes nothing.

    ``before``: the sequence of the decision that is made again.
    """
    trained = training_of(loop, running, before=before)
    holds = holds_on(loop, as_of, running.current, source=source_of(loop, trained))
    inputs = inputs_of(
        loop, as_of, in_force=running.current, running=running, holds=holds, training_key=trained
    )
    found = decide(inputs, proposal=None, running=running)
    step = found.steps[-1]
    grounds = DecisionContext(
        as_of,
        key("look", step.after.rollout_id, as_of, step.act, step.before.as_dict()),
        running.current,
        trained,
        canonical(rollout_facts(loop, as_of).facts),
        defaults=defaults_behind(loop, as_of, running.current, training_key=trained),
    )
    return UnrecordedDecision(grounds, replace(_outcome(loop, found, as_of), record=None))


@step("show rollout")
def show_rollout(workspace: str, shown: dict[str, Any]) -> str:
    """Leave the decision as an artifact: the table of moves a person likes to read."""
    from tasks.report.decision_markdown import decision_markdown

    text = decision_markdown(open_loop(workspace), shown)
    leave_page(text, workspace=workspace, key="budgets", description="What was decided, and why")
    return text
