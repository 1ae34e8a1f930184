"""The facts: what is known of each key now, and every version it replaced.

``facts/<feed>/current`` holds one row a key; ``facts/<feed>/history`` the rows that lost to it.
Both are Delta Lake tables, so a decision can name the versions it read, and any engine reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
from pyarrow import compute

from liftloop.adapters.facts.delta import (
    BOOKKEEPING,
    INSTANT,
    MONTH,
    REMOVED,
    TableVersion,
    aligned,
    feed_schema,
    open_table,
    table_path,
)
from liftloop.adapters.names.aliases import Aliases
from liftloop.core.feeds.consent import ANY_ROW, UNIT_FEEDS, ConsentRules
from liftloop.core.feeds.context import midnight
from liftloop.core.feeds.declared import FEEDS, Feed
from liftloop.core.feeds.deliveries.both_arms import KEY, NEEDED, users_in_both_arms
from liftloop.core.feeds.deliveries.restating import KeyBook, instants, last_of_each
from liftloop.core.feeds.identity import Identity, text_of
from liftloop.settings.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FactsVersion:
    """The Delta versions of a feed's two tables; ``history`` is None while nothing was replaced."""

    current: int
    history: int | None = None

    def as_dict(self) -> dict[str, int | None]:
        return asdict(self)

    @classmethod
    def from_dict(cls, said: Mapping[str, int | None]) -> FactsVersion:
        current = said["current"]
        if current is None:
            raise ValueError("a facts version names the version of `current`")
        return cls(current, said.get("history"))


# columns that a later version of the contract added
LATER = {"outcome_days", "consent", "purpose"}
NEVER = FactsVersion(-1)  # a feed before its first delivery: read at it, it has no rows


def facts_version(workspace: Workspace, feed: str) -> FactsVersion | None:
    """The newest versions of a feed's tables; None when it was never delivered."""
    current = open_table(table_path(workspace.facts, feed, "current"))
    if current is None:
        return None
    history = open_table(table_path(workspace.facts, feed, "history"))
    return FactsVersion(current.version, history.version if history else None)


@dataclass(frozen=True, slots=True)
class FactsPart:
    """What of a feed is read, and how.

    Attributes
    ----------
    version
        Read the tables as they were at these versions; None: the newest.
    columns
        These columns alone; beside the feed's own there are ``known_from``, ``received_at``,
        ``delivery`` and ``row_number``. None: the feed's own and its free columns.
    start
        Only rows dated on or after this day; None: from the first on.
    names
        Names to be read as others; None: as they were delivered.
    consent
        What rows about persons must say to be read.
    """

    version: FactsVersion | None = None
    columns: tuple[str, ...] | None = None
    start: date | None = None
    names: Aliases | None = None
    consent: ConsentRules = ANY_ROW


EVERYTHING = FactsPart()


def read_facts(
    workspace: Workspace,
    feed: str,
    *,
    as_of: date | None,
    timezone: str,
    part: FactsPart = EVERYTHING,
) -> pd.DataFrame:
    """A feed as it was known when ``as_of`` began.

    Parameters
    ----------
    as_of
        Only rows dated before this day, in the version that had been reported before 00:00 of it in
        ``timezone``. None: all rows, in their newest version.
    part
        Which of it is read, and how; default: all of it, as it was delivered.

    Returns
    -------
    DataFrame
        One row a key, sorted by key. Days are datetime64[us], instants UTC, text str. Without a
        table: no rows, with the same types.
    """
    declared, version, start = FEEDS[feed], part.version, part.start
    table = _open(workspace, feed, "current", version.current if version else None)
    if table is None:
        return _frame(feed_schema(declared).empty_table(), declared, part.columns)
    wanted = _days(
        as_of if declared.dated_by_key else None, start if declared.dated_by_key else None
    )
    found = table.read(wanted)
    if as_of is not None:
        past = version.history if version else None
        untouched = version is not None and past is None
        history = None if untouched else _open(workspace, feed, "history", past)
        found = _as_known(found, history, declared, as_of=as_of, timezone=timezone, where=wanted)
    if start is not None:
        found = found.filter(compute.field("date") >= start)
    if feed in UNIT_FEEDS:
        found = part.consent.permitted(found)
    if part.names is not None:
        found = part.names.table(found, declared)
    order = [*declared.key, *(c.name for c in declared.columns if c.identity)]
    by = [(name, "ascending") for name in order if name in found.column_names]
    return _frame(found.sort_by(by), declared, part.columns)


def units_in_both_arms(
    workspace: Workspace, *, as_of: date, timezone: str, version: FactsVersion | None = None
) -> pd.MultiIndex:
    """The (experiment, unit_id) of users who had come in both arms of a test when ``as_of`` began.

    The parameters are as of :func:`read_facts`.
    """
    names = [*NEEDED, "known_from", "date"]
    past = version.history if version else None
    untouched = version is not None and past is None
    history = None if untouched else _open(workspace, "units", "history", past)
    current = _open(workspace, "units", "current", version.current if version else None)
    if history is None or current is None:
        return users_in_both_arms(pd.DataFrame({name: [] for name in NEEDED}))
    cutoff = arrow.scalar(pd.Timestamp(midnight(as_of, timezone)).as_unit("us"), INSTANT)
    seen = (compute.field("known_from") < cutoff) & (compute.field("date") < as_of)
    older = history.read(seen, names).to_pandas()
    newest = current.read(seen, names).to_pandas()
    restated = pd.MultiIndex.from_frame(newest[KEY]).isin(pd.MultiIndex.from_frame(older[KEY]))
    return users_in_both_arms(pd.concat([older, newest[restated]], ignore_index=True))


