"""Tests inside cells on the page: planned, started and stopped there."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from liftloop.adapters.initialise import init_workspace
from liftloop.settings.workspace import Workspace
from tasks.operate.budget_acts import set_budgets
from tasks.variant_tests.listing import listed_tests


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    """A workspace with budgets in force in one segment."""
    workspace = init_workspace(tmp_path / "shop")
    file = workspace.root / "mine.csv"
    file.write_text("segment,channel,daily_budget\neu,search,600\neu,tv,400\n", encoding="utf-8")
    set_budgets(str(workspace.root), file, start=date(2026, 3, 2), actor="ben")
    return workspace


def opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("LIFTLOOP_WORKSPACE", str(root))
    page = AppTest.from_function(draw, default_timeout=60)
    return page.run()


def draw() -> None:
    import os

    from liftloop.app.dashboard.acting import Visit, who
    from liftloop.app.dashboard.variant_tests import draw_variant_tests
    from liftloop.settings.schema import load_settings
    from liftloop.settings.workspace import Workspace

    place = Workspace(__import__("pathlib").Path(os.environ["LIFTLOOP_WORKSPACE"]))
    settings = load_settings(place)
    caller = who(settings)
    assert caller is not None
    draw_variant_tests(Visit(place, settings, caller))


def test_a_test_is_planned_started_and_stopped_on_the_page(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(shop.root, monkeypatch)
    page.text_input[0].set_value("hero <b>")
    page.text_input[1].set_value("A face sells more.")
    page.text_area[0].set_value("old\nnew")
    page.button[0].click().run()
    assert not page.exception
    assert any("past is too short" in str(text.value) for text in page.markdown)
    start = next(button for button in page.button if "Start" in button.label)
    assert "<b>" not in start.label
    start.click().run()
    ok, words = page.session_state["said"]
    assert ok and "Set these shares on the platform" in words
    (row,) = listed_tests(str(shop.root))
    assert row["test"] == "hero <b>" and row["state"] == "running"
    page.run()
    stop = next(button for button in page.button if button.label == "Stop it")
    stop.click().run()
    assert page.session_state["said"] == (False, "Give a reason: it is kept in the audit trail.")
    page.text_input(key="reason test").set_value("sold out").run()
    next(button for button in page.button if button.label == "Stop it").click().run()
    assert listed_tests(str(shop.root))[0]["state"] == "stopped"


def test_a_form_with_less_than_a_test_needs_is_said_so(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(shop.root, monkeypatch)
    page.button[0].click().run()
    assert any("two variants at least" in str(error.value) for error in page.error)
    page.toggle[0].set_value(True).run()
    assert not page.exception
    assert listed_tests(str(shop.root)) == []
