"""Tests inside cells on the page: how they read, creatives that tire, and planning the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from liftloop.app.dashboard.acting import MOST_CHARACTERS, Visit, perform
from liftloop.app.dashboard.wording import harmless, md, table_height
from liftloop.core.access.roles import Action
from liftloop.core.errors import LiftLoopError
from liftloop.reporting.rendering import one_line

if TYPE_CHECKING:
    from liftloop.core.variant_tests.plan import VariantTest
    from tasks.variant_tests.planning import TestProposal

COLUMNS = ("test", "channel", "segments", "state", "days", "shares", "reading")
DAYS = 56
TOLD = 5  # tests whose whole reading stands below the table


def draw_variant_tests(visit: Visit) -> None:
    """Draw all tests, creatives that tire, and the form for a new one."""
    from tasks.variant_tests.listing import listed_tests

    st.header("Creatives, bids and audiences under test", anchor=False)
    rows = listed_tests(str(visit.workspace.root))
    if rows:
        frame = harmless(pd.DataFrame(rows, columns=list(COLUMNS)), *COLUMNS)
        st.dataframe(frame, hide_index=True, height=table_height(len(frame)), placeholder="–")
        for row in rows[:TOLD]:
            st.markdown(f"**{md(str(row['test']))}**: {md(str(row['reading']))}")
    else:
        st.caption("No test yet.")
    if visit.may(Action.EXPERIMENT):
        running = [str(row["test"]) for row in rows if row["state"] == "running"]
        if running:
            _stop(visit, running)
        _plan(visit)
    _tired(visit)


def _stop(visit: Visit, running: list[str]) -> None:
    """End a test that runs, with a reason."""
    from tasks.variant_tests.runs import stop_test

    with st.popover("Stop a test"):
        name = st.selectbox("Test", running, format_func=md)
        st.text_input("Reason", key="reason test", max_chars=MOST_CHARACTERS)
        place = str(visit.workspace.root)
        st.button(
            "Stop it",
            key=f"stop test {name}",
            on_click=perform,
            args=(
                visit,
                Action.EXPERIMENT,
                lambda actor, why: stop_test(place, str(name), reason=why, actor=actor),
                "reason test",
            ),
        )


def _plan(visit: Visit) -> None:
    """Ask for a test, show what it takes, and start it where that is wanted."""
    with st.expander("Plan a test"), st.form("plan a test"):
        asked = _asked(visit)
        wanted = st.form_submit_button("Show what it takes")
    if wanted:
        st.session_state["planned test"] = None
        if asked is None:
            st.error("Name the test, its channel, two variants at least, and what you suppose.")
        else:
            st.session_state["planned test"] = asked
    planned = st.session_state.get("planned test")
    if planned is not None:
        _show_plan(visit, planned)


@dataclass(frozen=True, slots=True)
class AskedTest:
    """What the form says."""

    name: str
    channel: str
    segments: tuple[str, ...]
    variants: tuple[str, ...]
    hypothesis: str
    metric: str
    smallest: float
    follows: bool
    start: date

    def test(self) -> VariantTest:
        """The test it describes."""
        from liftloop.core.variant_tests.plan import Acting, VariantTest
        from liftloop.reporting.variant_tests import metric_named

        return VariantTest(
            name=self.name,
            hypothesis=self.hypothesis,
            segments=self.segments,
            channel=self.channel,
            variants=self.variants,
            metric=metric_named(self.metric),
            smallest_effect=self.smallest,
            start=self.start,
            last=self.start + timedelta(days=DAYS - 1),
            acting=Acting.SPLIT if self.follows else Acting.EVEN,
        )


def _asked(visit: Visit) -> AskedTest | None:
    """What the form says; None where something is missing."""
    from tasks.context import open_loop

    cells = visit.cells()
    name = one_line(st.text_input("Name", max_chars=100)).strip()
    hypothesis = one_line(st.text_input("What you suppose", max_chars=MOST_CHARACTERS)).strip()
    channel = st.selectbox("Channel", sorted({c.channel for c in cells}), format_func=md)
    segments = st.multiselect(
        "Segments", sorted({c.segment for c in cells}), format_func=md, placeholder="all"
    )
    text = st.text_area("Variants, one a line; the first is compared with", max_chars=2000)
    metric = st.selectbox("What is to grow", ["conversions", "revenue", "profit"])
    smallest = st.number_input("Smallest difference worth acting on, %", 0.5, 200.0, 5.0)
    follows = st.checkbox("Shares follow what is learned", value=True)
    tomorrow = open_loop(visit.workspace.root).today() + timedelta(days=1)
    start = st.date_input("First day", tomorrow, min_value=tomorrow)
    variants = tuple(one_line(line).strip() for line in text.splitlines() if line.strip())
    chosen = tuple(segments) or tuple(sorted({c.segment for c in cells if c.channel == channel}))
    if not (name and hypothesis and channel and len(variants) > 1 and isinstance(start, date)):
        return None
    share = smallest / 100
    return AskedTest(
        name, channel, chosen, variants, hypothesis, metric or "conversions", share, follows, start
    )


def _show_plan(visit: Visit, asked: AskedTest) -> None:
    from tasks.variant_tests.planning import plan_test

    place = str(visit.workspace.root)
    try:
        plan = plan_test(place, asked.test())
    except LiftLoopError as error:
        st.error(md(str(error)))
        return
    for sentence in plan.sentences:
        st.markdown(md(sentence))
    st.button(
        f"Start {md(asked.name)} on {asked.start}",
        key=f"start test {asked}",
        on_click=perform,
        args=(visit, Action.EXPERIMENT, lambda actor, _: _start(place, plan, actor)),
    )


def _start(place: str, plan: TestProposal, actor: str) -> str:
    from liftloop.reporting.variant_tests import shares_words
    from tasks.variant_tests.runs import start_test

    begun = start_test(place, plan.test, design=plan.design_values, actor=actor)
    st.session_state["planned test"] = None
    return (
        f"Started: {plan.test.name}. Set these shares on the platform: "
        f"{shares_words(begun.shares)} (outbox/{begun.file})."
    )


def _tired(visit: Visit) -> None:
    """Draw which creatives tire, where somebody asks."""
    from liftloop.reporting.tired_creatives import COLUMNS as TIRED
    from liftloop.reporting.tired_creatives import row_of
    from tasks.context import open_loop
    from tasks.variant_tests.fatigue import tired_creatives

    st.header("Creatives that tire", anchor=False)
    if not st.toggle("Compare creatives", help="Each one beside the others of its channel"):
        return
    loop = open_loop(visit.workspace.root)
    found = tired_creatives(loop, as_of=loop.today(), days=90)
    if not found:
        st.caption("No channel has two creatives that were shown enough.")
        return
    frame = harmless(pd.DataFrame([row_of(one) for one in found], columns=list(TIRED)), *TIRED)
    st.dataframe(frame, hide_index=True, height=table_height(len(frame)), placeholder="–")
