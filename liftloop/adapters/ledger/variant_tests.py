"""Tests inside cells in the ledger: a record each, and one review a day of what they came to."""

from __future__ import annotations

import json
from datetime import date

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.records import insert_once
from liftloop.adapters.ledger.tables import VariantTestRecord, VariantTestReview
from liftloop.core.variant_tests.plan import VariantTest

RUNNING, STOPPED, WON, ENDED = "running", "stopped", "won", "ended"
TEST_CHANGES = frozenset({"state", "ended_on", "winner", "reason", "changes"})
TEST_ACTS = frozenset({"start_test", "change_test", "stop_test", "end_test"})
REVIEW_ACT = "review_test"


def add_test(session: Session, *, record: VariantTestRecord) -> bool:
    """Keep a test under its name; False when one of that name is there already."""
    return insert_once(session, record)


def variant_test(session: Session, *, name: str) -> VariantTestRecord | None:
    return session.get(VariantTestRecord, name)


def planned_test(record: VariantTestRecord, *, on: date | None = None) -> VariantTest:
    """The test as it was planned, with the variants that came and went until ``on`` (default: all
    that did)."""
    test = VariantTest.from_dict(json.loads(record.plan))
    for change in json.loads(record.changes):
        if on is not None and date.fromisoformat(change["on"]) > on:
            continue
        if change["gone"]:
            test = test.without(change["variant"])
        else:
            test = test.joined_by(change["variant"], change["ad"])
    return test


def change_variants(
    session: Session, *, name: str, on: date, variant: str, ad: str = "", gone: bool = False
) -> VariantTestRecord | None:
    """Keep that a variant of a running test came, or went, on a day; None when none runs."""
    found = variant_test(session, name=name)
    if found is None or found.state != RUNNING:
        return None
    new = {"on": on.isoformat(), "variant": variant, "ad": ad, "gone": gone}
    found.changes = json.dumps([*json.loads(found.changes), new])
    session.add(found)
    session.flush()
    return found


def variant_tests(session: Session) -> list[VariantTestRecord]:
    """All tests, the one that began last first."""
    order = (col(VariantTestRecord.starts_on).desc(), col(VariantTestRecord.name))
    return list(session.exec(select(VariantTestRecord).order_by(*order)))


def running_tests(session: Session) -> list[VariantTestRecord]:
    """Tests that nobody and nothing ended yet, by name."""
    query = select(VariantTestRecord).where(VariantTestRecord.state == RUNNING)
    return list(session.exec(query.order_by(col(VariantTestRecord.name))))


def end_test(
    session: Session, *, name: str, state: str, on: date, reason: str, winner: str = ""
) -> VariantTestRecord | None:
    """Keep how a running test ended; None when it is over already, or there is none."""
    found = variant_test(session, name=name)
    if found is None or found.state != RUNNING:
        return None
    found.state, found.ended_on, found.reason, found.winner = state, on, reason, winner
    session.add(found)
    session.flush()
    return found


def add_review(session: Session, *, review: VariantTestReview) -> bool:
    """Keep a review under its id; False when it is there already."""
    return insert_once(session, review)


def reviews_of(session: Session, *, test: str) -> list[VariantTestReview]:
    """The reviews of a test in the order in which they were made."""
    query = select(VariantTestReview).where(VariantTestReview.test == test)
    order = (col(VariantTestReview.as_of), col(VariantTestReview.created_at))
    return list(session.exec(query.order_by(*order)))


def last_review(session: Session, *, test: str) -> VariantTestReview | None:
    """The last review of a test."""
    query = select(VariantTestReview).where(VariantTestReview.test == test)
    order = (col(VariantTestReview.as_of).desc(), col(VariantTestReview.created_at).desc())
    return session.exec(query.order_by(*order).limit(1)).first()
