from __future__ import annotations

import datetime as dt
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.adapters.importers.feeds import FEEDS
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds import declared as contracts

HEAD = "date,segment,channel,spend,impressions,clicks,conversions,revenue"
ROW = "2026-09-01,001,NA,1.50,100,3,0.5,9"
SALES = "date,segment,orders,revenue\n2026-09-01,DE,3,30\n"


def write(folder: Path, text: str, name: str = "x.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_recognition_knows_the_columns_the_contracts_demand() -> None:
    """Two tables of columns, one here to recognise a file, one in the core to judge its rows."""
    kinds = {"count": "number", "flag": "text"}  # recognised by its name, judged in the core
    assert set(FEEDS) == set(contracts.FEEDS)
    for name, feed in FEEDS.items():
        judged = contracts.FEEDS[name]
        assert set(feed.required) == set(judged.required), name
        assert set(feed.prefixes) == set(judged.prefixes), name
        for column in judged.columns:
            assert feed.kind(column.name) == kinds.get(column.kind, column.kind), column.name


def test_text_stays_text_and_counts_stay_whole(tmp_path: Path) -> None:
    big = 2**53 + 1
    path = write(tmp_path, f"{HEAD}\n{ROW}\n2026-09-02,002,x,1,{big},3,1,9\n")
    frame = read_delivery(path).frame
    assert frame["segment"].tolist() == ["001", "002"]
    assert frame["channel"].tolist() == ["NA", "x"]
    assert frame["impressions"].tolist() == [100, big]
    assert frame["date"].tolist() == [pd.Timestamp(2026, 9, 1), pd.Timestamp(2026, 9, 2)]


@pytest.mark.parametrize(
    "header",
    [HEAD.upper(), HEAD.replace(",", " , "), "\ufeff" + HEAD, HEAD.replace("date", '"date"')],
)
def test_case_blanks_quotes_and_a_byte_order_mark_in_the_header_do_not_matter(
    header: str, tmp_path: Path
) -> None:
    assert read_delivery(write(tmp_path, f"{header}\n{ROW}\n")).feed == "performance"


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_delimiters_are_found_out(mark: str, tmp_path: Path) -> None:
    got = read_delivery(write(tmp_path, f"{HEAD}\n{ROW}\n".replace(",", mark)))
    assert got.frame["spend"].tolist() == [1.5]


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_other_line_ends_are_read(ends: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"{HEAD}\n{ROW}\n{ROW}\n".replace("\n", ends).encode())
    assert read_delivery(path).rows_read == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_in_any_form_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"{HEAD}\n{ROW.replace('001', 'Zürich')}\n".encode(encoding))
    assert read_delivery(path).frame["segment"].tolist() == ["Zürich"]


def test_the_folder_or_the_file_name_tells_the_feed(tmp_path: Path) -> None:
    both = f"{HEAD},orders\n{ROW},4\n"  # columns of sales and of performance
    assert read_delivery(write(tmp_path, both, "sales/x.csv")).feed == "sales"
    assert read_delivery(write(tmp_path, both, "performance-2026.csv")).feed == "performance"
    assert read_delivery(write(tmp_path, both, "salesforce.csv"), ImportOptions(feed="sales")).feed
    with pytest.raises(RefusedFile, match="--feed"):
        read_delivery(write(tmp_path, both, "salesforce.csv"))


def test_a_platform_report_in_a_feeds_folder_is_still_seen_to_be_one(tmp_path: Path) -> None:
    text = "Campaign,Day,Impr.,Clicks,Cost\nA,2026-09-01,10,1,2.00\n"
    assert read_delivery(write(tmp_path, text, "performance/x.csv")).importer == "google_ads"


def test_columns_the_feed_does_not_know_are_left_aside_and_named(tmp_path: Path) -> None:
    got = read_delivery(write(tmp_path, f"{HEAD},owner\n{ROW},me\n"))
    assert "owner" not in got.frame
    assert got.notes == ("Columns left aside: owner.",)


