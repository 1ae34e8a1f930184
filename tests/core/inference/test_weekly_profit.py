"""Weekly profit by hand: measured, predicted, and left as it was."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from liftloop.core.arrays import Z90
from liftloop.core.curves.gain import Estimate
from liftloop.core.inference.panels import Daily
from liftloop.core.inference.weekly_profit import (
    DayProfit,
    WeekProfit,
    measured_profit,
    summed,
    weekly_profit,
)

MONDAY, NEXT = date(2026, 3, 2), date(2026, 3, 9)
AFTER = date(2026, 3, 16)


def facts(days: int = 14, **changes: np.ndarray) -> Daily:
    """Two segments that earn 30 and 50 a day, with an error of 3 and 4, for 10 and 20."""
    shape = np.ones((days, 1))
    values = {
        "lift": shape * [30.0, 50.0],
        "lift_error": shape * [3.0, 4.0],
        "sales": shape * [1.0, 1.0],
        "spend": shape * [10.0, 20.0],
    }
    return Daily(MONDAY, ("a", "b"), **(values | changes))


def test_measured_profit_is_margin_times_lift_less_spend() -> None:
    found = measured_profit(facts(), MONDAY, NEXT, margin=0.5)
    assert found is not None
    assert found.mean == pytest.approx(7 * (0.5 * 80 - 30))
    # the mean of 7 days has an error of 3 / sqrt(7) and 4 / sqrt(7)
    wide = Z90 * 7 * 0.5 * 5 / np.sqrt(7)
    assert (found.low, found.high) == pytest.approx((found.mean - wide, found.mean + wide))


def test_a_day_without_a_lift_counts_with_the_weeks_mean() -> None:
    lift = np.ones((14, 1)) * [30.0, 50.0]
    lift[2, 0] = np.nan
    found = measured_profit(facts(lift=lift), MONDAY, NEXT, margin=1.0)
    assert found is not None and found.mean == pytest.approx(7 * (80 - 30))


def test_a_segment_without_any_lift_leaves_the_week_unmeasured() -> None:
    lift = np.ones((14, 1)) * [30.0, 50.0]
    lift[:7, 1] = np.nan
    assert measured_profit(facts(lift=lift), MONDAY, NEXT, margin=1.0) is None
    assert measured_profit(facts(lift=lift), NEXT, AFTER, margin=1.0) is not None


def test_what_was_predicted_follows_the_budgets_of_each_day() -> None:
    left = np.array([9.0, 10.0, 11.0])
    thursday = date(2026, 3, 5)
    first, second = weekly_profit(
        None,
        weeks=[(MONDAY, NEXT), (NEXT, AFTER)],
        decided=[DayProfit(MONDAY, 100.0), DayProfit(thursday, 200.0)],
        left=left,
        margin=1.0,
    )
    assert first.predicted == 3 * 100 + 4 * 200 and second.predicted == 7 * 200
    assert first.measured is None and first.left.mean == pytest.approx(70.0)
    unknown = [DayProfit(MONDAY, 100.0), DayProfit(thursday, None)]
    (week,) = weekly_profit(None, weeks=[(MONDAY, NEXT)], decided=unknown, left=left, margin=1.0)
    assert week.predicted is None


def test_measurements_add_in_squares_and_the_curves_uncertainty_in_full() -> None:
    week = WeekProfit(MONDAY, 7, Estimate(100, 70, 130), 90.0, Estimate(50, 40, 60))
    other = WeekProfit(NEXT, 7, Estimate(100, 60, 140), None, Estimate(50, 40, 60))
    unseen = WeekProfit(AFTER, 7, None, 90.0, Estimate(50, 40, 60))
    found = summed([week, other, unseen])
    assert found == WeekProfit(MONDAY, 14, Estimate(200, 150, 250), None, Estimate(100, 80, 120))
    assert summed([unseen]) is None
