"""A raw table's columns by name, as text or native arrow columns, whatever the file's format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from liftloop.adapters.importers.cells import as_text
from liftloop.adapters.reading import RawTable
from liftloop.adapters.reading_json import JsonNumber
from liftloop.core.errors import RefusedFile


def normal(name: str) -> str:
    """A column name of a feed file, forgiving of case and blanks around it."""
    return name.replace("\xa0", " ").strip().lower()


def pick_columns(
    raw: RawTable, wanted: dict[str, int], broken: dict[int, str]
) -> dict[str, pa.ChunkedArray]:
    """The columns named in ``wanted`` (name -> position in the header).

    Cells of JSON become the text that was delivered. A row with a nested value, or with text no
    database can hold, is added to ``broken``.
    """
    if raw.table is not None:
        return {name: raw.table.column(at) for name, at in wanted.items()}
    assert raw.records is not None
    keys = {name: raw.header[at] for name, at in wanted.items()}
    return {name: _json_column(raw.records, key, broken) for name, key in keys.items()}


def _json_column(
    records: Sequence[dict[str, Any]], key: str, broken: dict[int, str]
) -> pa.ChunkedArray:
    cells = [record.get(key) for record in records]
    if not {str, JsonNumber, type(None)}.issuperset(map(type, cells)):
        for at, cell in enumerate(cells):
            if isinstance(cell, bool):
                cells[at] = "1" if cell else "0"
            elif isinstance(cell, (dict, list)):
                shown = json.dumps(cell, default=str)[:200]
                broken.setdefault(at, f"column {key!r} holds a nested value: {shown}")
                cells[at] = None
    try:
        column = pa.array(cells, pa.string())
    except (pa.ArrowException, UnicodeError):
        for at, cell in enumerate(cells):
            if cell is not None and not _storable(cell):
                broken.setdefault(at, f"column {key!r} holds text that is not Unicode")
                cells[at] = None
        column = pa.array(cells, pa.string())
    return pa.chunked_array([column])


def _storable(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeError:
        return False
    return True


def positions(raw: RawTable, names: Sequence[str]) -> dict[str, int]:
    """Where each of ``names`` stands in the header.

    Raises
    ------
    RefusedFile
        When one of them stands there twice.
    """
    found: dict[str, int] = {}
    header = [normal(name) for name in raw.header]
    for name in names:
        if name not in header:
            continue
        if header.count(name) > 1:
            raise RefusedFile(
                raw.file, "the column is there twice.", fix="keep one of them.", column=name
            )
        found[name] = header.index(name)
    return found


def text_columns(raw: RawTable, broken: dict[int, str]) -> dict[str, pa.ChunkedArray]:
    """All columns as text, by the name they were delivered under; of a name that stands twice the
    first column counts. Lists of a JSON file are not taken."""
    wanted: dict[str, int] = {}
    for at, name in enumerate(raw.header):
        wanted.setdefault(name, at)
    if raw.records is not None:
        wanted = {
            name: at
            for name, at in wanted.items()
            if not any(isinstance(record.get(name), (list, dict)) for record in raw.records)
        }
    picked = pick_columns(raw, wanted, broken)
    return {name: as_text(column) for name, column in picked.items()}
