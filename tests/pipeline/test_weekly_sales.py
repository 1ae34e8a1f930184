"""Weekly sales by segment, for drawing waves that are alike."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd

from liftloop.pipeline.weekly_sales import WEEKS, daily_sales, weekly_sales

DAY = date(2026, 3, 2)


def sales(days: int) -> pd.DataFrame:
    """Segment a sells 10 a day, b 20."""
    when = pd.date_range(DAY - timedelta(days=days), DAY - timedelta(days=1))
    rows = [(d, s, 10.0 * k) for d in when for k, s in enumerate("ab", 1)]
    return pd.DataFrame(rows, columns=["date", "segment", "revenue"])


def test_only_whole_weeks_of_all_segments_count() -> None:
    known = sales(21)
    assert weekly_sales(known, segments="ab", as_of=DAY) == {"a": [70.0] * 3, "b": [140.0] * 3}
    late = known[(known.segment != "a") | (known.date < pd.Timestamp(DAY - timedelta(days=1)))]
    assert weekly_sales(late, segments="ab", as_of=DAY) == {"a": [70.0] * 2, "b": [140.0] * 2}


def test_segments_that_are_not_asked_for_neither_count_nor_break_a_week() -> None:
    known = sales(21)
    gap = known[(known.segment != "a") | (known.date.dt.day % 2 == 0)]
    assert weekly_sales(gap, segments="b", as_of=DAY) == {"b": [140.0] * 3}


def test_the_oldest_of_the_last_weeks_comes_first() -> None:
    known = sales(7 * (WEEKS + 3))
    first = known.date < pd.Timestamp(DAY - timedelta(days=7 * (WEEKS - 1)))
    raised = known.assign(revenue=known.revenue.where(~first, 100.0))
    found = weekly_sales(raised, segments="a", as_of=DAY)["a"]
    assert found == [700.0] + [70.0] * (WEEKS - 1)


def test_without_sales_nothing_is_known() -> None:
    assert weekly_sales(sales(21).iloc[:0], segments="ab", as_of=DAY) == {}
    assert weekly_sales(None, segments="ab", as_of=DAY) == {}


def test_days_go_back_to_the_first_gap() -> None:
    days = pd.date_range("2026-01-01", periods=20)
    sales = pd.DataFrame(
        [(day, name, float(n)) for n, day in enumerate(days) for name in ("a", "b", "other")],
        columns=["date", "segment", "revenue"],
    )
    sales = sales[~((sales["date"] == days[4]) & (sales["segment"] == "b"))]
    found = daily_sales(sales, segments=("a", "b"), as_of=date(2026, 1, 21))
    assert found.tolist() == [2.0 * n for n in range(5, 20)]
    late = daily_sales(sales, segments=("a", "b"), as_of=date(2026, 1, 23))
    assert late.tolist() == found.tolist()
    assert daily_sales(sales, segments=("a", "b"), as_of=date(2026, 1, 1)).size == 0
