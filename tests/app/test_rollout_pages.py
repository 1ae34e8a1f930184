"""What a decision's page, its message and the weekly summary say of a rollout under way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from liftloop.adapters.ledger import open_ledger, session
from liftloop.adapters.settings import load_settings
from liftloop.adapters.tables import Decision
from liftloop.adapters.workspace import Workspace
from liftloop.core.rollout.state import Transition
from liftloop.core.weekly_message import weekly_message
from monitoring.report import decision_page
from tasks.context import Loop, open_loop
from tasks.decision_page import gather_page
from tasks.notify import announcement_of
from tasks.weekly import week_of

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


def test_the_message_says_what_would_take_it_back(loop: Loop) -> None:
    with session(loop.engine, read_only=True) as db:
        head = db.get(Decision, "d-two")
        assert head is not None
        said = announcement_of(loop, db, head, None).reversal
    assert said is not None
    assert said.startswith("A measured loss: an upper bound of the gain below 0 (+2,500 USD now).")
    assert said.endswith("By hand: liftloop rollback.")


def test_the_weekly_summary_says_where_the_plans_are_and_what_is_at_risk(loop: Loop) -> None:
    with session(loop.engine, read_only=True) as db:
        week = week_of(loop, db, MONDAY)
    assert week is not None
    text = weekly_message(week).text
    assert (
        "Rollout:\n"
        "  Running since 2 February 2026. central: plan 1; east and north: the budgets before.\n"
        "  Of 12,000 USD at risk this quarter 3,400 are in use.\n"
        "  No gain is measured yet.\n"
    ) in text
    assert "What would take it back: A measured loss" in text
