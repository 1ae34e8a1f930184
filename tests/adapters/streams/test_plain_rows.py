"""Rows that are recognised as plain keep the contract, whatever stands in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftloop.adapters.streams.entries import row_line, rules_broken
from liftloop.adapters.streams.plain_rows import COLUMNS, PLAIN_FEED, PlainRows
from liftloop.core.feeds.context import Account, Rate
from liftloop.core.feeds.declared import FEEDS

NOW = datetime(2026, 11, 30, 23, 30, 5, tzinfo=UTC)
PLAIN = {
    "event_id": "a1",
    "occurred_at": "2026-03-01T10:00:00Z",
    "segment": "north",
    "revenue": "12.50",
}
ACCOUNTS = [
    Account(),
    Account("EUR", "Pacific/Kiritimati"),
    Account("EUR", "America/St_Johns", (Rate("USD", Decimal("0.9")),)),
    Account("GBP", "Pacific/Pago_Pago"),
]


def is_plain(row: dict[str, Any], account: Account = ACCOUNTS[0]) -> bool:
    return PlainRows(account, NOW).keeps_the_contract(row)


ODD_NAMES: list[object] = [
    "north",
    "nan",
    "None",
    "NULL",
    "",
    " ",
    "n" * 200,
    "n" * 201,
    "Köln",
    "a\tb",
    "\u200b",
    "a\u0301",
    "\u202ea",
    "\ufffd",
    "a ",
    " a",
    None,
    True,
    [1],
    {},
]
ODD_AMOUNTS = [
    "0",
    "-0",
    "-2.50",
    "1e3",
    "0x10",
    "1_0",
    "007",
    "9" * 15,
    "9" * 16,
    "9" * 18,
    "٣",
    " 5",
    "5 ",
    "+5",
    "1.",
    ".5",
    "inf",
    "nan",
    "9007199254740993",
    "",
    None,
    False,
    "1,5",
    "0." + "3" * 12,
    "0." + "3" * 13,
    [1],
]
ODD_INSTANTS = [
    "2026-02-29T00:00:00Z",
    "2026-03-01",
    "20260301T100000Z",
    "0001-01-01T00:00Z",
    "2026-03-01T24:00:00Z",
    "2026-03-01T10:00:60Z",
    "1772366400",
    "",
    "today",
    None,
    "2026-03-01T10:00:00",
    "2026-03-01T10:00:00+15:00",
    "2026-03-01T10:00:00z",
    "2099-12-31T23:59:59Z",
]
ODD_CURRENCIES = [None, "", "USD", "usd", "EUR", "eur", "GBP", "XXXX", "U", " EUR"]
NAMES = st.one_of(
    st.sampled_from(ODD_NAMES),
    st.text(st.characters(max_codepoint=0x300), max_size=6),
    st.text(max_size=4),
)
AMOUNTS = st.one_of(
    st.sampled_from(ODD_AMOUNTS),
    st.from_regex(r"-?[0-9]{1,16}(\.[0-9]{0,13})?", fullmatch=True),
    st.text("0123456789.-eE+", max_size=6),
)
MOMENTS = st.datetimes(datetime(1989, 12, 25), datetime(2027, 1, 5))
NEAR = st.integers(-4000, 4000).map(lambda m: NOW.replace(tzinfo=None) + timedelta(minutes=m))
EARLY = st.integers(-3000, 3000).map(lambda m: datetime(1990, 1, 1) + timedelta(minutes=m))
INSTANTS = st.one_of(
    st.builds(
        lambda moment, blank, zone, digits: moment.isoformat(blank, digits) + zone,
        st.one_of(MOMENTS, NEAR, EARLY),
        st.sampled_from(["T", " "]),
        st.sampled_from(["Z", "", "+00:00", "-11:30", "+14:00", "+14:59", "-14:59", "+24:00", "z"]),
        st.sampled_from(["seconds", "milliseconds", "microseconds", "minutes"]),
    ),
    st.from_regex(
        r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z", fullmatch=True
    ),
    st.sampled_from(ODD_INSTANTS),
)
OTHERS = st.dictionaries(
    st.sampled_from(
        [
            "note",
            "Note",
            "x_more",
            " revenue",
            "Revenue",
            "_broken",
            "_entry",
            "",
            "date",
            "known_from",
            "row_number",
            "y_1",
            "c_a",
            "a.b",
        ]
    ),
    st.one_of(st.text(max_size=3), st.none(), st.booleans(), st.just([1]), st.just({"a": "b"})),
    max_size=2,
)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "event_id": NAMES,
    "segment": NAMES,
    "channel": NAMES,
    "unit_id": NAMES,
    "revenue": AMOUNTS,
    "orders": AMOUNTS,
    "occurred_at": INSTANTS,
    "reported_at": INSTANTS,
    "currency": st.sampled_from(ODD_CURRENCIES),
}


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A plain row of which up to three columns have another value."""
    changed = draw(st.lists(st.sampled_from(sorted(CELLS)), max_size=3, unique=True))
    return PLAIN | {name: draw(CELLS[name]) for name in changed} | draw(st.just({}) | OTHERS)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(sent=st.lists(rows(), min_size=20, max_size=40), account=st.sampled_from(ACCOUNTS))
