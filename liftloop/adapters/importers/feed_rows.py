"""Which rows of a table in a feed's own terms are counted: the latest sync of each, no total beside
its parts, and none that would replace another that is a part of the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.files.reading import RawTable
from liftloop.adapters.importers.feeds import FeedColumns
from liftloop.adapters.importers.tables.cells import as_series
from liftloop.adapters.importers.tables.columns import normal, text_columns
from liftloop.adapters.importers.tables.levels import leave_out_totals
from liftloop.adapters.importers.tables.repeats import (
    Rows,
    codes,
    counted_rows,
    deleted,
    latest_of,
    sync_columns,
)
from liftloop.adapters.importers.tables.roles import Role, is_numeric, is_row_number, role_of
from liftloop.adapters.importers.tables.sums import IDS
from liftloop.core.arrays import Mask
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.declared import FEEDS as CONTRACTS

_SUMMED = ("performance", "sales")  # feeds whose rows may be parts of one sum
_CHANGED = (
    "updated_at",
    "updated_time",
    "last_updated",
    "last_updated_at",
    "modified_at",
    "modified_time",
    "last_modified",
    "last_modified_at",
)


def select_feed_rows(
    raw: RawTable,
    feed: FeedColumns,
    frame: pd.DataFrame,
    *,
    extra: Sequence[str],
    parts: Collection[str] = (),
) -> tuple[Mask, list[str]]:
    """(rows of ``frame`` that count, notes).

    Parameters
    ----------
    frame
        The feed's columns; its index holds the places of the rows in the file.
    extra
        Normal names of the file's columns that are none of the feed's.
    parts
        Columns of which it was said that rows differing in them are parts.

    Raises
    ------
    RefusedFile
        When rows would replace each other that a further column tells apart, or a total stands
        beside parts it is not the sum of.
    """
    keep = np.ones(len(frame), bool)
    sync = sync_columns(extra) or [name for name in extra if name in _CHANGED]
    summed = feed.name in _SUMMED
    if not sync and not summed:
        return keep, []
    readable = np.ones(len(frame), bool)
    if "_broken" in frame:
        readable = frame["_broken"].isna().to_numpy()
    rows = feed_rows(raw, feed, frame[readable], extra)
    key = _key(feed, frame)
    identity = codes(rows.cells, key)
    places, notes = np.flatnonzero(readable), []
    if sync and not _reported(frame):
        told_apart = [name for name in _telling_apart(rows, parts) if name not in _CHANGED]
        of = codes(rows.cells, [*key, *told_apart])
        latest, order = latest_of(rows, of, sync, last_wins=True)
        gone = deleted(rows.cells, sync)
        keep[places[~latest | gone]] = False
        if not latest.all():
            notes.append(
                f"{counted_rows(int((~latest).sum()), ('is', 'are'))} an earlier sync of another "
                f"({order or sync[0]}): the latest counts ({rows.amount(~latest)} of earlier ones "
                "left out)."
            )
        if (latest & gone).any():
            lost = counted_rows(int((latest & gone).sum()), ("is", "are"))
            notes.append(f"{lost} marked deleted and left out ({rows.amount(latest & gone)}).")
    if not summed:
        return keep, notes
    left = keep[places]
    if not _reported(frame):
        _refuse_parts(rows.only(left), identity[left], feed.name, parts)
    # A restated row is a version, and only the last one counts beside others.
    last = left & _last(frame[readable], pd.Series(identity).where(left, -1))
    chosen, more = leave_out_totals(rows.only(last), parts)
    totals = set(identity[np.flatnonzero(last)[~chosen]].tolist())
    keep[places[np.isin(identity, list(totals))]] = False
    return keep, notes + more


def _last(frame: pd.DataFrame, identity: pd.Series) -> Mask:
    """Rows that no later one of the same key restates."""
    order = np.arange(len(frame))
    if "reported_at" in frame:
        instants = pd.to_datetime(frame["reported_at"], utc=True, errors="coerce", format="ISO8601")
        order = np.argsort(instants.fillna(pd.Timestamp(0, tz="UTC")).to_numpy(), kind="stable")
    again = identity.iloc[order].duplicated(keep="last").to_numpy()
    last = np.empty(len(frame), bool)
    last[order] = ~again
    return last


def _reported(frame: pd.DataFrame) -> bool:
    return "reported_at" in frame and bool(frame["reported_at"].notna().any())


def _key(feed: FeedColumns, frame: pd.DataFrame) -> list[str]:
    key = [*CONTRACTS[feed.name].key]
    return [name for name in dict.fromkeys((*key, *IDS)) if name in frame or name in key]


def feed_rows(raw: RawTable, feed: FeedColumns, frame: pd.DataFrame, extra: Sequence[str]) -> Rows:
    """The readable rows: their key as text, the columns the feed has not, and their numbers."""
    cells: dict[str, pd.Series] = {}
    for name in _key(feed, frame):
        blank = pd.Series("all", frame.index, dtype="str")
        cells[name] = frame[name].astype("str").fillna("all") if name in frame else blank
    for label, key in (("campaign", "campaign_id"), ("creative", "ad_id")):
        if key in frame and label in cells:  # an id is what the row is, a name may change
            cells[label] = cells[label].where(frame[key].isna(), "")
    roles: dict[str, Role] = {
        name: "day" if feed.kind(name) in ("day", "instant") else "part" for name in cells
    }
    others = {normal(name): column for name, column in text_columns(raw, {}).items()}
    for name in extra:
        if name in others:
            column = as_series(others[name])
            cells[name] = column.iloc[frame.index]
            numeric = is_numeric(column.dropna().unique()[:500].tolist())
            roles[name] = role_of(name, days=(), measures=(), numeric=numeric)
    money = next((c for c in ("spend", "revenue", "incremental_revenue") if c in frame), None)
    measures = [str(name) for name in frame if feed.kind(str(name)) == "number"]
    measures.sort(key=lambda name: name != money)
    numbers = frame[measures].apply(pd.to_numeric, errors="coerce").fillna(0.0).astype("float64")
    return Rows(raw.file, pd.DataFrame(cells, index=frame.index), roles, numbers)


def _telling_apart(rows: Rows, parts: Collection[str]) -> list[str]:
    """Columns that tell parts of a whole apart and are not in the key of the feed."""
    return [
        name
        for name, role in rows.roles.items()
        if role in ("day", "part", "view", "unknown")
        and name not in {"date", "segment", "channel", "campaign", "creative", *IDS, *parts}
        and not is_row_number(name)
    ]


def _refuse_parts(
    rows: Rows, identity: NDArray[np.int64], feed: str, parts: Collection[str]
) -> None:
    """Refuse rows of one key that a column tells apart which the feed has not: as rows of a feed
    they would replace each other, and only the money of the last one would be kept."""
    money = rows.numbers.columns[0]
    again = pd.Series(identity).duplicated(keep=False).to_numpy() & (rows.numbers[money] != 0)
    if not again.any():
        return
    for name in _telling_apart(rows, parts):
        values = rows.cells[name].fillna("").groupby(identity).transform("nunique").to_numpy()
        here = np.asarray(again) & (values > 1)
        if here.any():
            key = "day and segment" if feed == "sales" else "day, segment, channel and campaign"
            raise RefusedFile(
                rows.file,
                f"{int(here.sum()):,} rows ({rows.amount(here)}) share their {key} with others and "
                "differ in this column, which the feed has not: they would replace each other.",
                fix="where they are parts, describe the table in a mapping file (--map) with "
                "aggregate = true; where they are views of one amount, keep one with "
                f'--where "{name}={rows.cells.loc[here, name].iloc[0]}".',
                column=name,
            )
