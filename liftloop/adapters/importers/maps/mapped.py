"""Applies a mapping to a table: expressions, translations, expansion, exact sums."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from liftloop.adapters.files.reading import RawTable
from liftloop.adapters.importers.maps.expressions import Cells, Evaluator, ExpressionError
from liftloop.adapters.importers.maps.mapped_numbers import in_points
from liftloop.adapters.importers.maps.mapped_rows import select_mapped_rows
from liftloop.adapters.importers.maps.mapping import Columns, Reading, TableMap
from liftloop.adapters.importers.maps.periods import END, Span, spread_periods
from liftloop.adapters.importers.maps.wildcards import written_out
from liftloop.adapters.importers.tables.cells import as_series, typed_column, typed_frame
from liftloop.adapters.importers.tables.choosing import only_rows
from liftloop.adapters.importers.tables.columns import text_columns
from liftloop.adapters.importers.tables.repeats import counted_rows
from liftloop.adapters.importers.tables.sums import (
    ATTRIBUTED,
    KEYS,
    SUMMED,
    WHOLE,
    Sums,
    number,
    sums_frame,
)
from liftloop.core.errors import ConfigurationError, RefusedFile


@dataclass(frozen=True, slots=True)
class Mapped:
    """A table under a mapping: the feed's rows, what was done, and the periods its rows covered
    (first and last day each; none where they are days)."""

    frame: pd.DataFrame
    notes: tuple[str, ...]
    periods: tuple[Span, ...] = ()


def import_mapped(table_map: TableMap, raw: RawTable, *, parts: tuple[str, ...] = ()) -> Mapped:
    """The rows of ``raw`` under ``table_map``. A row an expression fails on is marked in
    ``_broken``; so is a row the file itself breaks. Rows that differ in one of ``parts`` alone are
    parts, to be added.

    Raises
    ------
    RefusedFile
        When the mapping names a column the table lacks, an expression is wrong, or it cannot be
        told which rows are to be counted.
    """
    table_map, melted, taken = written_out(table_map, raw.file, _all_cells(table_map, raw))
    raw, repeats = _once(table_map, raw) if table_map.aggregate else (raw, 0)
    broken = dict(raw.broken)
    columns = {
        name: _cells(column, table_map.read) for name, column in text_columns(raw, broken).items()
    }
    columns = in_points(table_map, raw, columns)
    evaluator = Evaluator(columns, raw.rows, parse=_parser(table_map.read))
    frames, left_out = [], 0
    selected: dict[str, None] = {}
    for table in table_map.tables:
        frame, out = _one(table_map, table, raw, evaluator, broken)
        chosen, said = select_mapped_rows(table_map, table, raw, frame, parts)
        frames.append(frame[chosen].reset_index(drop=True))
        left_out += out
        selected |= dict.fromkeys(said)
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    if melted and not table_map.aggregate:
        _refuse_joined(table_map, raw.file, [frames[at] for at in sorted(melted)])
    notes = [*table_map.notes, *taken]
    if repeats:
        notes.append(
            f"{counted_rows(repeats, ('is', 'are'))} equal to another in every column, and counted "
            "once."
        )
    if len(frames) > 1:
        notes.append(f"{raw.rows} rows of the table were expanded to {len(frame)}.")
    if left_out:
        notes.append(
            f"{counted_rows(left_out, ('does', 'do'))} not meet the mapping's `keep`: left out."
        )
    notes += selected
    frame, more = _with_stated(table_map, frame)
    notes += more
    periods: tuple[Span, ...] = ()
    if table_map.period:
        frame, periods, more = spread_periods(
            table_map.period, raw.file, table_map.feed.name, frame
        )
        notes += more
    if table_map.aggregate:
        frame, more = _aggregate(table_map.feed.name, frame)
        notes += [f"Rows of one key were summed: {len(frame):,} rows remain.", *more]
    return Mapped(frame, tuple(notes), periods)


def _all_cells(table_map: TableMap, raw: RawTable) -> dict[str, np.ndarray[Any, Any]]:
    """All columns of the table as text, where the mapping has wildcards to be compared with."""
    if not any(table.wildcards for table in table_map.tables):
        return {}
    found = text_columns(raw, {})
    return {name: _cells(column, table_map.read) for name, column in found.items()}


def _refuse_joined(table_map: TableMap, file: str, frames: list[pd.DataFrame]) -> None:
    """Refuse columns of one wildcard that come under one name: their rows would replace each
    other."""
    keys = [name for name in KEYS.get(table_map.feed.name, ()) if name != "date"]
    seen: set[Any] = set()
    for frame in frames:
        there = [name for name in keys if name in frame]
        mine = set(map(tuple, frame[there].astype("str").drop_duplicates().to_numpy().tolist()))
        both = sorted(seen & mine)
        if both:
            raise RefusedFile(
                file,
                f"mapping {table_map.name}: two columns of one wildcard both come as "
                f"{' '.join(both[0])}, and their rows would replace each other.",
                fix="give each a name of its own under [values], or say aggregate = true if they "
                "are parts to be added.",
            )
        seen |= mine


def _once(table_map: TableMap, raw: RawTable) -> tuple[RawTable, int]:
    """The table without rows that are equal to an earlier one in every column, and how many those
    are. A table of single events (an impression a row, or no column of impressions) keeps them."""
    columns = text_columns(raw, {})
    shown = {table.renamed.get("impressions") for table in table_map.tables} & columns.keys()
    counts = [pd.to_numeric(columns[str(name)].to_pandas(), errors="coerce") for name in shown]
    if not any((count > 1).any() for count in counts):
        return raw, 0
    cells = pd.DataFrame({name: column.to_pandas() for name, column in columns.items()})
    again = np.array(cells.duplicated(keep="first"))
    again[list(raw.broken)] = False
    return (only_rows(raw, [not a for a in again]), int(again.sum())) if again.any() else (raw, 0)


def _with_stated(table_map: TableMap, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows with what the options say where the mapping says nothing, and what was done.

    Raises
    ------
    ConfigurationError
        When the mapping gives every row another value than the option.
    """
    notes = []
    for name, text in table_map.stated.items():
        cells = frame[name].astype("str")
        empty = cells.isna()
        if not empty.any() and len(cells) and not (cells == text).any():
            raise ConfigurationError(
                f"mapping {table_map.name} gives the {name} of all rows (such as "
                f"{cells.iloc[0]!r}), and --{name} says {text!r}.",
                fix=f"leave out --{name}, or take {name} out of the mapping.",
            )
        if empty.any():
            frame = frame.assign(**{name: cells.where(~empty, text)})
        if empty.any() or not (cells == text).all():
            notes.append(
                f"{int(empty.sum())} rows without a {name} are under {text!r}; the mapping gives "
                "the others theirs."
            )
    return frame, notes