def test_no_row_that_is_plain_breaks_a_rule(sent: list[dict[str, Any]], account: Account) -> None:
    content = b"".join(row_line(f"{at}-0", row) for at, row in enumerate(sent))
    rules = rules_broken(PLAIN_FEED, content, account=account, received_at=NOW)
    for row, said in zip(sent, rules, strict=True):
        assert said is None or not is_plain(row, account), (row, said)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_odd_values_one_at_a_time(account: Account) -> None:
    odd: dict[str, list[Any]] = {
        **dict.fromkeys(("event_id", "segment", "channel", "unit_id"), ODD_NAMES),
        **dict.fromkeys(("revenue", "orders"), ODD_AMOUNTS),
        **dict.fromkeys(("occurred_at", "reported_at"), ODD_INSTANTS),
        "currency": ODD_CURRENCIES,
    }
    sent = [{**PLAIN, name: value} for name, values in odd.items() for value in values]
    content = b"".join(row_line(f"{at}-0", row) for at, row in enumerate(sent))
    rules = rules_broken(PLAIN_FEED, content, account=account, received_at=NOW)
    for row, said in zip(sent, rules, strict=True):
        assert said is None or not is_plain(row, account), (row, said)
    assert sum(said is not None for said in rules) > 60


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_edges_of_the_calendar_are_the_contracts(account: Account) -> None:
    """Around 1990 and now, by half hours: plain where, and only where, the contract takes a row."""
    half_hours = [timedelta(minutes=30 * step) for step in range(-60, 61)]
    edges = [datetime(1990, 1, 1, tzinfo=UTC), NOW, NOW + timedelta(days=1)]
    moments = [f"{edge + step:%Y-%m-%dT%H:%M:%SZ}" for edge in edges for step in half_hours]
    named = ["occurred_at"] * len(moments) + ["reported_at"] * len(moments)
    sent = [{**PLAIN, name: one} for name, one in zip(named, moments * 2, strict=True)]
    content = b"".join(row_line(f"{at}-0", row) for at, row in enumerate(sent))
    rules = rules_broken(PLAIN_FEED, content, account=account, received_at=NOW)
    expected = [  # of 1989 in UTC nothing is said, whatever the day is in the account's zone
        said is None and not row[name].startswith("1989")
        for row, name, said in zip(sent, named, rules, strict=True)
    ]
    assert [is_plain(row, account) for row in sent] == expected
    assert {"date_since_1990", "date_not_in_future", "reported_at_not_in_future"} <= set(rules)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"channel": "search", "unit_id": "u-7"},
        {"channel": None, "orders": "2"},
        {"currency": "USD"},
        {"revenue": "-12.5"},
        {"segment": "Zürich, west"},
        {"page": "/buy"},
        {"occurred_at": "2026-11-30T23:30:04.123Z", "reported_at": "2026-11-30T23:30:05+00:00"},
        {"occurred_at": "2026-11-30 18:30:04.123456-05:00", "campaign": None, "returning": True},
    ],
)
def test_ordinary_rows_are_plain(other: dict[str, Any]) -> None:
    assert is_plain({**PLAIN, **other})


def test_the_day_is_the_accounts() -> None:
    """11 hours from 23:30 UTC it is tomorrow in Kiribati (UTC+14), and today in Samoa (-11)."""
    for hours, begun in ((-1, (True, True)), (11, (False, True)), (36, (False, False))):
        row = {**PLAIN, "occurred_at": f"{NOW + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"}
        assert (is_plain(row, ACCOUNTS[1]), is_plain(row, ACCOUNTS[3])) == begun


def test_what_is_recognised_here_is_all_that_the_contract_asks() -> None:
    """A column or a rule that the feed is given later must be looked at here as well."""
    feed = FEEDS[PLAIN_FEED]
    assert {column.name for column in feed.columns} | {"currency"} == COLUMNS
    schema = feed.model.to_schema()
    checks = {check.name for column in schema.columns.values() for check in column.checks}
    assert checks == {"date_since_1990", "greater_than_or_equal_to"}
    assert not schema.checks
