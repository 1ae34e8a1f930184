"""The examination of targeting policies on users nobody learned from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from liftloop.core.guardrails.model_gate import Challenge, GateCheck, PromotionRules
from models.evaluation.users import Targeting, examine_users, from_arrays, to_arrays

RULES = PromotionRules(bootstrap=300)
USERS = 40_000


@pytest.fixture(scope="module")
def tau() -> np.ndarray:
    return np.where(np.arange(USERS) % 2 == 0, 1.0, -1.0)  # every second user is worth reaching


@pytest.fixture(scope="module")
def scores(tau: np.ndarray) -> np.ndarray:
    return tau + 3.0 * np.random.default_rng(0).normal(size=USERS)


def policy(scores: np.ndarray, predicted: np.ndarray) -> Targeting:
    ids = np.array([f"u{n}" for n in range(len(scores))], dtype=object)
    return Targeting("t/c/revenue", ids, scores, predicted, 0.0)


def profit(one: Targeting, other: Targeting, challenge: Challenge = "different users") -> GateCheck:
    found = examine_users((one,), (other,), margin=1.0, challenge=challenge, rules=RULES)
    return next(check for check in found if check.name == "profit of the plan")


def test_who_reaches_the_right_users_is_shown_better_by_what_it_is_worth(
    tau: np.ndarray, scores: np.ndarray
) -> None:
    right, everyone = policy(scores, tau), policy(scores, np.ones(USERS))
    found = profit(right, everyone)
    assert found.verdict == "pass"
    # it spares 20,000 users worth -1 each: 0.5 a user, with an error of sqrt(.5 x 10 / 40,000)
    assert found.numbers["gain"] == pytest.approx(0.5, abs=0.04)
    assert profit(everyone, right).verdict == "fail"
    assert profit(everyone, right, "refresh").verdict == "fail"


def test_the_same_policy_passes_as_a_refresh(tau: np.ndarray, scores: np.ndarray) -> None:
    right = policy(scores, tau)
    assert profit(right, replace(right, predicted=2.0 * tau), "refresh").verdict == "pass"


def test_only_users_known_to_both_are_compared(tau: np.ndarray, scores: np.ndarray) -> None:
    other = Targeting("t/c/revenue", np.array(["x1", "x2"], dtype=object), scores[:2], tau[:2], 0.0)
    assert profit(policy(scores, tau), other).verdict == "review"


def test_predictions_worse_than_one_effect_for_all_or_off_their_scale_fail(
    tau: np.ndarray, scores: np.ndarray
) -> None:
    def verdict(name: str, **more: Any) -> str:
        model = replace(policy(scores, tau), **more)
        found = examine_users((model,), None, margin=1.0, challenge="first", rules=RULES)
        return next(check.verdict for check in found if check.name == name)

    assert verdict("accuracy") == "pass"
    assert verdict("accuracy", predicted=-tau) == "fail"
    assert verdict("calibration", slope=1.0, slope_error=0.05) == "pass"
    assert verdict("calibration", slope=0.3, slope_error=0.05) == "fail"
    assert verdict("sanity", predicted=np.full(USERS, np.nan)) == "fail"


def test_what_was_foretold_comes_back_from_arrays_as_it_was(
    tau: np.ndarray, scores: np.ndarray
) -> None:
    one = replace(policy(scores, tau), slope=1.1, slope_error=0.2)
    (again,) = from_arrays(to_arrays((one,)))
    assert (again.name, again.cost, again.slope) == (one.name, one.cost, one.slope)
    np.testing.assert_array_equal(again.predicted, one.predicted)
    assert again.unit_id.tolist() == one.unit_id.tolist()
    assert from_arrays({}) == ()
