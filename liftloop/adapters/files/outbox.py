"""The budgets export: one decision as CSV, JSON and Parquet (contracts.md, section 3).

In the CSV, which a spreadsheet opens, text that would be run as a formula (a segment called
``=1+1``) gets an apostrophe in front; reading takes it off. JSON and Parquet hold names as they
are.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liftloop.adapters.files.spreadsheet import disarmed, rearmed
from liftloop.adapters.files.whole_files import publish
from liftloop.core.errors import Declined, RefusedFile
from liftloop.core.policy import CENT, BudgetLine, Stage
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = tuple(field.name for field in fields(BudgetLine))
HEAD = "audit_head"  # the audit trail's head when the file was made; older files have none
_MONEY = ("daily_budget", "previous_daily_budget")
_FIGURES = ("expected_incremental_revenue", "expected_low", "expected_high")
_SUFFIXES = (".parquet", ".json", ".csv")  # the CSV comes last: where it is, all three are


def budgets_files(workspace: Workspace, *, effective_from: date, decision_id: str) -> list[Path]:
    """Where a decision's three files are (or will be): CSV, JSON, Parquet."""
    stem = f"budgets-{effective_from}-{decision_id}"
    return [workspace.outbox / f"{stem}{suffix}" for suffix in reversed(_SUFFIXES)]


UNKNOWN = "of-no-decision"  # in the outbox: exports that a ledger older than they does not know


def unknown_exports(workspace: Workspace, known: Callable[[str], bool]) -> list[Path]:
    """Exports in the outbox of decisions that are not ``known``."""
    return [path for path, id in _exports(workspace) if not known(id)]


def unreadable_exports(workspace: Workspace) -> set[str]:
    """The ids of decisions of which a file in the outbox cannot be read."""
    found = set()
    for path, id in _exports(workspace):
        try:
            read_export(path)
        except RefusedFile:
            found.add(id)
    return found


def _exports(workspace: Workspace) -> Iterator[tuple[Path, str]]:
    """The budgets files in the outbox, each with its decision's id."""
    named = re.compile(r"budgets-\d{4}-\d{2}-\d{2}-(?P<id>[A-Za-z0-9_-]+)\.(csv|json|parquet)")
    for path in sorted(workspace.outbox.glob("budgets-*")):
        if name := named.fullmatch(path.name):
            yield path, name["id"]


def write_budgets(
    workspace: Workspace, lines: Sequence[BudgetLine], *, audit_head: str = ""
) -> tuple[Path, ...]:
    """Export one decision's lines; doing it again writes nothing.

    All three files are on the disk before the first is visible, and the CSV becomes visible last.
    Killed in between, the next call completes them.

    Parameters
    ----------
    audit_head
        The hash of the audit trail's last entry, which the files carry out of the ledger.

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
    for path in filter(Path.exists, files):
        try:
            there, head = read_export(path)
        except RefusedFile:  # a full disk or a bad copy left half of it: it is written again
            path.unlink()
            continue
        audit_head = head or audit_head  # all three carry the same one
        if as_json(there) != said:
            raise Declined(
                f"{path.name} in the outbox differs from the ledger: it was edited. "
                "Move it away, then run the command again."
            )
    missing = [path for path in reversed(files) if not path.exists()]
    publish([(path, _WRITERS[path.suffix](lines, audit_head)) for path in missing])
    return tuple(files)


def rows(lines: Sequence[BudgetLine], audit_head: str = "") -> list[dict[str, Any]]:
    """The lines as JSON has them: days and money as text, an unknown figure as None; with the head
    of the audit trail where there is one."""
    more = {HEAD: audit_head} if audit_head else {}
    return [
        {name: _plain(name, getattr(line, name)) for name in COLUMNS} | more
        for line in sorted(lines, key=lambda line: (line.segment, line.channel))
    ]


def _plain(name: str, value: Any) -> Any:
    if name in _MONEY:
        return str(value.quantize(CENT))
    if name in _FIGURES:
        return float(value) if value is not None and math.isfinite(value) else None
    return str(value) if name == "effective_from" else value


def as_json(lines: Sequence[BudgetLine], audit_head: str = "") -> bytes:
    text = json.dumps(rows(lines, audit_head), ensure_ascii=False, indent=1, allow_nan=False)
    return (text + "\n").encode()


def as_csv(lines: Sequence[BudgetLine], audit_head: str = "") -> bytes:
    text = io.StringIO()
    columns = (*COLUMNS, HEAD) if audit_head else COLUMNS
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows(lines, audit_head):
        writer.writerow({name: disarmed(cell) for name, cell in row.items()})
    return text.getvalue().encode()


def as_parquet(lines: Sequence[BudgetLine], audit_head: str = "") -> bytes:
    import pyarrow as pa  # a tenth of a second, which those who only look into the outbox save
    from pyarrow import parquet

    typed = [
        row
        | {name: Decimal(row[name]) for name in _MONEY}
        | {"effective_from": date.fromisoformat(row["effective_from"])}
        for row in rows(lines, audit_head)
    ]
    sink = pa.BufferOutputStream()
    schema = _schema((*COLUMNS, HEAD) if audit_head else COLUMNS)
    parquet.write_table(pa.Table.from_pylist(typed, schema=schema), sink)
    return cast(bytes, sink.getvalue().to_pybytes())


def _schema(columns: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    kinds = {
        **dict.fromkeys(_MONEY, pa.decimal128(18, 2)),
        **dict.fromkeys(_FIGURES, pa.float64()),
        "effective_from": pa.date32(),
    }
    return pa.schema([(name, kinds.get(name, pa.string())) for name in columns])


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
    return found


_WRITERS = {".csv": as_csv, ".json": as_json, ".parquet": as_parquet}


def read_budgets(path: Path) -> tuple[BudgetLine, ...]:
    """The lines of an exported file, whichever of the three it is.

    Raises
    ------
    RefusedFile
        If it is no budgets export.
    """
    return read_export(path)[0]


def read_export(path: Path) -> tuple[tuple[BudgetLine, ...], str]:
    """As :func:`read_budgets`, with the head of the audit trail that the file carries; "" where it
    carries none."""
    try:
        if path.suffix == ".parquet":
            found = _parquet_rows(path)
        elif path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
        else:
            with path.open(encoding="utf-8", newline="") as file:
                table = csv.DictReader(file)
                if not {*COLUMNS} <= {*(table.fieldnames or ())}:
                    raise ValueError("its columns are others")
                found = [{name: rearmed(cell) for name, cell in row.items()} for row in table]
        heads = {str(row.get(HEAD) or "") for row in found}
        if len(heads) > 1:
            raise ValueError("its rows carry several heads of the audit trail")
        return tuple(_line(row) for row in found), heads.pop() if heads else ""
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        InvalidOperation,
    ) as error:
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
