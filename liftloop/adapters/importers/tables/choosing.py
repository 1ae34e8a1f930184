"""``--where COLUMN=VALUE``: which rows of a file are meant, said by the person who delivers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from liftloop.adapters.files.reading import RawTable, shown
from liftloop.adapters.importers.importer import plain
from liftloop.adapters.importers.tables.columns import normal, text_columns
from liftloop.core.errors import ConfigurationError, RefusedFile


def split_condition(text: str) -> tuple[str, bool, str]:
    """(column, whether it is to be equal, value) of ``COLUMN=VALUE`` or ``COLUMN!=VALUE``.

    Raises
    ------
    ConfigurationError
        When it is neither.

    Examples
    --------
    >>> split_condition("Attribution setting=7-day click"), split_condition("ad name!=")
    (('Attribution setting', True, '7-day click'), ('ad name', False, ''))
    """
    column, mark, value = text.partition("=")
    equal = not column.endswith("!")
    column = column.removesuffix("!").strip()
    if not mark or not column:
        raise ConfigurationError(
            f"--where {text!r} is no condition.",
            fix='write COLUMN=VALUE or COLUMN!=VALUE, such as --where "attribution setting=7-day '
            'click"; nothing behind the sign means an empty cell.',
        )
    return column, equal, value.strip()


def rows_where(raw: RawTable, conditions: Sequence[str]) -> tuple[RawTable, tuple[str, ...]]:
    """(the table with the rows that meet all conditions, notes). Upper and lower case and blanks
    around a value do not matter; a row that could not be split into cells stays.

    Raises
    ------
    RefusedFile
        When the table has no such column, or no row meets the conditions.
    """
    keep = [True] * raw.rows
    for column, equal, value in map(split_condition, conditions):
        cells = _column(raw, column)
        wanted = value.casefold()
        keep = [
            kept and (at in raw.broken or ((cell or "").strip().casefold() == wanted) == equal)
            for at, (kept, cell) in enumerate(zip(keep, cells, strict=True))
        ]
    if not any(kept for at, kept in enumerate(keep) if at not in raw.broken):
        raise RefusedFile(
            raw.file,
            f"no row meets --where {' and '.join(map(repr, conditions))}.",
            fix="check the column and the value.",
        )
    if all(keep):
        return raw, ()
    return only_rows(raw, keep), (
        f"{keep.count(False):,} of {raw.rows:,} rows do not meet --where "
        f"{' and '.join(map(repr, conditions))} and were left out.",
    )


def _column(raw: RawTable, name: str) -> list[str | None]:
    columns = text_columns(raw, {})
    for form in _FORMS:
        for delivered, column in columns.items():
            if form(delivered) == form(name):
                cells: list[str | None] = column.to_pylist()
                return cells
    raise RefusedFile(
        raw.file,
        f"--where names the column {name!r}, which it has not; it has {shown(raw.header)}.",
        fix="name one of them.",
        column=name,
    )


_FORMS: tuple[Callable[[str], str], ...] = (normal, plain)


def only_rows(raw: RawTable, keep: Sequence[bool]) -> RawTable:
    """The table with the rows of ``keep`` (one flag a row) alone."""
    places = [at for at, kept in enumerate(keep) if kept]
    broken = {to: raw.broken[at] for to, at in enumerate(places) if at in raw.broken}
    if raw.records is not None:
        return replace(raw, records=[raw.records[at] for at in places], broken=broken)
    assert raw.table is not None
    return replace(raw, table=raw.table.take(pa.array(places, pa.int64())), broken=broken)
