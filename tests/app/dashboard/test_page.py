from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import text
from sqlmodel import Session
from streamlit.testing.v1 import AppTest

from liftloop.adapters.audit import trail
from liftloop.adapters.ledger.records import add_pause, open_ledger, record_verdict, session
from liftloop.adapters.ledger.rollouts import append_transition
from liftloop.adapters.ledger.tables import MonitorVerdict, Pause, RolloutTransition
from liftloop.app.dashboard import caching
from liftloop.app.dashboard import page as dashboard
from liftloop.app.dashboard.charts import (
    INK,
    PALETTE,
    colours_of,
    gain_chart,
    inked,
    plain,
    return_chart,
    spend_chart,
)
from liftloop.app.dashboard.queries import budgets_frame, look, moves_frame, spend_by_day
from liftloop.app.dashboard.wording import (
    budget_table,
    counted,
    decision_table,
    guardrail_table,
    in_short,
    md,
    opening,
    spend_words,
    untold,
)
from liftloop.core.policy import BudgetLine
from liftloop.core.rollout.state import Transition
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.operate.acts import pause

AT = datetime(2026, 1, 19, 6, 0, tzinfo=UTC)


def shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("LIFTLOOP_WORKSPACE", str(root))
    return AppTest.from_file(dashboard.__file__, default_timeout=60).run()


def all_text(page: AppTest) -> str:
    kinds = (
        page.title,
        page.caption,
        page.markdown,
        page.info,
        page.warning,
        page.success,
        page.error,
        page.header,
    )
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def line(**change: Any) -> BudgetLine:
    values: dict[str, Any] = {
        "decision_id": "d",
        "policy_version": "p",
        "effective_from": date(2026, 1, 5),
        "segment": "north",
        "channel": "search",
        "daily_budget": Decimal("1200.00"),
        "previous_daily_budget": Decimal("1000.00"),
        "stage": "full",
        "expected_incremental_revenue": 2400.0,
        "expected_low": 1800.0,
        "expected_high": 3000.0,
        "reason": "It pays.",
        "idempotency_key": "b",
    }
    return BudgetLine(**(values | change))


def test_the_return_per_unit_is_the_prediction_over_the_budget() -> None:
    row = budgets_frame([line()]).iloc[0]
    assert (row["per_unit"], row["per_unit_low"], row["per_unit_high"]) == (2.0, 1.5, 2.5)
    assert row["change"] == Decimal("200.00")


def test_a_cell_without_budget_or_prediction_has_no_return() -> None:
    frame = budgets_frame(
        [
            line(daily_budget=Decimal("0.00")),
            line(expected_incremental_revenue=None, expected_low=None, expected_high=None),
        ]
    )
    assert frame["per_unit"].isna().all()
    html = budget_table(frame, currency="EUR").to_html()
    assert "EUR a day" in html
    assert ">1,200.00<" in html
    assert ">+200.00<" in html
    assert html.count(">–<") == 2  # no prediction, no interval


def test_the_look_says_what_is_in_force_and_what_waits(busy_workspace: Workspace) -> None:
    view = look(busy_workspace, load_settings(busy_workspace))
    assert view.in_force is not None
    assert view.in_force.id == "d-two"
    assert sum(view.budgets["daily_budget"]) == Decimal("40000.00")
    assert view.decisions["id"].tolist() == ["d-three", "d-two", "d-one"]
    assert view.decisions["cells_moved"].tolist() == [2, 2, 0]
    assert view.decisions["money_moved"].tolist() == [Decimal("25.50")] * 2 + [0]
    assert [plan.id for plan in view.situation.waiting] == ["d-three"]
    assert view.rollout is not None
    assert (view.rollout.canary, view.rollout.control) == (("central",), ("east",))
    assert view.rollout.transitions["act"].tolist() == ["start"]
    assert view.verdict is not None
    assert view.deliveries["stored"].sum() == 28 * 24


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
    view = look(empty_workspace, load_settings(empty_workspace))
    assert view.in_force is None
    assert view.budgets.empty
    assert view.decisions.empty
    assert view.rollout is None


