"""The budgets export: one decision as CSV, JSON and Parquet (contracts.md, section 3).

Names are written as they are, also those that begin with ``=`` or ``+``: the files are an
interface between programs, and a name with an apostrophe in front would match nothing on an ad
platform. Open them in a spreadsheet through its import, with segment and channel as text.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from liftloop.adapters.whole_files import publish
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import Declined, RefusedFile
from liftloop.core.policy import CENT, BudgetLine, Stage

COLUMNS = tuple(field.name for field in fields(BudgetLine))
_MONEY = ("daily_budget", "previous_daily_budget")
_FIGURES = ("expected_incremental_revenue", "expected_low", "expected_high")
_SUFFIXES = (".parquet", ".json", ".csv")  # the CSV comes last: where it is, all three are

SCHEMA = pa.schema(
    [
        (
            name,
            pa.decimal128(18, 2)
            if name in _MONEY
            else pa.float64()
            if name in _FIGURES
            else pa.date32()
            if name == "effective_from"
            else pa.string(),
        )
        for name in COLUMNS
    ]
)


def budgets_files(workspace: Workspace, *, effective_from: date, decision_id: str) -> list[Path]:
    """Where a decision's three files are (or will be): CSV, JSON, Parquet."""
    stem = f"budgets-{effective_from}-{decision_id}"
    return [workspace.outbox / f"{stem}{suffix}" for suffix in reversed(_SUFFIXES)]


def write_budgets(workspace: Workspace, lines: Sequence[BudgetLine]) -> tuple[Path, ...]:
    """Export one decision's lines; doing it again writes nothing.

    All three files are on the disk before the first is visible, and the CSV becomes visible last.
    Killed in between, the next call completes them.

    Returns
    -------
    The CSV, JSON and Parquet file.

    Raises
    ------
    ValueError
        If there are no lines, lines of several decisions, or a decision id no file name can hold.
    Declined
        If a file is there that says something else: someone edited it.
    """
    named = {(line.effective_from, line.decision_id) for line in lines}
    if len(named) != 1:
        raise ValueError(f"an export holds the lines of one decision, not of {len(named)}")
    effective_from, decision_id = named.pop()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", decision_id):
        raise ValueError(f"{decision_id!r} cannot be part of a file name")
    files = budgets_files(workspace, effective_from=effective_from, decision_id=decision_id)
    said = as_json(lines)
    missing = []
    for path in reversed(files):
        if not path.exists():
            missing.append((path, _WRITERS[path.suffix](lines)))
        elif as_json(read_budgets(path)) != said:
            raise Declined(
                f"{path.name} in the outbox differs from the ledger: it was edited. "
                "Move it away, then run the command again."
            )
    publish(missing)
    return tuple(files)


def rows(lines: Sequence[BudgetLine]) -> list[dict[str, Any]]:
    """The lines as JSON has them: days and money as text, an unknown figure as None."""
    return [
        {name: _plain(name, getattr(line, name)) for name in COLUMNS}
        for line in sorted(lines, key=lambda line: (line.segment, line.channel))
    ]


def _plain(name: str, value: Any) -> Any:
    if name in _MONEY:
        return str(value.quantize(CENT))
    if name in _FIGURES:
        return float(value) if value is not None and math.isfinite(value) else None
    return str(value) if name == "effective_from" else value


def as_json(lines: Sequence[BudgetLine]) -> bytes:
    text = json.dumps(rows(lines), ensure_ascii=False, indent=1, allow_nan=False)
    return (text + "\n").encode()


def as_csv(lines: Sequence[BudgetLine]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(lines))
    return text.getvalue().encode()


def as_parquet(lines: Sequence[BudgetLine]) -> bytes:
    typed = [
        row
        | {name: Decimal(row[name]) for name in _MONEY}
        | {"effective_from": date.fromisoformat(row["effective_from"])}
        for row in rows(lines)
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(typed, schema=SCHEMA), sink)
    return cast(bytes, sink.getvalue().to_pybytes())


_WRITERS = {".csv": as_csv, ".json": as_json, ".parquet": as_parquet}


def read_budgets(path: Path) -> tuple[BudgetLine, ...]:
    """The lines of an exported file, whichever of the three it is.

    Raises
    ------
    RefusedFile
        If it is no budgets export.
    """
    try:
        if path.suffix == ".parquet":
            found = pq.read_table(path).to_pylist()
        elif path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
        else:
            with path.open(encoding="utf-8", newline="") as file:
                table = csv.DictReader(file)
                if not {*COLUMNS} <= {*(table.fieldnames or ())}:
                    raise ValueError("its columns are others")
                found = list(table)
        return tuple(_line(row) for row in found)
    except (OSError, ValueError, KeyError, TypeError, InvalidOperation, pa.ArrowException) as error:
        raise RefusedFile(
            path.name,
            f"it is no budgets export ({type(error).__name__}: {error}).",
            fix="give a file that liftloop wrote to its outbox.",
        ) from None


def _line(row: Mapping[str, Any]) -> BudgetLine:
    values = {name: row[name] for name in COLUMNS}
    for name in _MONEY:
        values[name] = Decimal(str(values[name])).quantize(CENT)
    for name in _FIGURES:
        values[name] = None if values[name] in (None, "") else float(values[name])
    values["effective_from"] = date.fromisoformat(str(values["effective_from"]))
    values["stage"] = cast(Stage, values["stage"])
    return BudgetLine(**values)
