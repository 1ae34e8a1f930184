"""The tests inside cells as people look at them: all in a table, or one with its reviews."""

from __future__ import annotations

import json
from typing import Any

from sqlmodel import Session

from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import VariantTestRecord, VariantTestReview
from liftloop.adapters.ledger.variant_tests import (
    last_review,
    planned_test,
    reviews_of,
    variant_tests,
)
from liftloop.reporting.variant_tests import shares_words
from tasks.context import open_loop
from tasks.variant_tests.runs import recorded_test, shares_after, shares_of


def listed_tests(workspace: str) -> list[dict[str, Any]]:
    """All tests, the newest first: plain values and, of each, its last reading in a sentence."""
    with session(open_loop(workspace).engine, read_only=True) as db:
        return [_row(db, record) for record in variant_tests(db)]


def shown_test(workspace: str, name: str) -> dict[str, Any]:
    """One test with its plan and every review.

    Raises
    ------
    UnknownName
        Where there is none of that name.
    """
    with session(open_loop(workspace).engine, read_only=True) as db:
        record = recorded_test(db, name)
        return {
            **_row(db, record),
            "plan": planned_test(record).as_dict(),
            "design": json.loads(record.design),
            "reason": record.reason,
            "reviews": [_review(review) for review in reviews_of(db, test=name)],
        }


def _row(db: Session, record: VariantTestRecord) -> dict[str, Any]:
    test, last = planned_test(record), last_review(db, test=record.name)
    shares = shares_after(test, last)
    return {
        "test": record.name,
        "channel": record.channel,
        "segments": ", ".join(test.segments),
        "state": record.state,
        "days": f"{record.starts_on} to {record.ended_on or record.ends_on}",
        "shares": shares_words(shares),
        "reading": "not read yet" if last is None else last.sentence,
        "winner": record.winner,
        "by": record.actor,
    }


def _review(review: VariantTestReview) -> dict[str, Any]:
    values = json.loads(review.reading)
    return {
        "as_of": review.as_of.isoformat(),
        "sentence": review.sentence,
        "shares": shares_words(shares_of(review)),
        **values,
    }
