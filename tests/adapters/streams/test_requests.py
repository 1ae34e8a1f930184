"""What a request holds, and what is plainly wrong with it."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.adapters.streams.requests import (
    Names,
    NotJson,
    TooManyRows,
    journal_lines,
    rows_of,
)

GOOD: dict[str, Any] = {
    "event_id": "a",
    "occurred_at": "2026-03-01T10:00:00Z",
    "segment": "s",
    "revenue": 1.5,
}


MOST = 100


def rows(body: Any) -> list[Any]:
    return [one.row for one in rows_of(json.dumps(body).encode(), MOST)]


def test_an_object_a_list_and_lines_hold_rows() -> None:
    line, good = json.dumps(GOOD), {**GOOD, "revenue": "1.5"}
    assert rows(GOOD) == [good]
    assert rows([GOOD, GOOD]) == [good, good]
    assert rows([]) == []
    lines = f"\ufeff{line}\n\n{line}\r\n".encode()
    assert [one.row for one in rows_of(lines, MOST)] == [good, good]


def test_a_broken_line_spoils_itself_alone() -> None:
    found = rows_of(f"{json.dumps(GOOD)}\n{{broken\n[1]\n".encode(), MOST)
    assert [one.text for one in found] == ["", "{broken", '["1"]']


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"a\nb",
        b"\xff",
        b"[" * 100_000,
        b"[1",
        b"[1 2]",
        b"[1,]",
        b"[,1]",
        b"[1]]",
    ],
)
def test_what_is_no_json_is_no_request(body: bytes) -> None:
    with pytest.raises(NotJson):
        rows_of(body, MOST)


@given(st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=9))
def test_a_list_is_read_as_json_reads_it(items: Any) -> None:
    body = [{"a": items}, items, {}]
    found = rows_of(json.dumps(body, indent=1).encode(), MOST)
    assert [json.loads(one.text) if one.row is None else one.row for one in found] == body


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 2_000_000 + b"{}]",
        b"[" + b"1," * 2_000_000,
        b"{}\n" * 2_000_000,
        b"{}\n" * 101 + b"\n" * 5_000_000,
    ],
    ids=["objects", "unfinished", "lines", "blank lines"],
)
def test_nothing_is_read_beyond_the_first_row_too_many(body: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(TooManyRows):
        rows_of(body, MOST)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 12 * len(body), "the body's text and little more"


def test_a_row_is_kept_to_the_last_digit() -> None:
    body = b'{"event_id": 12345678901234567890123, "revenue": 0.10}'
    _, lines = journal_lines(rows_of(body, MOST), Names(milliseconds=lambda: 7))
    assert json.loads(lines) == {
        "event_id": "12345678901234567890123",
        "revenue": "0.10",
        "_entry": "7-0",
    }


def test_names_grow_even_when_the_clock_goes_back() -> None:
    clock = iter([5, 5, 3, 6])
    names = Names(milliseconds=lambda: next(clock))
    assert [names.next() for _ in range(4)] == ["5-0", "5-1", "5-2", "6-0"]
