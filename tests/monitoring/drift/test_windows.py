from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from monitoring.drift.evidently_drift import DriftConfig, drift
from monitoring.drift.windows import windows

FIRST = date(2026, 1, 5)  # a Monday


def performance(days: int = 84, *, spend: object = None) -> pd.DataFrame:
    rows = []
    for d in range(days):
        for segment, size in (("north", 1.0), ("south", 10.0)):
            amount = size * (spend(d) if callable(spend) else 100.0)
            rows.append(
                {
                    "date": FIRST + timedelta(days=d),
                    "segment": segment,
                    "channel": "search",
                    "campaign": "all",
                    "spend": Decimal(f"{amount:.2f}"),
                    "impressions": 10_000 * size,
                    "clicks": 200 * size,
                    "conversions": 10 * size,
                    "revenue": 500.0 * size,
                }
            )
    return pd.DataFrame(rows)


def test_both_windows_are_whole_weeks_and_end_the_day_before() -> None:
    pair = windows(performance(), as_of=FIRST + timedelta(days=84))
    assert len(pair.current) == 28 * 2
    assert len(pair.reference) == 56 * 2
    assert "The 4 weeks before 2026-03-30 against the 8 weeks before those" in pair.sentence


def test_a_short_history_gives_a_shorter_reference_of_whole_weeks() -> None:
    pair = windows(performance(), as_of=FIRST + timedelta(days=45))
    assert len(pair.reference) == 14 * 2


def test_days_not_yet_known_are_not_used() -> None:
    feed = performance()
    as_of = FIRST + timedelta(days=60)
    early = feed[pd.to_datetime(feed.date) < pd.Timestamp(as_of)]
    pd.testing.assert_frame_equal(
        windows(feed, as_of=as_of).current, windows(early, as_of=as_of).current
    )


def test_each_cell_is_compared_with_itself() -> None:
    pair = windows(performance(), as_of=FIRST + timedelta(days=84))
    for name in ("cpm", "ctr", "cpc", "conversion_rate", "revenue_per_conversion"):
        assert pair.current[name].to_numpy() == pytest.approx(1.0)
    assert sorted(set(pair.current.spend_share.round(4))) == [0.0909, 0.9091]


def test_several_campaigns_of_a_cell_and_day_are_one_row() -> None:
    feed = performance()
    twice = pd.concat([feed, feed.assign(campaign="b")])
    as_of = FIRST + timedelta(days=84)
    pd.testing.assert_frame_equal(
        windows(twice, as_of=as_of).current, windows(feed, as_of=as_of).current
    )


def test_dearer_clicks_because_the_loop_spends_more_are_no_drift() -> None:
    # Budgets wander, then double; clicks stay but for noise: cpc is proportional to spend.
    rng = np.random.default_rng(0)
    wander = np.exp(rng.normal(0, 0.3, 84))

    def spend(day: int) -> float:
        return 100.0 * float(wander[day]) * (2.0 if day >= 56 else 1.0)

    feed = performance(spend=spend)
    feed["clicks"] *= np.exp(rng.normal(0, 0.1, len(feed)))
    pair = windows(feed, as_of=FIRST + timedelta(days=84))
    assert pair.current.cpc.mean() == pytest.approx(1.0, abs=0.15)
    verdict = drift(pair.current, pair.reference, config=DriftConfig(threshold=0.5))
    assert not any(c.drifted for c in verdict.columns if c.column == "cpc")


def test_days_without_impressions_have_no_rates() -> None:
    feed = performance().assign(impressions=0, clicks=0, conversions=0.0)
    pair = windows(feed, as_of=FIRST + timedelta(days=84))
    assert pair.current[["ctr", "cpc", "cpm"]].isna().all().all()


def test_the_control_arm_tells_what_people_spend_without_the_ads() -> None:
    feed = performance()
    arms = feed[["date", "segment", "channel"]]
    holdout = pd.concat(
        [
            arms.assign(arm="control", users=100, revenue=500.0),
            arms.assign(arm="treated", users=900, revenue=9999.0),
        ]
    )
    late = (pd.to_datetime(holdout.date) >= pd.Timestamp(FIRST + timedelta(days=56))) & (
        holdout.arm == "control"
    )
    holdout.loc[late, "revenue"] = 750.0
    pair = windows(feed, holdout, as_of=FIRST + timedelta(days=84))
    assert pair.reference.control_revenue.to_numpy() == pytest.approx(1.0)
    assert pair.current.control_revenue.to_numpy() == pytest.approx(1.5)


def test_an_empty_feed_gives_empty_windows_that_drift_calls_unmeasurable() -> None:
    pair = windows(performance().iloc[:0], as_of=FIRST)
    assert pair.current.empty
    assert not drift(pair.current, pair.reference).measurable


def test_the_inputs_are_not_changed() -> None:
    feed = performance()
    copy = feed.copy()
    windows(feed, as_of=FIRST + timedelta(days=84))
    pd.testing.assert_frame_equal(feed, copy)
