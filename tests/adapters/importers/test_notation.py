"""A file's numbers have one notation: found in all of its cells, or asked about."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.adapters.importers.tables.notation import currency_of, mark_of
from liftloop.adapters.importers.tables.sums import number
from liftloop.core.errors import RefusedFile

HEAD = ("Campaign", "Day", "Impr.", "Clicks", "Cost", "Conversions", "Conv. value")
FEED = (
    "date",
    "segment",
    "channel",
    "campaign",
    "spend",
    "impressions",
    "clicks",
    "conversions",
    "revenue",
)


def read(folder: Path, *rows: tuple[str, ...], head: Any = HEAD, **options: Any) -> Imported:
    path = folder / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
    return read_delivery(path, ImportOptions(**options))


def google(folder: Path, *spends: str, shown: str = "100000", **options: Any) -> list[float]:
    rows = [(f"C{i}", "2026-09-01", shown, "1", cell, "0", "0") for i, cell in enumerate(spends)]
    spend: list[float] = read(folder, *rows, **options).frame["spend"].tolist()
    return spend


@pytest.mark.parametrize(
    ("cells", "spend"),
    [
        (("1.234", "1.234,56", "7"), [1234, 1234.56, 7]),  # German under English headers
        (("0,125", "12,5"), [0.125, 12.5]),
        (("1.234", "0,125"), [1234, 0.125]),
        (("1.234.567", "1.234"), [1234567, 1234]),
        (("1 234,56", "1 234", "12"), [1234.56, 1234, 12]),  # French, no-break and plain
        (("1\u202f234,56", "1\u2009234,5"), [1234.56, 1234.5]),  # thin blanks
        (("1'234.56", "1’234"), [1234.56, 1234]),  # Swiss
        (("1,23,456.50", "12,34,567"), [123456.5, 1234567]),  # Indian
        (("1,234", "1,234.50", "999"), [1234, 1234.5, 999]),
        (("1.234", "12.50"), [1.234, 12.5]),
        (("€ 1.234", "€ 12,50"), [1234, 12.5]),
        (("12,50 €", "1.234,00 €"), [12.5, 1234]),
        (("(12.50)", "3.25"), [-12.5, 3.25]),
        (("−12.50", "3.25"), [-12.5, 3.25]),
        (("12,50-", "3,25"), [-12.5, 3.25]),
    ],
)
def test_a_column_is_read_in_its_own_notation(
    cells: tuple[str, ...], spend: list[float], tmp_path: Path
) -> None:
    assert google(tmp_path, *cells) == spend


def test_a_doubtful_column_takes_the_notation_of_the_others(tmp_path: Path) -> None:
    row = ("A", "2026-09-01", "5000", "1", "1.234", "0", "9.876,50")
    assert read(tmp_path, row).frame["spend"].tolist() == [1234]
    row = ("A", "2026-09-01", "5000", "1", "1.234", "0", "9,876.50")
    assert read(tmp_path, row).frame["spend"].tolist() == [1.234]
    shown = read(tmp_path, (*row[:6], "0", "0,03 %"), head=(*HEAD, "CTR"))
    assert shown.frame["spend"].tolist() == [1234]


def test_whole_numbers_say_what_parts_thousands(tmp_path: Path) -> None:
    assert google(tmp_path, "1.234", "2", shown="12.345") == [1234, 2]
    assert google(tmp_path, "1,234", "2", shown="12,345") == [1234, 2]
    assert google(tmp_path, "1,234", "2", shown="1.234.500") == [1.234, 2]


@pytest.mark.parametrize(("cells", "one"), [(("1.234", "5.678"), 1234), (("1,234", "7"), 1234)])
def test_what_no_cell_of_the_file_says_is_asked_about(
    cells: tuple[str, ...], one: int, tmp_path: Path
) -> None:
    with pytest.raises(RefusedFile) as refused:
        google(tmp_path, *cells)
    assert refused.value.column == "cost"
    assert "--decimal comma" in refused.value.fix
    read_so = {
        decimal: google(tmp_path, *cells, decimal=decimal)[0] for decimal in ("comma", "point")
    }
    assert set(read_so.values()) == {one, 1.234}
    assert read_so["comma" if "." in cells[0] else "point"] == one


def test_a_column_in_two_notations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match=r"decimal point \('12.50'\).*decimal comma \('3,75'\)"):
        google(tmp_path, "12.50", "3,75")


def test_numbers_of_json_have_a_point_and_its_texts_their_own(tmp_path: Path) -> None:
    row = {"date_start": "2026-09-01", "date_stop": "2026-09-01", "impressions": 10, "clicks": 1}
    path = tmp_path / "meta.json"
    path.write_text(json.dumps([{**row, "spend": 1.234, "campaign_id": "1"}]), encoding="utf-8")
    assert read_delivery(path).frame["spend"].tolist() == [1.234]
    rows = [{**row, "spend": text, "campaign_id": text} for text in ("1.234", "1.234,56")]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert read_delivery(path).frame["spend"].tolist() == [1234, 1234.56]


def test_an_amount_in_another_currency_than_its_row_breaks_the_row(tmp_path: Path) -> None:
    rows = [
        ("A", "2026-09-01", "100", "1", "12.50 EUR", "0", "0"),
        ("B", "2026-09-01", "100", "1", "£3.00", "0", "0"),
    ]
    assert read(tmp_path, *rows).frame["currency"].tolist() == ["EUR", "GBP"]
    named = [(*row, "EUR") for row in rows]
    got = read(tmp_path, *named, head=(*HEAD, "Currency code"))
    assert got.frame["campaign"].dropna().tolist() == ["A"]
    assert "GBP" in got.frame["_broken"].dropna().iloc[0]


# -- feed files: the contract's point, or refused as a whole ---------------------------------------


def feed(folder: Path, *rows: tuple[str, str], **options: Any) -> Imported:
    lines = [
        (f"2026-09-{1 + i:02d}", "DE", "meta", "A", spend, shown, "1", "0", "0")
        for i, (spend, shown) in enumerate(rows)
    ]
    return read(folder, *lines, head=FEED, **options)


@pytest.mark.parametrize(
    "rows",
    [
        (("1.234", "5000"), ("1.234,56", "5000")),
        (("1.234", "12.345"), ("2", "12.000")),
        (("1,234", "5000"), ("999.00", "500")),
        (("0,125", "5000"), ("12", "500")),
        (("1 234,56", "5000"), ("12", "500")),
    ],
)
def test_a_feed_in_another_notation_is_refused_as_a_whole(
    rows: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    with pytest.raises(RefusedFile, match="--decimal"):
        feed(tmp_path, *rows)


def test_one_cell_in_another_notation_among_many_refuses_what_it_makes_doubtful(
    tmp_path: Path,
) -> None:
    many = [(f"{i}.50", "5000") for i in range(25)]
    with pytest.raises(RefusedFile, match=r"'1\.234,56'"):
        feed(tmp_path, *many, ("1.234", "5000"), ("1.234,56", "5000"))
    alone = feed(tmp_path, *many, ("1.234,56", "5000")).frame  # goes to quarantine by itself
    assert alone["spend"].tolist()[-1] == "1.234,56"


def test_a_stated_notation_reads_a_feed(tmp_path: Path) -> None:
    got = feed(tmp_path, ("1.234", "12.345"), ("1.234,56 €", "900"), decimal="comma").frame
    assert got["spend"].tolist() == [1234, 1234.56]
    assert got["impressions"].tolist() == [12345, 900]
    got = feed(tmp_path, ("1,234.50", "12,345"), ("$7", "900"), decimal="point").frame
    assert got["spend"].tolist() == [1234.5, 7]


def test_a_parquet_reports_floats_have_a_point(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "Campaign": ["A", "B"],
            "Day": ["2026-09-01"] * 2,
            "Impr.": [10, 20],
            "Clicks": [1, 2],
            "Cost": pd.Series([1.234, 0.1], dtype="float32"),
        }
    )
    path = tmp_path / "x.parquet"
    frame.to_parquet(path)
    assert read_delivery(path).frame["spend"].tolist() == [1.234, 0.1]


# -- maps ------------------------------------------------------------------------------------------

MAP = """
feed = "performance"
[rename]
date = "date"
geo = "segment"
cost = "spend"
shown = "impressions"
[constants]
channel = "display"
clicks = 0
conversions = 0
revenue = 0
"""


def mapped(folder: Path, *costs: str, more: str = "", **options: Any) -> list[float]:
    (folder / "mine.toml").write_text(MAP + more, encoding="utf-8")
    rows = [(f"2026-09-{1 + i:02d}", "DE", cost, "50000") for i, cost in enumerate(costs)]
    head = ("date", "geo", "cost", "shown")
    got = read(folder, *rows, head=head, mapping=folder / "mine.toml", **options)
    spend: list[float] = got.frame["spend"].tolist()
    return spend


def test_a_mapped_table_is_read_in_its_own_notation(tmp_path: Path) -> None:
    assert mapped(tmp_path, "1.234", "1.234,56") == [1234, 1234.56]
    assert mapped(tmp_path, "0,125", "12,5") == [0.125, 12.5]
    assert mapped(tmp_path, "1,234", "1,234.56") == [1234, 1234.56]
    with pytest.raises(RefusedFile, match="decimal"):
        mapped(tmp_path, "1.234", "5.678")
    assert mapped(tmp_path, "1.234", "5.678", decimal="comma") == [1234, 5678]
    assert mapped(tmp_path, "1.234", "5.678", more='[read]\ndecimal = "."\n') == [1.234, 5.678]


def test_signs_and_marks_say_what_they_can() -> None:
    assert [mark_of(t) for t in ("1.234,56", "1,234", "0,125", "12", "Brand", "01.09.2026")] == [
        (",", ""),
        ("", ","),
        (",", ""),
        ("", ""),
        (None, ""),
        (None, ""),
    ]
    assert [currency_of(t) for t in ("€ 1", "12.50 USD", "$5", "#REF!", "EUR")] == [
        "EUR",
        "USD",
        None,
        None,
        None,
    ]
    assert number("1.234,5", thousands=".", decimal=",") == Decimal("1234.5")
