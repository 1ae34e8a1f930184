"""Each rule of the feeds' contracts, on rows a person can check."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account, Rate
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.sales import sales_with_events
from liftloop.core.feeds.validate import Sifted, sift

PLAIN = Account()
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SOUND: dict[str, dict[str, Any]] = {
    "performance": {
        "date": "2026-03-01",
        "segment": "north",
        "channel": "search",
        "spend": "10.50",
        "impressions": "1000",
        "clicks": "30",
        "conversions": "1.5",
        "revenue": "25",
    },
    "holdout": {
        "date": "2026-03-01",
        "segment": "north",
        "channel": "search",
        "arm": "treated",
        "users": 100,
        "converters": 5,
        "conversions": 6,
        "revenue": -20.0,
        "revenue_sq": 4000.0,
    },
    "units": {
        "experiment": "mail",
        "unit_id": 7,
        "segment": "north",
        "channel": "mail",
        "arm": "treated",
        "assigned_on": "2026-03-01",
        "converted": 1,
        "conversions": 2,
        "revenue": 30.0,
    },
    "sales": {"date": "2026-03-01", "segment": "north", "orders": 3, "revenue": 99.5},
    "events": {
        "event_id": "e1",
        "occurred_at": "2026-03-01T23:30:00Z",
        "segment": "north",
        "revenue": 12.0,
    },
    "experiments": {
        "experiment": "lift-1",
        "segments": "north; south",
        "channel": "search",
        "start": "2026-02-01",
        "end": "2026-02-14",
        "spend_delta": -500.0,
        "incremental_revenue": -120.0,
        "standard_error": 80.0,
    },
    "variants": {
        "test": "hero",
        "date": "2026-03-01",
        "segment": "north",
        "channel": "search",
        "variant": "new",
        "units": 1000,
        "conversions": 50,
        "revenue": 2000.0,
        "revenue_sq": 90000.0,
    },
}

BREAKS = [
    ("performance", {"spend": "-0.01"}, "spend_not_negative"),
    ("performance", {"spend": "ten"}, "not_a_number"),
    ("performance", {"spend": "nan"}, "not_a_number"),
    ("performance", {"spend": "inf"}, "not_finite"),
    ("performance", {"spend": "1e300"}, "too_large"),
    ("performance", {"spend": ""}, "missing_value"),
    ("performance", {"spend": None}, "missing_value"),
    ("performance", {"segment": "  "}, "missing_value"),
    ("performance", {"date": "01/03/2026"}, "not_a_date"),
    ("performance", {"date": "2026-03"}, "not_a_date"),
    ("performance", {"date": "2026-02-30"}, "not_a_date"),
    ("performance", {"date": "2026-03-01T07:00:00"}, "date_with_a_time"),
    ("performance", {"date": "2026-03-11"}, "date_not_in_future"),
    ("performance", {"date": "1970-01-01"}, "date_since_1990"),
    ("performance", {"segment": "no\x00rth"}, "name_with_control_characters"),
    ("performance", {"segment": "no\u202erth"}, "name_with_control_characters"),
    ("performance", {"campaign": "c" * 201}, "name_too_long"),
    ("performance", {"reported_at": "2026-03-12T12:00:01Z"}, "reported_at_not_in_future"),
    ("performance", {"reported_at": "1772323200"}, "not_an_instant"),
    ("performance", {"currency": "EUR"}, "currency_has_rate"),
    ("performance", {"currency": "euro"}, "currency_is_three_letters"),
    ("performance", {"_broken": "9 cells instead of 8"}, "broken_row"),
    ("holdout", {"arm": "Treated"}, "arm_treated_or_control"),
    ("variants", {"units": 0}, "units_positive;revenue_sq_fits_revenue"),
    ("variants", {"conversions": -1}, "conversions_not_negative"),
    ("variants", {"revenue_sq": 3000.0}, "revenue_sq_fits_revenue"),
    ("variants", {"variant": ""}, "missing_value"),
    ("holdout", {"users": 0, "converters": 0}, "users_positive"),
    ("holdout", {"converters": -1}, "converters_not_negative"),
    ("holdout", {"converters": 101}, "converters_at_most_users"),
    ("holdout", {"revenue_sq": -1.0}, "revenue_sq_not_negative;revenue_sq_fits_revenue"),
    ("holdout", {"revenue": 1000.0}, "revenue_sq_fits_revenue"),  # 1000^2 / 100 > 4000
    ("holdout", {"x_visits": "many"}, "not_a_number"),
    ("units", {"propensity": 1.0}, "propensity_between_0_and_1"),
    ("units", {"converted": 2}, "converted_0_or_1"),
    ("units", {"cost": -0.1}, "cost_not_negative"),
    ("units", {"channel": None}, "treated_names_a_channel"),
    ("sales", {"orders": -1}, "orders_not_negative"),
    ("events", {"occurred_at": "2026-03-11T00:00:00Z"}, "date_not_in_future"),
    ("events", {"occurred_at": "yesterday"}, "not_an_instant"),
    ("experiments", {"standard_error": 0.0}, "standard_error_positive"),
    ("experiments", {"start": "2026-02-15"}, "start_not_after_end"),
    ("experiments", {"segments": "north;;south"}, "segments_all_named"),
]


def sifted(feed: str, *rows: dict[str, Any], account: Account = PLAIN) -> Sifted:
    return sift(feed, pd.DataFrame(list(rows)), account=account, received_at=NOW)


@pytest.mark.parametrize("feed", FEEDS)
def test_a_sound_row_is_accepted_and_typed(feed: str) -> None:
    kept = sifted(feed, SOUND[feed])
    assert kept.rejected.empty
    row = kept.accepted.iloc[0]
    assert row["row_number"] == 1
    for column in FEEDS[feed].columns:
        if column.identity:  # a delivery without it does without it
            assert column.name not in kept.accepted
            continue
        kind = str(kept.accepted[column.name].dtype)
        assert (
            kind
            == {
                "text": "str",
                "day": "datetime64[us]",
                "instant": "datetime64[us, UTC]",
                "number": "float64",
                "count": "int64",
                "flag": "float64",
            }[column.kind]
        )
    assert str(kept.accepted["date"].dtype) == "datetime64[us]"
    assert str(kept.accepted["known_from"].dtype) == "datetime64[us, UTC]"


ATTRIBUTION_BREAKS = [
    ({"impressions": "-1"}, {"impressions": "impressions_not_negative"}),
    (
        {"impressions": "-1", "clicks": "-2"},
        {"impressions": "impressions_not_negative", "clicks": "clicks_not_negative"},
    ),
    ({"clicks": "1001"}, {"clicks": "clicks_at_most_impressions"}),
    ({"clicks": "2.5"}, {"clicks": "not_a_whole_number"}),
    ({"clicks": ""}, {"clicks": "missing_value"}),
    ({"impressions": str(2**70)}, {"impressions": "too_large"}),
    ({"conversions": "-1"}, {"conversions": "conversions_not_negative"}),
    ({"conversions": "--"}, {"conversions": "not_a_number"}),
    ({"revenue": "-1"}, {"revenue": "revenue_not_negative"}),
    ({"revenue": "inf"}, {"revenue": "not_finite"}),
    ({"revenue": None}, {"revenue": "missing_value"}),
]


@pytest.mark.parametrize(("change", "broken"), ATTRIBUTION_BREAKS)
def test_a_row_whose_attribution_breaks_a_rule_keeps_its_spend(
    change: dict[str, Any], broken: dict[str, str]
) -> None:
    good = SOUND["performance"]
    kept = sifted("performance", good, {**good, **change}, good)
    assert kept.rejected.empty
    assert kept.accepted["spend"].tolist() == [float(good["spend"])] * 3
    for column in ("impressions", "clicks", "conversions", "revenue"):
        assert kept.accepted[column].isna().tolist() == [False, column in broken, False]
    assert {one.column: one.rule for one in kept.missing} == broken
    assert {one.rows for one in kept.missing} == {1}


def test_missing_attribution_is_not_counted_where_the_row_is_rejected_anyhow() -> None:
    good = SOUND["performance"]
    kept = sifted("performance", good, {**good, "revenue": "-1", "spend": "-1"})
    assert kept.rejected["rules"].tolist() == ["spend_not_negative"]
    assert kept.missing == ()


@pytest.mark.parametrize(("feed", "change", "rules"), BREAKS)
def test_a_row_that_breaks_a_rule_is_rejected_under_its_name(
    feed: str, change: dict[str, Any], rules: str
) -> None:
    good = SOUND[feed]
    if "x_visits" in change:
        good = {**good, "x_visits": 3}
    kept = sifted(feed, good, {**good, **change}, good)
    assert list(kept.accepted["row_number"]) == [1, 3]
    assert set(kept.rejected["rules"].iloc[0].split(";")) == set(rules.split(";"))
    assert list(kept.rejected["row_number"]) == [2]


@pytest.mark.parametrize("typed", ["S\u00fcd", "Su\u0308d"])
def test_a_name_is_the_same_however_its_letters_were_typed(typed: str) -> None:
    kept = sifted("sales", {**SOUND["sales"], "segment": typed}, SOUND["sales"])
    assert list(kept.accepted["segment"]) == ["S\u00fcd", "north"]


def test_a_rejected_row_is_kept_as_it_was_received() -> None:
    bad = {**SOUND["performance"], "spend": "1,5", "note": "=cmd()"}
    kept = sifted("performance", SOUND["performance"], bad)
    assert json.loads(kept.rejected["row"].iloc[0]) == bad


@pytest.mark.parametrize("feed", FEEDS)
def test_a_missing_column_refuses_the_file_and_is_named(feed: str) -> None:
    for column in FEEDS[feed].required:
        frame = pd.DataFrame([SOUND[feed]]).drop(columns=column)
        with pytest.raises(RefusedFile) as refused:
            sift(feed, frame, account=Account(), received_at=NOW)
        assert refused.value.column == column


def test_a_missing_column_that_another_resembles_is_to_be_renamed() -> None:
    frame = pd.DataFrame([SOUND["sales"]]).rename(columns={"revenue": "Revenues"})
    with pytest.raises(RefusedFile, match="rename 'Revenues' to 'revenue'"):
        sift("sales", frame, account=Account(), received_at=NOW)


@pytest.mark.parametrize(
    ("column", "value"), [("revenue", "12 EUR"), ("date", "13/01/2026"), ("date", "week 3")]
)
def test_a_column_without_one_readable_value_refuses_the_file(column: str, value: str) -> None:
    rows = [{**SOUND["sales"], column: value}] * 3
    with pytest.raises(RefusedFile) as refused:
        sifted("sales", *rows)
    assert refused.value.column == column
    one_by_one = sift("sales", pd.DataFrame(rows), account=Account(), received_at=NOW, refuse=False)
    assert len(one_by_one.rejected) == 3


def test_columns_that_cannot_be_told_apart_refuse_the_file() -> None:
    twice = pd.DataFrame([["2026-03-01", "a", 1, 2, 3]])
    twice.columns = ["date", "segment", "orders", "revenue", "revenue"]
    with pytest.raises(RefusedFile, match="there twice"):
        sift("sales", twice, account=Account(), received_at=NOW)
    with pytest.raises(RefusedFile, match="upper and lower case"):
        sifted("sales", {**SOUND["sales"], "x_a": 1, "x_A": 2})
    with pytest.raises(RefusedFile, match="cannot be kept"):
        sifted("sales", {**SOUND["sales"], "x_a b": 1})


def test_extra_columns_are_left_out_and_covariates_kept() -> None:
    kept = sifted("units", {**SOUND["units"], "x_age": 30, "c_town": "Ely", "y_visit": 1, "z": 5})
    assert kept.accepted[["x_age", "c_town", "y_visit"]].to_numpy().tolist() == [[30.0, "Ely", 1]]
    assert "z" not in kept.accepted
    assert "x_age" not in sifted("performance", {**SOUND["performance"], "x_age": 1}).accepted


def test_defaults_stand_in_for_what_is_optional() -> None:
    row = sifted("performance", SOUND["performance"]).accepted.iloc[0]
    assert (row["campaign"], row["creative"]) == ("all", "all")
    event = sifted("events", SOUND["events"]).accepted.iloc[0]
    assert (event["orders"], event["channel"]) == (1.0, "")
    unit = sifted("units", {**SOUND["units"], "arm": "control", "channel": None}).accepted.iloc[0]
    assert unit["channel"] == ""
    assert np.isnan(unit["propensity"])


def test_a_row_says_from_when_on_it_was_known() -> None:
    account = Account(timezone="America/New_York")
    silent, telling = SOUND["sales"], {**SOUND["sales"], "reported_at": "2026-03-04T08:00:00+02:00"}
    kept = sifted("sales", silent, telling, account=account).accepted
    assert kept["known_from"].tolist() == [
        pd.Timestamp("2026-03-02T05:00:00Z"),  # midnight in New York, the day after
        pd.Timestamp("2026-03-04T06:00:00Z"),
    ]
    assert kept["reported_at"].tolist() == [pd.Timestamp(NOW), pd.Timestamp("2026-03-04T06:00Z")]


def test_an_event_belongs_to_the_accounts_day() -> None:
    for zone, day in (("UTC", "2026-03-01"), ("Asia/Tokyo", "2026-03-02")):
        kept = sifted("events", SOUND["events"], account=Account(timezone=zone)).accepted
        assert kept["date"].iloc[0] == pd.Timestamp(day)


def test_today_is_not_the_future_but_tomorrow_is_by_the_accounts_clock() -> None:
    row = {**SOUND["sales"], "date": "2026-03-11"}
    assert len(sifted("sales", row, account=Account(timezone="Pacific/Kiritimati")).accepted) == 1
    assert len(sifted("sales", row, account=Account(timezone="UTC")).rejected) == 1


def test_money_is_converted_at_the_rate_of_its_day() -> None:
    rates = (
        Rate("EUR", Decimal("1.1"), end=date(2026, 2, 28)),
        Rate("EUR", Decimal("1.2"), start=date(2026, 3, 1), end=date(2026, 3, 5)),
    )
    rows = [
        {**SOUND["performance"], "currency": code, "date": day}
        for code, day in (
            ("USD", "2026-03-01"),
            ("", "2026-03-01"),
            ("eur", "2026-03-01"),
            ("EUR", "2026-02-28"),
            ("EUR", "2026-03-06"),
        )
    ]
    kept = sifted("performance", *rows, account=Account(rates=rates))
    assert kept.accepted["spend"].tolist() == pytest.approx([10.5, 10.5, 12.6, 11.55])
    assert kept.accepted["revenue"].tolist() == pytest.approx([25, 25, 30, 27.5])
    assert kept.rejected["rules"].tolist() == ["currency_has_rate"]


def test_numbers_of_any_dress_are_read() -> None:
    frame = pd.DataFrame(
        {
            "date": [date(2026, 3, 1), pd.Timestamp("2026-03-02"), "2026-03-03", "20260304"],
            "segment": [1, 1.0, "1", " 1 "],
            "orders": [Decimal("3"), 3, 3.0, "3"],
            "revenue": [Decimal("1.5"), np.float32(1.5), 1.5, " 1.5 "],
        }
    )
    kept = sift("sales", frame, account=Account(), received_at=NOW).accepted
    assert set(kept["segment"]) == {"1"} or set(kept["segment"]) == {"1", "1.0"}
    assert kept["orders"].tolist() == [3.0] * 4
    assert kept["revenue"].tolist() == [1.5] * 4
    assert kept["date"].tolist() == list(pd.date_range("2026-03-01", periods=4))


def test_no_rows_are_no_trouble() -> None:
    for feed, row in SOUND.items():
        kept = sift(feed, pd.DataFrame(columns=list(row)), account=Account(), received_at=NOW)
        assert len(kept.accepted) == len(kept.rejected) == 0


def test_half_a_character_is_no_crash() -> None:
    rows = [SOUND["sales"], {**SOUND["sales"], "segment": "a\ud800", "orders": -1}]
    frame = pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=object) for name in rows[0]}
    )
    kept = sift("sales", frame, account=PLAIN, received_at=NOW)
    assert kept.rejected["rules"].tolist() == ["orders_not_negative"]
    kept.rejected["row"].iloc[0].encode()


values = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from(["2026-03-01", "12", "-1", "treated", "1e400", "NaN"]),
)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(sorted(FEEDS)))
def test_every_row_ends_in_exactly_one_place(data: st.DataObject, feed: str) -> None:
    names = [column.name for column in FEEDS[feed].columns]
    rows = []
    for _ in range(data.draw(st.integers(0, 4))):
        changed = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=2))
        rows.append({**SOUND[feed], **changed})
    frame = pd.DataFrame(rows, columns=names)
    before = frame.copy(deep=True)
    kept = sift(feed, frame, account=Account(), received_at=NOW, refuse=False)
    numbers = [*kept.accepted["row_number"], *kept.rejected["row_number"]]
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    assert all(kept.rejected["rules"])
    assert all(isinstance(json.loads(row), dict) for row in kept.rejected["row"])
    pd.testing.assert_frame_equal(frame, before)


def test_events_stand_in_where_no_sales_row_was_delivered() -> None:
    day, after = pd.Timestamp("2026-03-01"), pd.Timestamp("2026-03-02")
    sales = pd.DataFrame(
        {"date": [day], "segment": ["a"], "orders": [5.0], "revenue": [50.0], "x_price": [1.0]}
    )
    events = pd.DataFrame(
        {
            "date": [day, after, after, day],
            "segment": ["a", "a", "a", "b"],
            "orders": [1.0, 1.0, 2.0, 1.0],
            "revenue": [9.0, 3.0, 4.0, 8.0],
        }
    )
    both = sales_with_events(sales, events)
    assert both[["segment", "orders", "revenue"]].to_numpy().tolist() == [
        ["a", 5.0, 50.0],
        ["b", 1.0, 8.0],
        ["a", 3.0, 7.0],
    ]
    assert both["x_price"].isna().tolist() == [False, True, True]
    assert len(sales_with_events(sales.iloc[:0], events)) == 3
    assert sales_with_events(sales, events.iloc[:0]).equals(sales)


def test_a_delivery_of_broken_rows_alone_goes_to_quarantine_row_by_row() -> None:
    frame = pd.DataFrame(
        {
            "date": ["?", "2026-09-01"],
            "segment": ["a", "a"],
            "orders": ["1", "x"],
            "revenue": ["true", "true"],
            "_broken": ["cut off", "cut off"],
        }
    )
    sifted = sift("sales", frame, account=PLAIN, received_at=NOW)
    assert (len(sifted.accepted), len(sifted.rejected)) == (0, 2)
