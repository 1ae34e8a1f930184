"""How a mapped table writes its numbers, where the mapping does not say: as its cells do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from liftloop.adapters.files.reading import RawTable
from liftloop.adapters.importers.maps.expressions import names_in
from liftloop.adapters.importers.maps.mapping import TableMap
from liftloop.adapters.importers.report_columns import marks_of
from liftloop.adapters.importers.tables.notation import infer_decimals
from liftloop.adapters.importers.tables.roles import is_sync
from liftloop.adapters.importers.tables.sums import WHOLE, number

Columns = Mapping[str, np.ndarray[Any, Any]]


def in_points(table_map: TableMap, raw: RawTable, columns: Columns) -> dict[str, Any]:
    """``columns`` (name -> cells as text) with the numbers of those that are written with a decimal
    comma rewritten with a point; unchanged where the mapping states the notation.

    Raises
    ------
    RefusedFile
        When a column the mapping takes numbers from can be read in two ways.
    """
    if table_map.read.stated:
        return dict(columns)
    marks = {name: marks_of(raw, raw.header.index(name)) for name in columns if not is_sync(name)}
    numeric = {name for name, m in marks.items() if m.numbers and m.numbers >= 0.9 * m.cells}
    counted, whole = set(), set()
    for table in table_map.tables:
        for column, source in table.renamed.items():
            if table_map.feed.kind(column) == "number":
                counted.add(source)
                whole |= {source} & numeric if column in WHOLE else set()
        for column, expression in table.derived.items():
            if table_map.feed.kind(column) == "number":
                counted |= set(names_in(expression)) & numeric
    counted &= marks.keys()
    decimals = infer_decimals(
        raw.file,
        {name: marks[name] for name in counted},
        whole=frozenset(whole),
        others=[marks[name] for name in numeric - counted],
        fix='say how the table writes decimals: decimal = "," (or ".") under [read] in the '
        "mapping, or --decimal comma (or point).",
    )
    made = dict(columns)
    for name, decimal in decimals.items():
        if decimal == ",":
            made[name] = _pointed(made[name])
    return made


def _pointed(cells: Iterable[str | None]) -> np.ndarray[Any, Any]:
    made = []
    for cell in cells:
        try:
            made.append(cell and str(number(cell, thousands=".", decimal=",")))
        except ValueError:
            made.append(cell)
    array = np.empty(len(made), dtype=object)
    array[:] = made
    return array
