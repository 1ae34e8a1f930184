"""What platforms claim, by cell and week, beside what the segment sold."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from models.lift.attributed_revenue import weekly_claims

AS_OF = date(2026, 3, 16)
DAYS = [AS_OF - timedelta(days=d) for d in range(14, 0, -1)]  # two whole weeks


def performance(days: list[date] = DAYS) -> pd.DataFrame:
    """Two campaigns of one cell: 60 + 40 spent, 30 + 20 claimed a day, a tenth more in week two."""
    late = np.array([day >= AS_OF - timedelta(days=7) for day in days])
    rows = [
        pd.DataFrame(
            {
                "date": days,
                "segment": "eu",
                "channel": "search",
                "campaign": name,
                "spend": spend,
                "revenue": claimed * np.where(late, 1.1, 1.0),
            }
        )
        for name, spend, claimed in (("a", 60.0, 30.0), ("b", 40.0, 20.0))
    ]
    return pd.concat(rows, ignore_index=True)


def sales(days: list[date] = DAYS, revenue: float = 500.0) -> pd.DataFrame:
    return pd.DataFrame({"date": days, "segment": "eu", "orders": 5, "revenue": revenue})


def holdout() -> pd.DataFrame:
    """Two channels; of each, two arms whose users together are the segment's: 450 + 50 sold."""
    rows = [
        {
            "date": day,
            "segment": "eu",
            "channel": channel,
            "arm": arm,
            "users": users,
            "revenue": revenue,
        }
        for day in DAYS
        for channel in ("search", "social")
        for arm, users, revenue in (("treated", 900, 450.0), ("control", 100, 50.0))
    ]
    return pd.DataFrame(rows)


def test_a_week_s_claims_are_the_daily_mean_over_campaigns_beside_the_segment_s_sales() -> None:
    found = weekly_claims(performance=performance(), sales=sales(), holdout=None, as_of=AS_OF)
    assert found[["segment", "channel"]].drop_duplicates().to_numpy().tolist() == [["eu", "search"]]
    by_week = found.sort_values("period_start")
    assert by_week.claimed.tolist() == pytest.approx([50.0, 55.0])
    assert by_week.sold.tolist() == pytest.approx([500.0, 500.0])
    assert by_week.period_start.dt.date.tolist() == [DAYS[0], DAYS[7]]
    assert by_week.period_end.dt.date.tolist() == [DAYS[6], DAYS[13]]


def test_without_sales_both_arms_of_a_channel_s_holdout_are_what_the_segment_sold() -> None:
    for missing in (None, sales().iloc[:0]):
        found = weekly_claims(
            performance=performance(), sales=missing, holdout=holdout(), as_of=AS_OF
        )
        # the mean over the channels, not their sum: each channel's arms are the same users
        assert found.sold.tolist() == pytest.approx([500.0, 500.0])


@pytest.mark.parametrize("missing", [None, pd.DataFrame(columns=["date", "segment", "revenue"])])
def test_where_nothing_is_known_of_sales_there_are_no_claims(missing: pd.DataFrame | None) -> None:
    found = weekly_claims(performance=performance(), sales=missing, holdout=None, as_of=AS_OF)
    assert found.empty
    assert list(found.columns) == list(
        weekly_claims(performance=performance(), sales=sales(), holdout=None, as_of=AS_OF).columns
    )


def test_days_without_sales_are_left_out_and_a_week_of_three_known_days_is_no_week() -> None:
    four, three = DAYS[:4], DAYS[7:10]
    found = weekly_claims(
        performance=performance(), sales=sales(four + three), holdout=None, as_of=AS_OF
    )
    assert found.period_start.dt.date.tolist() == [DAYS[0]]
    assert found.claimed.item() == pytest.approx(50.0)


def test_nothing_on_or_after_as_of_is_looked_at() -> None:
    coming = [AS_OF + timedelta(days=d) for d in range(7)]
    more = performance().assign(revenue=1e9)
    later = pd.concat([performance(), more.assign(date=[*coming, *coming] * 2)])
    plain = weekly_claims(performance=performance(), sales=sales(), holdout=None, as_of=AS_OF)
    same = weekly_claims(performance=later, sales=sales(DAYS + coming), holdout=None, as_of=AS_OF)
    pd.testing.assert_frame_equal(plain, same)


def test_a_cell_that_spent_nothing_claims_nothing() -> None:
    idle = performance().assign(channel="social", spend=0.0)
    found = weekly_claims(
        performance=pd.concat([performance(), idle]), sales=sales(), holdout=None, as_of=AS_OF
    )
    assert set(found.channel) == {"search"}


def test_the_feeds_are_not_changed() -> None:
    given = performance(), sales()
    before = [frame.copy() for frame in given]
    weekly_claims(performance=given[0], sales=given[1], holdout=None, as_of=AS_OF)
    for frame, copy in zip(given, before, strict=True):
        pd.testing.assert_frame_equal(frame, copy)


def test_a_day_on_which_one_campaign_s_claims_are_missing_is_no_day_of_smaller_claims() -> None:
    frame = performance()
    frame.loc[(frame["campaign"] == "b") & (frame["date"] == DAYS[0]), "revenue"] = np.nan
    found = weekly_claims(performance=frame, sales=sales(), holdout=None, as_of=AS_OF)
    assert found.sort_values("period_start").claimed.tolist() == pytest.approx([50.0, 55.0])
