"""The ledger's record of budgets on their way to platforms.

Functions take a session and write under keys: doing it again changes nothing but ``attempts``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.records import insert_once
from liftloop.adapters.ledger.tables import PlatformBreaker, PlatformWrite
from liftloop.core.policy import BudgetLine, Cell, from_cents, to_cents
from liftloop.reporting.messages.platform_differences import PENDING, PlatformOutcome

REMEMBERED = 50  # writes a cell that are looked back on for what last stood there


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What the loop last knew to stand on a platform, and what may stand there by its own doing."""

    last: dict[Cell, Decimal]
    explained: dict[Cell, set[Decimal]]


def intend(
    db: Session, *, platform: str, lines: Sequence[BudgetLine], sequence: int, at: datetime
) -> set[Cell]:
    """Record a decision's budgets before anything is done; those of earlier decisions that are
    still under way are superseded. Returns the cells not yet confirmed."""
    ids = {line.decision_id for line in lines}
    for old in pending(db, platform=platform):
        if old.decision_id not in ids:
            old.state = "superseded"
            db.add(old)
    for line in lines:
        row = PlatformWrite(
            platform=platform,
            decision_id=line.decision_id,
            segment=line.segment,
            channel=line.channel,
            sequence=sequence,
            idempotency_key=line.idempotency_key,
            wanted_cents=to_cents(line.daily_budget),
            state="intended",
            created_at=at,
        )
        insert_once(db, row)
    return {Cell(row.segment, row.channel) for row in pending(db, platform=platform)}


def pending(db: Session, *, platform: str | None = None) -> list[PlatformWrite]:
    """Writes under way, by platform and cell."""
    query = select(PlatformWrite).where(col(PlatformWrite.state).in_(PENDING))
    if platform is not None:
        query = query.where(PlatformWrite.platform == platform)
    # sorted here: databases collate names differently
    return sorted(db.exec(query), key=lambda row: (row.platform, row.segment, row.channel))


def known(db: Session, *, platform: str, lines: Sequence[BudgetLine]) -> PlatformState:
    """What should stand there before these lines are set: what was last read back, or, where that
    never was, the budgets in force before. Amounts asked for since then may stand there, too."""
    last: dict[Cell, Decimal] = {}
    explained: dict[Cell, set[Decimal]] = defaultdict(set)
    query = (
        select(PlatformWrite)
        .where(PlatformWrite.platform == platform, PlatformWrite.attempts > 0)
        .order_by(col(PlatformWrite.created_at).desc(), col(PlatformWrite.sequence).desc())
        .limit(REMEMBERED * len(lines))
    )
    for row in db.exec(query):
        cell = Cell(row.segment, row.channel)
        if cell not in last:
            explained[cell].add(from_cents(row.wanted_cents))
            if row.found_cents is not None:  # told when it was found
                explained[cell].add(from_cents(row.found_cents))
            if row.read_back_cents is not None:
                last[cell] = from_cents(row.read_back_cents)
    for line in lines:
        cell = Cell(line.segment, line.channel)
        last.setdefault(cell, line.previous_daily_budget)
        explained[cell].add(line.daily_budget)
    return PlatformState(last, dict(explained))


def begin(
    db: Session,
    *,
    platform: str,
    lines: Sequence[BudgetLine],
    found: Mapping[Cell, Decimal],
    at: datetime,
) -> None:
    """An attempt begins. What stood there before the first one is kept; what a later one finds may
    be the first one's own work, unless that never got so far as to look."""
    for line, row in _rows(db, platform, lines):
        stood = found.get(Cell(line.segment, line.channel))
        unseen = row.found_cents is None and (row.attempts == 0 or row.state == "failed")
        if unseen and stood is not None:
            row.found_cents = to_cents(stood)
        row.attempts += 1
        row.attempted_at = at
        db.add(row)


def mark(
    db: Session,
    *,
    platform: str,
    lines: Sequence[BudgetLine],
    outcomes: Mapping[Cell, PlatformOutcome],
    at: datetime,
) -> None:
    """What came of it; an amount read back is kept with its instant."""
    for line, row in _rows(db, platform, lines):
        outcome = outcomes[Cell(line.segment, line.channel)]
        row.state, row.last_error = outcome.state, outcome.words
        if outcome.read_back is not None:
            row.read_back_cents, row.settled_at = to_cents(outcome.read_back), at
        db.add(row)


def _rows(
    db: Session, platform: str, lines: Sequence[BudgetLine]
) -> list[tuple[BudgetLine, PlatformWrite]]:
    found = []
    for line in lines:
        row = db.get(PlatformWrite, (platform, line.decision_id, line.segment, line.channel))
        assert row is not None  # intended first
        found.append((line, row))
    return found


def breaker(db: Session, *, platform: str) -> PlatformBreaker | None:
    return db.get(PlatformBreaker, platform)
