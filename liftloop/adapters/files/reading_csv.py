"""Delimited text: arrow's fast reader where every row fits, a careful one where some do not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from liftloop.adapters.files.reading import RawTable, ReadOptions
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
        table, broken = _careful(name, body, delimiter, header)
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
    lines = islice(enumerate(_lines(text)), options.skip_rows, options.skip_rows + PREAMBLE_LINES)
    filled = [(i, line) for i, line in lines if line.strip()]
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


def _lines(text: str) -> Iterator[str]:
    """The lines of ``text`` one by one, without a copy of the whole."""
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield text[at:end]
        at = end + 1


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
    """Arrow's reader on all cores; ``None`` where a row needs a closer look."""
    try:
        table = _arrow(body, delimiter, header, lambda row: "error", threads=True)
    except pa.ArrowInvalid:
        return None
    if '"' in body and any(_has_line_end(column) for column in table.columns):
        return None
    return table


def _arrow(
    body: str,
    delimiter: str,
    header: list[str],
    misfit: Callable[[arrow_csv.InvalidRow], str],
    *,
    threads: bool = False,
) -> pa.Table:
    """All columns as text; ``misfit`` is asked about rows with too many or too few fields."""
    names = [str(i) for i in range(len(header))]
    return arrow_csv.read_csv(
        pa.BufferReader(body.encode()),
        read_options=arrow_csv.ReadOptions(
            column_names=names, skip_rows=1, block_size=8 * 1024**2, use_threads=threads
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=delimiter, newlines_in_values='"' in body, invalid_row_handler=misfit
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={n: pa.string() for n in names},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _has_line_end(column: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.match_substring(column, "\n")).as_py())


def _careful(
    name: str, body: str, delimiter: str, header: list[str]
) -> tuple[pa.Table, dict[int, str]]:
    """A row that does not fit the header keeps its place, empty and marked. An unclosed quote
    costs its own row and not its neighbours."""
    mended, unclosed = _mend(body, delimiter, len(header))
    found: list[tuple[int, str]] = []

    def misfit(row: arrow_csv.InvalidRow) -> str:
        known = unclosed.get(row.text.partition(delimiter)[0].strip())
        problem = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        found.append((row.number, known or f"{problem}: {row.text[:SHOWN]}"))
        return "skip"

    try:
        table = _arrow(mended, delimiter, header, misfit)
    except pa.ArrowInvalid as error:
        if not found and not mended.partition("\n")[2].strip():
            return pa.table({str(i): pa.array([], pa.string()) for i in range(len(header))}), {}
        raise RefusedFile(
            name, f"it cannot be split into rows ({error}).", fix="export it again as CSV."
        ) from None
    # The reader counts the header as row 1, so the first row of the table is its row 2.
    broken = {number - 2: problem for number, problem in found}
    places = np.full(table.num_rows + len(broken), -1, dtype=np.int64)
    fits = np.ones(len(places), dtype=bool)
    fits[list(broken)] = False
    places[fits] = np.arange(table.num_rows)
    return table.take(pa.array(places, mask=~fits)), broken


def _mend(body: str, delimiter: str, width: int) -> tuple[str, dict[str, str]]:
    """``body`` with each line whose quote never closes replaced by a mark, and what the marks stand
    for. A line with an even number of quotes is closed in itself."""
    if body.count('"') % 2 == 0 and '"' not in body:
        return body, {}
    lines = body.split("\n")
    unclosed: dict[str, str] = {}
    at = 1
    while at < len(lines):
        used = 1
        if lines[at].count('"') % 2:
            cells, used, problem = _record(lines, at, delimiter)
            if problem is None and len(cells) != width:
                problem = f"{len(cells)} fields where the header has {width}"
            if problem:
                mark = f"\x00{at}"  # no cell can hold this: a file with NUL bytes is refused
                unclosed[mark] = f"{problem}: {lines[at].strip()[:SHOWN]}"
                # The mark must not fit the header either.
                lines[at], used = mark + (delimiter if width == 1 else ""), 1
        at += used
    return "\n".join(lines), unclosed


def _record(lines: list[str], at: int, delimiter: str) -> tuple[list[str], int, str | None]:
    """(cells, lines used, problem) of the record that starts in line ``at``."""
    ahead = (line + "\n" for line in islice(lines, at, at + ROW_LINES))
    reader = csv.reader(ahead, delimiter=delimiter, strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        word = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
        return [], 1, word
    return cells, reader.line_num, None
