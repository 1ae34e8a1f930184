"""A test inside a cell before it starts: what the cell's past says of its length and cost, what it
collides with, and what earlier tests of its kind found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.variant_tests import ENDED, WON, planned_test, variant_tests
from liftloop.core.arrays import Array, Days
from liftloop.core.errors import UnknownName
from liftloop.core.variant_tests.assignment import assign_segments
from liftloop.core.variant_tests.design import (
    Collision,
    UnderWay,
    VariantDesign,
    collisions,
    design_test,
)
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import AssignedBy, Metric, VariantTest, daily_sums
from liftloop.pipeline.variant_tests import question_of, turns_of
from liftloop.reporting.variant_tests import (
    collision_words,
    design_sentences,
    earlier_words,
    turns_words,
)
from tasks.context import Loop, open_loop, view
from tasks.decision.running_rollout import running_rollout
from tasks.variant_tests.runs import must_be_possible

PAST_DAYS = 91
MOST_CREATIVES = 12  # the most shown ones


@dataclass(frozen=True, slots=True)
class TestProposal:
    """A planned test with what is known of it beforehand."""

    __test__ = False

    test: VariantTest
    design: VariantDesign | None
    collisions: tuple[Collision, ...]
    sentences: tuple[str, ...]

    @property
    def design_values(self) -> dict[str, Any]:
        """What it was expected to need and to cost, as plain values."""
        if self.design is None:
            return {}
        values = asdict(self.design)
        found = values["detectable"]
        return {**values, "detectable": found if found < float("inf") else None}


def plan_test(workspace: str, test: VariantTest) -> TestProposal:
    """What is known of a test before it starts. Writes nothing.

    Raises
    ------
    Declined
        When it cannot be run as it is described.
    """
    loop = open_loop(workspace)
    must_be_possible(test, min(test.start, loop.today()))
    test = _with_groups(test)
    past = past_of(loop, test)
    limit = (test.last - test.start).days + 1
    design = design_test(
        past, question_of(test, loop.settings), limit_days=limit, delay_days=test.delay_days
    )
    found = collisions(test.cells, test.assigned_by, under_way(loop, test))
    said = (
        *design_sentences(test, design, loop.settings.account.currency),
        collision_words(found),
        earlier_words(test, earlier_tests(loop, test)),
        turns_words(turns_of(test)) if test.assigned_by is AssignedBy.TIME else "",
    )
    return TestProposal(test, design, found, tuple(filter(None, said)))


def _with_groups(test: VariantTest) -> VariantTest:
    """A test by geography with the variant of each segment, drawn by its seed."""
    if test.assigned_by is not AssignedBy.GEO:
        return test
    alike = dict.fromkeys(test.segments, 1.0)
    drawn = assign_segments(alike, test.variants, seed=test.seed)
    return replace(test, groups=tuple(drawn[name] for name in test.segments))


def past_of(loop: Loop, test: VariantTest) -> VariantDays:
    """The last weeks of the test's cells: all users who saw ads where the cells have a holdout,
    else a row for each creative that was shown, by impressions. What is earned per unit of spend
    is always by creative."""
    day = min(test.start, loop.today() + timedelta(days=1))
    start = day - timedelta(days=PAST_DAYS)
    facts = view(loop, day, ["performance", "holdout"], start=start).frames
    margin = loop.settings.budget.margin if test.metric is Metric.PROFIT else 1.0
    days: Days = np.arange(np.datetime64(start), np.datetime64(day), dtype="datetime64[D]")
    counted = "conversions" if test.metric is Metric.CONVERSIONS else "revenue"
    treated = _inside(facts["holdout"], test)
    treated = treated[treated["arm"] == "treated"].assign(creative="all")
    if len(treated) and test.metric is not Metric.PROFIT:
        past = _past(treated, ("all",), ("users", counted), days)
        squares = past.value if counted == "conversions" else _sums(treated, past, "revenue_sq")
        return replace(past, value_squares=squares).where(past.units.sum(axis=0) > 0)
    rows = _inside(facts["performance"], test)
    shown = rows.groupby("creative")["impressions"].sum().sort_values(ascending=False)
    names = tuple(sorted(map(str, shown.index[:MOST_CREATIVES]))) or ("all",)
    past = _past(rows[rows["creative"].isin(names)], names, ("impressions", counted), days)
    alike = past.value if counted == "conversions" else None  # a conversion is 0 or 1
    past = replace(past, value=margin * past.value, value_squares=alike)
    return past.where(past.units.sum(axis=0) > 0)


def _past(
    rows: pd.DataFrame, names: tuple[str, ...], columns: tuple[str, str], days: Days
) -> VariantDays:
    empty = VariantDays(names, days, *(np.zeros((len(names), len(days))) for _ in range(3)))
    units, value = (_sums(rows, empty, column) for column in columns)
    spend = _sums(rows, empty, "spend") if "spend" in rows else empty.spend
    return replace(empty, units=units, spend=spend, value=value)


def _sums(rows: pd.DataFrame, past: VariantDays, column: str) -> Array:
    return daily_sums(rows, column, names=("creative", past.variants), days=past.days)


def _inside(rows: pd.DataFrame, test: VariantTest) -> pd.DataFrame:
    return rows[rows["segment"].isin(test.segments) & (rows["channel"] == test.channel)]


def under_way(loop: Loop, test: VariantTest) -> UnderWay:
    """What runs in the account that a test could disturb."""
    with session(loop.engine, read_only=True) as db:
        stream = running_rollout(db)
        records = [one for one in variant_tests(db) if one.state == "running"]
    facts = view(loop, min(test.start, loop.today() + timedelta(days=1)), ["holdout"])
    control = _inside(facts["holdout"], test)
    held = set(control.loc[control["arm"] == "control", "segment"])
    segments = {cell.segment for cell in stream.head.cells} if stream is not None else set()
    return UnderWay(
        rollout=stream.state.rollout_id if stream is not None else "",
        rollout_segments=frozenset(segments),
        tests=tuple(
            (one.name, planned_test(one).cells) for one in records if one.name != test.name
        ),
        holdouts=frozenset(cell for cell in test.cells if cell.segment in held),
    )


def earlier_tests(loop: Loop, test: VariantTest) -> tuple[tuple[str, bool], ...]:
    """Earlier tests of the same channel that are over, by name, and whether a variant won."""
    with session(loop.engine, read_only=True) as db:
        records = variant_tests(db)
    return tuple(
        (one.name, one.state == WON)
        for one in records
        if one.state in (WON, ENDED) and one.channel == test.channel and one.name != test.name
    )


def segments_of(loop: Loop, channel: str) -> tuple[str, ...]:
    """The segments in which a channel has a budget.

    Raises
    ------
    UnknownName
        Where no budgets in force have this channel.
    """
    with session(loop.engine, read_only=True) as db:
        now = budgets_in_force(db, before=date.max)
    cells = loop.names.policy(now[0]).cells if now is not None else ()
    found = tuple(sorted(cell.segment for cell in cells if cell.channel == channel))
    if not found:
        raise UnknownName(
            f"No budgets in force have the channel {channel}: name the segments (--segments)."
        )
    return found
