"""Delimited text: arrow's fast reader where every row fits, a careful one where some do not."""

from __future__ import annotations

import csv
import io
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from liftloop.adapters.reading import RawTable, ReadOptions
from liftloop.core.errors import RefusedFile

DELIMITERS = (",", "\t", ";", "|")
PREAMBLE_LINES = 40
MAX_COLUMNS = 2000
ROW_LINES = 50  # a quoted cell may hold line ends; a row over more lines has an unclosed quote
SHOWN = 2000


def read_delimited(name: str, text: str, options: ReadOptions) -> RawTable:
    """A table from delimited text; rows that do not fit the header are kept, marked broken."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    delimiter, at, header = _find_header(name, text, options)
    start, preamble = _offset(text, at)
    body = text[start:]
    table = _fast(body, delimiter, header) if body.count('"') % 2 == 0 else None
    broken: dict[int, str] = {}
    if table is None:
        table, broken = _careful(body, delimiter, header)
    if table.num_rows == 0:
        raise RefusedFile(
            name, "there is a header but no row.", fix="export a period that has rows."
        )
    if len(broken) == table.num_rows and len(broken) > 1:
        raise RefusedFile(
            name,
            f"no row fits the header ({len(header)} columns): {broken[min(broken)][:200]}",
            fix="check the delimiter and the quotes, or describe the file in a mapping ([read]).",
        )
    return RawTable(name, tuple(header), table=table, broken=broken, preamble=preamble)


def _find_header(name: str, text: str, options: ReadOptions) -> tuple[str, int, list[str]]:
    """(delimiter, line index, names) of the header row."""
    lines = list(islice(io.StringIO(text), options.skip_rows + PREAMBLE_LINES))
    lines_after = [(i, line) for i, line in enumerate(lines) if i >= options.skip_rows]
    filled = [(i, line) for i, line in lines_after if line.strip()]
    if not filled:
        raise RefusedFile(name, "no header was found.", fix="deliver a table with a header row.")
    candidates = (options.delimiter,) if options.delimiter else DELIMITERS
    best: tuple[str, int, list[str]] | None = None
    for delimiter in candidates:
        for i, line in filled:
            names = _names(line, delimiter)
            if options.is_header and options.is_header(names):
                return _checked(name, delimiter, i, names)
            if best is None or (i == best[1] and len(names) > len(best[2])):
                best = (delimiter, i, names)
    assert best is not None
    return _checked(name, *best)


def _checked(name: str, delimiter: str, at: int, names: list[str]) -> tuple[str, int, list[str]]:
    if len(names) > MAX_COLUMNS:
        raise RefusedFile(
            name,
            f"the header has {len(names):,} columns (limit {MAX_COLUMNS:,}).",
            fix="deliver one row a record, not one column a record.",
        )
    return delimiter, at, names


def _names(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        cells = line.rstrip("\r\n").split(delimiter)
    return [cell.replace("\xa0", " ").strip() for cell in cells]


def _offset(text: str, line: int) -> tuple[int, tuple[str, ...]]:
    at = 0
    above: list[str] = []
    for _ in range(line):
        end = text.index("\n", at)
        above.append(text[at:end].strip())
        at = end + 1
    return at, tuple(above)


def _fast(body: str, delimiter: str, header: list[str]) -> pa.Table | None:
    """Arrow's reader, all columns as text; ``None`` where a row needs a closer look."""
    names = [str(i) for i in range(len(header))]
    quoted = '"' in body
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(body.encode()),
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows=1, block_size=8 * 1024**2
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted),
            convert_options=arrow_csv.ConvertOptions(
                column_types={n: pa.string() for n in names},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if quoted and any(_has_line_end(column) for column in table.columns):
        return None
    return table


def _has_line_end(column: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.match_substring(column, "\n")).as_py())


def _careful(body: str, delimiter: str, header: list[str]) -> tuple[pa.Table, dict[int, str]]:
    """Row by row. A row that does not fit is marked; the next line is read as a row again, so an
    unclosed quote costs its own row and not its neighbours."""
    lines = body.split("\n")
    width = len(header)
    rows: list[list[str | None]] = []
    broken: dict[int, str] = {}
    at = 1
    while at < len(lines):
        if not lines[at].strip("\r"):
            at += 1
            continue
        cells, used, problem = _record(lines, at, delimiter)
        if problem is None and len(cells) != width:
            problem = f"{len(cells)} fields where the header has {width}"
        if problem is None:
            rows.append([cell or None for cell in cells])
            at += used
        else:
            shown = lines[at].strip("\r")
            broken[len(rows)] = f"{problem}: {shown[:SHOWN]}"
            rows.append([None] * width)
            at += 1
    columns = zip(*rows, strict=True) if rows else [()] * width
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.table(arrays, names=[str(i) for i in range(width)]), broken


def _record(lines: list[str], at: int, delimiter: str) -> tuple[list[str], int, str | None]:
    """(cells, lines used, problem) of the record that starts in line ``at``."""
    ahead = (line + "\n" for line in islice(lines, at, at + ROW_LINES))
    if '"' not in lines[at]:
        return lines[at].strip("\r").split(delimiter), 1, None
    reader = csv.reader(ahead, delimiter=delimiter, strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        word = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
        return [], 1, word
    return cells, reader.line_num, None
