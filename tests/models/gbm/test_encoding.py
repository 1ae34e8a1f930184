from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.gbm.encoding import Encoding, fit_linear


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"c_kind": ["b", "a", None, "b"], "x_age": [1.0, 2.0, np.nan, 4.0]})


def test_categories_are_places_and_missing_stays_missing(frame: pd.DataFrame) -> None:
    encoding = Encoding.of(frame)
    np.testing.assert_array_equal(
        encoding.matrix(frame), np.array([[1, 1], [0, 2], [np.nan, np.nan], [1, 4]], np.float32)
    )
    assert encoding.categorical == [0]


def test_new_frames_are_read_by_the_first_ones_categories(frame: pd.DataFrame) -> None:
    encoding = Encoding.of(frame)
    new = pd.DataFrame({"x_age": [7.0, 8.0], "extra": [0, 0], "c_kind": ["new", "a"]})
    np.testing.assert_array_equal(encoding.matrix(new), np.array([[np.nan, 7], [0, 8]], np.float32))
    with pytest.raises(ValueError, match="x_age"):
        encoding.matrix(new.drop(columns="x_age"))


def test_an_encoding_survives_plain_lists(frame: pd.DataFrame) -> None:
    encoding = Encoding.of(frame)
    assert Encoding.from_dict(encoding.as_dict()) == encoding


def test_the_linear_model_finds_slopes_and_levels() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x_a": rng.normal(5, 2, 3000), "c_b": rng.choice(["u", "v"], 3000)})
    target = (2 * frame["x_a"] + 7 * (frame["c_b"] == "v")).to_numpy()
    encoding = Encoding.of(frame)
    matrix = encoding.matrix(frame)
    model = fit_linear(matrix=matrix, target=target, weights=None, encoding=encoding, penalty=1e-3)
    np.testing.assert_allclose(model.predict(matrix), target, atol=0.05)
