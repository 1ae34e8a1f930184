"""Weeks in which a segment that always sells sold nothing are a broken feed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from liftloop.core.feeds.deliveries.empty_sales import (
    EmptyStretch,
    empty_sentences,
    empty_stretches,
    without_empty_stretches,
)


def sales(revenue: np.ndarray, segment: str = "uk") -> pd.DataFrame:
    days = pd.date_range("2026-01-01", periods=len(revenue))
    return pd.DataFrame({"date": days, "segment": segment, "revenue": revenue})


def test_two_weeks_of_nothing_are_left_out_and_named() -> None:
    broken = np.full(100, 500.0)
    broken[40:54] = 0.0
    both = pd.concat([sales(broken), sales(np.full(100, 200.0), "de")])
    found = empty_stretches(both)
    assert found == (EmptyStretch("uk", date(2026, 2, 10), date(2026, 2, 23)),)
    assert found[0].days == 14
    kept = without_empty_stretches(both)
    assert len(kept) == 186 and (kept["revenue"] > 0).all()
    (words,) = empty_sentences(found)
    assert words.startswith("Sales are 0 in uk from 2026-02-10 to 2026-02-23")


@pytest.mark.parametrize("share", [0.2, 0.45])
def test_a_small_shop_that_sells_nothing_on_many_days_is_none(share: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        assert empty_stretches(sales(np.where(rng.random(365) < share, 0.0, 40.0))) == ()


def test_closing_days_days_without_rows_and_a_segment_that_never_sells_are_none() -> None:
    closed = np.full(100, 500.0)
    closed[[10, 11, 50]] = 0.0
    frame = sales(closed)
    assert empty_stretches(frame) == () and without_empty_stretches(frame) is frame
    assert empty_stretches(sales(np.full(100, 500.0)).drop(index=range(40, 60))) == ()
    assert empty_stretches(sales(np.zeros(100))) == ()
    assert empty_stretches(frame.iloc[:0]) == ()


def test_the_last_days_count_as_well() -> None:
    ended = np.full(60, 500.0)
    ended[-5:] = 0.0
    assert [one.days for one in empty_stretches(sales(ended))] == [5]
