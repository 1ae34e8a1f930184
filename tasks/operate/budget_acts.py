"""What a person does to the budgets in force: take them back, or set them. Either ends a running
rollout in its own terms; the budgets go out through the same door as a cycle's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from sqlmodel import Session

from liftloop.adapters.files.budget_files import read_policy
from liftloop.adapters.ledger.decisions import budgets_in_force, decision, decisions
from liftloop.adapters.ledger.records import policy, session
from liftloop.adapters.ledger.tables import Decision, Proposal
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.ids import key
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import Policy, Stage
from liftloop.core.rollout.effective_policy import Running, Settlement, follow
from liftloop.core.rollout.state import Transition
from liftloop.core.rollout.transitions import roll_back as go_back
from liftloop.pipeline.approval import PlanToApprove
from liftloop.pipeline.rollout import cooldown_days
from liftloop.reporting.budget_terms import terms_in_words
from liftloop.reporting.escalation import asked_words
from tasks.context import Loop, open_loop
from tasks.decision.budget_terms import (
    Terms,
    must_hold_together,
    planning_settings,
    proposed_terms,
    with_terms,
)
from tasks.decision.escalation import due_on, escalation_by_hand
from tasks.decision.record_decision import DecisionContext, DecisionOutcome, record
from tasks.decision.running_rollout import ended_streams, running_rollout
from tasks.decision.what_if import NextPlan
from tasks.operate.manual_budgets import (
    budgets_spent,
    complete,
    must_keep_money_rules,
    must_keep_the_rules,
)
from tasks.operate.manual_decisions import bring_out, deciding
from tasks.report.notify import announce_once, write_page_once


def roll_back(workspace: str, *, to: str | None, reason: str, actor: str) -> str:
    """Put an earlier policy back in force from tomorrow, and end a running rollout. Without ``to``
    a rollout goes back to the budgets before it, and else the last change is taken back. A rollback
    is not: done again, perhaps after a kill, it is only brought to its end."""
    loop = open_loop(workspace)
    with deciding(loop):
        id, said, declined = _roll_back(loop, to=to, reason=reason, actor=actor)
    bring_out(loop, id)  # where nothing was to do, a kill may have kept them from going out
    if declined:
        raise Declined(said)
    return said


def _roll_back(loop: Loop, *, to: str | None, reason: str, actor: str) -> tuple[str, str, bool]:
    """The decision to roll back: its id, what to say of it, and whether nothing was to do."""
    with session(loop.engine, read_only=True) as db:
        now, running = budgets_in_force(db, before=date.max), running_rollout(db)
        if now is None:
            raise Declined("Nothing was decided yet: there is nothing to roll back.")
        current, last = now
        done = None if to is not None or running else _rollback_in_force(db)
        target = current if done else _target(db, to, running)
    if done:
        return (
            last.id,
            (
                f"Rolled back already: the budgets of {current.version} are in force from "
                f"{done.effective_from}. Name others with --to."
            ),
            False,
        )
    ends_shadow = running is not None and target.version == running.reference.version
    if not ends_shadow:
        target = complete(target, current)
    if target.version == current.version and not ends_shadow:
        return last.id, f"The budgets of {target.version} are in force already.", True
    settings = planning_settings(loop)
    must_keep_money_rules(
        settings, target, current, what=f"{target.version} is not put back in force"
    )
    effective = _from_tomorrow(loop, last)
    words = reason or "rolled back by hand"
    said = f"Rolled back by {actor}: {words}."
    step = _ending(loop, running, effective, said)
    stages: dict[str, Stage] = {cell.segment: "rolled_back" for cell in target.cells}
    settled = (
        follow(step, running.after(step, target))
        if step and running and target.version == running.reference.version
        else Settlement("roll_back", target, stages, said)
    )
    grounds = DecisionContext(
        effective,
        key("roll_back", last.id, target.version),
        current,
        last.training_key,
        last.facts,
        actor=actor,
        words=said,
        notes={"undoes": last.id, "actor": actor},
    )
    act = record(loop, grounds, DecisionOutcome(settled, (step,) if step else ()))
    said = f"Rolled back: the budgets of {target.version} take effect on {effective}."
    return act.id, said, False


def set_budgets(workspace: str, path: Path, *, start: date | None, actor: str) -> str:
    """Put the budgets of a file in force: segment, channel, daily_budget; CSV. They keep the rules
    that every plan keeps, and wait for approval where a plan would. Done again, perhaps after a
    kill, it is only brought to its end.

    Raises
    ------
    RefusedFile
        If the file is no budgets.
    Declined
        If they break a rule, leave a cell out or name one that is not known; the rule is named.
    """
    loop = open_loop(workspace)
    target = read_policy(path, currency=loop.settings.account.currency)
    return _put(loop, ManualBudgets(target, path.name, actor), start)


@dataclass(frozen=True, slots=True)
class ManualBudgets:
    """Budgets that a person brings: from what ``source``, by whom; whether they wait for somebody's
    approval whatever they move; the terms that hold once they are approved; and the plan that they
    are, whose model says what to expect of them."""

    target: Policy
    source: str
    actor: str
    always_waits: bool = False
    terms: Terms = field(default_factory=dict)
    plan: Proposal | None = None

    @property
    def training_key(self) -> str | None:
        return self.plan.training_key if self.plan is not None else None


def propose_next(workspace: str, plan: NextPlan, *, source: str, actor: str) -> str:
    """Let the plan of a what-if wait for somebody's approval, whatever it moves; ``source`` says
    where it is from. Its budgets keep the rules that every plan keeps, those of the what-if's own
    terms (total, step, floors and caps), which hold once it is approved. They take effect tomorrow
    or the day after the last decision.

    Raises
    ------
    Declined
        As :func:`set_budgets`; where the terms cannot hold together.
    """
    loop = open_loop(workspace)
    must_hold_together(with_terms(planning_settings(loop), plan.terms), loop, id="This plan")
    made, target = plan.changed
    asked = ManualBudgets(target, source, actor, always_waits=True, terms=plan.terms, plan=made)
    return _put(loop, asked, None)


def _put(loop: Loop, asked: ManualBudgets, start: date | None) -> str:
    with session(loop.engine, read_only=True) as db:
        now = budgets_in_force(db, before=date.max)
    tomorrow = loop.today() + timedelta(days=1)
    if asked.always_waits and now is not None:
        tomorrow = _from_tomorrow(loop, now[1])
    effective = start or tomorrow
    with deciding(loop):
        id, state, said = _set(loop, asked, effective)
    if state == "in_force":
        bring_out(loop, id)
    else:
        announce_once(loop, id, write_page_once(loop, id))
    return said


def _set(loop: Loop, asked: ManualBudgets, effective: date) -> tuple[str, str, str]:
    """The decision to set budgets: its id, its state, and what to say of it."""
    target, file, actor = asked.target, asked.source, asked.actor
    with session(loop.engine, read_only=True) as db:
        now, running = budgets_in_force(db, before=date.max), running_rollout(db)
    if now and running is None and now[0].version == target.version and not asked.terms:
        words = f"Set already: these budgets are in force from {now[1].effective_from}."
        return now[1].id, now[1].state, words  # a kill may have kept them from going out
    if now and now[1].effective_from > effective:
        raise Declined(f"{now[1].id} is in force from {now[1].effective_from} already.")
    current = now[0] if now else target
    moved = must_keep_the_rules(
        loop, target, now[0] if now else None, file=file, on=effective, terms=asked.terms
    )
    before = now[0] if now else budgets_spent(loop, effective)
    plan = PlanToApprove(policy=target, instead_of=before or target, share=moved)
    escalation = escalation_by_hand(loop, effective, plan)
    waits = asked.always_waits or bool(escalation.met)
    new_terms = terms_in_words(asked.terms, loop.settings.account.currency)
    reason = f"Set by {actor} from {file}." + (f" With it: {new_terms}." if new_terms else "")
    step = _ending(loop, running, effective, f"Budgets set by hand by {actor}.", bar=False)
    grounds = DecisionContext(
        effective,
        key("set", target.version, current.version, effective, *([asked.terms] * bool(new_terms))),
        current,
        asked.training_key,
        asked.plan.facts if asked.plan is not None else "{}",
        actor=actor,
        act="set",
        words=reason,
        origin="imported",
        notes={"actor": actor, "file": file, **proposed_terms(loop.settings, asked.terms)},
        escalation=escalation,
    )
    outcome = DecisionOutcome(Settlement("move", target, {}, reason), (step,) if step else ())
    act = record(loop, grounds, outcome, waits=waits)
    total = amount_words(target.total, loop.settings.account.currency)
    said = f"{len(target.cells)} cells, {total} a day, from {effective}."
    if not waits:
        return act.id, act.state, f"Set: {said}"
    with session(loop.engine, read_only=True) as db:
        kept = decision(db, id=act.id)
    if kept is not None and kept.state == "rejected":
        raise Declined(f"{act.id} with these budgets was rejected. Change the file, or --from.")
    why = asked_words(escalation, due_on(loop, act))
    return act.id, act.state, f"Waits for approval: {said} {why} liftloop approve {act.id}"


def _from_tomorrow(loop: Loop, last: Decision) -> date:
    """Tomorrow, or the day after the last decision took effect."""
    return max(loop.today(), last.effective_from) + timedelta(days=1)


def _rollback_in_force(db: Session) -> Decision | None:
    """The rollback that gave the budgets in force, if the last change was one."""
    changes = (
        d
        for d in decisions(db, state="in_force")
        if d.kind == "roll_back" or d.previous_policy_version != d.policy_version
    )
    last = next(changes, None)
    return last if last and last.kind == "roll_back" else None


def _target(db: Session, to: str | None, running: Running | None) -> Policy:
    """The policy a rollback goes to: a named decision's or version's; without a name that before
    the rollout under way, or before the last change."""
    if to is None and running is not None:
        return running.reference
    if to is None:
        changed = (
            d.previous_policy_version
            for d in decisions(db, state="in_force")
            if d.previous_policy_version != d.policy_version
        )
        version = next(changed, "")
    else:
        named = decision(db, id=to)
        version = named.policy_version if named else to
    found = policy(db, version=version)
    if found is None:
        if to is not None:
            raise UnknownName(
                f"There is no decision or policy {to}. liftloop budgets --decisions lists them."
            )
        raise Declined(
            "No budgets were changed yet: there is nothing to take back. "
            "liftloop budgets --decisions lists what was decided."
        )
    return found


def _ending(
    loop: Loop, running: Running | None, on: date, reason: str, *, bar: bool = True
) -> Transition | None:
    """The step that ends the stream under way by hand; a cool-down follows unless it only makes
    room for other budgets."""
    if running is None:
        return None
    days = cooldown_days(loop.settings, ended_streams(loop), on)
    return go_back(running.state, now=on, cooldown_days=days, reason=reason, bar=bar)
