"""Applying: the budgets in force are set on each configured platform, and read back.

The order is always: intention into the ledger, effect, completion. Whatever fails or is killed in
between stays on record, and the next time goes on from there. A platform that cannot be reached
never stops the loop: the decision stays in force, the writes wait, and people are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sqlmodel import Session

from liftloop.adapters.decisions import budget_lines, budgets_in_force
from liftloop.adapters.ledger import append_audit, session
from liftloop.adapters.locks import exclusive
from liftloop.adapters.notify import queue_message
from liftloop.adapters.platforms import writes
from liftloop.adapters.platforms.building import guarded
from liftloop.adapters.platforms.configuration import Target
from liftloop.adapters.platforms.protocol import PlatformTrouble
from liftloop.adapters.platforms.setting import set_budgets
from liftloop.core.applying import (
    Difference,
    Outcome,
    difference_notice,
    outcome_of,
    outside_changes,
    outside_notice,
    waiting_notice,
)
from liftloop.core.errors import ConfigurationError
from liftloop.core.keys import key
from liftloop.core.messages import Words
from liftloop.core.policy import BudgetLine, Cell
from liftloop.core.rule_patterns import covered
from tasks.context import Loop
from tasks.delivering import deliver_queued

AHEAD = timedelta(days=1)  # a platform knows no dates: a budget is set a day before it takes effect

Lines = Sequence[BudgetLine]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Budgets in force that do not stand on a platform yet, and the first reason why."""

    platform: str
    decision_id: str
    cells: int
    reason: str

    @property
    def sentence(self) -> str:
        return (
            f"{self.decision_id} is in force, and {self.cells} of its budgets do not stand on "
            f"{self.platform} yet ({self.reason})."
        )


def apply_in_force(loop: Loop) -> tuple[Waiting, ...]:
    """Bring the budgets in force to every platform, or further on their way; what still waits."""
    targets = loop.settings.platforms.targets
    found = [waiting for target in targets for waiting in apply_to(loop, target)]
    if targets:  # what there is to tell does not wait for the next decision's message
        _deliver(loop)
    return tuple(found)


def apply_to(loop: Loop, target: Target) -> list[Waiting]:
    """One platform, one program at a time."""
    lock = loop.workspace.locks / f"platform-{target.name}.lock"
    with exclusive(lock, what=f"The platform {target.name}"):
        lines = _intend(loop, target)
        return _carry_out(loop, target, lines) if lines else []


def _intend(loop: Loop, target: Target) -> Lines:
    """The lines not yet confirmed of the decision whose day has come, on record."""
    with session(loop.engine) as db:
        now = budgets_in_force(db, before=_first_day_not_due(loop))
        if now is None:
            return []
        head = now[1]
        lines = _of_target(budget_lines(db, decision_id=head.id), target)
        open_cells = writes.intend(
            db, platform=target.name, lines=lines, sequence=head.sequence, at=loop.now()
        )
    return [line for line in lines if _cell(line) in open_cells]


def _first_day_not_due(loop: Loop) -> date:
    return loop.today() + AHEAD + timedelta(days=1)


def _of_target(lines: Lines, target: Target) -> list[BudgetLine]:
    mask = covered([_cell(line) for line in lines], target.segments, target.channels)
    return [line for line, one in zip(lines, mask, strict=True) if one]


def _carry_out(loop: Loop, target: Target, lines: Lines) -> list[Waiting]:
    """Look, set what is not right, look again; each step on record before the next."""
    cells = [_cell(line) for line in lines]
    try:
        platform = guarded(
            target, settings=loop.settings, workspace=loop.workspace, engine=loop.engine
        )
        found = platform.read(cells)
    except (PlatformTrouble, ConfigurationError) as trouble:
        _begin(loop, target, lines, {})
        return _finish(loop, target, lines, _all(cells, Outcome("failed", None, str(trouble))))
    _begin(loop, target, lines, found)
    errors = set_budgets(platform, lines, found)
    taken = {
        cell: Outcome("failed", None, errors[cell]) if cell in errors else Outcome("applied", None)
        for cell in cells
    }
    _mark(loop, target, lines, taken)
    try:
        back = platform.read(cells)
    except PlatformTrouble as trouble:
        unread = Outcome("applied", None, f"could not be read back: {trouble}")
        return _finish(
            loop, target, lines, {c: o if c in errors else unread for c, o in taken.items()}
        )
    outcomes = {
        _cell(line): outcome_of(
            line.daily_budget, read_back=back.get(_cell(line)), error=errors.get(_cell(line), "")
        )
        for line in lines
    }
    return _finish(loop, target, lines, outcomes)


