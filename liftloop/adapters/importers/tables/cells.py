"""Gives the cells of a feed's columns their type, or leaves a column as the text it came as.

A column of numbers becomes int64 or float64 when every cell is one. Otherwise the whole column
stays text: the row with the bad cell goes to quarantine later, not the file. Only where nearly
every cell has the same foreign shape (a decimal comma, a currency sign, a date written 31/12/2026)
is the file itself in a wrong unit, and refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from liftloop.adapters.importers.feeds import FeedColumns, Kind
from liftloop.adapters.importers.tables.days import are_labels
from liftloop.adapters.importers.tables.notation import DECIMALS, mark_of
from liftloop.adapters.importers.tables.sums import number
from liftloop.core.errors import RefusedFile

_SAMPLE = 1000
_MIXED = 0.1  # a share of cells in another notation from which they are no single mistyped cells,
_MOST = 0.5  # and where other cells of the column show that the point is its decimal mark
_POINT = re.compile(r"[-+]?\d*\.(\d{1,2}|\d{4,})")  # 1.50 is no number where the comma is
_DOUBTFUL = r"^[-+]?[1-9]\d{0,2}\.\d{3}$"  # 1.234 where the comma is the decimal mark
_WHOLE = ("impressions", "clicks", "users", "converters", "converted")
_FOREIGN = (
    (r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", "number", "thousands separators", "write 1234.50"),
    (r"[-+]?[\d.\s]*\d,\d+", "number", "a decimal comma", "write 12.50 with a point"),
    (r"[-+]?\s*[$€£¥₹]\s*[\d.,]+|[\d.,]+\s*[$€£¥₹%]", "number", "a unit sign", "write 12.50 alone"),
    (r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}( .*)?", "day", "days like 31/12/2026", "write 2026-12-31"),
    (r"\d{8}", "day", "days like 20261231", "write 2026-12-31"),
)


def typed_frame(
    file: str, feed: FeedColumns, columns: dict[str, pa.ChunkedArray], *, decimal: str = ""
) -> pd.DataFrame:
    """A frame of the feed's columns, one row a row of the file, in its order.

    Parameters
    ----------
    decimal
        ``comma`` or ``point`` where the person who delivers says how numbers are written; signs of
        currencies and thousands are then read too. Empty: as the contract says, ``1234.50``.

    Raises
    ------
    RefusedFile
        When a column is written in another unit or notation, from first to last or mixed so that
        some of its numbers would be read as others.
    """
    numbers = {name for name in columns if feed.kind(name) == "number"}
    if decimal:
        columns = columns | {name: _plain_numbers(columns[name], decimal) for name in numbers}
    arrays = {}
    for name, column in columns.items():
        arrays[name] = typed_column(file, name, feed.kind(name) or "text", column)
    if not decimal:
        given = {name: column for name, column in columns.items() if name in numbers}
        _refuse_mixed_notation(file, given, arrays)
    return pd.DataFrame({name: as_series(array) for name, array in arrays.items()}, copy=False)


def _plain_numbers(column: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Numbers of a stated notation as ``1234.50``; other cells as they are."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type):
        return column
    mark = DECIMALS[decimal]
    read: dict[str, str] = {}
    for text in as_text(column).unique().drop_null().to_pylist():
        try:
            read[text] = str(number(text, thousands="," if mark == "." else ".", decimal=mark))
        except ValueError:
            read[text] = text
    cells = [None if c is None else read[c] for c in as_text(column).to_pylist()]
    return pa.chunked_array([pa.array(cells, pa.string())])


def _refuse_mixed_notation(
    file: str, given: Mapping[str, pa.ChunkedArray], arrays: Mapping[str, pa.ChunkedArray]
) -> None:
    """Refuse number columns some of whose cells are numbers in another notation, where that would
    leave the others wrong: ``1.234`` beside ``1.234,56``, or 1.234 impressions."""
    commas: list[tuple[str, str]] = []
    doubtful: list[tuple[str, str]] = []
    for name, column in given.items():
        if not _is_text(column.type) or pa.types.is_integer(arrays[name].type):
            continue
        text = as_text(column)
        if _is_text(arrays[name].type):
            counts = _counted(text)
            foreign = {
                c: n for c, n in counts.items() if not _plain(c) and mark_of(c)[0] is not None
            }
            settled = any(_POINT.fullmatch(cell) for cell in counts)
            if sum(foreign.values()) >= (_MOST if settled else _MIXED) * sum(counts.values()):
                raise _foreign(file, name, next(iter(foreign)))
            commas += [(name, cell) for cell in foreign if mark_of(cell)[0] == ","]
        at = pc.index(pc.fill_null(pc.match_substring_regex(text, _DOUBTFUL), False), True).as_py()
        if at >= 0:
            doubtful.append((name, text[at].as_py()))
    whole = [(name, cell) for name, cell in doubtful if name in _WHOLE]
    if whole:
        raise _foreign(file, *whole[0])
    if commas and doubtful:
        raise _foreign(file, *commas[0])


def _counted(text: pa.ChunkedArray) -> Counter[str]:
    counts = pc.value_counts(text.drop_null())
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return Counter(dict(pairs))


def _plain(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", cell))


def _foreign(file: str, name: str, cell: str) -> RefusedFile:
    what, fix = next(
        (
            (what, fix)
            for pattern, kind, what, fix in _FOREIGN
            if kind == "number" and re.fullmatch(pattern, cell)
        ),
        ("another notation of numbers", "write 1234.50"),
    )
    return RefusedFile(
        file,
        f"it is written with {what} ({cell!r}).",
        fix=f"{fix}, say how the file writes numbers with --decimal comma or --decimal point, or "
        "describe the notation in a mapping file (--map).",
        column=name,
    )


def typed_column(file: str, name: str, kind: Kind, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """``column`` as its kind, or as trimmed text when a cell is not of that kind."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind != "text" and not _is_text(column.type):
        return _native(kind, column)
    if pa.types.is_null(column.type) and kind == "number":
        return column.cast(pa.float64())
    text = as_text(column)
    if kind in ("text", "instant"):
        return text
    for wanted in (pa.int64(), pa.float64()) if kind == "number" else (pa.date32(),):
        try:
            found = text.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        if wanted == pa.float64() and not _finite(found, text):
            break
        if wanted == pa.int64() and any(_holds(text, mark) for mark in "xX"):
            break  # arrow reads 0x10 as 16; a report never means that
        return found if kind == "number" else found.cast(pa.timestamp("us"))
    labelled = _labelled_days(text) if kind == "day" else None
    if labelled is not None:
        return labelled
    _refuse_foreign(file, name, kind, text)
    return text


