"""What a cell's recommendation rests on: sources, ensemble and LightGBM's part."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from liftloop.core.policy import Cell
from liftloop.reporting.grounds import ModelGrounds, drivers, evidence_sentence, members

CELL = Cell("north", "tv")
NONE = pd.DataFrame()
FOUND = ModelGrounds(
    model="response version 3",
    sources={"tv": "holdout"},
    evidence=pd.DataFrame(
        {
            "segment": ["north", "north", "south"],
            "channel": "tv",
            "period_start": ["2026-01-05", "2026-01-12", "2026-01-05"],
            "period_end": ["2026-01-11", "2026-01-18", "2026-01-11"],
            "z": [3.0, 4.0, 99.0],
        }
    ),
    ensemble=pd.DataFrame({"member": ["pooled", "curves"], "weight": [0.25, 0.75]}),
    shap=pd.DataFrame(
        {
            "segment": ["north", "north", "south"],
            "channel": "tv",
            "feature": ["gap_0", "trend", "sold"],
            "mean_abs_shap": [3.0, 1.0, 9.0],
        }
    ),
    importance=NONE,
)


def test_evidence_is_counted_with_how_well_the_curve_fits_it() -> None:
    assert evidence_sentence(FOUND, CELL) == (
        "holdout; 2 measured lifts of this cell from 2026-01-05 to 2026-01-18, which its curve "
        "misses by 3.54 standard errors (about 1 where it fits)."
    )
    unseen = evidence_sentence(FOUND, Cell("north", "radio"))
    assert unseen == "nothing yet; no measured lift of this cell: it leans on those like it."


def test_members_have_their_weights_the_greatest_first() -> None:
    assert members(FOUND) == [
        ("curves from randomized evidence alone", 0.75),
        ("the plain pooled curves", 0.25),
    ]
    assert members(replace(FOUND, ensemble=NONE)) == []


def test_what_moves_lightgbm_are_shares_of_the_cells_shap_values() -> None:
    shares, of = drivers(FOUND, CELL)
    assert shares == [("how the arms differed before (gap_0)", 0.75), ("the time", 0.25)]
    assert "SHAP" in of


def test_uplift_models_and_trainings_of_before_have_their_own_importance() -> None:
    uplift = pd.DataFrame(
        {"channel": ["tv", "radio"], "feature": ["x_age", "x_age"], "mean_abs_shap": [2.0, 1.0]}
    )
    shares, of = drivers(replace(FOUND, shap=NONE, importance=uplift), CELL)
    assert shares == [("x_age", 1.0)] and "who responds" in of
    gain = pd.DataFrame({"feature": ["trend", "sold"], "gain": [1.0, 3.0]})
    shares, of = drivers(replace(FOUND, shap=NONE, importance=gain), CELL)
    assert shares[0] == ("what the segment sold that day", 0.75) and "gain of its splits" in of
    assert drivers(replace(FOUND, shap=NONE), CELL) == ([], "")


@pytest.mark.parametrize("table", [NONE, pd.DataFrame({"segment": [], "channel": []})])
def test_a_training_without_tables_says_so(table: pd.DataFrame) -> None:
    assert "no measured lift" in evidence_sentence(replace(FOUND, evidence=table), CELL)
