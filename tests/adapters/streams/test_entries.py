"""Files of entries: a row's line, and what is read back from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.adapters.importers import Imported
from liftloop.adapters.streams.entries import (
    broken_line,
    file_name,
    is_entries,
    line,
    read_entries,
    row_line,
    sift_entries,
)
from liftloop.core.feeds.context import Account

NOW = datetime(2026, 3, 2, tzinfo=UTC)
GOOD = '{"event_id": "a", "occurred_at": "2026-03-01T10:00:00Z", "segment": "s", "revenue": 1.10}'


def read(folder: Path, *lines: bytes) -> Imported:
    path = folder / file_name("events", "1-0", len(lines))
    path.write_bytes(b"".join(lines))
    return read_entries(path)


def test_a_line_is_json_and_keeps_the_row_and_its_name() -> None:
    said = json.loads(line("5-1", b' {"a": 1,\r\n "b": [2]} '))
    assert said == {"a": 1, "b": [2], "_entry": "5-1"}
    assert json.loads(line("5-1", b"{ }")) == {"_entry": "5-1"}


def test_a_sender_cannot_name_its_entry(tmp_path: Path) -> None:
    imported = read(tmp_path, line("5-1", b'{"_entry": "9-9", "event_id": "a"}'))
    assert imported.frame["_entry"].tolist() == ["5-1"]


@given(st.binary(max_size=60))
def test_whatever_is_sent_is_one_line_and_one_row(sent: bytes) -> None:
    written = line("17-3", sent)
    assert written.endswith(b"\n") and written.count(b"\n") == 1


@pytest.mark.parametrize(
    "sent", [b'{"a": [1', b'{"a": 1}, {"b": 2}', b'{"a":{"b":1}', b"{\xff}", b"]}", b'{"a"}', b"7"]
)
def test_what_is_no_object_spoils_its_own_row_alone(tmp_path: Path, sent: bytes) -> None:
    imported = read(tmp_path, line("1-0", sent), line("2-0", GOOD.encode()), line("3-0", sent))
    sifted = sift_entries(imported, account=Account(), received_at=NOW)
    assert sifted.accepted["event_id"].tolist() == ["a"]
    assert sifted.rejected["rules"].tolist() == ["broken_row", "broken_row"]
    assert imported.frame["_entry"].tolist() == ["1-0", "2-0", "3-0"]


def test_numbers_stay_what_was_written(tmp_path: Path) -> None:
    assert read(tmp_path, line("1-0", GOOD.encode())).frame["revenue"].tolist() == ["1.10"]


def test_names_may_differ_in_case_and_blanks_between_senders(tmp_path: Path) -> None:
    other = (
        GOOD.replace("event_id", " Event_ID").replace('"a"', '"b"').replace("revenue", "Revenue")
    )
    both = GOOD.replace('"revenue"', '"REVENUE": 2, "revenue"')
    imported = read(tmp_path, *(line("1-0", one.encode()) for one in (GOOD, other, both)))
    sifted = sift_entries(imported, account=Account(), received_at=NOW)
    assert sifted.accepted["event_id"].tolist() == ["a", "b"]
    assert sifted.rejected["rules"].tolist() == ["broken_row"]


def test_a_clock_ahead_of_ours_reports_nothing_in_the_future(tmp_path: Path) -> None:
    later = int(NOW.timestamp() * 1000) + 3_600_000
    names = (f"{later}-0", "99999999999999999999999-0", "1772400000000-7")
    imported = read(tmp_path, *(line(name, GOOD.encode()) for name in names))
    sifted = sift_entries(imported, account=Account(), received_at=NOW)
    assert sifted.accepted["reported_at"].tolist() == [
        pd.Timestamp(NOW),
        pd.Timestamp(NOW),
        pd.Timestamp("2026-03-01T21:20:00.000007Z"),
    ]


def test_only_names_of_a_feed_are_files_of_entries() -> None:
    assert is_entries(Path("inbox/events-17-0-5.entries.jsonl"))
    assert not is_entries(Path("inbox/events-17.jsonl"))
    assert not is_entries(Path("inbox/other-17.entries.jsonl"))


def test_rows_and_broken_texts_are_lines_too() -> None:
    assert json.loads(row_line("1-0", {"a": "\n"})) == {"a": "\n", "_entry": "1-0"}
    said = json.loads(broken_line("1-0", "bad", b"\xff\n"))
    assert said == {"_broken": "bad: \\xff\n", "_entry": "1-0"}


@pytest.mark.parametrize("depth", [100, 900, 990, 100_000])
@pytest.mark.parametrize("column", ["revenue", "segment", "x_a", "other"])
def test_a_row_nested_too_deeply_is_a_broken_row(tmp_path: Path, column: str, depth: int) -> None:
    deep = f'{GOOD[:-1]}, "{column}": {"[" * depth}{"]" * depth}}}'
    said = read(tmp_path, line("1-0", GOOD.encode()), deep.encode() + b"\n")
    assert said.rows_read == 2
    sifted = sift_entries(said, account=Account("EUR", "UTC"), received_at=NOW)
    assert 1 not in set(sifted.rejected["row_number"])
