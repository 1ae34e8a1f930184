"""What the page's views say: returns by channel, why not more, and what a what-if asks for."""

from __future__ import annotations

import tomllib
from decimal import Decimal

import pandas as pd
import pytest

from liftloop.app.dashboard.channels import returns_table
from liftloop.app.dashboard.history import experiment_table
from liftloop.app.dashboard.what_if import changes_of
from liftloop.core.curves.gain import Estimate
from liftloop.core.curves.returns import GroupReturn
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
