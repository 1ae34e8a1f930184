"""A plain feed file: the contract's own columns, and what the others say of its rows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import pyarrow as pa

from liftloop.adapters.files.reading import RawTable, shown
from liftloop.adapters.importers.feed_rows import select_feed_rows
from liftloop.adapters.importers.feeds import FEEDS
from liftloop.adapters.importers.tables.cells import typed_frame
from liftloop.adapters.importers.tables.columns import normal, pick_columns, positions
from liftloop.core.errors import RefusedFile

SHOWN = 3


def import_contract(
    raw: RawTable,
    name: str,
    *,
    decimal: str = "",
    parts: tuple[str, ...] = (),
    account: str = "",
    spare: tuple[str, ...] = (),
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """(frame, notes) of a file that has the columns of the feed ``name``.

    Parameters
    ----------
    decimal
        ``comma`` or ``point`` where the person who delivers says how numbers are written.
    parts
        Columns of which it was said that ``all`` in them is a part like any other.
    account
        The advertising account of performance rows that name none.
    spare
        Columns that may be missing: 0 stands for them.

    Raises
    ------
    RefusedFile
        When a column is missing, there twice or in another notation, or when rows would replace
        each other that a column the feed has not tells apart.
    """
    feed = FEEDS[name]
    columns = [normal(column) for column in raw.header]
    lacking = feed.missing(columns)
    filled = [column for column in lacking if column in spare]
    missing = [column for column in lacking if column not in spare]
    if missing:
        raise RefusedFile(
            raw.file,
            f"a {name} file needs {', '.join(missing)}; the file has {shown(raw.header)}.",
            fix="add the column, or rename one in a mapping file (--map).",
            column=missing[0],
        )
    wanted = [column for column in dict.fromkeys(columns) if feed.kind(column)]
    broken = dict(raw.broken)
    picked = pick_columns(raw, positions(raw, wanted), broken)
    frame = typed_frame(raw.file, feed, picked, decimal=decimal)
    frame = frame.assign(**dict.fromkeys(filled, 0.0))
    if account and name == "performance":
        given = (
            frame["account"] if "account" in frame else pd.Series(None, frame.index, dtype="str")
        )
        frame = frame.assign(account=given.fillna(account))
    if broken:
        marks = [broken.get(at) for at in range(raw.rows)]
        frame = frame.assign(_broken=pd.Series(marks, dtype="str"))
    extra = [column for column in dict.fromkeys(columns) if not feed.kind(column)]
    notes = [f"Columns left aside: {shown(extra)}."] if extra else []
    keep, chosen = select_feed_rows(raw, feed, frame, extra=extra, parts=parts)
    if not keep.all():
        frame = frame[keep].reset_index(drop=True)
    return frame, (*notes, *chosen)


def with_constants(raw: RawTable, values: Mapping[str, str]) -> RawTable:
    """The table with a column more for each of ``values`` that is not empty and not there."""
    have = {normal(name) for name in raw.header}
    new = {name: text for name, text in values.items() if text and name not in have}
    if not new:
        return raw
    header = (*raw.header, *new)
    if raw.records is not None:
        return replace(raw, header=header, records=[{**row, **new} for row in raw.records])
    table = raw.table
    for at, text in enumerate(new.values(), start=len(raw.header)):
        assert table is not None  # records or a table
        table = table.append_column(str(at), pa.array([text] * raw.rows, pa.string()))
    return replace(raw, header=header, table=table)


def with_outcome_days(
    frame: pd.DataFrame, *, file: str, stated: int, default: int
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows of ``units`` with the stated days where a row has none, and what to say of the others.

    Parameters
    ----------
    frame
        The rows as read; ``outcome_days`` may be missing. Not changed.
    file
        The delivered file's name, for the command that answers the question.
    stated
        What the person who delivers says, in days; 0: nothing.
    default
        What the settings say, in days; 0: nothing. It is not stored, so that it may be changed.
    """
    empty = (
        frame["outcome_days"].isna()
        if "outcome_days" in frame
        else pd.Series(True, index=frame.index)
    )
    if not empty.any():
        return frame, ()
    if stated:
        if "outcome_days" not in frame or frame["outcome_days"].isna().all():
            return frame.assign(outcome_days=float(stated)), ()
        days = frame["outcome_days"]
        filler = float(stated) if pd.api.types.is_numeric_dtype(days) else str(stated)
        return frame.assign(outcome_days=days.mask(empty, filler)), ()
    if default:
        return frame, ()
    tests = sorted(set(frame.loc[empty, "experiment"].dropna().astype(str)))
    if not tests:
        return frame, ()
    more = f" and {len(tests) - SHOWN} more" if len(tests) > SHOWN else ""
    return frame, (
        f"Over how many days outcomes and cost of {', '.join(tests[:SHOWN])}{more} count is not "
        "recorded. What the money returned is learned all the same; what it was a day is not. "
        f"Say it: liftloop ingest {shlex.quote(file)} --outcome-days N (N days from assigned_on, "
        "with the other options as before), or outcome_days = N under [data] in liftloop.toml.",
    )
