"""How budgets stand on the platforms, in words, for doctor: from settings and ledger alone."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine
from sqlmodel import Session

from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import PlatformWrite
from liftloop.adapters.platforms import writes
from liftloop.adapters.platforms.building import incomplete
from liftloop.settings.platforms import Platforms, Target

AGAIN = "the next liftloop cycle tries again"
Said = tuple[bool | None, str, str]


def standings(policies: Platforms, *, engine: Engine) -> list[Said]:
    """Whether it is well, what there is to say, and what mends it."""
    with session(engine, read_only=True) as db:
        open_ends = writes.pending(db)
        names = {target.name for target in policies.targets}
        found = [said for target in policies.targets for said in _target(db, target, open_ends)]
        for name in sorted({row.platform for row in open_ends} - names):
            words = f"{name}: budgets were on their way when it was taken out of the settings"
            found.append((None, words, "set them by hand, or add the target again"))
    return found or [(True, "none set: budgets go to the outbox", "")]


def _target(db: Session, target: Target, open_ends: list[PlatformWrite]) -> Iterator[Said]:
    name, quiet = f"{target.name} ({target.kind})", True
    missing = incomplete(target)
    if missing:
        quiet = False
        yield False, f"{name}: {missing[0]}", missing[1]
    breaker = writes.breaker(db, platform=target.name)
    if breaker is not None and breaker.state != "closed" and breaker.opened_at is not None:
        quiet = False
        since = f"{breaker.opened_at:%Y-%m-%d %H:%M} UTC"
        words = f"left alone since {since}, after {breaker.failures} failures in a row"
        yield False, f"{name}: {words}", f"is it up? {AGAIN}"
    own = [row for row in open_ends if row.platform == target.name]
    differ = [row for row in own if row.state == "differs"]
    waiting = [row for row in own if row.state != "differs"]
    if differ:
        first = f"{differ[0].segment} x {differ[0].channel}: {differ[0].last_error}"
        words = f"{len(differ)} budgets stand otherwise than they were set ({first})"
        yield False, f"{name}: {words}", f"does the platform round, or hold a limit? {AGAIN}"
    if waiting:
        reason = next((row.last_error for row in waiting if row.last_error), "not begun")
        words = f"{len(waiting)} budgets of {waiting[0].decision_id} are not set yet ({reason})"
        yield False, f"{name}: {words}", AGAIN
    if quiet and not own:
        yield True, f"{name}: all budgets that were set stand there", ""
