"""Holes of the performance feed, and days told in a wrong unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from models.lift.imputed_spend import daily_spend, mended

DAYS = pd.date_range("2026-01-05", periods=42)  # from a Monday on


def feed(spend: float = 100.0) -> pd.DataFrame:
    cells = [(s, c) for s in ("n", "s") for c in ("search", "video")]
    rows = [(day, s, c, spend, 1000) for day in DAYS for s, c in cells]
    return pd.DataFrame(rows, columns=["date", "segment", "channel", "spend", "impressions"])


def spent(rows: pd.DataFrame) -> NDArray[np.float64]:
    return daily_spend(rows, as_of=DAYS[-1] + pd.Timedelta(days=1)).to_numpy()


def of(rows: pd.DataFrame, day: int, segment: str, channel: str = "") -> pd.Series:
    chosen = (rows["date"] == DAYS[day]) & (rows["segment"] == segment)
    return chosen & (rows["channel"] == channel) if channel else chosen


def test_spend_that_is_told_stays_as_it_is() -> None:
    rows = feed()
    rows["spend"] = np.random.default_rng(0).gamma(3.0, size=len(rows))
    assert (spent(rows).ravel() == rows["spend"]).all()


@pytest.mark.parametrize("day", [20, 41])
def test_a_day_of_which_a_segment_tells_nothing_was_like_the_days_around(day: int) -> None:
    rows = feed()
    assert (spent(rows[~of(rows, day, "n")]) == 100).all()


def test_a_row_lost_in_quarantine_is_a_hole_as_well() -> None:
    rows = feed()
    rows.loc[rows["date"] > DAYS[20], "spend"] = 140.0
    found = spent(rows[~of(rows, 20, "n", "video")])
    assert found[20, 1] == pytest.approx(120.0)
    assert (np.delete(found[20], 1) == 100).all()


def test_a_campaign_that_rests_at_weekends_spends_nothing_there() -> None:
    rows = feed()
    resting = (rows["channel"] == "video") & (rows["date"].dt.dayofweek >= 5)
    found = spent(rows[~resting])
    assert (found[DAYS.dayofweek >= 5][:, [1, 3]] == 0).all()
    assert (found[DAYS.dayofweek < 5] == 100).all()


def test_a_cell_that_begins_late_or_ends_spent_nothing_before_and_after() -> None:
    rows = feed()
    video = (rows["segment"] == "n") & (rows["channel"] == "video")
    found = spent(rows[~(video & ((rows["date"] < DAYS[10]) | (rows["date"] > DAYS[25])))])
    assert (found[:10, 1] == 0).all() and (found[26:, 1] == 0).all()
    assert (found[10:26, 1] == 100).all()


def test_a_long_silence_is_no_accident() -> None:
    rows = feed()
    quiet = (rows["segment"] == "n") & rows["date"].between(DAYS[10], DAYS[24])
    assert (spent(rows[~quiet])[10:25, :2] == 0).all()


def test_a_delivery_in_cents_does_not_count() -> None:
    rows = feed()
    cents = (rows["segment"] == "n") & rows["date"].between(DAYS[35], DAYS[41])
    rows.loc[cents, "spend"] *= 100
    assert (spent(rows) == 100).all()


def test_a_unit_that_changes_for_good_stays_as_told() -> None:
    rows = feed()
    rows.loc[rows["date"] >= DAYS[22], "spend"] *= 100
    found = spent(rows)
    assert (found[:22] == 100).all() and (found[22:] == 10_000).all()


def test_a_budget_that_grows_thirtyfold_with_its_impressions_is_believed() -> None:
    rows = feed()
    rows.loc[rows["date"] >= DAYS[38], ["spend", "impressions"]] *= 30
    assert (spent(rows)[38:] == 3000).all()


def test_no_array_is_changed() -> None:
    spend, told = np.full((5, 1), 10.0), np.ones((5, 1), dtype=bool)
    told[2], spend[2] = False, 0.0
    found = mended(
        spend=spend, told=told, impressions=np.full((5, 1), 9.0), segment_of=np.zeros(1, dtype=int)
    )
    assert found.tolist() == [[10.0]] * 5
    assert spend[2, 0] == 0.0