def _open(workspace: Workspace, feed: str, kind: str, version: int | None) -> TableVersion | None:
    if version == NEVER.current:
        return None
    return open_table(table_path(workspace.facts, feed, kind), version)


def _days(before: date | None, start: date | None) -> Any:
    """An expression on ``date``, and on the month a file belongs to, or None."""
    terms = []
    if before is not None:
        terms += [compute.field("date") < before, compute.field(MONTH) <= f"{before:%Y-%m}"]
    if start is not None:
        terms += [compute.field("date") >= start, compute.field(MONTH) >= f"{start:%Y-%m}"]
    joined = None
    for term in terms:
        joined = term if joined is None else joined & term
    return joined


def _as_known(
    current: Any,
    history: TableVersion | None,
    feed: Feed,
    *,
    as_of: date,
    timezone: str,
    where: Any,
) -> Any:
    """Current rows where they were known already, else the newest version that was."""
    cutoff = arrow.scalar(pd.Timestamp(midnight(as_of, timezone)).as_unit("us"), INSTANT)
    seen = (compute.field("known_from") < cutoff) & (compute.field("date") < as_of)
    visible = current.filter(seen)
    if history is None or len(visible) == len(current):
        return visible
    older = history.read(seen if where is None else seen & where)
    if not len(older):
        return visible
    identity = Identity.among(feed, older.column_names, visible.column_names)
    book = KeyBook.of(identity.keys(older), identity.key)
    unseen = ~np.isin(book.codes, book.find(identity.keys(visible)))
    older, codes = older.filter(arrow.array(unseen)), book.codes[unseen]
    newest = last_of_each(codes, *_order_of(older))
    older = older.filter(arrow.array(newest))
    if REMOVED in older.column_names:
        older = older.filter(compute.invert(compute.fill_null(older[REMOVED], False)))
        older = older.drop_columns([REMOVED])
    schema = arrow.unify_schemas([current.schema, older.schema])
    return arrow.concat_tables([aligned(visible, schema), aligned(older, schema)])


def _order_of(rows: Any) -> list[Any]:
    """What ranks versions of a row, most significant first. Where a row left and one reported at
    the same instant came, it was left last."""
    order = [instants(rows[name]) for name in ("reported_at", "received_at", "row_number")]
    if REMOVED in rows.column_names:
        removed = compute.fill_null(rows[REMOVED], False)
        order.insert(2, removed.to_numpy().astype(np.int64))
    return order


def _frame(table: Any, feed: Feed, columns: Sequence[str] | None) -> pd.DataFrame:
    own = [name for name in table.column_names if name not in (*BOOKKEEPING, MONTH)]
    for column in feed.columns:
        wanted = columns is None or column.name in columns
        if column.identity and wanted and (columns is not None or column.name in own):
            table = _told(table, column.name)
    chosen = table.select(list(columns) if columns is not None else own)
    days = [
        field.with_type(arrow.timestamp("us")) if arrow.types.is_date32(field.type) else field
        for field in chosen.schema
    ]
    frame: pd.DataFrame = chosen.cast(arrow.schema(days)).to_pandas()
    return frame


def _told(table: Any, name: str) -> Any:
    """The table with an identity column that has "" where rows were stored without it."""
    values = text_of(table, name)
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)


def last_dates(workspace: Workspace) -> dict[str, date | None]:
    """For each feed that was ever delivered, the last day it has facts of."""
    found: dict[str, date | None] = {}
    for feed in FEEDS:
        table = _open(workspace, feed, "current", None)
        if table is None:
            continue
        last = max(table.months, default=None)
        days = table.month(last, ["date"])["date"] if last else []
        found[feed] = compute.max(days).as_py() if len(days) else None
    return found


def _says(values: pd.Series[Any]) -> bool:
    """Whether a column holds anything."""
    return bool((values.notna() & (values != "")).any())


def content_hash(frame: pd.DataFrame) -> str:
    """A hash of what ``frame`` says, whatever the order of its rows and columns.

    When and how a row came in (``reported_at`` and the bookkeeping) does not count: a file that
    repeats known values leaves the hash as it was. Nor does an account, an id or a later column
    that no row has.
    """
    identity = {c.name for feed in FEEDS.values() for c in feed.columns if c.identity}
    untold = {name for name in identity & set(frame.columns) if not (frame[name] != "").any()}
    untold |= {name for name in LATER & set(frame.columns) if not _says(frame[name])}
    said = sorted(set(map(str, frame.columns)) - {*BOOKKEEPING, MONTH, "reported_at"} - untold)
    plain = frame[said]
    floats = plain.select_dtypes("float").columns
    if len(floats):  # -0.0 and 0.0 are one number
        plain = plain.assign(**{name: plain[name] + 0.0 for name in floats})
    rows = pd.util.hash_pandas_object(plain, index=False).to_numpy(dtype="uint64")
    digest = hashlib.sha256("\n".join(said).encode())
    digest.update(np.sort(rows).astype("<u8").tobytes())
    return digest.hexdigest()
