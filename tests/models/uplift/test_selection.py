from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from models.gbm.encoding import Encoding
from models.gbm.importance import uplift_importance, uplift_shap
from models.uplift.evaluation import heterogeneity, qini
from models.uplift.learners import default_learners, fit_cate
from models.uplift.outcome_model import OutcomeRows, choose_family, efficiency_weights
from models.uplift.selection import (
    Randomized,
    UpliftConfig,
    choose_learner,
    learn,
    make_sample,
    out_of_fold,
)

Effect = Callable[[np.ndarray], np.ndarray]


def trial(
    n: int, effect: Effect, *, seed: int = 0, share: float = 0.5, noise: float = 1.0
) -> Randomized:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    treated = rng.random(n) < share
    outcome = x[:, 0] + effect(x) * treated + noise * rng.normal(size=n)
    return Randomized(x, treated, np.full(n, share), outcome.astype(float), Encoding.numbers(4))


def step(x: np.ndarray) -> np.ndarray:
    return np.where(x[:, 1] > 0, 1.0, 0.0)


def test_a_single_step_is_found_by_a_plain_learner() -> None:
    sample = make_sample(trial(6000, step), config=UpliftConfig())
    choice = choose_learner(sample, encoding=Encoding.numbers(4), config=UpliftConfig())
    assert choice.learner.name in {"rule", "tree", "dr stumps"}
    assert choice.losses["constant"] == pytest.approx(0, abs=1e-9)


def test_a_straight_effect_is_found_by_the_linear_learner() -> None:
    sample = make_sample(trial(6000, lambda x: x[:, 2]), config=UpliftConfig())
    choice = choose_learner(sample, encoding=Encoding.numbers(4), config=UpliftConfig())
    assert choice.learner.name == "linear"


@pytest.mark.parametrize("name", ["linear", "rule", "tree", "dr stumps", "dr", "r", "s", "t", "x"])
def test_every_learner_finds_a_strong_effect_with_its_sign_and_scale(name: str) -> None:
    data = trial(6000, lambda x: 2 * x[:, 1], share=0.3)
    sample = make_sample(data, config=UpliftConfig())
    learner = next(one for one in default_learners(even=False) if one.name == name)
    cate = fit_cate(learner, sample, encoding=data.encoding)
    new = np.random.default_rng(9).normal(size=(3000, 4)).astype(np.float32)
    truth = 2 * new[:, 1]
    predicted = cate.predict(new)
    assert np.corrcoef(predicted, truth)[0, 1] > (0.75 if name == "rule" else 0.85)
    assert 0.5 < np.polyfit(truth, predicted, 1)[0] < 1.1
    # the end of the path is the fit itself
    np.testing.assert_allclose(cate.along_path(new)[-1], predicted, atol=1e-4)


def test_predictions_out_of_fold_rank_the_responders_first() -> None:
    data = trial(4000, step)
    held = out_of_fold(data, config=UpliftConfig(folds=3))
    assert np.corrcoef(held.predicted, step(data.matrix))[0, 1] > 0.8
    assert heterogeneity(predicted=held.raw, scores=held.scores, folds=held.folds).detectable
    assert held.predicted.mean() == pytest.approx(held.scores.mean())
    assert qini(predicted=held.predicted, outcome=data.outcome, treated=data.treated) > 0.1


def test_no_row_has_a_say_in_its_own_prediction() -> None:
    data = trial(1500, step)
    config = UpliftConfig(folds=3)
    held = out_of_fold(data, config=config)
    changed = data.outcome.copy()
    mine = held.folds == 1
    changed[mine] = np.random.default_rng(5).permutation(changed[mine]) * 3
    again = out_of_fold(
        Randomized(data.matrix, data.treated, data.propensity, changed, data.encoding),
        config=config,
    )
    np.testing.assert_array_equal(again.raw[mine], held.raw[mine])
    assert (again.raw[~mine] != held.raw[~mine]).any()


def test_a_large_trial_takes_two_folds_and_a_small_choice() -> None:
    data = trial(5000, step)
    config = UpliftConfig(large_rows=4000, choice_rows=2000)
    held = out_of_fold(data, config=config)
    assert set(held.folds) == {0, 1}
    cate, _, _ = learn(data, config=config)
    assert np.corrcoef(cate.predict(data.matrix), step(data.matrix))[0, 1] > 0.8


@pytest.mark.slow
def test_alike_users_are_rarely_told_apart() -> None:
    found = []
    for seed in range(60):
        data = trial(1500, lambda x: np.full(len(x), 0.3), seed=seed)
        held = out_of_fold(data, config=UpliftConfig(folds=3))
        found.append(
            heterogeneity(predicted=held.raw, scores=held.scores, folds=held.folds).detectable
        )
    assert np.mean(found) <= 0.12


def test_the_outcome_model_is_as_plain_as_the_outcome() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    treated = np.arange(4000) % 2 == 0
    weights = efficiency_weights(treated, np.full(4000, 0.5))
    from models.uplift.outcome_model import NUISANCE_BOOSTER

    def chosen(outcome: np.ndarray) -> str:
        data = OutcomeRows(x, outcome, weights, Encoding.numbers(3))
        return choose_family(data, strata=treated, parameters=NUISANCE_BOOSTER, seed=0)

    assert chosen(rng.normal(size=4000)) == "constant"
    assert chosen(x[:, 0] + rng.normal(size=4000)) == "linear"
    assert chosen(3.0 * (x[:, 0] * x[:, 1] > 0) + rng.normal(size=4000)) == "boosted"


@pytest.mark.parametrize("name", ["linear", "dr", "s", "t", "x"])
def test_shap_values_add_up_to_the_prediction(name: str) -> None:
    data = trial(2000, lambda x: x[:, 1])
    sample = make_sample(data, config=UpliftConfig())
    learner = next(one for one in default_learners() if one.name == name)
    cate = fit_cate(learner, sample, encoding=data.encoding)
    values = uplift_shap(cate, data.matrix[:300])
    # all but a constant: the values explain what differs between users
    rest = cate.predict(data.matrix[:300]) - values.sum(axis=1)
    assert rest.std() < (0.25 if name == "s" else 1e-4)
    table = uplift_importance(cate, data.matrix, encoding=data.encoding)
    assert table["feature"].iloc[0] == "x_1"
    assert table["direction"].iloc[0] > 0.8


@pytest.mark.slow
def test_our_shap_values_are_those_of_the_shap_package() -> None:
    import shap

    data = trial(1000, step)
    sample = make_sample(data, config=UpliftConfig())
    learner = next(one for one in default_learners() if one.name == "dr")
    cate = fit_cate(learner, sample, encoding=data.encoding)
    theirs = shap.TreeExplainer(cate.boosters["effect"]).shap_values(
        pd.DataFrame(data.matrix[:50], columns=data.encoding.names)
    )
    np.testing.assert_allclose(uplift_shap(cate, data.matrix[:50]), theirs, atol=1e-6)