def test_channels_beyond_the_palette_share_one_grey() -> None:
    spend = pd.DataFrame(
        {
            "date": pd.Timestamp("2026-01-01"),
            "channel": [f"c{n:02d}" for n in range(12)],
            "spend": range(12, 0, -1),
        }
    )
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
    assert figure.layout.yaxis.ticktext == ("north × search",)
    assert trace.error_x.array[0] == trace.error_x.arrayminus[0] == 0.5


def test_names_from_outside_cannot_mark_anything_up() -> None:
    assert plain("<b>$x$</b>").startswith("&lt;b>&#36;x&#36;")
    assert plain("abcdefgh", 5) == "ab…gh"
    assert md("**bold** [link](http://x)") == ("\\*\\*bold\\*\\* \\[link\\]\\(http\\://x\\)")


def test_the_page_shows_the_loop(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(busy_workspace.root, monkeypatch)
    assert not page.exception
    words = all_text(page)
    assert "LiftLoop · shop" in words
    assert "All money in USD" in words
    assert "budgets in force from 12 January 2026" in words
    assert "wait for your approval\\: expected" in words
    assert "Stage canary, since 12 January 2026; begun by an earlier version" in words
    assert {"Approve", "Reject"} <= {button.label for button in page.button}
    assert "No feed has drifted." in words
    assert "Intact: " in words
    assert page.metric[0].value == "40,000.00"
    assert page.metric[1].value == "72,000"
    assert page.metric[1].delta == "1.80 per USD"
    assert page.metric[2].delta == "90 %: -200 to +3,100"
    assert "From 1.00 on a cell earns more than it costs." in words


def test_the_page_of_an_empty_workspace_names_the_next_step(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(empty_workspace.root, monkeypatch)
    assert not page.exception
    assert "liftloop cycle --workspace" in page.info[0].value
    assert page.metric[3].delta == "no entry yet"


def test_the_page_of_no_workspace_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(tmp_path / "no shop", monkeypatch)
    assert not page.exception
    assert f"liftloop init --workspace '{tmp_path / 'no shop'}'" in page.info[0].value


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


def test_the_measured_gain_is_drawn_with_its_bounds_and_breaks_where_counting_starts_anew() -> None:
    measured = pd.DataFrame(
        {
            "day": ["9 March", "16 March", "23 March"],
            "days": [7, 14, 21],
            "since": [0, 0, 14],
            "gained": [100.0, 900.0, 50.0],
            "low": [-400.0, 100.0, -300.0],
            "high": [600.0, 1_700.0, 400.0],
        }
    )
    figure = gain_chart(measured, currency="EUR", marks=[(0, "started"), (14, "<b>")])
    lines = [trace for trace in figure.data if trace.name == "measured gain"]
    assert [list(trace.x) for trace in lines] == [[7, 14], [21]]
    assert [trace.showlegend for trace in lines] == [True, False]
    assert [note.text for note in figure.layout.annotations] == ["started", "&lt;b>"]
    assert "%{y:+,.0f}" in lines[0].hovertemplate  # d3's format: it knows no z
    assert lines[1].error_y.array[0] == 350.0  # a band of one check has no width to be seen


def test_guardrails_are_told_with_nothing_marked_up() -> None:
    table = guardrail_table([{"name": "revenue", "verdict": "fail", "sentence": "**a** fell."}])
    assert table.splitlines()[-1] == "| **revenue** | ✗\xa0fails | \\*\\*a\\*\\* fell. |"


def end_rollout(workspace: Workspace, stage: str, reason: str) -> None:
    step = RolloutTransition(
        key="t-two",
        rollout_id="r-one",
        as_of=date(2026, 1, 19),
        from_stage="canary",
        to_stage=stage,
        act="roll_back",
        reason=reason,
        created_at=AT,
    )
    with session(open_ledger(str(load_settings(workspace).ledger_url))) as db:
        append_transition(db, transition=step)


def test_a_rollout_that_was_taken_back_is_told_with_its_reason(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_rollout(busy_workspace, "rolled_back", "Rolled back by ana: stock ran out.")
    words = all_text(shown(busy_workspace.root, monkeypatch))
    assert "None under way." in words
    assert "was taken back on 19 January 2026: Rolled back by ana\\: stock ran out." in words


def test_a_rollout_under_way_shows_its_waves_its_risk_and_what_decides(
    busy_workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    stream: list[Transition],
    record_steps: Callable[..., None],
) -> None:
    record_steps(busy_workspace, *stream)
    page = shown(busy_workspace.root, monkeypatch)
    assert not page.exception
    words = all_text(page)
    assert "**Running since 2 February 2026. central\\: plan 1;" in words
    assert "- Of 12,000 USD at risk this quarter 3,400 are in use." in words
    assert "| 1 | central | plan 1 of 2 February 2026 | 2 February 2026 |" in words
    assert "| 2 | east, north | the budgets before | – |" in words
    for title in ("What moves it forward", "What slows it", "What takes it back"):
        assert f"**{title}**" in words
    assert "an upper bound of the gain below 0 \\(+2,500 USD now\\)" in words.replace("\\+", "+")


def test_a_stage_is_dated_by_its_own_beginning(busy_workspace: Workspace) -> None:
    end_rollout(busy_workspace, "ramp", "More segments join.")
    found = look(busy_workspace, load_settings(busy_workspace)).rollout
    assert found is not None
    assert (found.stage, found.started_on, found.since) == (
        "ramp",
        date(2026, 1, 12),
        date(2026, 1, 19),
    )


def test_a_reason_leaves_out_what_passed_and_keeps_what_did_not() -> None:
    verdicts = [
        {"name": "loss budget", "verdict": "pass", "sentence": "Loss 1, of 10."},
        {"name": "revenue", "verdict": "undecided", "sentence": "No week counts."},
    ]
    reason = "Loss budget: Loss 1, of 10. Revenue: No week counts. South joins."
    assert in_short(reason, verdicts) == (
        "Its guardrails pass. Revenue: No week counts. South joins."
    )
    assert in_short("Rolled back by ana.", verdicts) == "Rolled back by ana."


def test_a_long_reason_is_cut_after_a_whole_sentence() -> None:
    assert opening("It rose by 1.5 here. Then it fell.", most=22) == "It rose by 1.5 here."
    assert opening("One sentence alone stays.", most=3) == "One sentence alone stays."


def test_a_decision_that_keeps_all_has_no_gain_to_show(busy_workspace: Workspace) -> None:
    found = look(busy_workspace, load_settings(busy_workspace)).decisions
    found.loc[0, ["gain", "gain_low", "gain_high"]] = 0.0
    shown: Any = decision_table(found, words=OutcomeWords("USD"))
    gains = shown.data["expected gain a day (90 %)"]
    assert gains.tolist() == ["–", "+1,500 (-200 to +3,100)", "+1,500 (-200 to +3,100)"]
    words = OutcomeWords("USD", counted=True, worth=10.0)
    counted_gains: Any = decision_table(found, words=words)
    said = counted_gains.data["conversions gained a day (90 %)"]
    assert said.tolist()[1] == "+150 (-20.0 to +310)"


def test_where_conversions_are_counted_the_tiles_count_them(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = busy_workspace.config.read_text(encoding="utf-8")
    config = config.replace('unit = "revenue"', 'unit = "conversions"\nusual_cost = 20.0', 1)
    busy_workspace.config.write_text(config, encoding="utf-8")
    page = shown(busy_workspace.root, monkeypatch)
    assert not page.exception
    tile = page.metric[1]
    assert (tile.label, tile.value) == ("Predicted incremental conversions a day", "3,600.0")
    assert tile.delta == "11.11 USD each"
    assert page.metric[2].label == "Last decision's gain, conversions a day"
    assert page.metric[2].value == "+75.0"


def test_break_even_is_where_the_margin_pays_for_a_unit() -> None:
    figure = return_chart(budgets_frame([line()]), colours={}, currency="USD", margin=0.4)
    assert figure.layout.shapes[0].x0 == 2.5


def test_two_long_names_that_begin_alike_stay_two_rows() -> None:
    cells = [line(segment=f"prospecting-lookalike-{n}") for n in (1, 2)]
    figure = return_chart(budgets_frame(cells), colours={}, currency="USD")
    assert sorted(figure.data[0].y) == [0, 1]
    assert figure.layout.yaxis.ticktext == (
        "prospect…alike-1 × search",
        "prospect…alike-2 × search",
    )


def test_a_chart_of_spend_is_told_to_who_cannot_see_it() -> None:
    days = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-02"])
    spend = pd.DataFrame(
        {"date": days, "channel": ["search", "search", "social"], "spend": [5.0, 30.0, 10.0]}
    )
    assert spend_words(spend, currency="USD") == (
        "Spend a day, stacked by channel, 1 January 2026 to 2 January 2026. On the last day 40 "
        "USD: search 75%, social 25%."
    )


def test_words_on_axes_are_darkened_on_a_light_page_alone() -> None:
    def figure() -> Any:
        return return_chart(budgets_frame([line()]), colours={}, currency="USD")

    assert inked(figure(), theme="light").layout.xaxis.tickfont.color == INK
    assert inked(figure(), theme="dark").layout.xaxis.tickfont.color is None


def test_a_pause_is_shown_with_the_way_to_lift_it(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session(open_ledger(str(load_settings(busy_workspace).ledger_url))) as db:
        add_pause(
            db, pause=Pause(id="p", channel="social", reason="no tags", actor="ana", since=AT)
        )
    page = shown(busy_workspace.root, monkeypatch)
    words = all_text(page)
    assert "Paused since 19 Jan 2026 by ana\\: social in all segments" in words
    assert "no tags" in words
    assert "Resume" in {button.label for button in page.button}


def test_what_the_table_says_is_not_said_twice() -> None:
    verdicts = [{"sentence": "No week counts."}]
    assert untold(["Revenue must pass. No week counts.", "7 more days."], verdicts) == [
        "Revenue must pass.",
        "7 more days.",
    ]


def test_what_could_not_be_compared_is_no_all_clear(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = {"drift": {"measurable": False, "summary": "Drift cannot be judged: 0 rows."}}
    verdict = MonitorVerdict(
        key="v-two",
        as_of=date(2026, 2, 1),
        drifted=False,
        summary="No alarm.",
        evidence=json.dumps(blind),
        created_at=AT,
    )
    with session(open_ledger(str(load_settings(busy_workspace).ledger_url))) as db:
        record_verdict(db, verdict=verdict)
    page = shown(busy_workspace.root, monkeypatch)
    assert "Drift cannot be judged\\: 0 rows." in [info.value for info in page.info]
    assert "No alarm." not in all_text(page)


def test_one_is_one() -> None:
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(1200, "entry", "entries") == "1,200 entries"


def test_the_total_is_judged_on_the_first_screen(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "The next unit of the total returns 0.56, break-even is 1.00: spending 9 USD less"
    kept = json.dumps({"judged_total": {"sentence": words}})
    with open_ledger(str(load_settings(busy_workspace).ledger_url)).begin() as db:
        db.execute(text("UPDATE decision SET evidence = :it WHERE id = 'd-three'"), {"it": kept})
    page = shown(busy_workspace.root, monkeypatch)
    said = [element.value for element in page.markdown]
    place = next(n for n, each in enumerate(said) if each.startswith("**The total:** "))
    assert md(words) in said[place]
    assert place < next(n for n, each in enumerate(said) if "Rows of the last" in each)


def test_the_page_does_not_wait_for_the_check_of_a_long_trail(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, real = threading.Event(), trail.verify

    def slow(db: Session) -> trail.AuditVerdict:
        assert done.wait(60)
        return real(db)

    monkeypatch.setattr(trail, "verify", slow)
    monkeypatch.setattr(caching, "PATIENCE", 0.1)
    page = shown(busy_workspace.root, monkeypatch)
    assert not page.exception
    assert (page.metric[3].value, page.metric[3].delta) == ("…", "being checked")
    done.set()
    monkeypatch.setattr(caching, "PATIENCE", 60.0)
    assert page.run().metric[3].value == "intact"


def test_what_changed_in_the_ledger_is_drawn_at_the_next_look(
    busy_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(busy_workspace.root, monkeypatch)
    assert "Paused since" not in all_text(page)
    place = str(busy_workspace.root)
    pause(place, segment="*", channel="social", reason="no tags", actor="ana")
    assert "Paused since" in all_text(page.run())
