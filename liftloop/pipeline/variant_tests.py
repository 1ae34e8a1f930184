"""What a day makes of the tests that run inside cells: how they read, together, and how the cell's
money is shared from this day on. Used by the daily ``tests`` flow and the command alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from zlib import crc32

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from liftloop.core.experiments.design import ASSUMED_CARRYOVER
from liftloop.core.variant_tests.assignment import VariantTurn, assign_days, by_rounds, turns_for
from liftloop.core.variant_tests.checks import CheckCode, CheckFinding, check_test
from liftloop.core.variant_tests.comparison import MATURE, VariantQuestion
from liftloop.core.variant_tests.multiplicity import corrected
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import (
    Acting,
    AssignedBy,
    Metric,
    TestEnd,
    VariantShares,
    VariantTest,
    observed,
    stray_rows,
)
from liftloop.core.variant_tests.reading import ReadingVerdict, TestReading, read_test
from liftloop.core.variant_tests.splits.segment_shares import segment_shares
from liftloop.core.variant_tests.splits.shares import Per, ShareRule, next_shares
from liftloop.settings.schema import Settings

DAYS_BEFORE = 56  # of a test by geography: what its groups sold before it


@dataclass(frozen=True, slots=True)
class TestState:
    """A running test before its review: its plan, the shares in force, and those of earlier days
    with the first day of each; the last day of which its last review knew all outcomes."""

    __test__ = False

    test: VariantTest
    shares: VariantShares
    issued: tuple[tuple[date, VariantShares], ...] = ()
    seen_until: date | None = None


@dataclass(frozen=True, slots=True)
class TestReview:
    """What a day made of a test.

    Attributes
    ----------
    shares
        From this day on.
    taking_over
        The variant to which the shares move in steps; "" for none.
    end
        How the test ended; None while it runs.
    strays
        Rows under its name that count for nothing, by variant and cell.
    seen_until
        The last day of which all outcomes are known; None for none.
    has_rows
        Whether anything is known of it at all.
    negative
        Whether a day's outcomes are negative, so that nothing is split by them.
    """

    __test__ = False

    test: VariantTest
    as_of: date
    reading: TestReading
    findings: tuple[CheckFinding, ...]
    shares: VariantShares
    taking_over: str
    end: TestEnd | None
    strays: Mapping[str, int]
    seen_until: date | None = None
    has_rows: bool = False
    negative: bool = False

    @property
    def is_broken(self) -> bool:
        """Whether who has which variant is not as planned: then nothing is concluded."""
        return any(finding.code is CheckCode.SAMPLE_RATIO for finding in self.findings)


def question_of(test: VariantTest, settings: Settings) -> VariantQuestion:
    """What a test asks, with what a unit of its value is worth under these settings."""
    outcome, margin = settings.outcome, settings.budget.margin
    counted = test.metric is Metric.CONVERSIONS
    return VariantQuestion(
        test.compared,
        test.metric,
        test.smallest_effect,
        worth=margin * (outcome.worth if counted else 1.0),
        assigned_by=test.assigned_by,
    )


def review_tests(
    settings: Settings,
    states: Mapping[str, TestState],
    rows: pd.DataFrame,
    *,
    as_of: date,
    ended: Sequence[float] = (),
) -> dict[str, TestReview]:
    """Read all running tests together and decide their shares from ``as_of`` on.

    Parameters
    ----------
    states
        By name, every test that runs.
    rows
        The ``variants`` feed as known on ``as_of``.
    ended
        Log e-values of the differences of tests that ended while one of these ran.
    """
    readings = {
        name: _read(settings, state.test, rows, as_of=as_of) for name, state in states.items()
    }
    believed = corrected(readings, ended=ended)
    return {
        name: _review(settings, state, believed[name], rows, as_of=as_of)
        for name, state in states.items()
    }


def _read(settings: Settings, test: VariantTest, rows: pd.DataFrame, *, as_of: date) -> TestReading:
    margin, question = settings.budget.margin, question_of(test, settings)
    facts = observed(test, rows, as_of=as_of, margin=margin).of(test.compared)
    if test.assigned_by is AssignedBy.TIME:
        return read_test(by_rounds(facts, turns_of(test)), question)
    if test.assigned_by is AssignedBy.GEO:
        earlier = replace(
            test,
            start=test.start - timedelta(days=DAYS_BEFORE),
            last=test.start - timedelta(days=1),
        )
        before = observed(earlier, rows, as_of=as_of, margin=margin).of(test.compared)
        return read_test(facts, question, before=before)
    return read_test(facts, question)


def _review(
    settings: Settings, state: TestState, reading: TestReading, rows: pd.DataFrame, *, as_of: date
) -> TestReview:
    test = state.test
    facts = observed(test, rows, as_of=as_of, margin=settings.budget.margin)
    findings = check_test(
        facts.of(test.compared), question_of(test, settings), shares=_promised(state, facts)
    )
    ripe = _ripe(facts)
    known = ripe.days[(ripe.units > 0).any(axis=0)]
    review = TestReview(
        test,
        as_of,
        reading,
        tuple(one for one in findings if _counts(one, test)),
        state.shares,
        "",
        None,
        stray_rows(test, rows),
        known[-1].astype(date) if len(known) else None,
        bool((facts.units > 0).any()),
        bool((facts.value < 0).any()),
    )
    complete = as_of > test.last + timedelta(days=test.delay_days)  # nothing more can come
    over = replace(review, end=TestEnd.OVER) if complete else review
    if review.is_broken:
        return over
    is_new = review.seen_until is not None and review.seen_until != state.seen_until
    if reading.verdict is ReadingVerdict.CONCLUSIVE and reading.best is not None:
        return _towards(review, reading.best) if is_new or complete else review
    if reading.verdict is ReadingVerdict.NOTHING_THERE:
        return replace(review, end=TestEnd.NOTHING_THERE)
    splits = test.acting is Acting.SPLIT and test.assigned_by is AssignedBy.USER
    if over.end is not None or not splits or not is_new or review.negative:
        return over
    return replace(review, shares=_split(settings, state, rows, as_of=as_of))


def _counts(finding: CheckFinding, test: VariantTest) -> bool:
    """Platforms follow shares that move in their own time: there a ratio is taken for broken only
    where it is off by what no lag explains."""
    if finding.code is not CheckCode.SAMPLE_RATIO or test.acting is Acting.EVEN:
        return True
    off = abs(finding.numbers["share"] - finding.numbers["expected_share"])
    return off > ShareRule().largest_step


def _split(
    settings: Settings, state: TestState, rows: pd.DataFrame, *, as_of: date
) -> VariantShares:
    """The shares of the day by what is learned; by segment as far as these are shown to differ."""
    test, rule = state.test, share_rule(settings, state.test)
    seed = crc32(f"{test.name}{as_of}".encode())
    margin = settings.budget.margin
    if len(test.segments) == 1:
        facts = _ripe(observed(test, rows, as_of=as_of, margin=margin))
        found = next_shares(facts, rule, seed=seed, before=state.shares.common, gone=test.gone)
        return VariantShares(found.by_variant)
    parts = {
        name: _ripe(observed(replace(test, segments=(name,)), rows, as_of=as_of, margin=margin))
        for name in test.segments
    }
    before = {name: state.shares.of(name) for name in test.segments}
    each = segment_shares(parts, rule, seed=seed, before=before, gone=test.gone).segments
    apart = {name: shares.by_variant for name, shares in each.items()}
    mean = {v: float(np.mean([shares[v] for shares in apart.values()])) for v in test.variants}
    return VariantShares(mean, apart)


def _ripe(facts: VariantDays) -> VariantDays:
    """The days old enough for all their outcomes: others favour whose customers buy sooner."""
    return facts.where(facts.matured >= MATURE)


def _promised(state: TestState, facts: VariantDays) -> Array | None:
    """The shares that units are compared with, day by day, shape (v, d), of the variants that are
    compared; None where segments have shares of their own."""
    test, issued = state.test, (*state.issued, (date.max, state.shares))
    if test.assigned_by is not AssignedBy.USER or any(shares.apart for _, shares in issued):
        return None
    found = np.zeros((len(test.compared), len(facts.days)))
    for at, day in enumerate(facts.days.astype(date)):
        now = [shares for first, shares in state.issued if first <= day]
        common = (now[-1] if now else test.first_shares).common
        found[:, at] = [common.get(name, 0.0) for name in test.compared]
    found *= facts.of(test.compared).units > 0  # one that joined later had no share before
    total = found.sum(axis=0)
    return found / np.where(total > 0, total, 1.0)


def _towards(review: TestReview, winner: str) -> TestReview:
    """A step of the shares to the winner. It is watched like every day of the test: the reading of
    the day after decides the next step, or that it was none."""
    most = ShareRule().largest_step

    def step(shares: Mapping[str, float]) -> dict[str, float]:
        missing = 1.0 - shares.get(winner, 0.0)
        kept = max(missing - most, 0.0) / missing if missing > 0 else 0.0
        moved = {name: share * kept for name, share in shares.items()}
        return moved | {winner: 1.0 - missing * kept}

    moved = review.shares.each(step)
    least = min(moved.of(segment)[winner] for segment in review.test.segments)
    end = TestEnd.WON if least >= 1.0 - 1e-9 else None
    return replace(review, shares=moved, taking_over=winner, end=end)


def share_rule(settings: Settings, test: VariantTest) -> ShareRule:
    """How the shares of a test's variants may follow what is learned."""
    per = Per.SPEND if test.metric is Metric.PROFIT else Per.UNITS
    return ShareRule(per=per, horizon_days=max((test.last - test.start).days + 1, 1))


def turns_of(test: VariantTest) -> tuple[VariantTurn, ...]:
    """The turns of a test by time, as its seed drew them."""
    turns = turns_for(ASSUMED_CARRYOVER)
    days = (test.last - test.start).days + 1
    rounds = days // (turns.days * len(test.variants))
    return assign_days(test.variants, start=test.start, turns=turns, rounds=rounds, seed=test.seed)
