"""What a request holds, and what is plainly wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liftloop.adapters.streams.requests import Names, NotJson, journal_lines, rows_of

GOOD: dict[str, Any] = {
    "event_id": "a", "occurred_at": "2026-03-01T10:00:00Z", "segment": "s", "revenue": 1.5,
}  # fmt: skip


def rules(body: Any) -> list[str | None]:
    return [one.rule for one in rows_of("events", json.dumps(body).encode())]


def test_an_object_a_list_and_lines_hold_rows() -> None:
    line = json.dumps(GOOD)
    assert rules(GOOD) == [None]
    assert rules([GOOD, GOOD]) == [None, None]
    assert [one.rule for one in rows_of("events", f"{line}\n\n{line}\n".encode())] == [None, None]


def test_a_broken_line_spoils_itself_alone() -> None:
    found = rows_of("events", f"{json.dumps(GOOD)}\n{{broken\n".encode())
    assert [(one.rule, one.text) for one in found] == [(None, ""), ("broken_row", "{broken")]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"a\nb", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_no_request(body: bytes) -> None:
    with pytest.raises(NotJson):
        rows_of("events", body)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"event_id": None}, "missing_value"),
        ({"segment": "  "}, "missing_value"),
        ({"revenue": "much"}, "not_a_number"),
        ({"revenue": "inf"}, "not_finite"),
        ({"revenue": [1]}, "broken_row"),
        ({"occurred_at": 1772366400}, "not_an_instant"),
        ({"occurred_at": "yesterday"}, "not_an_instant"),
        ({"revenue": "-2.50"}, None),
        ({"occurred_at": "20260301T100000Z"}, None),
        ({"more": {"of": "it"}}, None),
    ],
)
def test_only_what_the_contract_is_sure_to_reject_is_named(
    changed: dict[str, Any], rule: str | None
) -> None:
    assert rules({**GOOD, **changed}) == [rule]


def test_a_row_is_kept_to_the_last_digit() -> None:
    body = b'{"event_id": 12345678901234567890123, "revenue": 0.10}'
    _, lines = journal_lines(rows_of("events", body), Names(milliseconds=lambda: 7))
    assert json.loads(lines) == {
        "event_id": "12345678901234567890123", "revenue": "0.10", "_entry": "7-0",
    }  # fmt: skip


def test_names_grow_even_when_the_clock_goes_back() -> None:
    clock = iter([5, 5, 3, 6])
    names = Names(milliseconds=lambda: next(clock))
    assert [names.next() for _ in range(4)] == ["5-0", "5-1", "5-2", "6-0"]