def _begin(loop: Loop, target: Target, lines: Lines, found: Mapping[Cell, Decimal]) -> None:
    """An attempt goes on record; what somebody else changed is told before it is overwritten."""
    with session(loop.engine) as db:
        known = writes.known(db, platform=target.name, lines=lines)
        changed = outside_changes(found, last=known.last, explained=known.explained)
        writes.begin(db, platform=target.name, lines=lines, found=found, at=loop.now())
        if changed:
            id, currency = lines[0].decision_id, loop.settings.account.currency
            words = outside_notice(target.name, id, changed, currency=currency)
            _tell(db, loop, target, id, "changed_outside", {"budgets": _plain(changed)}, words)
    if changed:
        _deliver(loop)


def _mark(loop: Loop, target: Target, lines: Lines, outcomes: Mapping[Cell, Outcome]) -> None:
    with session(loop.engine) as db:
        writes.mark(db, platform=target.name, lines=lines, outcomes=outcomes, at=loop.now())


def _finish(
    loop: Loop, target: Target, lines: Lines, outcomes: Mapping[Cell, Outcome]
) -> list[Waiting]:
    """The end of an attempt, in one transaction: states, audit entry, and what is to be told."""
    id, effective = lines[0].decision_id, lines[0].effective_from
    differ = [
        Difference(_cell(line), line.daily_budget, outcome.read_back)
        for line in lines
        if (outcome := outcomes[_cell(line)]).state == "differs" and outcome.read_back is not None
    ]
    waiting = {cell: o.words for cell, o in outcomes.items() if o.state in ("failed", "applied")}
    told = {str(cell): f"{o.state}: {o.words}" for cell, o in outcomes.items() if o.words}
    right = sum(outcome.state == "confirmed" for outcome in outcomes.values())
    with session(loop.engine) as db:
        writes.mark(db, platform=target.name, lines=lines, outcomes=outcomes, at=loop.now())
        _tell(db, loop, target, id, "apply", {"confirmed": right, "others": told}, None)
        if differ:
            currency = loop.settings.account.currency
            words = difference_notice(target.name, id, differ, currency=currency)
            _tell(db, loop, target, id, "differs", {"budgets": _plain(differ)}, words)
        if waiting:
            words = waiting_notice(target.name, id, waiting, effective=str(effective))
            name = key("n", "platform waits", target.name, id)  # once, however often it is tried
            queue_message(db, key=name, kind="platform", words=words, at=loop.now())
    open_ends = [outcome.words for outcome in outcomes.values() if outcome.state != "confirmed"]
    return [Waiting(target.name, id, len(open_ends), open_ends[0])] if open_ends else []


def _tell(
    db: Session,
    loop: Loop,
    target: Target,
    decision_id: str,
    act: str,
    payload: dict[str, object],
    words: Words | None,
) -> None:
    """An audit entry, and a message where there are words; the same again is neither."""
    said = {"platform": target.name, **payload}
    id = key("a", act, decision_id, said)
    append_audit(
        db, key=id, actor=loop.actor, act=act, subject=decision_id, payload=said, at=loop.now()
    )
    if words is not None:
        queue_message(db, key=f"n-{id}", kind="platform", words=words, at=loop.now())


def _deliver(loop: Loop) -> None:
    deliver_queued(loop)


def _plain(found: Sequence[Difference]) -> dict[str, list[str]]:
    return {str(one.cell): [str(one.expected), str(one.found)] for one in found}


def _all(cells: Sequence[Cell], outcome: Outcome) -> dict[Cell, Outcome]:
    return dict.fromkeys(cells, outcome)


def _cell(line: BudgetLine) -> Cell:
    return Cell(line.segment, line.channel)
