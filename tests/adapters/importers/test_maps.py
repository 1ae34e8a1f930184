from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.adapters.importers.maps.expressions import Evaluator, ExpressionError
from liftloop.core.errors import ConfigurationError, RefusedFile

TABLE = """day,market,network,cost,shown,clicked,sales
1/9/2026,DE,g,"1.234,50","1.000",10,2
1/9/2026,DE,g,"0,50",10,1,1
2/9/2026,AT,m,3,5,9,0
x/9/2026,AT,m,3,5,1,0
"""
MAP = """
feed = "performance"
notes = ["Revenue is sales at 20 each."]
[read]
decimal = ","
[rename]
market = "segment"
cost = "spend"
shown = "impressions"
clicked = "clicks"
sales = "conversions"
[constants]
currency = "EUR"
[derived]
date = 'day(day, "%d/%m/%Y")'
channel = "network"
revenue = "sales * 20"
[values.channel]
g = "google_ads"
default = "other"
"""


def read(folder: Path, table: str, mapping: str) -> Imported:
    (folder / "table.csv").write_text(table, encoding="utf-8")
    (folder / "mine.toml").write_text(mapping, encoding="utf-8")
    return read_delivery(folder / "table.csv", ImportOptions(mapping=folder / "mine.toml"))


def test_a_table_becomes_a_feed_by_renaming_deriving_and_translating(tmp_path: Path) -> None:
    got = read(tmp_path, TABLE, MAP)
    frame = got.frame
    assert (got.feed, got.importer, got.rows_read) == ("performance", "map:mine", 4)
    assert frame["spend"].tolist() == [1234.5, 0.5, 3.0, 3.0]
    assert frame["impressions"].tolist() == [1000, 10, 5, 5]
    assert frame["channel"].tolist() == ["google_ads", "google_ads", "other", "other"]
    assert frame["revenue"].tolist() == [40, 20, 0, 0]
    assert frame["date"].tolist()[:2] == [pd.Timestamp(2026, 9, 1)] * 2
    assert got.notes == ("Revenue is sales at 20 each.",)


def test_a_row_an_expression_fails_on_is_broken_alone(tmp_path: Path) -> None:
    broken = read(tmp_path, TABLE, MAP).frame["_broken"]
    assert broken.isna().tolist() == [True, True, True, False]
    assert "'x/9/2026'" in broken[3]


def test_a_sum_never_hides_a_row_that_breaks_a_rule(tmp_path: Path) -> None:
    got = read(tmp_path, TABLE, "aggregate = true\n" + MAP)
    frame = got.frame
    assert (got.rows_read, len(frame)) == (4, 3)
    assert frame["spend"].tolist() == [1235.0, 3.0, 3.0]
    # 9 clicks on 5 impressions are missing, and their spend stays; a row without a day stays apart
    assert frame["clicks"].fillna(-1).tolist() == [11, -1, 1]
    assert any("1 row breaks a rule and stay" in note for note in got.notes)
    assert any("1 row has a number in clicks" in note for note in got.notes)


def test_one_table_with_a_column_a_channel_gives_a_row_a_channel(tmp_path: Path) -> None:
    table = "date,geo,g_cost,m_cost,shown\n2026-09-01,DE,1,2,5\n2026-09-02,DE,3,,5\n"
    mapping = """
feed = "performance"
[rename]
date = "date"
geo = "segment"
shown = "impressions"
[constants]
clicks = 0
conversions = 0
revenue = 0
[[expand]]
constants = {channel = "google"}
rename = {g_cost = "spend"}
[[expand]]
constants = {channel = "meta"}
rename = {m_cost = "spend"}
keep = "not missing(m_cost)"
"""
    got = read(tmp_path, table, mapping)
    assert got.frame[["channel", "spend"]].to_numpy().tolist() == [
        ["google", 1.0],
        ["google", 3.0],
        ["meta", 2.0],
    ]
    assert got.rows_read == 2
    assert got.notes[-1].startswith("1 row does not meet")


