"""Tests inside cells that a person starts and stops. Each act is one ledger transaction with its
audit entry; the file that the platform needs goes to the outbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlmodel import Session

from liftloop.adapters.audit.sealing import row_content
from liftloop.adapters.files.shares_file import write_shares
from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.experiments import holding
from liftloop.adapters.ledger.experiments import plan_of as plan_of_experiment
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import VariantTestRecord, VariantTestReview
from liftloop.adapters.ledger.variant_tests import (
    RUNNING,
    STOPPED,
    TEST_CHANGES,
    add_test,
    change_variants,
    end_test,
    last_review,
    planned_test,
    running_tests,
    variant_test,
)
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.feeds.columns import LONGEST_NAME
from liftloop.core.ids import canonical
from liftloop.core.variant_tests.plan import Acting, AssignedBy, VariantShares, VariantTest
from liftloop.pipeline.variant_tests import turns_of
from tasks.context import Loop, open_loop
from tasks.operate.audit_notes import anchor, note, note_once

MOST_VARIANTS = 20


@dataclass(frozen=True, slots=True)
class StartedTest:
    """A test that runs: whether it is new, its shares, and the file in the outbox."""

    test: VariantTest
    is_new: bool
    shares: VariantShares
    file: str


def start_test(
    workspace: str,
    planned: VariantTest,
    *,
    design: dict[str, Any],
    actor: str,
    on: date | None = None,
) -> StartedTest:
    """Record a test before its first day and write the shares its platform needs. Started again
    with the same plan, nothing changes.

    Parameters
    ----------
    design
        What it was expected to need and to cost, as plain values.
    on
        The day on which it is recorded; None: today.

    Raises
    ------
    Declined
        When it cannot be told apart from what runs already, starts in the past, or its name is
        taken.
    """
    loop = open_loop(workspace)
    must_be_possible(planned, on or loop.today())
    record = VariantTestRecord(
        name=planned.name,
        channel=planned.channel,
        starts_on=planned.start,
        ends_on=planned.last,
        plan=canonical(planned.as_dict()),
        design=canonical(design),
        actor=actor,
        created_at=loop.now(),
        state=RUNNING,
    )
    with session(loop.engine) as db:
        known = variant_test(db, name=planned.name)
        if known is not None and known.plan != record.plan:
            raise Declined(
                f"There is a test {planned.name} already ({known.state}): choose another name. "
                "liftloop tests lists them."
            )
        if known is None:
            _must_be_alone(db, loop, planned)
            add_test(db, record=record)
            content = row_content(record, changes=TEST_CHANGES)
            said = {**planned.as_dict(), "content": content, "state": RUNNING}
            note_once(db, loop, "start_test", record.name, actor=actor, payload=said)
    anchor(loop)
    shares = shares_in_force(loop, planned)
    turns = turns_of(planned) if planned.assigned_by is AssignedBy.TIME else ()
    file = write_shares(loop.workspace, planned, planned.start, shares, turns)
    return StartedTest(planned, known is None, shares, file)


def shares_in_force(loop: Loop, test: VariantTest) -> VariantShares:
    """The shares of a test's variants by its last review; those it began with before the first."""
    with session(loop.engine, read_only=True) as db:
        return shares_after(test, last_review(db, test=test.name))


def shares_after(test: VariantTest, review: VariantTestReview | None) -> VariantShares:
    """The shares that a review came to; None: those that the test began with."""
    return test.first_shares if review is None else shares_of(review)


def shares_of(review: VariantTestReview) -> VariantShares:
    """The shares as a review keeps them."""
    return VariantShares.from_dict(json.loads(review.shares))


def must_be_possible(planned: VariantTest, day: date) -> None:
    """Refuse a test that cannot be run as planned on ``day``.

    Raises
    ------
    Declined
        With what to change.
    """
    _must_be_named(planned)
    if planned.ads and len(planned.ads) != len(planned.variants):
        raise Declined(
            f"{len(planned.ads)} ads for {len(planned.variants)} variants: name one ad a variant."
        )
    if not planned.hypothesis.strip():
        raise Declined("A test needs a hypothesis: what you suppose, in a sentence.")
    if not 0 < planned.smallest_effect < 10:
        raise Declined("The smallest effect worth acting on is a share above 0, such as 0.05.")
    if planned.start < day:
        raise Declined(f"{planned.start} is in the past: a test is recorded before it begins.")
    if planned.last <= planned.start + timedelta(days=planned.delay_days):
        raise Declined(f"The test ends on {planned.last}, before it can say anything.")
    if planned.assigned_by is AssignedBy.GEO and len(planned.segments) < 2 * len(planned.variants):
        raise Declined(
            f"{len(planned.segments)} segments for {len(planned.variants)} variants: each variant "
            "needs two segments at least, or assign users (--assigned-by user)."
        )
    if planned.assigned_by is AssignedBy.TIME and len(turns_of(planned)) < 2 * len(
        planned.variants
    ):
        raise Declined(
            "Too short for turns: each variant needs two of them. Let it run longer (--days)."
        )


