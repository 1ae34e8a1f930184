"""What a person does to the loop: approve, reject, roll back, pause, resume. Each act is one ledger
transaction with its audit entry; budgets that change go out through the same door as a cycle's."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from datetime import date

from sqlmodel import Session

from liftloop.adapters.audit.trail import entries
from liftloop.adapters.ledger.decisions import budgets_in_force, decision, set_decision_state
from liftloop.adapters.ledger.records import (
    active_pauses,
    add_pause,
    lift_pause,
    policy,
    session,
)
from liftloop.adapters.ledger.tables import Decision, Pause, RolloutRecord
from liftloop.core.access.roles import Caller
from liftloop.core.curves.gain import money_moved
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.ids import key
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.state import RolloutState, Transition
from liftloop.core.rollout.transitions import pause as hold_still
from liftloop.core.rollout.transitions import resume as go_on
from liftloop.reporting.budget_terms import terms_in_words
from tasks.context import Loop, open_loop
from tasks.decision.budget_terms import (
    INSTEAD,
    TERMS,
    must_hold_together,
    settings_to_approve,
)
from tasks.decision.holds import holds_on
from tasks.decision.record_decision import record_step
from tasks.decision.running_rollout import running_rollout
from tasks.decision.total_proposals import approve_total, is_total, reject_total
from tasks.model.curves import source_of
from tasks.operate.access import ANYONE
from tasks.operate.approvals import Approval, must_be_approvable
from tasks.operate.audit_notes import anchor, note
from tasks.operate.manual_budgets import broken_now, must_keep_money_rules
from tasks.operate.manual_decisions import bring_out, deciding
from tasks.report.notify import announce_once

WAITING = "awaiting_approval"


def approve(
    workspace: str, id: str, *, actor: str, caller: Caller = ANYONE, plan: str | None = None
) -> str:
    """Put a waiting decision in force and publish its budgets; or set a proposed total.

    Parameters
    ----------
    caller
        Who approves: never the plan's author, and no more than their limit. Where the workspace has
        no accounts there is no such rule.
    plan
        The policy version that was looked at, or how it begins: where the decision has another one,
        nothing is approved.
    """
    if is_total(id):
        return approve_total(workspace, id, actor=actor, caller=caller)
    loop = open_loop(workspace)
    if _approved_before(loop, id):
        bring_out(loop, id)  # a kill may have kept them from going out
    with deciding(loop):
        day, terms = _approve(loop, id, Approval(actor, caller, plan))
    bring_out(loop, id)
    words = f"Approved: the budgets of {id} take effect on {day}."
    return f"{words} From then on: {terms}." if terms else words


def _approve(loop: Loop, id: str, approval: Approval) -> tuple[date, str]:
    """Put a waiting decision in force: the day on which it takes effect, and the terms that hold
    from then on, in words."""
    with session(loop.engine, read_only=True) as db:
        waiting = _waiting(db, id)
        after = policy(db, version=waiting.policy_version)
        before = policy(db, version=waiting.previous_policy_version)
        assert after is not None and before is not None  # foreign keys hold them
        evidence = json.loads(waiting.evidence)
        settings = settings_to_approve(loop, evidence, id=id)
        moved = max(money_moved(after, before), abs(after.total - before.total))
        must_be_approvable(loop, waiting, approval, moved=moved)
        if "actor" in evidence:  # set by hand: the state of the facts held none
            held = "; ".join(broken_now(loop, after, before, settings, on=waiting.effective_from))
        else:
            held = _moves_held(db, loop, waiting)
    if held:
        raise Declined(f"{id} cannot be approved today: {held}")
    must_keep_money_rules(settings, after, before, what=f"{id} cannot be approved any more")
    if evidence.get(TERMS):
        must_hold_together(settings, loop, id=id)
    with session(loop.engine) as db:
        found = _waiting(db, id)
        newer = budgets_in_force(db, before=date.max)
        if newer and newer[1].effective_from >= found.effective_from:
            raise Declined(
                f"{id} cannot be approved any more: {newer[1].id} took effect on "
                f"{newer[1].effective_from}. Run liftloop cycle for a new proposal."
            )
        set_decision_state(db, id=id, state="in_force", expected=WAITING)
        _take_step(db, loop, found)
        said: dict[str, object] = {
            "policy": found.policy_version,
            "total": _total(db, found.policy_version),
            **{name: evidence[name] for name in (TERMS, INSTEAD) if name in evidence},
        }
        note(db, loop, "approve", id, actor=approval.actor, payload=said)
    terms = evidence.get(TERMS, {})
    return found.effective_from, terms_in_words(terms, loop.settings.account.currency)


def _total(db: Session, version: str) -> str:
    """The daily total of a policy."""
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return str(found.total)


def _moves_held(db: Session, loop: Loop, waiting: Decision) -> str:
    """Which cells of a waiting decision may not move, as it is known today; "" where all may."""
    after = policy(db, version=waiting.policy_version)
    before = policy(db, version=waiting.previous_policy_version)
    if after is None or before is None:
        return ""
    day = max(waiting.effective_from, loop.today())
    source = source_of(loop, waiting.training_key)
    holds, was = holds_on(loop, day, before, source=source), before.as_dict()
    moved = [
        f"{cell} ({holds.reason_of(cell)})"
        for cell, amount in after.budgets
        if was.get(cell) != amount and holds.reason_of(cell)
    ]
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    return f"{'; '.join(moved[:3])}{more} may not move." if moved else ""


def _take_step(db: Session, loop: Loop, approved: Decision) -> None:
    """The step that was planned when the decision began to wait. What had been proven by then was
    kept on that day.

    Raises
    ------
    Declined
        If the stream is not where it was then, or the version before planned it: the plan does not
        fit any more.
    """
    said = json.loads(approved.evidence)
    planned, step = said.get("rollout"), said.get("step")
    if planned is None and step is None:  # rollouts were off: it reaches all segments at once
        return
    if step is None or "positions" not in step["state"]:
        raise Declined(
            f"{approved.id} cannot be approved any more: it was planned by the rules of an earlier "
            "version. Run liftloop cycle for a new proposal."
        )
    before, running = RolloutState.from_dict(step["before"]), running_rollout(db)
    now = running.state if running is not None else before
    if (now.positions, now.reference, now.stage) != (
        before.positions,
        before.reference,
        before.stage,
    ):
        raise Declined(
            f"{approved.id} cannot be approved any more: its rollout moved on since. Run "
            "liftloop cycle for a new proposal."
        )
    after = RolloutState.from_dict(step["state"])
    taken = Transition(step["act"], before, after, approved.effective_from, approved.reason)
    record = RolloutRecord.model_validate(planned) if planned is not None else None
    record_step(db, loop, taken, record)


def reject(workspace: str, id: str, *, reason: str, actor: str) -> str:
    """Refuse a waiting decision or a proposed total; what is in force stays."""
    if is_total(id):
        return reject_total(workspace, id, reason=reason, actor=actor)
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        _waiting(db, id)
        set_decision_state(db, id=id, state="rejected", expected=WAITING)
        note(db, loop, "reject", id, actor=actor, payload={"reason": reason})
    announce_once(loop, id, None)
    return f"Rejected: {id}. The budgets in force stay."


def pause(workspace: str, *, segment: str, channel: str, reason: str, actor: str) -> str:
    """Stop budget moves for the cells a pattern names."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        if any(p.segment == segment and p.channel == channel for p in active_pauses(db)):
            raise Declined(
                f"Paused already: {cells_in_words(segment, channel)}. "
                f"{resume_command(segment, channel)} lifts it."
            )
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
        said = {"reason": reason, "pause": stop.id}
        note(db, loop, "pause", f"{segment} x {channel}", actor=actor, payload=said)
        unmatched = _unmatched(db, segment, channel)
    anchor(loop)
    return (
        f"Paused: {cells_in_words(segment, channel)}. The budgets stay as they are until "
        f"{resume_command(segment, channel)}.{unmatched}"
    )


