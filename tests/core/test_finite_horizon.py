"""The boundary of a rollout that ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from liftloop.core.finite_horizon import BEYOND, Plan, calibrate, information_path, spent
from liftloop.core.guardrails import ALPHA_SHARES
from liftloop.core.sequential import boundary

PLAN = Plan(information=70.0, looks=50, before_days=56, wait_days=3)
PATHS = 20_000


def walks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Score processes of a policy that changes nothing, (paths, looks), and their information."""
    information = PLAN.information * information_path(PLAN.looks, PLAN.before_days)
    steps = np.sqrt(np.diff(information, prepend=0.0))
    return np.cumsum(np.random.default_rng(seed).normal(size=(PATHS, len(steps))) * steps, 1), (
        information
    )


def test_all_looks_together_keep_the_error_probability_and_waste_little_of_it() -> None:
    walked, information = walks(1)
    limits = [boundary(v, rho=PLAN.precision, alpha=spent(PLAN, v, 0.05)) for v in information]
    inside = information <= BEYOND * PLAN.information
    crossed = float((walked[:, inside] > np.array(limits)[inside]).any(axis=1).mean())
    assert crossed == pytest.approx(0.0475, abs=4 * math.sqrt(0.05 / PATHS))


def test_past_the_plan_what_was_kept_back_holds_for_all_time() -> None:
    assert spent(PLAN, 10 * PLAN.information, 0.05) == pytest.approx(0.05 * 0.05)
    assert spent(PLAN, PLAN.information, 0.05) > 0.05


def test_an_even_policy_seems_to_lose_the_budget_in_one_of_a_hundred_cases() -> None:
    """And nearly never before the profit guardrail has failed: its part of the error probability
    is what it adds."""
    alpha = 0.05
    found = calibrate(PLAN.looks, PLAN.before_days, PLAN.wait_days, 0.85 * alpha)
    walked, information = walks(2)
    days = np.arange(PLAN.looks) + 1 + 2 * PLAN.wait_days
    inside = information[: PLAN.looks]
    limits = np.array([boundary(v, rho=PLAN.precision, alpha=found.inside) for v in inside])
    failed = np.maximum.accumulate(walked[:, : PLAN.looks] > limits, axis=1)
    loss = walked[:, : PLAN.looks] / inside * days * math.sqrt(PLAN.information)
    over = loss > found.money
    assert over.any(axis=1).mean() == pytest.approx(0.01, abs=4 * math.sqrt(0.01 / PATHS))
    assert (over & ~failed).any(axis=1).mean() <= ALPHA_SHARES["loss budget"] * alpha


def test_the_same_plan_gives_the_same_numbers() -> None:
    calibrate.cache_clear()
    one = calibrate(20, 56, 3, 0.05)
    calibrate.cache_clear()
    assert calibrate(20, 56, 3, 0.05) == one
