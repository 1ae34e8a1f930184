"""What a person does to the budgets in force: take them back, or set them. Either ends a running
rollout in its own terms; the budgets go out through the same door as a cycle's."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from sqlmodel import Session

from liftloop.adapters.decisions import budgets_in_force, decision, decisions
from liftloop.adapters.ledger import policy, session
from liftloop.adapters.policies import read_policy
from liftloop.adapters.tables import Decision
from liftloop.core.currencies import amount_words
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.keys import key
from liftloop.core.policy import Policy, Stage
from liftloop.core.rollout.effective_policy import Running, Settlement, follow
from liftloop.core.rollout.state import Transition
from liftloop.core.rollout.transitions import roll_back as go_back
from liftloop.pipeline.rollout import cooldown_days
from tasks.by_hand import bring_out
from tasks.context import Loop, open_loop
from tasks.recording import Grounds, Outcome, record
from tasks.running_rollout import ended_streams, running_rollout


def roll_back(workspace: str, *, to: str | None, reason: str, actor: str) -> str:
    """Put an earlier policy back in force from tomorrow, and end a running rollout. Without ``to``
    a rollout goes back to the budgets before it, and else the last change is taken back. A rollback
    is not: done again, perhaps after a kill, it is only brought to its end."""
    loop = open_loop(workspace)
    with session(loop.engine, read_only=True) as db:
        now, running = budgets_in_force(db, before=date.max), running_rollout(db)
        if now is None:
            raise Declined("Nothing was decided yet: there is nothing to roll back.")
        current, last = now
        done = None if to or running else _rollback_in_force(db)
        target = current if done else _target(db, to, running)
    if done:
        bring_out(loop, last.id)
        return (
            f"Rolled back already: the budgets of {current.version} are in force from "
            f"{done.effective_from}. Name others with --to."
        )
    ends_shadow = running is not None and target.version == running.reference.version
    if target.version == current.version and not ends_shadow:
        bring_out(loop, last.id)  # a kill may have kept them from going out
        raise Declined(f"The budgets of {target.version} are in force already.")
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
    grounds = Grounds(
        effective,
        key("roll_back", last.id, target.version),
        current,
        last.training_key,
        last.facts,
        actor=actor,
        words=said,
        notes={"undoes": last.id, "actor": actor},
    )
    act = record(loop, grounds, Outcome(settled, (step,) if step else ()))
    bring_out(loop, act.id)
    return f"Rolled back: the budgets of {target.version} take effect on {effective}."


def set_budgets(workspace: str, path: Path, *, start: date | None, actor: str) -> str:
    """Put the budgets of a file in force: segment, channel, daily_budget; CSV. Done again, perhaps
    after a kill, it is only brought to its end."""
    loop = open_loop(workspace)
    target = read_policy(path, currency=loop.settings.account.currency)
    effective = start or loop.today() + timedelta(days=1)
    with session(loop.engine, read_only=True) as db:
        now, running = budgets_in_force(db, before=date.max), running_rollout(db)
    if now and running is None and now[0].version == target.version:
        bring_out(loop, now[1].id)  # a kill may have kept them from going out
        return f"Set already: these budgets are in force from {now[1].effective_from}."
    if now and now[1].effective_from > effective:
        raise Declined(f"{now[1].id} is in force from {now[1].effective_from} already.")
    current = now[0] if now else target
    reason = f"Set by {actor} from {path.name}."
    step = _ending(loop, running, effective, f"Budgets set by hand by {actor}.", bar=False)
    grounds = Grounds(
        effective,
        key("set", target.version, current.version, effective),
        current,
        None,
        "{}",
        actor=actor,
        act="set",
        words=reason,
        origin="imported",
        notes={"actor": actor, "file": path.name},
    )
    outcome = Outcome(Settlement("move", target, {}, reason), (step,) if step else ())
    act = record(loop, grounds, outcome)
    bring_out(loop, act.id)
    total = amount_words(target.total, loop.settings.account.currency)
    return f"Set: {len(target.cells)} cells, {total} a day, from {effective}."


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
        if to:
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
