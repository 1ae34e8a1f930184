from __future__ import annotations

import numpy as np
import pandas as pd

from models.gbm.booster import BoosterParameters, TrainingRows, fit_booster
from models.gbm.importance import shap_by_cell


def test_what_moves_a_prediction_in_a_cell_has_its_greatest_shap_value() -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "segment": pd.Categorical(np.repeat(["a", "b"], 400)),
            "channel": pd.Categorical(["tv"] * 800),
            "x": rng.normal(size=800),
            "noise": rng.normal(size=800),
        }
    )
    target = np.where(frame["segment"] == "a", 3.0 * frame["x"], 0.0)
    booster = fit_booster(TrainingRows(frame, target), BoosterParameters(rounds=60, min_leaf=20))
    found = shap_by_cell(booster, frame, rows=500)
    assert list(found.columns) == ["segment", "channel", "feature", "mean_abs_shap"]
    assert set(found["segment"]) == {"a", "b"} and len(found) == 2 * 4
    first = found.groupby("segment").first()
    assert first.loc["a", "feature"] == "x"
    sizes = found.set_index(["segment", "feature"])["mean_abs_shap"]
    assert sizes["a", "x"] > 2 * sizes["b", "x"]
    assert sizes["a", "x"] > 10 * sizes["a", "noise"]
    pd.testing.assert_frame_equal(found, shap_by_cell(booster, frame, rows=500))