def test_json_lines_keep_every_digit_and_mark_what_cannot_be_read(tmp_path: Path) -> None:
    good = dict(zip(HEAD.split(","), ROW.split(","), strict=True))
    lines = [
        json.dumps({**good, "spend": 0.1, "impressions": 2**53 + 1}),
        json.dumps({**good, "spend": 0.2, "impressions": 7}),
    ]
    got = read_delivery(write(tmp_path, "\n".join(lines), "x.jsonl"))
    assert got.frame["impressions"].tolist() == [2**53 + 1, 7]
    lines += [
        '{"date": "2026-',
        "[1]",
        json.dumps({**good, "segment": {"a": [1]}}),
        json.dumps({**good, "segment": "\ud800"}),
    ]
    got = read_delivery(write(tmp_path, "\n".join(lines), "y.jsonl"))
    broken = got.frame["_broken"]
    assert got.rows_read == len(got.frame) == 6
    assert broken.isna().tolist() == [True, True, False, False, False, False]
    assert ["not JSON" in broken[2], "not a JSON object" in broken[3]] == [True, True]
    assert ["nested value" in broken[4], "not Unicode" in broken[5]] == [True, True]


def test_a_row_json_calls_infinite_keeps_the_word(tmp_path: Path) -> None:
    good = dict(zip(HEAD.split(","), ROW.split(","), strict=True))
    text = json.dumps({**good, "spend": float("inf")}) + "\n" + json.dumps(good)
    assert read_delivery(write(tmp_path, text)).frame["spend"].tolist() == ["Infinity", "1.50"]


def parquet(folder: Path, frame: pd.DataFrame, name: str = "performance.parquet") -> Path:
    path = folder / name
    frame.to_parquet(path)
    return path


def test_parquet_with_its_own_types_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "date": [dt.date(2026, 9, 1), dt.date(2026, 9, 2)],
            "segment": pd.Categorical(["001", "002"]),
            "channel": [1, 2],
            "spend": [Decimal("0.10"), Decimal("0.20")],
            "impressions": [10, 20],
            "clicks": pd.array([1, None], dtype="Int64"),
            "conversions": pd.Series([0.1, 0.2], dtype="float32"),
            "revenue": [1.0, 2.0],
            "reported_at": pd.to_datetime(["2026-09-03T00:00:00Z"] * 2),
        }
    )
    got = read_delivery(parquet(tmp_path, frame)).frame
    assert got["date"].tolist() == [pd.Timestamp(2026, 9, 1), pd.Timestamp(2026, 9, 2)]
    assert got["segment"].tolist() == ["001", "002"]
    assert got["channel"].tolist() == ["1", "2"]
    assert got["spend"].tolist() == [0.1, 0.2]
    assert got["conversions"].tolist() == [0.1, 0.2]
    assert got["reported_at"].dt.tz is not None


def test_one_table_reads_the_same_from_csv_json_parquet_and_gzip(tmp_path: Path) -> None:
    csv_path = write(tmp_path, f"{HEAD}\n{ROW}\n{ROW.replace('001', '002')}\n")
    frame = read_delivery(csv_path).frame
    zipped = tmp_path / "performance.csv.gz"
    zipped.write_bytes(gzip.compress(csv_path.read_bytes()))
    lines = write(
        tmp_path,
        frame.assign(date=frame["date"].dt.strftime("%Y-%m-%d")).to_json(
            orient="records", lines=True
        ),
        "x.jsonl",
    )
    for path in (zipped, lines, parquet(tmp_path, frame)):
        pd.testing.assert_frame_equal(read_delivery(path).frame, frame, check_dtype=False)


def rows(folder: Path, *lines: str, head: str = HEAD) -> Any:
    return read_delivery(write(folder, "\n".join((head, *lines)) + "\n", "performance.csv"))


def test_a_row_with_too_many_or_too_few_fields_keeps_its_place(tmp_path: Path) -> None:
    got = rows(tmp_path, ROW, ROW + ",more", "", "2026-09-01,DE", ROW)
    broken = got.frame["_broken"]
    assert got.rows_read == len(got.frame) == 4
    assert broken.isna().tolist() == [True, False, False, True]
    assert broken[1] == f"9 fields where the header has 8: {ROW},more"
    assert got.frame["spend"].tolist()[0] == got.frame["spend"].tolist()[3] == 1.5


