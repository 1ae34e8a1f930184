from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.adapters.files import outbox, whole_files
from liftloop.adapters.files.outbox import read_budgets, write_budgets
from liftloop.core.errors import Declined, RefusedFile
from liftloop.core.policy import BudgetLine
from liftloop.settings.workspace import Workspace

FIRST = BudgetLine(
    "d-1",
    "p-1",
    date(2026, 3, 2),
    "north",
    "search",
    Decimal("60.10"),
    Decimal("50.00"),
    "canary",
    12.5,
    10.0,
    15.25,
    'It said: "more", and so on.',
    "b-1",
)
SECOND = replace(
    FIRST,
    segment="=SUM(A1)",
    channel="Zürich, süd",
    daily_budget=Decimal("0.00"),
    expected_incremental_revenue=None,
    expected_low=None,
    expected_high=None,
    idempotency_key="b-2",
)
LINES = (FIRST, SECOND)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_the_three_files_say_what_the_contract_says(workspace: Workspace) -> None:
    as_csv, as_json, as_parquet = write_budgets(workspace, LINES)
    stem = "budgets-2026-03-02-d-1"
    assert [path.name for path in (as_csv, as_json, as_parquet)] == [
        f"{stem}.csv",
        f"{stem}.json",
        f"{stem}.parquet",
    ]
    said = json.loads(as_json.read_text(encoding="utf-8"))
    assert said[1]["daily_budget"] == "60.10"
    assert said[1]["expected_incremental_revenue"] == 12.5
    assert said[0]["expected_low"] is None
    with as_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["previous_daily_budget"] == "50.00"
    assert (
        list(rows[0])
        == list(said[0])
        == [
            "decision_id",
            "policy_version",
            "effective_from",
            "segment",
            "channel",
            "daily_budget",
            "previous_daily_budget",
            "stage",
            "expected_incremental_revenue",
            "expected_low",
            "expected_high",
            "reason",
            "idempotency_key",
        ]
    )
    table = pq.read_table(as_parquet)
    assert str(table.schema.field("daily_budget").type) == "decimal128(18, 2)"
    assert table.column("daily_budget").to_pylist() == [Decimal("0.00"), Decimal("60.10")]
    assert table.column("effective_from").to_pylist() == [date(2026, 3, 2)] * 2


def test_each_file_reads_back_as_the_lines(workspace: Workspace) -> None:
    for path in write_budgets(workspace, LINES):
        assert read_budgets(path) == (SECOND, FIRST)  # sorted by segment and channel


def test_names_are_kept_as_they_are(workspace: Workspace) -> None:
    for path in write_budgets(workspace, LINES):
        assert read_budgets(path)[0].segment == "=SUM(A1)"


def test_the_csv_holds_no_formula(workspace: Workspace) -> None:
    named = ("=1+1", "+cmd", "-x", "@SUM(A1)", "\tx", "＝1", "'=1", "'s-Hertogenbosch", "-5", "a=b")
    lines = [
        replace(
            FIRST,
            segment=name,
            channel="c",
            reason=f"={name}",
            idempotency_key=f"b{at}",
            expected_low=-10.5,
        )
        for at, name in enumerate(named)
    ]
    as_csv, as_json, _ = files = write_budgets(workspace, lines)
    with as_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    armed = ("=", "+", "-", "@", "\t", "＝")
    for row in rows:
        found = {name: cell for name, cell in row.items() if cell.startswith(armed)}
        assert set(found) <= {"expected_low", "segment"} and found.get("segment", "-5") == "-5"
        assert row["expected_low"] == "-10.5"
    assert "'s-Hertogenbosch" in {row["segment"] for row in rows}
    assert {row["segment"] for row in json.loads(as_json.read_text("utf-8"))} == set(named)
    for path in files:
        assert {line.segment for line in read_budgets(path)} == set(named)
    assert write_budgets(workspace, lines) == files, "what is there is known again"


def test_writing_again_touches_nothing(workspace: Workspace) -> None:
    before = [path.stat().st_mtime_ns for path in write_budgets(workspace, LINES)]
    assert [path.stat().st_mtime_ns for path in write_budgets(workspace, LINES)] == before


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_killed_between_the_files_the_next_call_completes_them(
    workspace: Workspace, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Path] = []
    rename = Path.replace

    def until_killed(path: Path, target: Path) -> Path:
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return rename(path, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", until_killed)
        write_budgets(workspace, LINES)
    assert not list(workspace.outbox.glob("budgets-*.csv"))  # it comes last: none without the rest
    files = write_budgets(workspace, LINES)
    assert sorted(workspace.outbox.iterdir()) == sorted(files)


def test_an_edited_export_is_not_overwritten_in_silence(workspace: Workspace) -> None:
    as_csv, *_ = write_budgets(workspace, LINES)
    as_csv.write_text(as_csv.read_text(encoding="utf-8").replace("60.10", "99.10"), "utf-8")
    with pytest.raises(Declined, match="was edited"):
        write_budgets(workspace, LINES)
    assert "99.10" in as_csv.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "lines",
    [(), (FIRST, replace(SECOND, decision_id="d-2")), (replace(FIRST, decision_id="../d"),)],
    ids=["none", "of two decisions", "a path in the id"],
)
def test_what_is_not_one_decision_is_refused(
    workspace: Workspace, lines: Sequence[BudgetLine]
) -> None:
    with pytest.raises(ValueError, match=r"one decision|file name"):
        write_budgets(workspace, lines)
    assert not workspace.outbox.exists()


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize("content", [b"", b"garbage", b'{"a": 1}', b"a,b\n1,2\n", b"\xff\xfe"])
def test_a_file_that_is_no_export_is_refused_in_words(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(RefusedFile, match="no budgets export"):
        read_budgets(path)


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
cents = st.integers(0, 10**13).map(lambda value: Decimal(value) / 100)


@settings(max_examples=40, deadline=None)
@given(
    cells=st.dictionaries(st.tuples(names, names), st.tuples(cents, cents), min_size=1, max_size=4),
    figure=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_every_format_keeps_every_cent_and_every_letter(
    cells: dict[tuple[str, str], tuple[Decimal, Decimal]], figure: float | None
) -> None:
    lines = [
        replace(
            FIRST,
            segment=segment,
            channel=channel,
            daily_budget=new,
            previous_daily_budget=old,
            expected_low=figure,
        )
        for (segment, channel), (new, old) in cells.items()
    ]
    expected = tuple(sorted(lines, key=lambda line: (line.segment, line.channel)))
    for kind, write in outbox._WRITERS.items():
        assert _read(write(lines), kind) == expected


def _read(content: bytes, suffix: str) -> tuple[BudgetLine, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(content)
        return read_budgets(path)


def test_a_whole_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    assert whole_files.write_whole(path, b"1")
    assert not whole_files.write_whole(path, b"1")
    assert whole_files.write_whole(path, b"2")
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_disk_that_fills_up_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    whole_files.write_whole(tmp_path / "x", b"old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        whole_files.write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
