"""Cells that hold lists or objects: no name, no number, and no reason to refuse what is beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from liftloop.adapters.files.budget_files import read_policy
from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.adapters.importers.feeds import FEEDS
from liftloop.core.errors import RefusedFile

CELL = {"number": 5.0, "day": "2026-03-01", "instant": "2026-03-01T10:00:00Z"}
NESTED: dict[str, tuple[Any, pa.DataType]] = {
    "struct": ({"a": "north"}, pa.struct([("a", pa.string())])),
    "list": (["north"], pa.list_(pa.string())),
    "large list": ([1, 2], pa.large_list(pa.int64())),
    "fixed list": ([1.0, 2.0], pa.list_(pa.float64(), 2)),
    "map": ([("a", 1)], pa.map_(pa.string(), pa.int64())),
    "list of structs": ([{"a": 1}], pa.list_(pa.struct([("a", pa.int64())]))),
    "bytes": (b"\xff\xfe", pa.binary()),
}


def row_of(feed: str) -> dict[str, Any]:
    declared = FEEDS[feed]
    kinds = declared.required | declared.optional
    return {name: CELL.get(kind, "treated") for name, kind in kinds.items()}


def written(path: Path, row: dict[str, Any], **nested: str) -> Path:
    arrays = {name: pa.array([cell, cell]) for name, cell in row.items() if name not in nested}
    for name, kind in nested.items():
        cell, of = NESTED[kind]
        arrays[name] = pa.array([cell, cell], of)
    parquet.write_table(pa.table(arrays), path)
    return path


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("feed", FEEDS)
def test_a_nested_column_of_a_feed_is_refused_in_one_sentence(
    feed: str, kind: str, tmp_path: Path
) -> None:
    for column in row_of(feed):
        path = written(tmp_path / f"{feed}.parquet", row_of(feed), **{column: kind})
        with pytest.raises(RefusedFile, match=r"its cells are .* Fix: ") as refused:
            read_delivery(path)
        assert refused.value.column == column


@pytest.mark.parametrize("kind", NESTED)
def test_a_nested_column_that_no_feed_has_is_out_of_the_way(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path / "sales.parquet", row_of("sales"), labels=kind)
    got = read_delivery(path)
    assert got.rows_read == 2
    assert "labels" not in got.frame
    assert not got.frame.isna().any(axis=None)


EXPORT = {"Campaign": "brand", "Day": "2026-03-01", "Impr.": 5, "Cost": 1.5, "Clicks": 1}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("column", EXPORT)
def test_so_is_one_of_an_export(column: str, kind: str, tmp_path: Path) -> None:
    path = written(tmp_path / "google.parquet", EXPORT, **{column: kind})
    with pytest.raises(RefusedFile, match="its cells are") as refused:
        read_delivery(path, ImportOptions(segment="DE"))
    assert refused.value.column == column
    read_delivery(written(path, EXPORT, labels=kind), ImportOptions(segment="DE"))


def test_and_one_of_an_export_in_json(tmp_path: Path) -> None:
    path = tmp_path / "google.json"
    path.write_text(json.dumps([EXPORT, EXPORT | {"Campaign": {"name": "brand"}}]), "utf-8")
    with pytest.raises(RefusedFile, match="its cells are lists or objects") as refused:
        read_delivery(path, ImportOptions(segment="DE"))
    assert refused.value.column == "Campaign"


@pytest.mark.parametrize("kind", NESTED)
def test_a_mapping_makes_no_name_of_one(kind: str, tmp_path: Path) -> None:
    table = {"day": "2026-03-01", "market": "DE", "orders": 1, "revenue": 5.0}
    mapping = tmp_path / "mine.toml"
    mapping.write_text(
        'feed = "sales"\n[rename]\nday = "date"\nmarket = "segment"\n'
        'orders = "orders"\nrevenue = "revenue"\n',
        "utf-8",
    )

    def read(**nested: str) -> Imported:
        path = written(tmp_path / "table.parquet", table, **nested)
        return read_delivery(path, ImportOptions(mapping=mapping))

    assert read(labels=kind).frame["segment"].tolist() == ["DE", "DE"]
    with pytest.raises(RefusedFile, match="market"):
        read(market=kind)


@pytest.mark.parametrize("kind", NESTED)
def test_a_file_of_budgets_makes_no_name_of_one(kind: str, tmp_path: Path) -> None:
    row = {"segment": "north", "channel": "search", "daily_budget": "5.00"}
    for column in row:
        path = written(tmp_path / "budgets.parquet", row, **{column: kind})
        with pytest.raises(RefusedFile, match="its cells are"):
            read_policy(path, currency="EUR")
