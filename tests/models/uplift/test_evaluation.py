from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.uplift.evaluation import (
    auuc,
    bootstrap_ranking,
    calibration,
    heterogeneity,
    policy_value,
    qini,
    qini_curve,
)

# six users, from the greatest predicted uplift to the least
PREDICTED = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
TREATED = np.array([1, 0, 1, 0, 1, 0], dtype=bool)
OUTCOME = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])


def test_the_qini_curve_of_six_users_by_hand() -> None:
    # k:  N1  N0  Y1  Y0   Q = Y1 - Y0 N1 / N0
    # 1:   1   0   1   0   (no control yet: straight between 0 and Q(2) = 1) 0.5
    # 2:   1   1   1   0   1
    # 3:   2   1   2   0   2
    # 4:   2   2   2   0   2
    # 5:   3   2   2   0   2
    # 6:   3   3   2   1   1
    curve = qini_curve(predicted=PREDICTED, outcome=OUTCOME, treated=TREATED)
    np.testing.assert_allclose(curve, [0, 0.5, 1, 2, 2, 2, 1])
    # the mean height is 8.5 / 7; the straight line to 1 has the mean height one half
    assert qini(predicted=PREDICTED, outcome=OUTCOME, treated=TREATED) == pytest.approx(
        8.5 / 7 - 0.5
    )


def test_qini_and_auuc_equal_causalml_on_rows_without_ties() -> None:
    # causalml 0.18, qini_score and auuc_score with normalize=True, on exactly these rows
    rng = np.random.default_rng(1)
    treated = (rng.random(500) < 0.4).astype(int)
    treated[:2] = [0, 1]
    outcome = rng.normal(size=500) + treated
    predicted = rng.normal(size=500)
    arm = treated == 1
    assert qini(predicted=predicted, outcome=outcome, treated=arm) == pytest.approx(
        0.042638614900646826, abs=1e-12
    )
    assert auuc(predicted=predicted, outcome=outcome, treated=arm) == pytest.approx(
        0.5456956284665001, abs=1e-12
    )


@given(st.integers(0, 10_000))
@example(426)  # the best users' tie holds no control
@settings(max_examples=30, deadline=None)
def test_only_the_order_of_the_predictions_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, 5, 60).astype(float)
    treated = np.arange(60) % 2 == 0
    outcome = rng.normal(size=60)
    one = qini(predicted=predicted, outcome=outcome, treated=treated)
    two = qini(predicted=np.exp(predicted) + 3, outcome=outcome, treated=treated)
    shuffle = rng.permutation(60)
    three = qini(predicted=predicted[shuffle], outcome=outcome[shuffle], treated=treated[shuffle])
    assert one == pytest.approx(two)
    assert one == pytest.approx(three)


def test_one_prediction_for_all_is_a_random_order() -> None:
    assert qini(predicted=np.zeros(6), outcome=OUTCOME, treated=TREATED) == pytest.approx(0)


def test_the_bootstrap_interval_covers_the_estimate_and_zero_for_noise() -> None:
    rng = np.random.default_rng(0)
    treated = rng.random(4000) < 0.5
    outcome = rng.normal(size=4000) + treated
    found = bootstrap_ranking(
        predicted=rng.normal(size=4000), outcome=outcome, treated=treated, resamples=100
    )
    assert found["qini"].low < 0 < found["qini"].high
    assert found["qini"].low < found["qini"].value < found["qini"].high
    assert found["auuc"].low < found["auuc"].value < found["auuc"].high
    assert found["qini"].standard_error == pytest.approx(0.01, abs=0.006)


def test_calibration_by_decile_recovers_a_known_uplift() -> None:
    rng = np.random.default_rng(0)
    uplift = rng.normal(size=20_000)
    table = calibration(predicted=uplift, scores=uplift + rng.normal(size=20_000))
    assert list(table["users"]) == [2000] * 10
    assert table["predicted"].is_monotonic_decreasing
    off = (table["observed"] - table["predicted"]).abs() / (1 / np.sqrt(2000))
    assert off.max() < 4


def test_two_predictions_make_two_rows_of_calibration() -> None:
    predicted = np.repeat([0.0, 1.0], 50)
    table = calibration(predicted=predicted, scores=predicted * 2)
    assert list(table["observed"]) == [2.0, 0.0]


def test_real_differences_are_detected_and_noise_is_not() -> None:
    rng = np.random.default_rng(2)
    uplift = rng.normal(size=5000)
    scores = uplift + rng.normal(size=5000) * 3
    folds = (np.arange(5000) % 5).astype(np.int8)
    real = heterogeneity(predicted=uplift, scores=scores, folds=folds)
    assert real.detectable
    assert real.slope == pytest.approx(1, abs=4 * real.standard_error)
    noise = heterogeneity(predicted=rng.normal(size=5000), scores=scores, folds=folds)
    assert not noise.detectable
    assert "No detectable heterogeneity" in noise.reason
    alike = heterogeneity(predicted=np.ones(5000), scores=scores, folds=folds)
    assert not alike.detectable


@pytest.mark.slow
def test_the_test_of_heterogeneity_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    folds = (np.arange(2000) % 5).astype(np.int8)
    found = [
        heterogeneity(
            predicted=rng.normal(size=2000), scores=rng.standard_t(3, size=2000), folds=folds
        ).detectable
        for _ in range(1000)
    ]
    assert np.mean(found) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_reaching_only_those_who_pay_by_hand() -> None:
    value = policy_value(
        predicted=np.array([3.0, 0.5]), scores=np.array([4.0, 1.0]), cost=1.0, margin=0.5
    )
    # the first pays: 0.5 x 4 - 1 = 1; the second is spared: 0.5 x 1 - 1 = -0.5
    assert value["reached_share"] == 0.5
    assert value["profit_chosen"] == pytest.approx(0.5)
    assert value["profit_everyone"] == pytest.approx(0.25)
    assert value["gain_over_everyone"] == pytest.approx(0.25)
