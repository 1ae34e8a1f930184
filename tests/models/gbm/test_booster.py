from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.gbm.booster import (
    BoosterParameters,
    TrainingRows,
    cross_fit,
    fit_booster,
    predict,
    safe_name,
)

SMALL = BoosterParameters(rounds=20, min_leaf=5, leaves=7)


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "x_age": rng.normal(size=400),
            "x_price: euro": rng.normal(size=400),
            "c_kind": rng.choice(["a", "b"], size=400),
            "x_flag": rng.random(400) < 0.5,
        }
    )


@pytest.fixture
def target(frame: pd.DataFrame) -> np.ndarray:
    return (frame["x_age"] + 2 * (frame["c_kind"] == "a")).to_numpy()


def test_texts_become_categories_and_the_frame_stays_as_it_was(
    frame: pd.DataFrame, target: np.ndarray
) -> None:
    before = frame.copy(deep=True)
    booster = fit_booster(TrainingRows(frame, target), SMALL)
    pd.testing.assert_frame_equal(frame, before)
    kinds = frame.assign(x_age=0.0)
    lift = predict(booster, kinds.assign(c_kind="a")) - predict(booster, kinds.assign(c_kind="b"))
    assert lift.mean() > 1.0


def test_the_order_of_columns_does_not_matter_but_a_missing_one_does(
    frame: pd.DataFrame, target: np.ndarray
) -> None:
    booster = fit_booster(TrainingRows(frame, target), SMALL)
    turned = frame[frame.columns[::-1]]
    np.testing.assert_array_equal(predict(booster, frame), predict(booster, turned))
    with pytest.raises(ValueError, match="x_age"):
        predict(booster, frame.drop(columns="x_age"))
    with pytest.raises(ValueError, match="2 feature columns"):
        predict(booster, np.zeros((3, 2)))


def test_a_category_never_seen_counts_as_missing(frame: pd.DataFrame, target: np.ndarray) -> None:
    booster = fit_booster(TrainingRows(frame, target), SMALL)
    strange = frame.assign(c_kind="never seen")
    missing = frame.assign(c_kind=None)
    np.testing.assert_array_equal(predict(booster, strange), predict(booster, missing))


@pytest.mark.parametrize(
    ("monotone", "message"),
    [
        ([1, 0], "2 monotone constraints for 4"),
        ({"c_kind": 1}, "categorical feature cannot be monotone"),
        ({"x_unknown": 1}, "not there"),
        ({"x_age": 2}, "-1, 0 or 1"),
    ],
)
def test_a_constraint_that_would_abort_the_process_is_an_error(
    frame: pd.DataFrame, target: np.ndarray, monotone: dict[str, int] | list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_booster(TrainingRows(frame, target, monotone=monotone), SMALL)


def test_a_quantile_objective_refuses_constraints_in_words(
    frame: pd.DataFrame, target: np.ndarray
) -> None:
    quantile = BoosterParameters(objective="quantile", rounds=2)
    with pytest.raises(ValueError, match="does not take monotone"):
        fit_booster(TrainingRows(frame, target, monotone={"x_age": 1}), quantile)


def test_a_monotone_fit_never_falls(frame: pd.DataFrame, target: np.ndarray) -> None:
    booster = fit_booster(TrainingRows(frame, target, monotone={"x_age": 1}), SMALL)
    grid = frame.iloc[[0] * 50].assign(x_age=np.linspace(-3, 3, 50))
    assert (np.diff(predict(booster, grid)) >= 0).all()


def test_targets_of_another_length_or_not_finite_are_refused(
    frame: pd.DataFrame, target: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="399 target values for 400 rows"):
        fit_booster(TrainingRows(frame, target[:-1]), SMALL)
    target = target.copy()
    target[0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_booster(TrainingRows(frame, target), SMALL)


TREES_OF_TWO_THREADS = """
import sys
import pandas as pd
from models.gbm.booster import BoosterParameters, TrainingRows, fit_booster
frame = pd.read_pickle(sys.argv[1])
two = BoosterParameters(20, min_leaf=5, leaves=7, threads=2)
y = frame.pop("y").to_numpy()
booster = fit_booster(TrainingRows(frame, y), two)
print(booster.model_to_string().partition("parameters:")[0])
"""


def test_one_and_two_threads_grow_the_same_trees(
    frame: pd.DataFrame, target: np.ndarray, tmp_path: Path
) -> None:
    """The second in a process that may use two threads: the tests' own may use one."""
    frame.assign(y=target).to_pickle(tmp_path / "frame.pickle")
    limits = ("OMP_THREAD_LIMIT", "OMP_NUM_THREADS")
    ran = subprocess.run(
        [sys.executable, "-c", TREES_OF_TWO_THREADS, str(tmp_path / "frame.pickle")],
        env={name: value for name, value in os.environ.items() if name not in limits},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    one = fit_booster(TrainingRows(frame, target), SMALL)
    assert one.model_to_string().partition("parameters:")[0].split() == ran.stdout.split()


def test_cross_fitting_never_predicts_a_row_it_was_fitted_on(frame: pd.DataFrame) -> None:
    # the target is noise: an honest prediction cannot follow it
    noise = np.random.default_rng(0).normal(size=400)
    half = np.arange(400) % 2
    folds = [(np.flatnonzero(half != k), np.flatnonzero(half == k)) for k in (0, 1)]
    out = cross_fit(TrainingRows(frame, noise), folds, SMALL)
    inside = predict(fit_booster(TrainingRows(frame, noise), SMALL), frame)
    assert np.corrcoef(inside, noise)[0, 1] > 0.3
    assert abs(np.corrcoef(out, noise)[0, 1]) < 0.2


def test_names_stay_distinct_when_made_safe() -> None:
    assert safe_name("x_a b") == "x_a%20b"
    assert safe_name("x_a%20b") != safe_name("x_a b")