def _must_be_named(planned: VariantTest) -> None:
    names = [planned.name, planned.channel, *planned.segments, *planned.variants, *planned.ads]
    for text in names:
        if text != text.strip() or len(text) > LONGEST_NAME or not text.isprintable():
            raise Declined(
                f"{text[:40]!r} is no name: no blanks around it, no line breaks, at most "
                f"{LONGEST_NAME} characters."
            )
    if not planned.name:
        raise Declined("A test needs a name, under which its rows are delivered.")
    if not (planned.channel and planned.segments and all(planned.segments)):
        raise Declined("A test needs a channel and segments.")
    for what, found in (("variants", planned.variants), ("segments", planned.segments)):
        if len({one.casefold() for one in found}) < len(found):
            raise Declined(f"Two {what} have the same name: {', '.join(found)}.")
    if not 2 <= len(planned.variants) <= MOST_VARIANTS or not all(planned.variants):
        raise Declined(f"A test has from 2 to {MOST_VARIANTS} variants, each with its own name.")


def _must_be_alone(db: Session, loop: Loop, planned: VariantTest) -> None:
    """No other test or experiment is in its cells meanwhile, and the cells have budgets."""
    now = budgets_in_force(db, before=date.max)
    known = set(loop.names.policy(now[0]).cells) if now is not None else set()
    for cell in planned.cells:
        if now is not None and cell not in known:
            raise Declined(f"{cell} has no budget: see liftloop budgets.")
    for record in running_tests(db):
        other = planned_test(record)
        shared = set(other.cells) & set(planned.cells)
        if shared and not (other.last < planned.start or planned.last < other.start):
            raise Declined(
                f"The test {other.name} runs in {min(shared)} until {other.last}: two at once "
                "cannot be told apart."
            )
    for running in holding(db):
        experiment = plan_of_experiment(running)
        shared = set(experiment.cells) & set(planned.cells)
        if shared and not (experiment.end < planned.start or planned.last < experiment.start):
            raise Declined(
                f"The experiment {experiment.name} changes the spend of {min(shared)} until "
                f"{experiment.end}: start the test after it."
            )


def change_test(
    workspace: str, name: str, *, variant: str, ad: str = "", gone: bool = False, actor: str
) -> str:
    """Let a variant join a running test, or leave it, from today on. One that joins begins with
    what its siblings earn and a protected share; the share of one that leaves goes to the others.

    Raises
    ------
    UnknownName
        When the test was never started, or the variant that is to leave is none of it.
    Declined
        When the test is over, does not split its money by what is learned, or too few would stay.
    """
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        found = recorded_test(db, name)
        test = planned_test(found)
        _may_change(found, test, variant, gone)
        if (variant in test.compared) != gone:
            return f"{variant} {'has left' if gone else 'is in'} {name} already."
        changed = change_variants(db, name=name, on=loop.today(), variant=variant, ad=ad, gone=gone)
        assert changed is not None  # it runs
        said = {
            "state": changed.state,
            "variant": variant,
            "gone": gone,
            "outcome": row_content(changed),
        }
        note(db, loop, "change_test", name, actor=actor, payload=said)
    anchor(loop)
    does = "leaves" if gone else "joins"
    return f"{variant} {does} {name}: the next reading gives the shares."


def _may_change(found: VariantTestRecord, test: VariantTest, variant: str, gone: bool) -> None:
    if found.state != RUNNING:
        raise Declined(f"{test.name} is over ({found.state}): start a new test.")
    if test.acting is not Acting.SPLIT or test.assigned_by is not AssignedBy.USER:
        raise Declined(
            f"The shares of {test.name} do not follow what is learned: stop it and start a new one."
        )
    if gone and variant not in test.variants:
        raise UnknownName(f"{test.name} has no variant {variant}: {', '.join(test.variants)}.")
    if gone and (variant == test.variants[0] or len(test.compared) <= 2):
        raise Declined(
            f"{variant} cannot leave: all others are compared with {test.variants[0]}, and two at "
            "least must stay. Stop the test instead."
        )
    if not gone and (not variant.strip() or len(test.compared) >= MOST_VARIANTS):
        raise Declined(f"A test has at most {MOST_VARIANTS} variants, each with a name.")


def stop_test(workspace: str, name: str, *, reason: str, actor: str) -> str:
    """End a running test; the shares stay as they are. Stopped again, nothing changes.

    Raises
    ------
    UnknownName
        When it was never started.
    Declined
        When it is over.
    """
    loop = open_loop(workspace)
    if not reason.strip():
        raise Declined("Give a reason: it is kept in the audit trail.")
    with session(loop.engine) as db:
        found = recorded_test(db, name)
        if found.state == STOPPED:
            return f"Stopped already: {name}, on {found.ended_on}."
        if found.state != RUNNING:
            raise Declined(f"{name} is over ({found.state}): there is nothing to stop.")
        ended = end_test(
            db, name=name, state=STOPPED, on=loop.today(), reason=f"Stopped: {reason}."
        )
        assert ended is not None  # it runs
        note_end(db, loop, ended, actor=actor, act="stop_test")
    anchor(loop)
    return f"Stopped: {name}. Its variants keep their shares until you change them."


def recorded_test(db: Session, name: str) -> VariantTestRecord:
    """The record of that name.

    Raises
    ------
    UnknownName
        Where there is none.
    """
    found = variant_test(db, name=name)
    if found is None:
        raise UnknownName(f"There is no test {name}. liftloop tests lists them.")
    return found


def note_end(db: Session, loop: Loop, record: VariantTestRecord, *, actor: str, act: str) -> None:
    """Enter into the trail how a test ended, in the caller's transaction."""
    said = {
        "state": record.state,
        "reason": record.reason,
        "winner": record.winner,
        "outcome": row_content(record),
    }
    note_once(db, loop, act, record.name, actor=actor, payload=said)
