from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from liftloop.adapters.ledger import open_ledger, session
from liftloop.adapters.settings import load_settings
from liftloop.adapters.workspace import Workspace
from liftloop.app import dashboard
from liftloop.app.dashboard_charts import (
    PALETTE,
    bounds_chart,
    colours_of,
    plain,
    return_chart,
    spend_chart,
)
from liftloop.app.dashboard_queries import budgets_frame, look, moves_frame, spend_by_day
from liftloop.app.dashboard_words import budget_table, guardrail_table, md
from liftloop.core.policy import BudgetLine


def shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("LIFTLOOP_WORKSPACE", str(root))
    return AppTest.from_file(dashboard.__file__, default_timeout=60).run()


def all_text(page: AppTest) -> str:
    kinds = (page.title, page.caption, page.markdown, page.info, page.warning, page.success,
             page.error, page.subheader)  # fmt: skip
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def line(**change: object) -> BudgetLine:
    values: dict[str, object] = {
        "decision_id": "d", "policy_version": "p", "effective_from": date(2026, 1, 5),
        "segment": "north", "channel": "search", "daily_budget": Decimal("1200.00"),
        "previous_daily_budget": Decimal("1000.00"), "stage": "full",
        "expected_incremental_revenue": 2400.0, "expected_low": 1800.0, "expected_high": 3000.0,
        "reason": "It pays.", "idempotency_key": "b",
    }  # fmt: skip
    return BudgetLine(**(values | change))  # type: ignore[arg-type]


def test_the_return_per_unit_is_the_prediction_over_the_budget() -> None:
    row = budgets_frame([line()]).iloc[0]
    assert (row["per_unit"], row["per_unit_low"], row["per_unit_high"]) == (2.0, 1.5, 2.5)
    assert row["change"] == Decimal("200.00")


def test_a_cell_without_budget_or_prediction_has_no_return() -> None:
    frame = budgets_frame([
        line(daily_budget=Decimal("0.00")),
        line(expected_incremental_revenue=None, expected_low=None, expected_high=None),
    ])  # fmt: skip
    assert frame["per_unit"].isna().all()
    html = budget_table(frame, currency="EUR").to_html()
    assert "EUR a day" in html
    assert ">1,200.00<" in html
    assert ">+200.00<" in html
    assert html.count(">–<") == 2  # no prediction, no interval


def test_the_look_says_what_is_in_force_and_what_waits(busy_workspace: Workspace) -> None:
    view = look(load_settings(busy_workspace))
    assert view.in_force is not None
    assert view.in_force.id == "d-two"
    assert sum(view.budgets["daily_budget"]) == Decimal("40000.00")
    assert view.decisions["id"].tolist() == ["d-three", "d-two", "d-one"]
    assert view.decisions["cells_moved"].tolist() == [2, 2, 0]
    assert view.decisions["money_moved"].tolist() == [Decimal("25.50")] * 2 + [0]
    assert view.waiting["id"].tolist() == ["d-three"]
    assert view.rollout is not None
    assert (view.rollout.canary, view.rollout.control) == (("central",), ("east",))
    assert view.rollout.transitions["act"].tolist() == ["start"]
    assert view.verdict is not None
    assert view.deliveries["stored"].sum() == 28 * 24
    assert view.audit.intact


def test_moves_come_with_their_reasons(busy_workspace: Workspace) -> None:
    with session(open_ledger(str(load_settings(busy_workspace).ledger_url))) as db:
        moves = moves_frame(db, "d-two")
    assert sorted(moves["change"]) == [Decimal("-25.50"), Decimal("25.50")]
    assert moves["reason"].str.startswith("The next unit earns").all()


def test_spend_is_summed_by_day_and_channel(busy_workspace: Workspace) -> None:
    spend = spend_by_day(busy_workspace, timezone="UTC")
    assert spend.shape == (28 * 4, 3)
    assert spend.groupby("date")["spend"].sum().mean() == pytest.approx(40_000, rel=0.01)


def test_an_empty_workspace_has_empty_frames(empty_workspace: Workspace) -> None:
    assert spend_by_day(empty_workspace, timezone="UTC").empty
    view = look(load_settings(empty_workspace))
    assert view.in_force is None
    assert view.budgets.empty
    assert view.decisions.empty
    assert view.rollout is None


