"""A plain feed file: the contract's own columns, and what the others say of its rows."""

from __future__ import annotations

import pandas as pd

from liftloop.adapters.importers.cells import typed_frame
from liftloop.adapters.importers.columns import normal, pick_columns, positions
from liftloop.adapters.importers.feed_rows import select_feed_rows
from liftloop.adapters.importers.feeds import FEEDS
from liftloop.adapters.reading import RawTable, shown
from liftloop.core.errors import RefusedFile


def import_contract(
    raw: RawTable, name: str, *, decimal: str = "", parts: tuple[str, ...] = (), account: str = ""
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

    Raises
    ------
    RefusedFile
        When a column is missing, there twice or in another notation, or when rows would replace
        each other that a column the feed has not tells apart.
    """
    feed = FEEDS[name]
    columns = [normal(column) for column in raw.header]
    missing = feed.missing(columns)
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
