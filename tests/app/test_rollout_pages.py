"""What a decision's page, its message and the weekly summary say of a rollout under way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.adapters.ledger.tables import Decision
from liftloop.core.rollout.state import Transition
from liftloop.reporting.messages.weekly_message import weekly_message
from liftloop.reporting.pages.decision_page import decision_page
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.report.announcement import announcement_of
from tasks.report.decision_page import gather_page
from tasks.report.weekly import week_of

MONDAY = date(2026, 2, 9)


@pytest.fixture
def loop(
    busy_workspace: Workspace, stream: list[Transition], record_steps: Callable[..., None]
) -> Loop:
    """A decision of the day on which the rollout's first plan was measured."""
    record_steps(busy_workspace, *stream)
    with session(open_ledger(str(load_settings(busy_workspace).ledger_url))) as db:
        head = db.get(Decision, "d-two")
        assert head is not None
        head.rollout_id, head.as_of, head.effective_from = "r-two", MONDAY, MONDAY
        db.add(head)
    return open_loop(busy_workspace.root)


def test_the_page_shows_waves_risk_the_chart_and_what_decides(loop: Loop) -> None:
    with session(loop.engine, read_only=True) as db:
        head = db.get(Decision, "d-two")
        assert head is not None
        page = gather_page(loop, db, head)
    assert page.measured is not None
    assert page.measured.to_dict("records") == [
        {"days": 7, "since": 0, "gained": 500.0, "low": -1_500.0, "high": 2_500.0}
    ]
    assert page.history == [("2 February 2026", "started", "It begins.")]
    text = decision_page(page)
    for words in (
        "Of 12,000 USD at risk this quarter 3,400 are in use.",
        "plan 1 of 2 February 2026",
        "the budgets before",
        "What moves it forward",
        "(+2,500 USD now)",
    ):
        assert words in text, words


def test_the_page_says_what_would_take_it_back_and_the_message_leads_there(loop: Loop) -> None:
    with session(loop.engine, read_only=True) as db:
        head = db.get(Decision, "d-two")
        assert head is not None
        said = gather_page(loop, db, head).would_take_back
        links = announcement_of(loop, db, head, "reports/d.html", {}).links
    assert said[0] == "A measured loss: an upper bound of the gain below 0 (+2,500 USD now)."
    assert said[-1] == "By hand: liftloop rollback."
    assert links[0].target == "reports/d.html"


def test_the_weekly_summary_says_what_was_measured_so_far(loop: Loop) -> None:
    with session(loop.engine, read_only=True) as db:
        week = week_of(loop, db, MONDAY)
    assert week is not None
    assert (
        "Measured: +500 USD since 2 February 2026 (interval valid at every check -1,500 to "
        "+2,500). Too early to tell.\n"
    ) in weekly_message(week).text + "\n"