def stop_all(workspace: str, *, reason: str, actor: str) -> str:
    """Stop every move of the loop: pause all cells, and the rollout under way. What is in force
    stays, guardrails still take a harmful rollout back, and data are read and judged as before."""
    loop = open_loop(workspace)
    with session(loop.engine, read_only=True) as db:
        cells = not any((p.segment, p.channel) == ("*", "*") for p in active_pauses(db))
        running = running_rollout(db)
    rollout = running is not None and running.state.stage != "paused"
    done = []
    if cells:
        done.append(pause(workspace, segment="*", channel="*", reason=reason, actor=actor))
    if rollout:
        done.append(pause_rollout(workspace, reason=reason, actor=actor))
    if not done:
        raise Declined("Everything is stopped already: liftloop resume lets budgets move again.")
    return " ".join(done)


def resume(workspace: str, *, segment: str, channel: str, actor: str) -> str:
    """Lift a pause."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        known = active_pauses(db)
        found = [p for p in known if (p.segment, p.channel) == (segment, channel)]
        if not found:
            raise Declined(_not_paused(db, known, segment, channel))
        for stop in found:
            lift_pause(db, id=stop.id, at=loop.now())
            said = {"pause": stop.id}
            note(db, loop, "resume", f"{segment} x {channel}", actor=actor, payload=said)
        others = [p for p in known if p not in found]
    anchor(loop)
    still = f" Still paused: {_listed(others)}." if others else ""
    return (
        f"Resumed: {cells_in_words(segment, channel)}. Budgets move again from the next cycle "
        f"on.{still}"
    )


def cells_in_words(segment: str, channel: str) -> str:
    """The cells a pause names; ``"*"`` is any segment or channel."""
    if segment == channel == "*":
        return "all segments and channels"
    if segment == "*":
        return f"{channel} in all segments"
    return f"{segment} x {'all channels' if channel == '*' else channel}"


def resume_command(segment: str, channel: str) -> str:
    words = ["liftloop", "resume"]
    words += ["--segment", segment] if segment != "*" else []
    words += ["--channel", channel] if channel != "*" else []
    return shlex.join(words)


def _listed(pauses: Iterable[Pause]) -> str:
    return "; ".join(
        f"{cells_in_words(p.segment, p.channel)} ({resume_command(p.segment, p.channel)})"
        for p in pauses
    )


def _not_paused(db: Session, known: list[Pause], segment: str, channel: str) -> str:
    if not known:
        running = running_rollout(db)
        if running is not None and running.state.stage == "paused":
            return "No cells are paused. A rollout is: liftloop resume --rollout lets it go on."
        return "Nothing is paused: there is nothing to resume."
    return (
        f"There is no pause of {cells_in_words(segment, channel)}; a pause is lifted as it was "
        f"set. Paused: {_listed(known)}."
    )


def _unmatched(db: Session, segment: str, channel: str) -> str:
    """A warning where no cell with a budget in force is of these; "" where one is, or none is
    known yet."""
    now = budgets_in_force(db, before=date.max)
    if now is None or any(
        segment in ("*", cell.segment) and channel in ("*", cell.channel) for cell in now[0].cells
    ):
        return ""
    return (
        " No budget in force is of these now: compare the names with liftloop budgets, and lift "
        "the pause if it is misspelt."
    )


def pause_rollout(workspace: str, *, reason: str, actor: str, on: date | None = None) -> str:
    """Stop the clock of the rollout under way: budgets stay, guardrails go on being judged."""
    loop = open_loop(workspace)
    words = reason or "paused by hand"
    with session(loop.engine) as db:
        state = _running(db).state
        step = hold_still(state, now=on or loop.today(), by=actor, reason=words)
        _keep(db, loop, step, actor)
    anchor(loop)
    return f"Paused: rollout {state.rollout_id} stays where it is until liftloop resume --rollout."


def resume_rollout(workspace: str, *, actor: str, on: date | None = None) -> str:
    """Let a paused rollout go on."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        state = _running(db).state
        step = go_on(state, now=on or loop.today(), reason=f"Resumed by {actor}.")
        _keep(db, loop, step, actor)
    anchor(loop)
    return f"Resumed: rollout {state.rollout_id} goes on in stage {step.after.stage}."


def _running(db: Session) -> Running:
    found = running_rollout(db)
    if found is None:
        raise Declined("No rollout is under way. liftloop rollouts lists them.")
    return found


def _keep(db: Session, loop: Loop, step: Transition, actor: str) -> None:
    if step.act == "hold":
        raise Declined(step.reason)
    record_step(db, loop, step, None)
    id = step.after.rollout_id
    note(db, loop, step.act, id, actor=actor, payload={"reason": step.reason})


def _approved_before(loop: Loop, id: str) -> bool:
    """Whether the budgets in force are those of this decision, by a person's approval."""
    with session(loop.engine, read_only=True) as db:
        now = budgets_in_force(db, before=date.max)
        if now is None or now[1].id != id:
            return False
        return any(entry.act == "approve" for entry in entries(db, subject=id))


def _waiting(db: Session, id: str) -> Decision:
    found = decision(db, id=id)
    if found is None:
        raise UnknownName(f"There is no decision {id}. liftloop budgets --decisions lists them.")
    if found.state != WAITING:
        state = found.state.replace("_", " ")
        raise Declined(
            f"{id} does not wait for approval: it is {state}. liftloop budgets --decisions shows "
            "which ones wait."
        )
    return found
