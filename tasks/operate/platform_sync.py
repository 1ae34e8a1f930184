"""Applying: the budgets in force are set on each configured platform, and read back.

The order is always: intention into the ledger, effect, completion. Whatever fails or is killed in
between stays on record, and the next time goes on from there; a failure amid them spends no more.
A platform that cannot be reached never stops the loop: the decision stays in force, the writes
wait, and people are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sqlmodel import Session

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.decisions import budget_lines, budgets_in_force
from liftloop.adapters.ledger.records import append_audit, session
from liftloop.adapters.locks import exclusive
from liftloop.adapters.notify import queue_message
from liftloop.adapters.platforms import writes
from liftloop.adapters.platforms.building import guarded
from liftloop.adapters.platforms.protocol import Platform, PlatformTrouble
from liftloop.core.allocation.rule_patterns import covered
from liftloop.core.errors import ConfigurationError
from liftloop.core.ids import key
from liftloop.core.policy import BudgetLine, Cell
from liftloop.reporting.messages.platform_differences import (
    PlatformDifference,
    PlatformOutcome,
    cuts_first,
    difference_notice,
    fits,
    outcome_of,
    outside_changes,
    outside_notice,
    waiting_notice,
)
from liftloop.reporting.messages.slack_blocks import Words
from liftloop.settings.platforms import Target
from tasks.context import Loop
from tasks.decision.holds import under_test
from tasks.report.delivery import deliver_queued

AHEAD = timedelta(days=1)  # a platform knows no dates: a budget is set a day before it takes effect

Lines = Sequence[BudgetLine]
HELD_BACK = "held back: a cut before it failed, and more than the total would be spent"


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
        testing = under_test(db, loop.today() + AHEAD) | under_test(db, loop.today())
        lines = _of_target(budget_lines(db, decision_id=head.id), target)
        lines = [line for line in lines if _cell(line) not in testing]
        if not lines:
            return []
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
        return _finish(
            loop, target, lines, _all(cells, PlatformOutcome("failed", None, str(trouble)))
        )
    _begin(loop, target, lines, found)
    errors = set_budgets(platform, lines, found)
    taken = {
        cell: PlatformOutcome("failed", None, errors[cell])
        if cell in errors
        else PlatformOutcome("applied", None)
        for cell in cells
    }
    _mark(loop, target, lines, taken)
    try:
        back = platform.read(cells)
    except PlatformTrouble as trouble:
        unread = PlatformOutcome("applied", None, f"could not be read back: {trouble}")
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
            entry = _Entry("changed_outside", id, {"budgets": _plain(changed)})
            _tell(db, loop, target, entry, words)
    if changed:
        _deliver(loop)


def _mark(
    loop: Loop, target: Target, lines: Lines, outcomes: Mapping[Cell, PlatformOutcome]
) -> None:
    with session(loop.engine) as db:
        writes.mark(db, platform=target.name, lines=lines, outcomes=outcomes, at=loop.now())


def _finish(
    loop: Loop, target: Target, lines: Lines, outcomes: Mapping[Cell, PlatformOutcome]
) -> list[Waiting]:
    """The end of an attempt, in one transaction: states, audit entry, and what is to be told."""
    id, effective = lines[0].decision_id, lines[0].effective_from
    differ = [
        PlatformDifference(_cell(line), line.daily_budget, outcome.read_back)
        for line in lines
        if (outcome := outcomes[_cell(line)]).state == "differs" and outcome.read_back is not None
    ]
    waiting = {cell: o.words for cell, o in outcomes.items() if o.state in ("failed", "applied")}
    told = {str(cell): f"{o.state}: {o.words}" for cell, o in outcomes.items() if o.words}
    right = sum(outcome.state == "confirmed" for outcome in outcomes.values())
    with session(loop.engine) as db:
        writes.mark(db, platform=target.name, lines=lines, outcomes=outcomes, at=loop.now())
        _tell(db, loop, target, _Entry("apply", id, {"confirmed": right, "others": told}))
        if differ:
            currency = loop.settings.account.currency
            words = difference_notice(target.name, id, differ, currency=currency)
            entry = _Entry("differs", id, {"budgets": _plain(differ)})
            _tell(db, loop, target, entry, words)
        if waiting:
            words = waiting_notice(target.name, id, waiting, effective=str(effective))
            name = key("n", "platform waits", target.name, id)  # once, however often it is tried
            queue_message(db, key=name, kind="platform", words=words, at=loop.now())
    open_ends = [outcome.words for outcome in outcomes.values() if outcome.state != "confirmed"]
    return [Waiting(target.name, id, len(open_ends), open_ends[0])] if open_ends else []


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the audit trail is told of a decision's budgets on a platform."""

    act: str
    decision_id: str
    payload: dict[str, object]