def _one(
    table_map: TableMap,
    table: Columns,
    raw: RawTable,
    evaluator: Evaluator,
    broken: dict[int, str],
) -> tuple[pd.DataFrame, int]:
    """The rows one set of columns gives, indexed by their places in the file, and how many ``keep``
    left out."""
    made: dict[str, pa.ChunkedArray] = {}
    evaluator.problems = {}
    try:
        for name in table_map.feed.required | table_map.feed.optional | dict.fromkeys(table.names):
            if name in table.names:
                cells = _column(table_map, table, name, evaluator)
                made[name] = _arrow(table_map, name, cells, evaluator)
        made |= _period_cells(table_map, evaluator)
        keep = evaluator.truth(evaluator(table.keep)) if table.keep else None
    except ExpressionError as error:
        raise RefusedFile(
            raw.file,
            f"mapping {table_map.name}: {error}.",
            fix="mend the mapping file, or take the one made for this table.",
        ) from None
    last = made.pop(END, None)
    frame = typed_frame(raw.file, table_map.feed, made)
    if last is not None:
        frame = frame.assign(**{END: as_series(typed_column(raw.file, "end", "day", last))})
    problems = evaluator.problems | broken
    if problems:
        marks = pd.Series([problems.get(at) for at in range(raw.rows)], dtype="str")
        frame = frame.assign(_broken=marks)
    if keep is None:
        return frame, 0
    # A row that cannot be read is not left out in silence: it is broken, whatever `keep` says.
    stays = keep | np.array([at in problems for at in range(raw.rows)], dtype=bool)
    return frame[stays], int((~stays).sum())


def _period_cells(table_map: TableMap, evaluator: Evaluator) -> dict[str, pa.ChunkedArray]:
    """``date``: the day the mapping's period names first; ``_end``: the last day where it names
    both. Empty where the mapping has no period."""
    made: dict[str, pa.ChunkedArray] = {}
    for name, text in zip(("date", END), table_map.period_texts, strict=False):
        cells = evaluator.column(text) if evaluator.has(text) else evaluator(text)
        texts = evaluator.texts(cells)
        made[name] = pa.chunked_array([pa.array([text or None for text in texts], pa.string())])
    return made


def _column(table_map: TableMap, table: Columns, name: str, evaluator: Evaluator) -> Cells:
    if name in table.renamed:
        return evaluator.column(table.renamed[name])
    if name in table.derived:
        return evaluator(table.derived[name])
    return Cells("text", evaluator.texts(_constant(evaluator, table.constants[name])))


