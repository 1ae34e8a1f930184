"""Feeds as daily facts by segment."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from models.lift.daily_panel import daily_facts

FIRST = date(2026, 3, 2)
DAYS = 20
CHANNELS = ("search", "video")


def feeds() -> dict[str, pd.DataFrame]:
    """Two segments, two channels. Each treated user brings 3, each withheld one 2: a cell with 900
    treated users earns 900 a day. Spend 100 and 50; sales 5,000 in all."""
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    holdout, performance, sales = [], [], []
    for day in days:
        for segment in ("north", "south"):
            sales.append({"date": day, "segment": segment, "revenue": 5_000.0})
            for channel, spend in zip(CHANNELS, (100.0, 50.0), strict=True):
                cell = {"date": day, "segment": segment, "channel": channel}
                performance.append({**cell, "spend": spend})
                for arm, users, mean in (("treated", 900, 3.0), ("control", 100, 2.0)):
                    holdout.append(
                        {
                            **cell,
                            "arm": arm,
                            "users": users,
                            "revenue": users * mean,
                            "revenue_sq": users * (mean**2 + 4.0),
                        }
                    )
    return {
        "holdout": pd.DataFrame(holdout),
        "performance": pd.DataFrame(performance),
        "sales": pd.DataFrame(sales),
    }


def test_a_segments_lift_is_the_sum_over_its_channels() -> None:
    found = daily_facts(
        **feeds(), segments=["south", "north"], first=FIRST, as_of=FIRST + timedelta(days=DAYS)
    )
    assert found.segments == ("north", "south")
    assert found.lift == pytest.approx(np.full((DAYS, 2), 1_800.0))
    # two cells, each 900 treated users x sqrt(4 x (1/900 + 1/100)), a little more for the freedom
    assert found.lift_error == pytest.approx(
        np.full((DAYS, 2), 900 * np.sqrt(2 * 4.0 * (1 / 900 + 1 / 100))), rel=0.01
    )
    assert found.sales == pytest.approx(np.full((DAYS, 2), 5_000.0))
    assert found.spend == pytest.approx(np.full((DAYS, 2), 150.0))


def test_nothing_on_or_after_the_day_asked_for_is_known() -> None:
    found = daily_facts(**feeds(), segments=["north"], first=FIRST, as_of=FIRST + timedelta(days=5))
    assert found.lift.shape == (5, 1)


def test_a_gap_of_a_small_cell_is_filled_and_one_of_a_large_cell_is_unknown() -> None:
    known = feeds()
    rows = known["holdout"]
    gap = (rows.date == FIRST + timedelta(days=3)) & (rows.channel == "search")
    known["holdout"] = rows[~gap]
    found = daily_facts(
        **known, segments=["north"], first=FIRST, as_of=FIRST + timedelta(days=DAYS)
    )
    assert np.isnan(found.lift[3, 0])
    small = (rows.date == FIRST + timedelta(days=3)) & (rows.channel == "video")
    known["performance"].loc[known["performance"].channel == "video", "spend"] = 10.0
    known["holdout"] = rows[~small]
    filled = daily_facts(
        **known, segments=["north"], first=FIRST, as_of=FIRST + timedelta(days=DAYS)
    )
    assert filled.lift[3, 0] == pytest.approx(1_800.0)


def test_feeds_without_rows_are_unknown() -> None:
    known = feeds()
    found = daily_facts(
        holdout=known["holdout"].iloc[:0],
        performance=known["performance"],
        sales=known["sales"].iloc[:0],
        segments=["north"],
        first=FIRST,
        as_of=FIRST + timedelta(days=DAYS),
    )
    assert np.isnan(found.lift).all() and np.isnan(found.sales).all()
    assert found.spend == pytest.approx(np.full((DAYS, 1), 150.0))
