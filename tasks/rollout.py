"""Rolling out: what takes effect on a day is settled once, recorded, and only then published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from sqlmodel import Session

from liftloop.adapters.decisions import (
    budgets_in_force,
    decisions,
    proposal,
    proposals,
)
from liftloop.adapters.ledger import policy, session
from liftloop.adapters.rollouts import transitions
from liftloop.adapters.tables import Decision, Proposal, RolloutRecord
from liftloop.core.keys import canonical, key
from liftloop.core.policy import Policy
from liftloop.core.rollout import Transition
from liftloop.core.settlement import Running, Settlement, barred_until, needs_approval
from tasks.canary import (
    curves_at_start,
    evidence_of,
    failed_policies,
    frozen_today,
    planned_facts,
    prediction_of,
    running_rollout,
    seen_facts,
    training_at_start,
)
from tasks.context import Loop, open_loop
from tasks.curves import curves_of, door_of, learned_until
from tasks.guarding import slow_cells
from tasks.health import defaults_behind, health_of
from tasks.judging import judge
from tasks.recording import Grounds, Outcome, record, record_step
from tasks.settling import enter, meet, settle_step
from tasks.staging import Base

NOTHING_PROPOSED = "none"


@task(name="settle")
def settle(workspace: str, as_of: date, proposal_id: str | None) -> dict[str, Any]:
    """Decide what takes effect on ``as_of``, once a proposal."""
    return settle_once(open_loop(workspace), as_of, proposal_id)


def settle_once(loop: Loop, as_of: date, proposal_id: str | None) -> dict[str, Any]:
    """The decision on a proposal: id, whether it is new, kind, state and reason."""
    loop = loop.pinned()
    with session(loop.engine, read_only=True) as db:
        plan = _plan(db, as_of, proposal_id)
        if plan is None:
            return _nothing("There is no proposal for this day.")
        known = [d for d in decisions(db) if d.proposal_id == plan.id]
        if known:
            return _told(known[0], new=False)
        undone = _undoes(db, as_of, plan.previous_policy_version)
        if undone:
            return _nothing(undone)
        running = running_rollout(db)
    settled = settlement_of(loop, plan, running)
    done = record(loop, settled.grounds, settled.outcome, waits=settled.waits)
    return _told(done, new=True)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a day comes to, not kept yet; ``waits`` for a person."""

    grounds: Grounds
    outcome: Outcome
    waits: bool = False


def settlement_of(loop: Loop, plan: Proposal, running: Running | None) -> Settled:
    """What a proposal comes to, given the rollout under way. Writes nothing."""
    with session(loop.engine, read_only=True) as db:
        proposed = _policy(db, plan.policy_version)
        incumbent = _policy(db, plan.previous_policy_version)
    outcome = (
        _meet(loop, plan, proposed, running) if running else _enter(loop, plan, proposed, incumbent)
    )
    begins = outcome.record is not None or outcome.settlement.kind == "move"
    waits = begins and needs_approval(plan.share_moved, loop.settings.budget.approve_above)
    grounds = Grounds(
        plan.as_of,
        plan.id,
        incumbent,
        plan.training_key,
        plan.facts,
        plan,
        proposed,
        defaults=defaults_behind(loop, plan.as_of, incumbent, training_key=plan.training_key),
    )
    return Settled(grounds, outcome, waits)


def _plan(db: Session, as_of: date, id: str | None) -> Proposal | None:
    if id is not None:  # NOTHING_PROPOSED is no proposal's id: an older one must not stand in
        return proposal(db, id=id)
    return next((p for p in proposals(db) if p.as_of == as_of), None)


def _undoes(db: Session, as_of: date, previous: str) -> str:
    """Why a plan for ``as_of`` made around the policy ``previous`` comes too late, or ""."""
    later = [d for d in decisions(db, state="in_force") if d.effective_from > as_of]
    if later:
        return (
            f"{later[0].id} is in force from {later[0].effective_from} already; a plan for "
            f"{as_of} would undo the future."
        )
    now = budgets_in_force(db, before=date.max)
    if now is None or now[1].effective_from != as_of or now[1].proposal_id is not None:
        return ""
    if now[0].version != previous:
        return (
            f"{now[1].id} changed the budgets of {as_of} ({now[1].kind}), which this plan was not "
            "made for; the next cycle plans from there."
        )
    return ""


def _policy(db: Session, version: str) -> Policy:
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return found


def _nothing(reason: str, *, new: bool = False) -> dict[str, Any]:
    return {"id": None, "new": new, "kind": "hold", "state": "declined", "reason": reason}


def _told(decision: Decision, *, new: bool) -> dict[str, Any]:
    return {
        "id": decision.id,
        "new": new,
        "kind": decision.kind,
        "state": decision.state,
        "reason": decision.reason,
    }