def _tell(
    db: Session, loop: Loop, target: Target, entry: _Entry, words: Words | None = None
) -> None:
    """An audit entry, and a message where there are words; the same again is neither."""
    said = {"platform": target.name, **entry.payload}
    id = key("a", entry.act, entry.decision_id, said)
    append_audit(
        db,
        AuditEvent(
            key=id,
            actor=loop.actor,
            act=entry.act,
            subject=entry.decision_id,
            payload=said,
            at=loop.now(),
        ),
    )
    if words is not None:
        queue_message(db, key=f"n-{id}", kind="platform", words=words, at=loop.now())


def _deliver(loop: Loop) -> None:
    deliver_queued(loop)


def _plain(found: Sequence[PlatformDifference]) -> dict[str, list[str]]:
    return {str(one.cell): [str(one.expected), str(one.found)] for one in found}


def _all(cells: Sequence[Cell], outcome: PlatformOutcome) -> dict[Cell, PlatformOutcome]:
    return dict.fromkeys(cells, outcome)


def _cell(line: BudgetLine) -> Cell:
    return Cell(line.segment, line.channel)


def set_budgets(
    platform: Platform, lines: Sequence[BudgetLine], found: Mapping[Cell, Decimal]
) -> dict[Cell, str]:
    """Set what does not stand there already; what was not taken, and why.

    A platform that takes budgets one by one gets the cuts first. A raise for which a failed cut
    left no room is held back; it gets a second chance where reading again shows that the cut was
    done after all.
    """
    if platform.whole:
        error = _set(platform, lines)
        return {_cell(line): error for line in lines} if error else {}
    errors = _one_by_one(platform, lines, found)
    held = [line for line in lines if errors.get(_cell(line)) == HELD_BACK]
    if not held:
        return errors
    try:
        now = platform.read([_cell(line) for line in lines])
    except PlatformTrouble:
        return errors
    others = {cell: error for cell, error in errors.items() if error != HELD_BACK}
    return others | _one_by_one(platform, lines, now, held)


def _one_by_one(
    platform: Platform,
    lines: Sequence[BudgetLine],
    found: Mapping[Cell, Decimal],
    only: Sequence[BudgetLine] | None = None,
) -> dict[Cell, str]:
    errors: dict[Cell, str] = {}
    stands = {_cell(line): found.get(_cell(line), Decimal(0)) for line in lines}
    ceiling = max(sum(stands.values()), sum(line.daily_budget for line in lines))
    for line in cuts_first(lines if only is None else only, stands):
        cell, wanted = _cell(line), line.daily_budget
        if found.get(cell) == wanted:
            continue
        if not fits(cell, wanted, stands=stands, ceiling=Decimal(ceiling)):
            errors[cell] = HELD_BACK
            continue
        error = _set(platform, [line])
        if error:
            errors[cell] = error
        if not error or wanted > stands[cell]:  # a raise that failed may have been done
            stands[cell] = wanted
    return errors


def _set(platform: Platform, lines: Sequence[BudgetLine]) -> str:
    try:
        platform.set(lines)
    except PlatformTrouble as trouble:
        return str(trouble)
    return ""
