"""One market under two names is found; two markets that differ are not."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.feeds.deliveries.doubled import DoubledSegments, doubled_segments


def feed(segment: str, seed: int = 1, days: int = 10) -> pd.DataFrame:
    spend = np.random.default_rng(seed).gamma(2, 20, days).round(2)
    return pd.DataFrame(
        {
            "date": pd.date_range("2026-03-01", periods=days).as_unit("us"),
            "segment": segment,
            "channel": "search",
            "campaign": "brand",
            "creative": "all",
            "spend": spend,
            "impressions": 100,
            "clicks": 10,
            "conversions": 1.0,
            "revenue": spend,
        }
    )


def test_one_market_under_two_names_is_found_with_its_money() -> None:
    both = pd.concat([feed("united-kingdom"), feed("UK"), feed("DE", seed=2)])
    money = round(float(feed("UK")["spend"].sum()), 2)
    assert doubled_segments(both) == [
        DoubledSegments(
            ("UK", "united-kingdom"), "search", 10, date(2026, 3, 1), date(2026, 3, 10), money
        )
    ]


def test_a_few_corrected_days_do_not_hide_it() -> None:
    other = feed("united-kingdom")
    other["spend"] += other.index == 0
    assert [pair.days for pair in doubled_segments(pd.concat([feed("UK"), other]))] == [9]


def test_two_markets_two_equal_days_and_days_without_spend_are_no_double() -> None:
    assert doubled_segments(pd.concat([feed("UK"), feed("DE", seed=2)])) == []
    assert doubled_segments(pd.concat([feed("UK", days=2), feed("DE", days=2)])) == []
    paused = [feed(name).assign(spend=0.0, revenue=0.0) for name in ("UK", "DE")]
    assert doubled_segments(pd.concat(paused)) == []
    assert doubled_segments(feed("UK").iloc[:0]) == []
