"""What the page's views say: returns by channel, why not more, and what a what-if asks for."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal

import pandas as pd
import pytest

from liftloop.app.dashboard.channels import returns_table
from liftloop.app.dashboard.charts import before_after_chart
from liftloop.app.dashboard.history import experiment_table
from liftloop.app.dashboard.what_if import bounds_of, changes_of
from liftloop.core.curves.gain import Estimate
from liftloop.core.curves.returns import GroupReturn
from liftloop.core.inference.weekly_profit import WeekProfit
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.settings.budget import GroupSettings
from liftloop.settings.schema import Settings
from tasks.decision.what_if import changed_settings


def limits(**bounds: tuple[float | None, float | None]) -> pd.DataFrame:
    rows = [{"channel": name, "floor": low, "cap": high} for name, (low, high) in bounds.items()]
    return pd.DataFrame(rows).astype({"floor": "float64", "cap": "float64"})


def test_what_is_left_empty_changes_nothing() -> None:
    assert changes_of(None, limits(search=(None, None))) == []


@pytest.mark.parametrize("name", ["search", 'a "quoted" name', "größe", "a\\b", "x = 1\n[budget]"])
def test_floors_and_caps_are_settings_whatever_a_channel_is_called(name: str) -> None:
    own = GroupSettings(name="brand", channels=("tv",), maximum_share=0.5)
    changes = changes_of(1234.5, limits(**{name: (10.0, 99.999)}), [own])
    told = tomllib.loads(changes[0]) | {"groups": tomllib.loads(changes[1])["budget"]["groups"]}
    assert told["budget"]["total"] == "1234.50"
    settings = changed_settings(Settings(), changes)
    assert settings.budget.total == Decimal("1234.50")
    kept, added = settings.budget.groups
    assert kept == own
    assert added.channels == (name,)
    assert (added.minimum, added.maximum) == (Decimal("10.00"), Decimal("100.00"))


def test_returns_are_shown_with_their_interval_share_and_change() -> None:
    table = returns_table(
        [
            GroupReturn("search", 2, Decimal(75), Decimal(60), Estimate(2.0, 1.5, 2.6), 1.234),
            GroupReturn("tv", 1, Decimal(25), Decimal(0), None, None),
        ],
        OutcomeWords("EUR"),
    )
    first, second = table.to_dict("records")
    assert (first["share"], first["change"], second["change"]) == ("75%", "+25%", "new")
    assert (first["average"], first["90 % interval"], first["next"]) == (
        "2.00",
        "1.50 to 2.60",
        "1.23",
    )
    assert pd.isna(second["average"]) and pd.isna(second["next"])


def test_where_conversions_are_counted_a_return_is_what_one_costs() -> None:
    words = OutcomeWords("EUR", counted=True)
    group = GroupReturn("tv", 1, Decimal(25), Decimal(25), Estimate(0.5, 0.25, 1.0), 0.1)
    (row,) = returns_table([group], words).to_dict("records")
    assert (row["average"], row["90 % interval"], row["next"]) == ("2.00", "1.00 to 4.00", "10.00")


def test_an_experiment_is_a_row() -> None:
    row = {"experiment": "video off", "channel": "video", "weight": 0.5, "hidden": 1}
    table = experiment_table([row])
    assert table.loc[0, "weight in the model"] == 0.5 and "hidden" not in table


def test_floors_and_caps_that_were_approved_are_shown_and_replaced() -> None:
    own = GroupSettings(name="brand", channels=("tv",), maximum_share=0.5)
    first = changed_settings(Settings(), changes_of(None, limits(tv=(10.0, 90.0)), [own]))
    shown = bounds_of(first.budget.groups, ["search", "tv"])
    rows = {row["channel"]: row for row in shown.to_dict("records")}
    assert (rows["tv"]["floor"], rows["tv"]["cap"]) == (10.0, 90.0)
    assert pd.isna(rows["search"]["floor"]) and pd.isna(rows["search"]["cap"])
    shown.loc[shown["channel"] == "tv", ["floor", "cap"]] = [None, 80.0]
    again = changes_of(None, shown, first.budget.groups, percent=10.0)
    settings = changed_settings(first, again)
    assert settings.budget.max_step == 0.1
    kept, replaced = settings.budget.groups
    assert (kept.name, replaced.minimum) == ("brand", Decimal(0))
    assert replaced.maximum == Decimal("80.00")
    shown["cap"] = None
    cleared = changed_settings(settings, changes_of(None, shown, settings.budget.groups))
    assert [group.name for group in cleared.budget.groups] == ["brand"]


def test_weeks_are_drawn_beside_the_budgets_left_as_they_were() -> None:
    left = Estimate(50.0, 40.0, 60.0)
    weeks = [
        WeekProfit(date(2026, 3, 2), 7, Estimate(100.0, 70.0, 130.0), 90.0, left),
        WeekProfit(date(2026, 3, 9), 7, None, None, left),
    ]
    figure = before_after_chart(weeks, decided=[date(2026, 3, 2)], words=OutcomeWords("EUR"))
    traces = {trace.name: trace for trace in figure.data if trace.showlegend is not False}
    measured = traces["measured (90 %)"]
    assert (list(measured.y), measured.error_y.array[0]) == ([100.0], 30.0)
    assert list(traces["predicted"].y) == [90.0, None]
    assert list(traces["budgets left as they were (90 %)"].y) == [40.0, 40.0]
    assert len(figure.layout.shapes) == 1
    counted = OutcomeWords("EUR", counted=True, worth=10.0)
    figure = before_after_chart(weeks, decided=[], words=counted)
    assert figure.layout.yaxis.title.text == "conversions a week"
    assert max(figure.data[0].y) == 6.0
