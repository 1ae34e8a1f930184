"""The day's review of the tests that run inside cells: read, decide the shares, record, tell.

Each test's review is one ledger transaction; the file of its shares follows, and a run that was
killed in between writes it the next time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlmodel import Session

from liftloop.adapters.audit.sealing import AuditEvent, row_content
from liftloop.adapters.files.shares_file import write_shares
from liftloop.adapters.ledger.records import append_audit, session
from liftloop.adapters.ledger.tables import VariantTestRecord, VariantTestReview
from liftloop.adapters.ledger.variant_tests import (
    ENDED,
    REVIEW_ACT,
    WON,
    add_review,
    end_test,
    last_review,
    planned_test,
    reviews_of,
    running_tests,
    variant_tests,
)
from liftloop.adapters.notify import queue_message
from liftloop.core.ids import canonical, key
from liftloop.core.variant_tests.plan import TestEnd, VariantShares
from liftloop.pipeline.variant_tests import DAYS_BEFORE, TestReview, TestState, review_tests
from liftloop.reporting.variant_tests import (
    ended_message,
    finding_words,
    next_step_words,
    reading_words,
    shares_words,
    stray_words,
)
from tasks.context import Loop, open_loop, view
from tasks.operate.audit_notes import anchor
from tasks.report.delivery import deliver_queued
from tasks.step import leave_page, step
from tasks.variant_tests.runs import note_end, shares_after, shares_of

FEED = "variants"


@dataclass(frozen=True, slots=True)
class ReviewedTest:
    """What a review came to: whether it is new, its sentence, the shares from the day on, the file
    of them ("" where they stay), and how the test ended ("" where it runs)."""

    test: str
    as_of: date
    is_new: bool
    sentence: str
    shares: VariantShares
    file: str
    end: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "test": self.test,
            "as_of": self.as_of.isoformat(),
            "new": self.is_new,
            "sentence": self.sentence,
            "shares": self.shares.as_dict(),
            "file": self.file,
            "end": self.end,
        }


@step("review tests inside cells")
def review_running_tests(workspace: str, as_of: date) -> list[ReviewedTest]:
    """Read the tests that run by the facts known on ``as_of``, together, and bring their shares
    out. The same facts again change nothing."""
    found = review_once(open_loop(workspace), as_of)
    if found:
        leave_page(
            "\n\n".join(f"**{one.test}**: {one.sentence}" for one in found),
            workspace=workspace,
            key="tests-inside-cells",
            description=f"Tests inside cells, {as_of}",
        )
    return found


def review_once(loop: Loop, as_of: date) -> list[ReviewedTest]:
    """As of :func:`review_running_tests`; of a day that is still to come nothing is read."""
    if as_of > loop.today():
        return []
    with session(loop.engine, read_only=True) as db:
        records = [one for one in running_tests(db) if one.starts_on < as_of]
        states = {one.name: _state(db, one, as_of) for one in records}
        ended = _ended_beside(db, records, as_of)
    if not states:
        return []
    first = min(state.test.start for state in states.values()) - timedelta(days=DAYS_BEFORE)
    facts = view(loop, as_of, [FEED], start=first)
    reviews = review_tests(loop.settings, states, facts[FEED], as_of=as_of, ended=ended)
    done = [
        _recorded(loop, states[name], review, facts.fingerprint) for name, review in reviews.items()
    ]
    if any(one.is_new for one in done):
        deliver_queued(loop)
        anchor(loop)
    return done


def _state(db: Session, record: VariantTestRecord, as_of: date) -> TestState:
    test = planned_test(record, on=as_of)
    past = [one for one in reviews_of(db, test=test.name) if one.as_of < as_of]
    issued = tuple((one.as_of, shares_of(one)) for one in past)
    seen = json.loads(past[-1].reading).get("seen_until") if past else None
    return TestState(
        test,
        shares_after(test, past[-1] if past else None),
        issued,
        date.fromisoformat(seen) if seen else None,
    )


def _ended_beside(db: Session, running: list[VariantTestRecord], as_of: date) -> list[float]:
    """Log e-values of the differences of tests that ended while one of the ``running`` ran, each as
    it was last read."""
    if not running:
        return []
    first = min(one.starts_on for one in running)
    over = [one for one in variant_tests(db) if one.ended_on and first <= one.ended_on <= as_of]
    reviews = [last_review(db, test=one.name) for one in over]
    return [
        float(effect["log_e_value"])
        for review in reviews
        if review is not None
        for effect in json.loads(review.reading)["effects"]
        if effect["log_e_value"] is not None
    ]


def _recorded(loop: Loop, state: TestState, review: TestReview, facts: str) -> ReviewedTest:
    test, day = review.test, review.as_of
    sentence = sentence_of(review)
    id = key("v", test.name, day, facts, state.shares.as_dict(), loop.settings_hash)
    row = VariantTestReview(
        id=id,
        test=test.name,
        as_of=day,
        facts=facts,
        reading=canonical(reading_values(review)),
        shares=canonical(review.shares.as_dict()),
        sentence=sentence,
        created_at=loop.now(),
    )
    with session(loop.engine) as db:
        is_new = add_review(db, review=row)
        if is_new:
            append_audit(
                db,
                AuditEvent(
                    key=key("a", REVIEW_ACT, id),
                    actor=loop.actor,
                    act=REVIEW_ACT,
                    subject=id,
                    payload={
                        "test": test.name,
                        "as_of": day,
                        "reason": sentence,
                        "shares": review.shares.as_dict(),
                        "content": row_content(row),
                    },
                    at=loop.now(),
                ),
            )
        if review.end is not None:
            _end(db, loop, review, sentence)
    moved = state.shares.rounded() != review.shares.rounded()
    file = write_shares(loop.workspace, test, day, review.shares) if moved else ""
    end = review.end.value if review.end is not None else ""
    return ReviewedTest(test.name, day, is_new, sentence, review.shares, file, end)


def _end(db: Session, loop: Loop, review: TestReview, sentence: str) -> None:
    test = review.test
    assert review.end is not None  # it ended
    ended = end_test(
        db,
        name=test.name,
        state=WON if review.end is TestEnd.WON else ENDED,
        on=review.as_of,
        reason=sentence,
        winner=review.taking_over,
    )
    if ended is None:
        return
    note_end(db, loop, ended, actor=loop.actor, act="end_test")
    words = ended_message(
        test, sentence, step=next_step_words(test, review.end, review.taking_over), day=review.as_of
    )
    queue_message(db, key=key("n", test.name, "ended"), kind="test", words=words, at=loop.now())


def sentence_of(review: TestReview) -> str:
    """What a review came to, in words."""
    parts = [finding_words(finding) for finding in review.findings]
    if not review.has_rows:
        parts.append("No row is known under its name yet.")
    elif not review.is_broken:
        parts.insert(0, reading_words(review.test, review.reading))
    if review.negative:
        parts.append("A day's outcomes are negative: shares are not split by them.")
    if review.taking_over and review.end is None:
        parts.append(f"{review.taking_over} takes over step by step.")
    parts += [f"Shares: {shares_words(review.shares)}.", stray_words(review.strays)]
    return " ".join(filter(None, parts))


def reading_values(review: TestReview) -> dict[str, Any]:
    """What a review rests on, as plain values; what is not known is None."""
    reading = review.reading
    effects = [
        {
            "variant": one.variant,
            "verdict": one.verdict.value,
            "rate": known(one.rate),
            "first_rate": known(one.first_rate),
            "relative": known(one.relative),
            "low": known(one.relative_low),
            "high": known(one.relative_high),
            "log_e_value": known(one.log_e_value),
            "missing": one.missing.value if one.missing else None,
        }
        for one in reading.effects
    ]
    findings = [
        {"code": one.code.value, "variant": one.variant, **one.numbers} for one in review.findings
    ]
    return {
        "verdict": reading.verdict.value,
        "best": reading.best,
        "days": reading.days,
        "seen_until": review.seen_until.isoformat() if review.seen_until else None,
        "waiting_days": reading.waiting_days,
        "effects": effects,
        "findings": findings,
        "end": review.end.value if review.end else None,
    }


def known(value: float) -> float | None:
    """A number that JSON can hold; None for one that is not known or has no end."""
    return float(value) if abs(value) < float("inf") else None