def test_an_unclosed_quote_costs_its_own_row_alone(tmp_path: Path) -> None:
    bad = ROW.replace("001", '"001')
    got = rows(tmp_path, *[ROW] * 3, bad, *[ROW] * 200, bad, ROW)
    broken = got.frame["_broken"].dropna()
    assert (len(got.frame), broken.index.tolist()) == (206, [3, 204])
    assert "quote" in broken[3] or "fields" in broken[3]
    assert got.frame["spend"].notna().sum() == 204


def test_a_line_end_inside_quotes_is_part_of_the_cell(tmp_path: Path) -> None:
    got = rows(tmp_path, ROW.replace("001", '"a\nb"'), ROW)
    assert got.frame["segment"].tolist() == ["a\nb", "001"]


@pytest.mark.parametrize("cell", ["abc", "1e400", "NaN", "inf", "-inf", "0x10", "1_000", "١"])
def test_a_cell_that_is_no_number_leaves_its_column_as_text(cell: str, tmp_path: Path) -> None:
    got = rows(tmp_path, *[ROW] * 20, ROW.replace("1.50", cell))
    assert got.frame["spend"].tolist() == ["1.50"] * 20 + [cell]


@pytest.mark.parametrize("day", ["2026-02-30", "tomorrow", "0000-00-00", "2026-13-01"])
def test_a_cell_that_is_no_day_leaves_its_column_as_text(day: str, tmp_path: Path) -> None:
    got = rows(tmp_path, *[ROW] * 20, ROW.replace("2026-09-01", day))
    assert got.frame["date"].tolist()[-1] == day


def test_days_written_as_midnight_are_days(tmp_path: Path) -> None:
    got = rows(tmp_path, ROW.replace("2026-09-01", "2026-09-01 00:00:00"))
    assert got.frame["date"].tolist() == [pd.Timestamp(2026, 9, 1)]


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "@SUM(1)", "../../etc/passwd", "a\tb"])
def test_a_formula_or_a_path_in_a_name_is_text_like_any_other(name: str, tmp_path: Path) -> None:
    assert rows(tmp_path, ROW.replace("001", name)).frame["segment"].tolist() == [name]


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("1.50", '"1,50"', "spend"),
        ("1.50", '"1,234.50"', "spend"),
        ("1.50", "$1.50", "spend"),
        ("1.50", "1.50 €", "spend"),
        ("2026-09-01", "01/09/2026", "date"),
        ("2026-09-01", "1.9.2026", "date"),
        ("2026-09-01", "20260901", "date"),
    ],
)
def test_a_column_in_another_notation_from_first_to_last_refuses_the_file(
    old: str, new: str, column: str, tmp_path: Path
) -> None:
    with pytest.raises(RefusedFile) as refusal:
        rows(tmp_path, *[ROW.replace(old, new)] * 5)
    assert refusal.value.column == column
    assert "--map" in refusal.value.fix


def test_a_decimal_comma_behind_semicolons_is_refused_by_name(tmp_path: Path) -> None:
    row = ROW.replace(",", ";").replace("1.50", "1,50")
    with pytest.raises(RefusedFile, match=r"'spend'.*decimal comma"):
        rows(tmp_path, row, row, head=HEAD.replace(",", ";"))


def test_a_missing_column_is_named_with_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="needs clicks; the file has date, segment"):
        rows(tmp_path, ROW.replace(",3,", ","), head=HEAD.replace(",clicks", ""))


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match=r"'spend'.*twice"):
        rows(tmp_path, ROW + ",1", head=HEAD + ", Spend")


def test_a_million_rows_are_read_in_seconds(tmp_path: Path) -> None:
    """A tenth of it here; the limit is far above what a quiet machine needs."""
    lines = [
        f"2026-09-{1 + i % 28:02d},{i % 997:03d},c{i % 5},1.{i % 100:02d},{i},1,0,2"
        for i in range(100_000)
    ]
    path = write(tmp_path, "\n".join((HEAD, *lines)), "performance.csv")
    start = dt.datetime.now(dt.UTC)
    frame = read_delivery(path).frame
    assert (dt.datetime.now(dt.UTC) - start).total_seconds() < 10
    assert frame["impressions"].dtype == "int64"
    assert frame["segment"].iloc[7] == "007"
