from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest

from models.gbm.booster import BoosterParameters, TrainingRows
from models.gbm.tuning import (
    fold_labels,
    stratified_folds,
    time_ordered_folds,
    tune,
    tune_regressor,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)


Problem = tuple[pd.DataFrame, np.ndarray]  # features and target


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(600, 3)), columns=["x_a", "x_b", "x_c"])
    return frame, (frame["x_a"] + rng.normal(size=600)).to_numpy()


def search(
    problem: Problem, study: optuna.Study, trials: int, seconds: float | None = None
) -> BoosterParameters:
    frame, target = problem
    return tune_regressor(
        TrainingRows(frame, target),
        stratified_folds(strata=np.zeros(600), folds=2, seed=0),
        study=study,
        base=BoosterParameters(threads=1, seed=5),
        trials=trials,
        seconds=seconds,
    )


def test_equal_seeds_choose_equal_parameters(problem: Problem) -> None:
    one = search(problem, optuna.create_study(direction="minimize"), 4)
    two = search(problem, optuna.create_study(direction="minimize"), 4)
    assert one == two


def test_a_study_with_finished_trials_counts_them(problem: Problem) -> None:
    study = optuna.create_study(direction="minimize")
    search(problem, study, 3)
    chosen = search(problem, study, 4)
    assert len(study.trials) == 4
    again = search(problem, study, 4)
    assert len(study.trials) == 4
    assert again == chosen


def test_the_untuned_parameters_are_tried_first_so_tuning_is_never_worse(problem: Problem) -> None:
    study = optuna.create_study(direction="minimize")
    search(problem, study, 4)
    assert study.trials[0].params["leaves"] == BoosterParameters().leaves
    assert study.trials[0].value is not None
    assert study.best_value <= study.trials[0].value


class Killed(BaseException):
    """Unlike an exception it leaves the trial begun, as SIGKILL does."""


def draws(study: optuna.Study, killed_at: int | None = None) -> list[float]:
    """The finished trials' values of x, of 8; the trial numbered ``killed_at`` kills the search."""

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1.0, 1.0)
        if trial.number == killed_at:
            raise Killed
        return x * x

    tune(study=study, objective=objective, trials=8, seconds=None, seed=3, first={"x": 0.5})
    finished = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return [trial.params["x"] for trial in finished]


@pytest.mark.parametrize("killed_at", [0, 1, 5, 7])
def test_a_killed_search_goes_on_with_the_draws_it_would_have_made(killed_at: int) -> None:
    in_peace = draws(optuna.create_study())
    study = optuna.create_study()
    with pytest.raises(Killed):
        draws(study, killed_at)
    assert draws(study) == in_peace
    assert len(in_peace) == 8 and in_peace[0] == 0.5


def test_without_trials_the_defaults_come_back(problem: Problem) -> None:
    chosen = search(problem, optuna.create_study(direction="minimize"), 0)
    assert chosen == BoosterParameters(seed=5)


def test_a_time_budget_ends_the_search(problem: Problem) -> None:
    study = optuna.create_study(direction="minimize")
    search(problem, study, 10_000, seconds=0.5)
    assert 1 <= len(study.trials) < 1000


def test_every_fold_keeps_each_arms_share() -> None:
    arms = np.repeat(["treated", "control"], [30, 10])
    label = fold_labels(strata=arms, folds=5, seed=2)
    for fold in range(5):
        assert (arms[label == fold] == "treated").sum() == 6
        assert (arms[label == fold] == "control").sum() == 2


def test_time_ordered_folds_never_fit_on_a_later_day() -> None:
    dates = np.repeat(np.arange("2026-01-01", "2026-01-13", dtype="datetime64[D]"), 3)
    folds = time_ordered_folds(dates=dates, folds=3)
    assert len(folds) == 3
    for fit, held in folds:
        assert dates[fit].max() < dates[held].min()
        assert len(held) == 9
    with pytest.raises(ValueError, match="too few"):
        time_ordered_folds(dates=dates[:6], folds=3)