def as_series(column: pa.ChunkedArray) -> pd.Series:
    """pandas' own types: str, int64, float64 (also for integers with gaps), datetime64[us]."""
    if pa.types.is_integer(column.type) and column.null_count:
        column = column.cast(pa.float64(), safe=False)
    if _is_text(column.type):
        return pd.Series(column.to_pandas(), dtype="str")
    plain: pd.Series = column.to_pandas()
    return plain


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without surrounding blanks; an empty cell is missing."""
    if not _is_text(column.type) or pa.types.is_null(column.type):
        try:
            column = column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            cells = [None if v is None else str(v) for v in column.to_pylist()]
            column = pa.chunked_array([pa.array(cells, pa.string())])
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, trimmed.type), trimmed)


def _holds(text: pa.ChunkedArray, mark: str) -> bool:
    return bool(pc.any(pc.match_substring(text, mark)).as_py())


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    )


def _finite(numbers: pa.ChunkedArray, text: pa.ChunkedArray) -> bool:
    """False when a cell overflowed or says inf or nan: such a cell is shown as it was written."""
    return bool(pc.all(pc.is_finite(numbers)).as_py()) or text.null_count == len(text)


def _native(kind: Kind, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column that came with a type (Parquet)."""
    found = column.type
    if kind == "number":
        if pa.types.is_boolean(found):
            return column.cast(pa.int64())
        if pa.types.is_decimal(found):
            return column.cast(pa.float64())
        if pa.types.is_float32(found) or pa.types.is_float16(found):
            # 0.1 in 32 bits is 0.10000000149: six places are what it can mean.
            return pc.round(column.cast(pa.float64()), ndigits=6)
        return column if pa.types.is_integer(found) or found == pa.float64() else as_text(column)
    if pa.types.is_date(found):
        return column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(found):
        return as_text(column)
    if kind == "instant":
        return column.cast(pa.timestamp("us", tz=found.tz), safe=False)
    wall = pc.local_timestamp(column) if found.tz else column
    wall = wall.cast(pa.timestamp("us"), safe=False)
    midnight = pc.floor_temporal(wall, unit="day")
    return wall if pc.all(pc.equal(wall, midnight)).as_py() is not False else as_text(wall)


def _labelled_days(text: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Days written as the instants they begin at, in whatever offset (``2026-01-31 00:00:00``,
    ``2026-01-31T00:00:00+02:00``): the day as written. Other cells stay as they are."""
    timed = pc.fill_null(pc.match_substring_regex(text, r"^\d{4}-\d\d-\d\d[ T]\d"), False)
    if not pc.any(timed).as_py() or not are_labels(text.filter(timed).unique().to_pylist()):
        return None
    days = pc.if_else(timed, pc.utf8_slice_codeunits(text, 0, 10), text)
    try:
        return days.cast(pa.date32()).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return days


def _refuse_foreign(file: str, name: str, kind: Kind, text: pa.ChunkedArray) -> None:
    cells = text.drop_null().slice(0, _SAMPLE).to_pylist()
    for pattern, of_kind, what, fix in _FOREIGN:
        hits = [cell for cell in cells if re.fullmatch(pattern, cell)]
        plain = kind == "number" and sum(bool(re.fullmatch(r"[-+]?\d+", c)) for c in cells)
        if (
            of_kind == kind
            and len(hits) + plain > 0.9 * len(cells)
            and len(hits) >= 0.1 * len(cells)
        ):
            if kind == "number":
                raise _foreign(file, name, hits[0])
            raise RefusedFile(
                file,
                f"it is written with {what} ({hits[0]!r}).",
                fix=f"{fix}, or describe the notation in a mapping file (--map).",
                column=name,
            )
