"""A raw table's columns by name, as text or native arrow columns, whatever the file's format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from liftloop.adapters.files.reading import RawTable
from liftloop.adapters.files.reading_json import JsonNumber
from liftloop.adapters.importers.tables.cells import as_text
from liftloop.core.errors import RefusedFile


def normal(name: str) -> str:
    """A column name of a feed file, forgiving of case and blanks around it."""
    return name.replace("\xa0", " ").strip().lower()


def refuse_nested(raw: RawTable, used: Callable[[str], bool]) -> None:
    """Refuse a table where a column that is read holds a list or an object in its cells: its text
    would become a name. Other such columns are out of the way. Single rows of JSON that hold one
    where a feed has a plain cell are :func:`pick_columns`' to spoil.

    Raises
    ------
    RefusedFile
        Naming the column.
    """
    for at, name in enumerate(raw.header):
        if not used(name) or (what := _nested(raw, at)) is None:
            continue
        raise RefusedFile(
            raw.file,
            f"its cells are {what}, not one value each.",
            fix="write each value into a column of its own, or leave the column out.",
            column=name,
        )


def _nested(raw: RawTable, at: int) -> str | None:
    if raw.records is not None:
        cells = (record.get(raw.header[at]) for record in raw.records)
        return "lists or objects" if any(isinstance(c, (dict, list)) for c in cells) else None
    assert raw.table is not None
    kind = raw.table.schema.field(at).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        return f"of the kind {str(kind)[:60]}"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            raw.table.column(at).cast(pa.string())
        except pa.ArrowInvalid:
            return "bytes that are no text"
    return None


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
    first column counts. Columns of lists or objects are not taken."""
    wanted: dict[str, int] = {}
    for at, name in enumerate(raw.header):
        wanted.setdefault(name, at)
    wanted = {name: at for name, at in wanted.items() if _nested(raw, at) is None}
    picked = pick_columns(raw, wanted, broken)
    return {name: as_text(column) for name, column in picked.items()}
