"""The boundary of a rollout that ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from liftloop.core.finite_horizon import (
    BEYOND,
    DELTA,
    KEPT_BACK,
    START,
    Plan,
    calibrate,
    information_path,
    lead_of,
    spent,
)
from liftloop.core.guardrails import ALPHA_SHARES
from liftloop.core.sequential import boundary

PLAN = Plan(information=70.0, looks=50, before_days=56, wait_days=3, lead=1.5)
PATHS = 20_000
ALPHA = 0.05


def limits(information: np.ndarray, *, plan: Plan = PLAN, alpha: float = ALPHA) -> np.ndarray:
    """The boundary at each look."""
    return np.array(
        [boundary(v, rho=plan.precision, alpha=spent(plan, v, alpha)) for v in information]
    )


def walks(information: np.ndarray, seed: int, *, drift: float = 0.0) -> np.ndarray:
    """Score processes, (paths, looks): what is lost is ``drift``, per day of a whole rollout."""
    steps = np.sqrt(np.diff(information, prepend=0.0))
    noise = np.random.default_rng(seed).normal(size=(PATHS, len(steps))) * steps
    return np.cumsum(noise, 1) + drift * information


def crossed(information: np.ndarray, seed: int, *, drift: float = 0.0) -> np.ndarray:
    return (walks(information, seed, drift=drift) > limits(information)).any(axis=1)


def planned(plan: Plan = PLAN) -> np.ndarray:
    """The information of every day that counts."""
    return plan.information * information_path(plan.looks, plan.before_days, plan.lead)


def test_all_looks_together_keep_the_error_probability_and_waste_little_of_it() -> None:
    assert crossed(planned(), 1).mean() == pytest.approx(
        (1 - KEPT_BACK) * ALPHA, abs=4 * math.sqrt(ALPHA / PATHS)
    )


@pytest.mark.parametrize(
    "looked",
    [
        planned()[::7],
        planned()[10:],
        np.delete(planned(), slice(5, 40)),
        planned() / 2,
        planned() / 10,
        planned(Plan(70.0, 50, 56, 3, 0.0)),
        70.0 * information_path(25, 28),
        70.0 * np.linspace(0.001, 1.0, 25),
        np.concatenate([np.linspace(0.01, 5, 400), planned()[10:]]),
    ],
    ids=[
        "weekly", "late", "with a gap", "half the evidence", "a tenth of it", "days without memory",
        "twice as quick", "a steady stream", "hundreds of looks at the start",
    ],
)  # fmt: skip
def test_irregular_looks_never_cross_more_often(looked: np.ndarray) -> None:
    assert crossed(looked, 2).mean() <= ALPHA + 4 * math.sqrt(ALPHA / PATHS)


def test_the_first_days_need_a_disaster_and_later_ones_about_as_many_standard_errors() -> None:
    information = planned()[:50]
    errors = limits(information) / np.sqrt(information)
    share = information / PLAN.information
    height = calibrate(50, 56, 3, ALPHA, lead=1.5).height
    assert errors[-1] == pytest.approx(height) and 2.2 < height < 2.5
    late = share >= START
    assert errors[late] == pytest.approx(height * share[late] ** (DELTA - 0.5))
    assert errors[late].min() > 2
    # before, the score has to reach one and the same value
    edge = (limits(information) / math.sqrt(PLAN.information))[~late]
    assert edge == pytest.approx(height * START**DELTA)
    assert errors[0] > 3.5


def test_the_smaller_the_error_probability_the_higher_the_boundary() -> None:
    chosen = (0.2, 0.05, 0.01, 0.001)
    height = [calibrate(50, 56, 3, alpha).height for alpha in chosen]
    assert height == sorted(height)
    # one look would need these; fifty need more, but less than fifty independent ones
    assert height[1] > 1.645
    assert height[1] < 3.08


def test_what_loses_more_is_found_more_often_and_sooner() -> None:
    information, found, days = planned()[:50], [], []
    for loss in (0.0, 0.1, 0.3, 0.6):
        hit = walks(information, 3, drift=loss) > limits(information)
        found.append(hit.any(axis=1).mean())
        days.append(np.median(np.where(hit.any(axis=1), hit.argmax(axis=1), 50)))
    assert found == sorted(found) and found[-1] > 0.97
    assert days == sorted(days, reverse=True) and days[-1] < 14


def test_past_the_plan_what_was_kept_back_holds_for_all_time() -> None:
    assert spent(PLAN, 10 * PLAN.information, ALPHA) == pytest.approx(KEPT_BACK * ALPHA)
    on = PLAN.information * np.linspace(BEYOND, 5.0, 300)[1:]
    assert crossed(on, 4).mean() <= KEPT_BACK * ALPHA + 4 * math.sqrt(KEPT_BACK * ALPHA / PATHS)


def test_the_lead_is_found_from_the_first_look_and_never_too_large() -> None:
    for lead in (0.0, 0.5, 1.5, 4.0):
        first = float(information_path(50, 56, lead)[0])
        assert lead_of(first + 1e-9, looks=50, before_days=56) == lead
        assert lead_of(first + 1e-3, looks=50, before_days=56) == lead
    assert lead_of(math.nan, looks=50, before_days=56) == 0.0


@pytest.mark.parametrize(("before_days", "looks"), [(28, 50), (56, 50), (84, 50), (56, 20)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_what_seems_lost_by_chance_passes_the_budget_rarely_and_after_profit_has_failed(
    before_days: int, looks: int, alpha: float
) -> None:
    """The loss budget's part of the error probability is what it adds to the profit guardrail."""
    chance, plan = min(0.01, 0.2 * alpha), Plan(70.0, looks, before_days, 3)
    profit, budget = ALPHA_SHARES["incremental profit"] * alpha, ALPHA_SHARES["loss budget"] * alpha
    money = calibrate(looks, before_days, 3, profit, chance, budget).money
    information = planned(plan)[:looks]
    walked = walks(information, 5)
    failed = np.maximum.accumulate(walked > limits(information, plan=plan, alpha=profit), axis=1)
    days = np.arange(looks) + 1 + 2 * plan.wait_days
    over = walked / information * days * math.sqrt(plan.information) > money
    assert over.any(axis=1).mean() <= chance + 5 * math.sqrt(chance / PATHS)
    added = (over & ~failed).any(axis=1).mean()
    assert added <= budget + 4 * math.sqrt(budget / PATHS)


def test_the_same_plan_gives_the_same_numbers() -> None:
    calibrate.cache_clear()
    one = calibrate(20, 56, 3, 0.05)
    calibrate.cache_clear()
    assert calibrate(20, 56, 3, 0.05) == one
