"""What the ledger keeps of budgets on their way, on both of its databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pybreaker
import pytest
from sqlalchemy import Engine

from liftloop.adapters.ledger.decisions import record_decision
from liftloop.adapters.ledger.records import save_policy, session
from liftloop.adapters.ledger.tables import Decision, PlatformBreaker
from liftloop.adapters.platforms import writes
from liftloop.adapters.platforms.guarded import breaker_of
from liftloop.adapters.platforms.protocol import PlatformUnreachable
from liftloop.core.curves.gain import budget_lines
from liftloop.core.policy import BudgetLine, Cell, Policy
from liftloop.reporting.messages.platform_differences import PlatformOutcome

AT, DAY = datetime(2026, 3, 2, 6, tzinfo=UTC), date(2026, 3, 2)
NORTH, SOUTH = Cell("north", "search"), Cell("south", "search")
TEN, TWENTY, THIRTY = Decimal("10.00"), Decimal("20.00"), Decimal("30.00")


def decide(ledger: Engine, id: str, after: Policy, before: Policy) -> tuple[BudgetLine, ...]:
    lines = budget_lines(decision_id=id, effective_from=DAY, policy=after, previous=before)
    head = Decision(
        id=id,
        sequence=0,
        kind="move",
        as_of=DAY,
        effective_from=DAY,
        state="in_force",
        policy_version=after.version,
        previous_policy_version=before.version,
        facts="{}",
        settings_hash="s",
        expected_gain=0.0,
        gain_low=0.0,
        gain_high=0.0,
        reason="r",
        created_at=AT,
    )
    with session(ledger) as db:
        for policy in (before, after):
            save_policy(db, policy=policy, origin="proposed", at=AT)
        record_decision(db, decision=head, lines=lines)
    return lines


def test_a_write_goes_from_intention_to_confirmation_and_is_intended_once(ledger: Engine) -> None:
    before = Policy.of({NORTH: TEN, SOUTH: TEN})
    lines = decide(ledger, "d-1", Policy.of({NORTH: TWENTY, SOUTH: TEN}), before)
    for _ in range(2):
        with session(ledger) as db:
            open_cells = writes.intend(db, platform="p", lines=lines, sequence=1, at=AT)
            assert open_cells == {NORTH, SOUTH}
    with session(ledger) as db:
        writes.begin(db, platform="p", lines=lines, found={NORTH: TEN}, at=AT)
        outcomes = {
            NORTH: PlatformOutcome("confirmed", TWENTY),
            SOUTH: PlatformOutcome("failed", None, "no"),
        }
        writes.mark(db, platform="p", lines=lines, outcomes=outcomes, at=AT)
    with session(ledger) as db:
        assert writes.intend(db, platform="p", lines=lines, sequence=1, at=AT) == {SOUTH}
        (waiting,) = writes.pending(db, platform="p")
        assert (waiting.state, waiting.attempts, waiting.last_error) == ("failed", 1, "no")
        assert writes.pending(db, platform="another") == []


def test_a_newer_decision_supersedes_on_its_own_platform_alone(ledger: Engine) -> None:
    first, second = Policy.of({NORTH: TEN}), Policy.of({NORTH: TWENTY})
    old, new = decide(ledger, "d-1", second, first), decide(ledger, "d-2", first, second)
    with session(ledger) as db:
        for platform in ("p", "q"):
            writes.intend(db, platform=platform, lines=old, sequence=1, at=AT)
        writes.intend(db, platform="p", lines=new, sequence=2, at=AT)
    with session(ledger) as db:
        open_ends = [(row.platform, row.decision_id) for row in writes.pending(db)]
    assert open_ends == [("p", "d-2"), ("q", "d-1")]


def test_what_last_stood_there_is_what_was_last_read_back(ledger: Engine) -> None:
    policies = [Policy.of({NORTH: amount}) for amount in (TEN, TWENTY, THIRTY)]
    first = decide(ledger, "d-1", policies[1], policies[0])
    with session(ledger) as db:
        known = writes.known(db, platform="p", lines=first)
        assert known.last == {NORTH: TEN}, "nothing yet: the budgets in force before"
        writes.intend(db, platform="p", lines=first, sequence=1, at=AT)
        writes.begin(db, platform="p", lines=first, found={NORTH: TEN}, at=AT)
        done = {NORTH: PlatformOutcome("differs", Decimal("19.00"), "it rounds")}
        writes.mark(db, platform="p", lines=first, outcomes=done, at=AT)
    later = AT + timedelta(days=7)
    second = decide(ledger, "d-2", policies[2], policies[1])
    with session(ledger) as db:
        writes.intend(db, platform="p", lines=second, sequence=2, at=later)
        writes.begin(db, platform="p", lines=second, found={}, at=later)
    third = decide(ledger, "d-3", policies[0], policies[2])
    with session(ledger) as db:
        known = writes.known(db, platform="p", lines=third)
    assert known.last == {NORTH: Decimal("19.00")}
    assert {THIRTY, TWENTY} <= known.explained[NORTH], "asked for, and never read back"


def test_a_breaker_made_anew_goes_on_where_the_last_one_stood(ledger: Engine) -> None:
    def breaker() -> pybreaker.CircuitBreaker:
        return breaker_of(ledger, "p", failures=2, seconds=60.0)

    def fails() -> None:
        raise PlatformUnreachable("no answer")

    assert breaker().call(lambda: 7) == 7
    with session(ledger, read_only=True) as db:
        assert db.get(PlatformBreaker, "p") is None, "nothing to keep while all is well"
    for _ in range(2):
        with pytest.raises(PlatformUnreachable):
            breaker().call(fails)
    with pytest.raises(pybreaker.CircuitBreakerError):
        breaker().call(lambda: 7)
    with session(ledger) as db:
        row = db.get(PlatformBreaker, "p")
        assert row is not None and row.opened_at is not None
        assert (row.state, row.failures) == ("open", 2)
        row.opened_at = row.opened_at - timedelta(seconds=61)
        db.add(row)
    with pytest.raises(PlatformUnreachable):  # half open: one trial
        breaker().call(fails)
    with pytest.raises(pybreaker.CircuitBreakerError):
        breaker().call(lambda: 7)
    with session(ledger) as db:
        row = db.get(PlatformBreaker, "p")
        assert row is not None
        row.state = "half-open"  # killed amid its trial
        db.add(row)
    assert breaker().call(lambda: 7) == 7
    with session(ledger, read_only=True) as db:
        row = db.get(PlatformBreaker, "p")
        assert row is not None and (row.state, row.failures) == ("closed", 0)
