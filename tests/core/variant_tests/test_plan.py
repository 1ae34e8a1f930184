"""A planned test, and what the rows of its feed say of it."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from liftloop.core.variant_tests.plan import Metric, VariantTest, observed

TEST = VariantTest(
    "hero",
    "A face sells more than a product.",
    ("north", "south"),
    "social",
    ("old", "new"),
    Metric.REVENUE,
    0.05,
    start=date(2026, 3, 2),
    last=date(2026, 3, 29),
    delay_days=3,
)


def rows() -> pd.DataFrame:
    frame = pd.DataFrame(
        [
            ("hero", "2026-03-02", "north", "old", 100, 10.0, 5, 200.0, 900.0),
            ("hero", "2026-03-02", "south", "old", 50, 5.0, 2, 100.0, 500.0),
            ("hero", "2026-03-03", "north", "new", 80, 8.0, 6, 300.0, 990.0),
            ("hero", "2026-03-01", "north", "new", 70, 7.0, 9, 999.0, 999.0),  # before it began
            ("hero", "2026-03-02", "west", "new", 70, 7.0, 9, 999.0, 999.0),  # not its cell
            ("other", "2026-03-02", "north", "new", 70, 7.0, 9, 999.0, 999.0),
        ],
        columns=[
            *("test", "date", "segment", "variant", "units", "spend"),
            *("conversions", "revenue", "revenue_sq"),
        ],
    )
    return frame.assign(channel="social", date=pd.to_datetime(frame["date"]))


def test_plain_values_give_the_same_test_again() -> None:
    assert VariantTest.from_dict(TEST.as_dict()) == TEST


def test_cells_are_added_and_other_rows_left_out() -> None:
    seen = observed(TEST, rows(), as_of=date(2026, 3, 4), margin=0.5)
    assert seen.days.astype(str).tolist() == ["2026-03-02", "2026-03-03"]
    assert seen.units.tolist() == [[150, 0], [0, 80]]
    assert seen.value.tolist() == [[300, 0], [0, 300]]
    assert seen.value_squares is not None and seen.value_squares[0, 0] == 1400
    assert seen.matured == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize(
    ("metric", "value", "squares"),
    [(Metric.CONVERSIONS, 7.0, None), (Metric.PROFIT, 150.0, 350.0)],
)
def test_what_is_measured(metric: Metric, value: float, squares: float | None) -> None:
    test = VariantTest.from_dict({**TEST.as_dict(), "metric": metric, "delay_days": 0})
    seen = observed(test, rows(), as_of=date(2026, 3, 4), margin=0.5)
    assert seen.value[0, 0] == value and np.all(seen.matured == 1)
    found = None if seen.value_squares is None else seen.value_squares[0, 0]
    assert found == squares


def test_one_row_without_squares_leaves_them_out() -> None:
    lacking = rows()
    lacking.loc[0, "revenue_sq"] = np.nan
    assert observed(TEST, lacking, as_of=date(2026, 3, 4), margin=1.0).value_squares is None