def test_channels_beyond_the_palette_share_one_grey() -> None:
    spend = pd.DataFrame({
        "date": pd.Timestamp("2026-01-01"), "channel": [f"c{n:02d}" for n in range(12)],
        "spend": range(12, 0, -1),
    })  # fmt: skip
    colours = colours_of(spend)
    assert len(colours) == len(PALETTE)
    figure = spend_chart(spend, colours=colours, currency="USD")
    assert [trace.name for trace in figure.data][-1] == "all others"
    assert sum(sum(trace.y) for trace in figure.data) == 78


def test_a_day_without_a_report_shows_as_a_gap() -> None:
    days = pd.to_datetime(["2026-01-01", "2026-01-03"])
    spend = pd.DataFrame({"date": days, "channel": "search", "spend": [5.0, 7.0]})
    figure = spend_chart(spend, colours={"search": PALETTE[0]}, currency="USD")
    assert list(figure.data[0].y) == [5.0, 0.0, 7.0]


def test_the_chart_of_returns_draws_the_interval() -> None:
    figure = return_chart(budgets_frame([line()]), colours={}, currency="USD")
    trace = figure.data[0]
    assert trace.y[0] == "north · search"
    assert trace.error_x.array[0] == trace.error_x.arrayminus[0] == 0.5


def test_names_from_outside_cannot_mark_anything_up() -> None:
    assert plain("<b>$x$</b>").startswith("&lt;b>&#36;x&#36;")
    assert md("**bold** [link](http://x)") == ("\\*\\*bold\\*\\* \\[link\\]\\(http\\://x\\)")


def test_the_page_shows_the_loop(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(busy_workspace.root, monkeypatch)
    assert not page.exception
    words = all_text(page)
    assert "LiftLoop · shop" in words
    assert "All money in USD" in words
    assert "budgets in force since 12 January 2026" in words
    assert "Waits for your approval" in words
    assert "**Canary** since 12 January 2026" in words
    assert "No feed has drifted." in words
    assert "Intact: " in words
    assert page.metric[0].value == "40,000.00"
    assert page.metric[1].value == "72,000"
    assert page.metric[2].delta == "90 %: -200 to +3,100"


def test_the_page_of_an_empty_workspace_names_the_next_step(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(empty_workspace.root, monkeypatch)
    assert not page.exception
    assert "liftloop cycle --workspace" in page.info[0].value


def test_the_page_of_no_workspace_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(tmp_path / "nowhere", monkeypatch)
    assert not page.exception
    assert "liftloop init --workspace" in page.info[0].value


def test_an_edited_audit_trail_is_called_broken(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(str(load_settings(busy_workspace).ledger_url)).begin() as db:
        db.execute(text("UPDATE auditentry SET actor = 'mallory' WHERE sequence = 2"))
    page = shown(busy_workspace.root, monkeypatch)
    assert not page.exception
    assert page.metric[3].value == "BROKEN"
    assert "Broken at entry 2" in page.error[0].value


def test_a_wrong_configuration_is_one_sentence_on_the_page(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_workspace.config.write_text("[budget]\nmargn = 1\n", encoding="utf-8")
    page = shown(empty_workspace.root, monkeypatch)
    assert not page.exception
    assert "margn" in page.error[0].value


def test_a_rollouts_bounds_are_drawn_with_its_stages_and_the_tolerated_loss() -> None:
    looks = pd.DataFrame(
        {"day": ["8 March"], "in_force": [7], "effect": [0.0], "low": [-0.5], "high": [0.5]}
    )
    figure = bounds_chart(looks, margin=0.1, marks=[(0, "canary"), (7, "<b>")])
    assert [trace.name for trace in figure.data][1:] == [
        "bounds that hold at all looks together", "effect",
    ]  # fmt: skip
    words = [note.text for note in figure.layout.annotations]
    assert words == ["tolerated loss", "canary", "&lt;b>"]


def test_guardrails_are_told_with_nothing_marked_up() -> None:
    table = guardrail_table([{"name": "revenue", "verdict": "fail", "sentence": "**a** fell."}])
    assert table.loc["revenue", "verdict"] == "✗ fails"
    assert table.loc["revenue", "what it saw"] == r"\*\*a\*\* fell."