def test_keep_leaves_rows_out_but_never_a_broken_one(tmp_path: Path) -> None:
    got = read(tmp_path, TABLE, 'keep = "clicked > 5"\n' + MAP)
    assert got.frame["clicks"].tolist() == [10, 9, 1]
    assert got.frame["_broken"].notna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("feed = ", "fed = "), "unknown key 'fed'"),
        (('"performance"', '"perf"'), "feed is 'perf'"),
        (('cost = "spend"', ""), "gives no spend"),
        (('currency = "EUR"', 'colour = "red"'), "no column 'colour'"),
        (('currency = "EUR"', 'channel = "x"'), "'channel' is in two of"),
        (('clicked = "clicks"', 'clicked = "impressions"'), "gives 'impressions' twice"),
        (('decimal = ","', 'decimal = ",,"'), "decimal is ',,'"),
        (('decimal = ","', 'comma = "x"'), "unknown key 'comma'"),
        (('currency = "EUR"', "currency = ["), "mine.toml"),
        (('notes = ["Revenue is sales at 20 each."]', 'notes = "x"'), "list of sentences"),
        (('notes = ["Revenue is sales at 20 each."]', 'aggregate = "x"'), "aggregate"),
        (('g = "google_ads"', 'g = ["x"]'), "not a plain value"),
    ],
)
def test_a_wrong_mapping_is_refused_with_the_key_and_the_fix(
    change: tuple[str, str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read(tmp_path, TABLE, MAP.replace(*change))
    assert says in str(refusal.value)


def test_a_mapping_for_another_table_is_refused_naming_the_column(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="no column 'market'"):
        read(tmp_path, TABLE.replace("market", "region"), MAP)


def test_a_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TABLE)
    with pytest.raises(ConfigurationError, match="no mapping file"):
        read_delivery(tmp_path / "x.csv", ImportOptions(mapping=tmp_path / "none.toml"))


def test_the_encoding_and_preamble_of_an_old_table_are_told_by_the_mapping(tmp_path: Path) -> None:
    text = "Umsätze\nStand: heute\ntag;stadt;bestellungen;umsatz\n2026-09-01;Köln;3;30,50\n"
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    (tmp_path / "m.toml").write_text(
        'feed = "sales"\n[read]\nencoding = "cp1252"\nskip_rows = 2\ndecimal = ","\n'
        '[rename]\ntag = "date"\nstadt = "segment"\nbestellungen = "orders"\numsatz = "revenue"\n',
        encoding="utf-8",
    )
    got = read_delivery(tmp_path / "t.csv", ImportOptions(mapping=tmp_path / "m.toml"))
    assert got.frame[["segment", "revenue"]].to_numpy().tolist() == [["Köln", 30.5]]


COLUMNS = {
    "a": ["1", "2", None, "x"],
    "b": ["10", "0", "3", "4"],
    "name": ["red | 1", "blue", None, "Red"],
    "month": ["April", "apr", "4", "Brumaire"],
}


def evaluate(expression: str) -> tuple[list[Any], dict[int, str]]:
    columns = {k: np.array(v, dtype=object) for k, v in COLUMNS.items()}
    evaluator = Evaluator(columns, 4)
    values = evaluator(expression).values.tolist()
    return [None if pd.isna(v) else v for v in values], evaluator.problems


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("b * 2 + 1", [21, 1, 7, 9]),
        ("-b", [-10, 0, -3, -4]),
        ("b // 4", [2, 0, 0, 1]),
        ('"c" + b', ["c10", "c0", "c3", "c4"]),
        ("b + b", [20, 0, 6, 8]),
        ('where(b > 3, "high", "low")', ["high", "low", "low", "high"]),
        ("where(b >= 3, 1, 0)", [1, 0, 1, 1]),
        ('name == "blue"', [False, True, False, False]),
        ('name in ("blue", "Red") and b != 0', [False, False, False, True]),
        ("b == 0 or missing(name)", [False, True, True, False]),
        ("not (b < 4)", [True, False, False, True]),
        ('default(name, "none")', ["red | 1", "blue", "none", "Red"]),
        ('part(name, " | ", 0)', ["red", "blue", None, "Red"]),
        ('part(name, " | ", 1)', ["1", None, None, None]),
        ("lower(name)", ["red | 1", "blue", None, "red"]),
        ('replace(name, "e", "3")', ["r3d | 1", "blu3", None, "R3d"]),
        ('starts_with(lower(name), "red")', [True, False, False, True]),
        ("row_number()", [1, 2, 3, 4]),
        ("text(row_number())", ["1", "2", "3", "4"]),
        ('col("b")', ["10", "0", "3", "4"]),
        ("greatest(b, 3)", [10, 3, 3, 4]),
        ("round(b / 3, 2)", [3.33, 0, 1, 1.33]),
    ],
)
def test_expressions_say_what_they_look_like(expression: str, values: list[Any]) -> None:
    assert evaluate(expression) == (values, {})


