"""Conversions stand in the column of revenue where the loop is to bring more of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from liftloop.core.feeds.outcomes import in_value


def test_revenue_is_conversions_times_their_value() -> None:
    spend = pd.DataFrame({"spend": [10.0, 20.0], "conversions": [2.0, np.nan], "revenue": [9.0, 9]})
    found = in_value(spend, "performance", worth=40.0)
    assert found["revenue"].tolist()[:1] == [80.0] and np.isnan(found["revenue"].iloc[1])
    assert spend["revenue"].tolist() == [9.0, 9.0]  # the input is not changed
    sales = pd.DataFrame({"orders": [3.0], "revenue": [0.0]})
    assert in_value(sales, "sales", worth=40.0)["revenue"].tolist() == [120.0]
    assert in_value(sales, "sales", worth=1.0)["revenue"].tolist() == [3.0]


def test_a_holdouts_squares_are_those_of_its_converters() -> None:
    """Four users converted, one of them twice as often: (1 + 1 + 1 + 2) conversions."""
    rows = pd.DataFrame(
        {
            "users": [100, 100],
            "converters": [4, 0],
            "conversions": [5.0, 0.0],
            "revenue": [1.0, 0.0],
            "revenue_sq": [1.0, 0.0],
        }
    )
    found = in_value(rows, "holdout", worth=10.0)
    assert found["revenue"].tolist() == [50.0, 0.0]
    assert found["revenue_sq"].tolist() == pytest.approx([4 * 12.5**2, 0.0])


def test_lift_tests_are_delivered_in_conversions() -> None:
    tests = pd.DataFrame({"incremental_revenue": [5.0], "standard_error": [2.0]})
    found = in_value(tests, "experiments", worth=40.0)
    assert found["incremental_revenue"].tolist() == [200.0]
    assert found["standard_error"].tolist() == [80.0]
    assert in_value(tests, "events", worth=40.0) is tests