def _constant(evaluator: Evaluator, text: str) -> Cells:
    return Cells("text", np.full(evaluator.rows, text or None, dtype=object))


def _arrow(table_map: TableMap, name: str, cells: Cells, evaluator: Evaluator) -> pa.ChunkedArray:
    kind = table_map.feed.kind(name)
    translate = table_map.values.get(name)
    if kind == "number" and translate is None and cells.kind in ("number", "truth"):
        found = np.round(evaluator.numbers(cells), 6)
        whole = bool(np.all(np.isfinite(found) & (found == np.floor(found))))
        return pa.chunked_array(
            [pa.array(found.astype("int64") if whole else found, from_pandas=True)]
        )
    texts: Any = evaluator.texts(cells)
    if translate is not None:
        other = translate.get("default")
        texts = [translate.get(text or "", text if other is None else other) for text in texts]
    elif kind == "number":
        texts = [_plain(text, table_map.read) for text in texts]
    return pa.chunked_array([pa.array([text or None for text in texts], pa.string())])


def _cells(column: pa.ChunkedArray, read: Reading) -> np.ndarray[Any, Any]:
    cells = column.to_pylist()
    if read.null:
        cells = [None if cell in read.null else cell for cell in cells]
    made = np.empty(len(cells), dtype=object)
    made[:] = cells
    return made


def _parser(read: Reading) -> Any:
    if read.decimal == "." and read.thousands == ",":
        return lambda text: float(number(text))
    return lambda text: float(number(text, thousands=read.thousands, decimal=read.decimal))


def _plain(text: str | None, read: Reading) -> str | None:
    """A number as ``1234.50``, whatever marks the table uses; other text as it is."""
    if text is None or (text.isascii() and text.isdigit()):
        return text
    try:
        return str(number(text, thousands=read.thousands, decimal=read.decimal))
    except ValueError:
        return text


def _aggregate(feed: str, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Rows of one key summed, and notes; rows that are broken, or would break a rule of their own,
    stay apart, so that the sum does not hide them."""
    keys, summed = KEYS[feed], SUMMED[feed]
    defaults = {"campaign": "all", "creative": "all"}
    named = [frame[name] if name in frame else [defaults.get(name)] * len(frame) for name in keys]
    counts = [frame[name] for name in summed]
    marks = frame["_broken"] if "_broken" in frame else [None] * len(frame)
    sums, apart = Sums(feed), []
    missing: Counter[str] = Counter()
    for at, (mark, key, cells) in enumerate(
        zip(marks, zip(*named, strict=True), zip(*counts, strict=True), strict=True)
    ):
        numbers = _sound(feed, mark, key, cells, missing)
        if numbers is None:
            apart.append(at)
        else:
            filled = [defaults.get(n) if pd.isna(k) else k for n, k in zip(keys, key, strict=True)]
            sums.add(tuple(filled), numbers)
    total = sums_frame(feed, sums.totals)
    absent = [name for name in keys if name not in frame and name not in defaults]
    total = total.drop(columns=absent)
    notes = [
        f"{counted_rows(count)} a number in {name} that breaks a rule: it is missing there, and "
        "the spend is kept."
        for name, count in missing.items()
    ]
    if apart:
        verbs = ("breaks a rule and stays", "break a rule and stay")
        notes.append(f"{counted_rows(len(apart), verbs)} apart.")
    return pd.concat([total, frame.iloc[apart]], ignore_index=True), notes


def _sound(
    feed: str,
    mark: object,
    key: tuple[Any, ...],
    cells: tuple[Any, ...],
    missing: Counter[str],
) -> list[Decimal | None] | None:
    """The row's numbers, or ``None`` where it must not be summed. An attributed number that breaks
    a rule is missing, counted in ``missing``, and the row's spend stays."""
    if not pd.isna(cast(Any, mark)) or pd.isna(cast(Any, key[0])) or isinstance(key[0], str):
        return None
    numbers: dict[str, Decimal | None] = {}
    for name, cell in zip(SUMMED[feed], cells, strict=True):
        try:
            numbers[name] = number(str(cell))
        except ValueError:
            numbers[name] = None
    if feed != "performance":
        return None if None in numbers.values() else list(numbers.values())
    shown = numbers["impressions"]
    for name in ATTRIBUTED:
        value = numbers[name]
        wrong = value is None or value < 0 or (name in WHOLE and value % 1)
        if wrong or (
            name == "clicks" and shown is not None and value is not None and value > shown
        ):
            numbers[name] = None
            missing[name] += 1
    spend = numbers["spend"]
    if spend is None or shown is None or spend < 0 or shown < 0 or shown % 1:
        return None
    return list(numbers.values())