def test_cells_an_expression_cannot_use_break_their_rows(tmp_path: Path) -> None:
    assert evaluate("a + b")[1] == {3: "'x' is not a number"}
    assert evaluate("1 / b")[1] == {1: "a division by zero, or a number too large"}
    values, problems = evaluate("date(2020, month, 30)")
    assert values == ["2020-04-30"] * 3 + [None]
    assert list(problems) == [3]


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "().__class__",
        "a.b",
        "a[0]",
        "[x for x in a]",
        "lambda: 1",
        "open('x')",
        "eval('1')",
        "2 ** 999999",
        "f'{a}'",
        "a if b else 1",
        "(a := 1)",
        "unknown + 1",
        "where(a, 1, 2)",
        "where(b > 1, 1)",
        "True",
        "None",
        "1 < b < 3",
        "'a' * 9",
        "(" * 500 + "1" + ")" * 500,
        "1 +" * 300 + "1",
        "a" * 5000,
        "",
        "b > ",
        "\x00",
        "b'x'",
        "part(name, '', 0)",
        "col(a)",
        "date(1, 2, 3, x=4)",
        "b in name",
        "1j",
        "-" * 90 + "b",
    ],
)
def test_what_is_not_of_the_language_is_refused(expression: str) -> None:
    if expression == "'a' * 9":  # text that is no number: the rows break, nothing is repeated
        assert len(evaluate(expression)[1]) == 4
        return
    with pytest.raises(ExpressionError):
        evaluate(expression)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab()+-*/<>=!,.\"' 019", max_size=30))
def test_any_expression_is_evaluated_or_refused(text: str) -> None:
    try:
        evaluate(text)
    except ExpressionError as error:
        assert str(error)


NAMELESS = (
    MAP.replace('market = "segment"\n', "")
    .replace('channel = "network"\n', "")
    .replace('[values.channel]\ng = "google_ads"\ndefault = "other"\n', "")
)


def read_with(folder: Path, mapping: str, table: str = TABLE, **options: Any) -> Imported:
    (folder / "table.csv").write_text(table, encoding="utf-8")
    (folder / "mine.toml").write_text(mapping, encoding="utf-8")
    return read_delivery(
        folder / "table.csv", ImportOptions(mapping=folder / "mine.toml", **options)
    )


def test_options_give_the_segment_channel_and_account_a_mapping_does_not(tmp_path: Path) -> None:
    got = read_with(tmp_path, NAMELESS, segment="UK", channel="print", account="shop").frame
    for name, text in (("segment", "UK"), ("channel", "print"), ("account", "shop")):
        assert set(got[name]) == {text}
    assert got["spend"].tolist() == [1234.5, 0.5, 3.0, 3.0]


def test_a_mapping_without_segment_names_the_option_that_gives_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no segment, channel.*--segment and --channel"):
        read_with(tmp_path, NAMELESS)
    assert set(read_with(tmp_path, NAMELESS, channel="x", default_segment="FR").frame.segment) == {
        "FR"
    }


def test_an_option_stands_where_a_mapped_cell_is_empty_also_in_sums(tmp_path: Path) -> None:
    table = TABLE.replace('1/9/2026,DE,g,"0,50"', '1/9/2026,,g,"0,50"')
    got = read_with(tmp_path, "aggregate = true\n" + MAP, table, segment="DE")
    assert got.frame["spend"].tolist()[0] == 1235.0
    assert "1 rows without a segment are under 'DE'" in " ".join(got.notes)


@pytest.mark.parametrize(
    ("mapping", "options", "says"),
    [
        (MAP, {"segment": "UK"}, "--segment says 'UK'"),
        (MAP, {"channel": "print"}, "--channel says 'print'"),
        (
            'feed = "sales"\n[rename]\nday = "date"\nmarket = "segment"\nsales = "orders"\n'
            'cost = "revenue"\n',
            {"channel": "print"},
            "sales has no column channel",
        ),
    ],
)
def test_an_option_that_contradicts_the_mapping_is_refused(
    mapping: str, options: dict[str, str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_with(tmp_path, mapping, **options)