def _enter(loop: Loop, plan: Proposal, proposed: Policy, incumbent: Policy) -> Outcome:
    """A new proposal: at once, or its shadow or canary, or a hold."""
    seed = int(key("seed", plan.id).removeprefix("seed-")[:8], 16)
    door = door_of(loop, plan.training_key)
    health = health_of(loop, plan.as_of, incumbent, door=door)
    entry = enter(
        loop.settings,
        planned_facts(loop, plan.as_of, door=door),
        proposed=proposed,
        incumbent=incumbent,
        reason=plan.reason,
        as_of=plan.as_of,
        rollout_id=key("r", plan.id),
        seed=seed,
        barred_until=barred_until(proposed, failed_policies(loop)),
        facts_health=health,
        curves=curves_of(loop, plan.training_key),
        frozen=frozen_today(loop, health),
        model_until=learned_until(loop, plan.training_key),
    )
    if entry.step is None or entry.choice is None:
        return Outcome(entry.settlement, verdicts=entry.verdicts)
    kept = RolloutRecord(
        id=entry.step.after.rollout_id,
        challenger_version=proposed.version,
        incumbent_version=incumbent.version,
        canary_segments=canonical(entry.choice.canary),
        control_segments=canonical(entry.choice.control),
        seed=seed,
        design=canonical({**entry.choice.as_dict(), "expected": entry.expected}),
        started_on=plan.as_of,
        stage=entry.step.after.stage,
        created_at=loop.now(),
    )
    return Outcome(entry.settlement, entry.step, kept, verdicts=entry.verdicts)


def _meet(loop: Loop, plan: Proposal, proposed: Policy, running: Running) -> Outcome:
    """A running rollout is judged; then the newer plan waits for it, or replaces it."""
    step, settled = _judged(loop, plan.as_of, running)
    step, ended = meet(loop.settings, step=step, running=running, proposed=proposed)
    if ended is not None:
        instead = _enter(loop, plan, proposed, running.incumbent)
        if instead.record is not None or instead.settlement.kind == "move":
            return replace(instead, judged=step, ended=ended)
    return Outcome(replace(settled, reason=step.reason), step)


def _judged(loop: Loop, as_of: date, running: Running) -> tuple[Transition, Settlement]:
    """The step of a running rollout by its evidence and every guardrail, and its budgets."""
    began_on = training_at_start(loop, running)
    door = door_of(loop, began_on)
    health = health_of(loop, as_of, running.current, door=door)
    facts = planned_facts(loop, as_of, door=door)
    evidence = evidence_of(loop, as_of, running)
    step = judge(
        loop.settings,
        facts,
        running=running,
        as_of=as_of,
        evidence=evidence,
        prediction=prediction_of(loop, running, evidence),
        facts_health=health,
        model_until=None if running.exposed else learned_until(loop, began_on),
    )
    base = Base(
        loop.settings,
        running.incumbent,
        running.challenger,
        running.current,
        curves_at_start(loop, running),
        frozen_today(loop, health),
        facts,
        as_of,
        slow_cells(
            loop.settings, facts, incumbent=running.current, as_of=as_of, facts_health=health
        ),
    )
    return settle_step(base, step=step, running=running)


@task(name="look at rollout")
def look(workspace: str, as_of: date) -> dict[str, Any] | None:
    """Judge a running rollout on a day without a new plan; None when there is none."""
    return look_once(open_loop(workspace), as_of)


def look_once(loop: Loop, as_of: date) -> dict[str, Any] | None:
    """The running rollout's step of the day, as of :func:`settle_once`.

    A hold is kept in the ledger once a day and decides nothing; on the day of a promotion it says
    nothing new and is not kept. Any other step becomes a decision.
    """
    loop = loop.pinned()
    with session(loop.engine, read_only=True) as db:
        running = running_rollout(db)
        if running is None or _undoes(db, as_of, running.current.version):
            return None
        last = transitions(db, rollout_id=running.state.rollout_id)[-1]
    if last.as_of > as_of:
        return _nothing(f"The rollout was judged on {last.as_of} already.")
    looked = look_of(loop, as_of, running)
    step = looked.outcome.step
    assert step is not None
    if step.act == "hold":
        if (last.act, last.as_of) == ("promote", as_of):
            return _nothing(step.reason)
        with session(loop.engine) as db:
            new = record_step(db, loop, step, None)
        return _nothing(step.reason, new=new)
    return _told(record(loop, looked.grounds, looked.outcome), new=True)


def look_of(loop: Loop, as_of: date, running: Running) -> Settled:
    """What a day without a new plan comes to for a running rollout. Writes nothing."""
    step, settled = _judged(loop, as_of, running)
    began_on = training_at_start(loop, running)
    grounds = Grounds(
        as_of,
        key("look", step.after.rollout_id, as_of, step.act, step.before.as_dict()),
        running.current,
        began_on,
        canonical(seen_facts(loop, as_of).facts),
        defaults=defaults_behind(loop, as_of, running.current, training_key=began_on),
    )
    return Settled(grounds, Outcome(settled, step))


@task(name="show rollout")
def show_rollout(workspace: str, shown: dict[str, Any]) -> str:
    """Leave the decision as an artifact: the table of moves a person likes to read."""
    from tasks.pages import decision_markdown

    text = decision_markdown(open_loop(workspace), shown)
    create_markdown_artifact(text, key="budgets", description="What was decided, and why")
    return text
