"""What a report's columns say taken together: how its numbers and days are written, and what tells
its rows apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from liftloop.adapters.files.reading import RawTable
from liftloop.adapters.files.reading_json import JsonNumber
from liftloop.adapters.importers.importer import LISTS, Importer, plain
from liftloop.adapters.importers.tables.cells import as_series
from liftloop.adapters.importers.tables.columns import text_columns
from liftloop.adapters.importers.tables.dayorder import DayOrder, day_forms
from liftloop.adapters.importers.tables.days import (
    DayReader,
    are_labels,
    foreign_midnight,
    refuse_long_rows,
)
from liftloop.adapters.importers.tables.notation import Marks, infer_decimals, marks_in
from liftloop.adapters.importers.tables.repeats import Rows
from liftloop.adapters.importers.tables.roles import (
    Role,
    is_numeric,
    is_row_number,
    is_sync,
    role_of,
)
from liftloop.adapters.importers.tables.sums import SUMMED, WHOLE
from liftloop.core.errors import RefusedFile

_SAMPLE = 500
_READ_BY_HOOKS = ("purchases", "website purchases", "results", "purchase_value")


def texts_of(raw: RawTable, at: int) -> Counter[str]:
    """The distinct cells of the column at place ``at`` of the header, and how often each is there.

    Numbers that came as numbers (Parquet, JSON) are not among them.
    """
    if raw.records is not None:
        key = raw.header[at]
        cells = (record.get(key) for record in raw.records)
        return Counter(str(c).strip() for c in cells if type(c) is str and c.strip())
    assert raw.table is not None
    column = raw.table.column(at)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return Counter()
    counts = pc.value_counts(column)
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return Counter({str(v).strip(): n for v, n in pairs if v is not None and str(v).strip()})


def marks_of(raw: RawTable, at: int) -> Marks:
    """What the column at place ``at`` of the header says of its notation."""
    marks = marks_in(texts_of(raw, at))
    if raw.records is not None:
        key = raw.header[at]
        if any(type(record.get(key)) is JsonNumber for record in raw.records):
            marks.certain["."] += 1
            marks.example.setdefault(".", "a JSON number")
    elif raw.table is not None and pa.types.is_floating(raw.table.column(at).type):
        marks.certain["."] += 1
        marks.example.setdefault(".", "a number of the file's own type")
    return marks


def decimals_of(
    importer: Importer,
    raw: RawTable,
    names: Sequence[str],
    *,
    source: Mapping[str, str],
    stated: str,
) -> dict[str, str]:
    """Contract column -> the decimal mark its numbers are written with.

    Parameters
    ----------
    names
        Plain names of the header.
    source
        Contract column -> plain name of the column it comes from.
    stated
        ``comma``, ``point`` or empty.

    Raises
    ------
    RefusedFile
        When the notation cannot be told.
    """
    counted = {c: source[c] for c in SUMMED[importer.feed] if c in source}
    columns = {name: marks_of(raw, names.index(name)) for name in counted.values()}
    columns |= {
        name: marks_of(raw, names.index(name))
        for name in _READ_BY_HOOKS
        if importer.cells and name in names
    }
    whole = frozenset(counted[c] for c in WHOLE if c in counted)
    others = []
    if not any(marks.certain for marks in columns.values()):
        others = [
            marks
            for at, name in enumerate(names)
            if name not in columns
            and not is_sync(name)
            and name not in importer.day
            and (marks := marks_of(raw, at)).cells
            and marks.numbers >= 0.9 * marks.cells
        ]
    money = columns.get(source.get("spend", ""))
    if not stated and source.get("spend") in importer.micros and money and not money.doubtful:
        stated = "point"  # millionths are whole, and written by programs
    found = infer_decimals(raw.file, columns, whole=whole, others=others, stated=stated)
    decimals = {column: found[name] for column, name in counted.items()}
    hooked = [found[name] for name in _READ_BY_HOOKS if name in found]
    for column in importer.cells:
        if column in SUMMED[importer.feed] and hooked:
            decimals[column] = hooked[0]
    return decimals


def day_reader(
    importer: Importer,
    raw: RawTable,
    names: Sequence[str],
    *,
    timezone: str,
    order: DayOrder = "",
) -> DayReader:
    """Reads the report's days: as days where all its times are midnights, else as instants.

    Raises
    ------
    RefusedFile
        When every row begins at one time of day that is no midnight of the account's zone, rows
        are longer than a day, or days can be read as month/day and as day/month.
    """
    day = next((name for name in (*importer.day, *importer.start) if name in names), None)
    if day is None:
        return DayReader(importer.day_formats, timezone)
    at = names.index(day)
    texts = [str(text) for text in _cells(raw, at)]
    end = next((name for name in importer.end if name in names), day.replace("start", "end"))
    ends = {}
    if end != day and end in names:
        ends = dict(zip(texts, map(str, _cells(raw, names.index(end))), strict=True))
    distinct = set(texts)
    if day in importer.day:
        refuse_long_rows(raw.file, day, ends, importer.by_day)
    forms = day_forms(
        raw.file,
        day,
        distinct | set(ends.values()),
        forms=importer.day_formats,
        above=raw.preamble,
        stated=order,
    )
    labels = are_labels(distinct, forms, ends)
    # Orders come at any time of the day, and a few of them at one.
    by_day = not labels and importer.counts is None
    strange = foreign_midnight(distinct, timezone, ends) if by_day else None
    if strange is not None:
        raise RefusedFile(
            raw.file,
            f"every row begins at the same time of day ({strange!r}), which is no midnight in "
            f"{timezone}: these are days of another time zone.",
            fix="set account.timezone to the ad account's zone, or export days without a time.",
            column=day,
        )
    return DayReader(forms, timezone, labels=labels, written_in=importer.zones.get(day))


def _cells(raw: RawTable, at: int) -> list[Any]:
    if raw.records is not None:
        return [record.get(raw.header[at]) or "" for record in raw.records]
    assert raw.table is not None
    return ["" if cell is None else cell for cell in raw.table.column(at).to_pylist()]


def rows_of(
    importer: Importer,
    raw: RawTable,
    places: Sequence[int],
    numbers: Sequence[Sequence[Decimal | None]],
) -> Rows:
    """The rows at ``places`` of the file, the role of every column, and the counted numbers."""
    columns: dict[str, pa.ChunkedArray] = {}
    for name, column in text_columns(raw, {}).items():
        columns.setdefault(plain(name), column)
    days = {*importer.day, *importer.start, *importer.end}
    measures = {
        *_READ_BY_HOOKS,
        *LISTS,
        *(name for column in SUMMED[importer.feed] for name in importer.columns.get(column, ())),
    }
    declared = {name for names in importer.columns.values() for name in names}
    roles: dict[str, Role] = {}
    for name, column in columns.items():
        sample = column.unique().slice(0, _SAMPLE).to_pylist()
        listed = any(cell and cell[0] in "[{" for cell in sample)
        numeric = listed or is_numeric(sample)
        if listed:
            roles[name] = "measure"
        elif name not in declared and is_row_number(name):
            roles[name] = "description"
        else:
            roles[name] = role_of(name, days=days, measures=measures, numeric=numeric)
    at = pa.array(places, pa.int64())
    cells = pd.DataFrame(
        {name: as_series(column.take(at)) for name, column in columns.items()},
        index=pd.RangeIndex(len(places)),
    )
    table = pd.DataFrame(
        [[0.0 if value is None else float(value) for value in row] for row in numbers],
        columns=list(SUMMED[importer.feed]),
        dtype="float64",
    )
    if importer.feed == "sales":
        table = table[["revenue", "orders"]]
    return Rows(raw.file, cells, roles, table)
