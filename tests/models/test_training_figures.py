"""What a training's figures say beside their lines."""

from __future__ import annotations

import pandas as pd

from models.training_figures import (
    calibration_figure,
    curves_figure,
    effects_figure,
    every_curve_figure,
    fitted_figure,
)

EVIL = "</script><script>alert(1)</script>"


def curves(name: str = "north") -> pd.DataFrame:
    spend = [0.0, 100.0, 200.0]
    own = pd.DataFrame({"spend": spend, "mean": spend, "low": spend, "high": spend})
    parts = [own.assign(segment=s, channel="search") for s in (name, "b", "c", "d", "e")]
    return pd.concat(parts, ignore_index=True)


def effects() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "outcome": ["revenue", "visit"],
            "channel": "mail",
            "segment": "north",
            "ate": [1.0, 0.1],
            "high": [2.0, 0.2],
        }
    )


def test_curves_name_both_axes_with_the_currency() -> None:
    words = [
        note.text
        for note in curves_figure(curves(), value="mean", currency="EUR").layout.annotations
    ]
    assert "spend a day, EUR" in words
    assert "incremental revenue a day, EUR" in words


def test_every_cell_can_be_chosen_and_has_its_own_curve() -> None:
    table = curves()
    table.loc[table.segment == "c", ["mean", "low", "high"]] *= 2
    (menu,) = every_curve_figure(table, value="mean").layout.updatemenus
    by_name = {button.label: button.args[0] for button in menu.buttons}
    assert set(by_name) == {f"{name} x search" for name in ("north", "b", "c", "d", "e")}
    assert by_name["c x search"]["x"] == [[0.0, 100.0, 200.0]] * 3
    assert by_name["c x search"]["y"] == [[0.0, 200.0, 400.0]] * 3
    assert by_name["b x search"]["y"] == [[0.0, 100.0, 200.0]] * 3


def test_lifts_and_effects_name_their_unit() -> None:
    lifts = pd.DataFrame({"channel": ["search"], "fitted": [1.0], "lift": [2.0]})
    layout = fitted_figure(lifts).layout
    assert layout.xaxis.title.text == "fitted incremental revenue a day, account currency"
    assert layout.yaxis.title.text == "observed incremental revenue a day, account currency"
    layout = effects_figure(effects(), currency="EUR").layout
    assert layout.xaxis.title.text == "revenue per user, EUR"
    assert layout.xaxis2.title.text == "visit per user"


def test_predicted_and_observed_are_told_per_user() -> None:
    deciles = pd.DataFrame(
        {
            "channel": ["mail"],
            "outcome": ["visit"],
            "predicted": [0.1],
            "observed": [0.1],
            "standard_error": [0.01],
        }
    )
    assert calibration_figure(deciles).layout.yaxis.title.text == "observed uplift per user"


def test_a_name_cannot_run_as_a_script_in_the_registrys_figures() -> None:
    for drawn in (curves_figure, every_curve_figure):
        page = drawn(curves(EVIL), value="mean").to_html(include_plotlyjs=False)
        assert "<script>alert" not in page
        assert "alert(1)" in page
