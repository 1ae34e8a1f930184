"""A plain feed file: the contract's own columns, and what the others say of its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.importers.cells import as_series, typed_frame
from liftloop.adapters.importers.columns import normal, pick_columns, positions, text_columns
from liftloop.adapters.importers.feeds import FEEDS, Feed
from liftloop.adapters.importers.levels import leave_out_totals
from liftloop.adapters.importers.repeats import Mask, Rows, codes, deleted, latest_of, sync_columns
from liftloop.adapters.importers.roles import Role, role_of, words_of
from liftloop.adapters.importers.sums import IDS
from liftloop.adapters.reading import RawTable, shown
from liftloop.core.contracts import FEEDS as CONTRACTS
from liftloop.core.errors import RefusedFile

_ROW_NUMBERS = ({"id"}, {"row", "id"}, {"row", "number"}, {"uuid"}, {"index"}, {"unnamed", "0"})


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
    keep, chosen = _select(raw, feed, frame, extra=extra, parts=parts)
    if not keep.all():
        frame = frame[keep].reset_index(drop=True)
    return frame, (*notes, *chosen)


def _select(
    raw: RawTable, feed: Feed, frame: pd.DataFrame, *, extra: list[str], parts: tuple[str, ...]
) -> tuple[Mask, list[str]]:
    """Which rows of the feed count: the latest sync of each, and no total beside its parts."""
    keep = np.ones(len(frame), bool)
    sync = sync_columns(extra)
    performance = feed.name == "performance"
    if not sync and not performance:
        return keep, []
    readable = np.ones(len(frame), bool)
    if "_broken" in frame:
        readable = frame["_broken"].isna().to_numpy()
    rows = _rows(raw, feed, frame[readable], extra)
    identity = codes(rows.cells, _key(feed, frame))
    places, notes = np.flatnonzero(readable), []
    if sync and not _reported(frame):
        latest, order = latest_of(rows, identity, sync, last_wins=True)
        gone = deleted(rows.cells, sync)
        keep[places[~latest | gone]] = False
        if not latest.all():
            notes.append(
                f"{int((~latest).sum()):,} rows are an earlier sync of another "
                f"({order or sync[0]}): the latest counts ({rows.amount(~latest)} of earlier ones "
                "left out)."
            )
        if (latest & gone).any():
            notes.append(f"{int((latest & gone).sum()):,} rows are marked deleted and left out.")
    if not performance:
        return keep, notes
    left = keep[places]
    if not _reported(frame):
        _refuse_parts(rows.only(left), identity[left], parts)
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


def _key(feed: Feed, frame: pd.DataFrame) -> list[str]:
    key = [*CONTRACTS[feed.name].key]
    return [name for name in dict.fromkeys((*key, *IDS)) if name in frame or name in key]


def _rows(raw: RawTable, feed: Feed, frame: pd.DataFrame, extra: list[str]) -> Rows:
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
            numeric = pd.to_numeric(column, errors="coerce").notna().any()
            roles[name] = role_of(name, days=(), measures=(), numeric=bool(numeric))
    money = next((c for c in ("spend", "revenue", "incremental_revenue") if c in frame), None)
    measures = [str(name) for name in frame if feed.kind(str(name)) == "number"]
    measures.sort(key=lambda name: name != money)
    numbers = frame[measures].apply(pd.to_numeric, errors="coerce").fillna(0.0).astype("float64")
    return Rows(raw.file, pd.DataFrame(cells, index=frame.index), roles, numbers)


def _refuse_parts(rows: Rows, identity: NDArray[np.int64], parts: tuple[str, ...]) -> None:
    """Refuse rows of one key that a column tells apart which the feed has not: as rows of a feed
    they would replace each other, and only the last one's spend would be kept."""
    again = pd.Series(identity).duplicated(keep=False).to_numpy() & (rows.numbers["spend"] > 0)
    if not again.any():
        return
    key = [name for name, role in rows.roles.items() if role in ("day", "part", "view", "unknown")]
    for name in key:
        if name in CONTRACTS["performance"].key or name in IDS or name in parts:
            continue
        if set(words_of(name)) in _ROW_NUMBERS:
            continue
        values = rows.cells[name].fillna("").groupby(identity).transform("nunique").to_numpy()
        here = np.asarray(again) & (values > 1)
        if here.any():
            raise RefusedFile(
                rows.file,
                f"{int(here.sum()):,} rows ({rows.amount(here)}) share their day, segment, channel "
                "and campaign with others and differ in this column, which the feed has not: they "
                "would replace each other.",
                fix="where they are parts, describe the table in a mapping file (--map) with "
                "aggregate = true; where they are views of one spend, keep one with "
                f'--where "{name}={rows.cells.loc[here, name].iloc[0]}".',
                column=name,
            )
