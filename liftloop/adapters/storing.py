"""Storing a delivery: planned first and counted, then committed, history before current.

Each commit happens once (see ``delta.py``). Between the two commits of a delivery nothing is lost:
a replaced row is in both tables, and its winner is still in the delivery.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
from deltalake.exceptions import CommitFailedError
from numpy.typing import NDArray

from liftloop.adapters.delta import (
    MANY_FILES,
    MONTH,
    Table,
    commit,
    feed_schema,
    open_table,
    table_path,
)
from liftloop.adapters.facts import FactsVersion, facts_version
from liftloop.adapters.workspace import Workspace
from liftloop.core.contracts import FEEDS, Feed
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.feeds.restating import KeyBook, instants, last_of_each, same_values

log = logging.getLogger(__name__)

# Months of up to so many stored rows together are read once and kept; larger ones are read again
# for each use, one at a time, so that memory stays bounded however much is stored.
KEPT_ROWS = 2_500_000
ATTEMPTS = 5


@dataclass
class Plan:
    """What a batch does to a feed's tables, decided on one version of ``current``.

    Attributes
    ----------
    wins : shape (n_rows,)
        The batch's rows that become current; the others are superseded.
    touched
        Months that hold stored rows which are replaced.
    kept
        Months read already: their rows, and for each the place of the batch's row that replaces it
        (-1 when none does).
    """

    feed: Feed
    batch: Any
    current: Table | None
    book: KeyBook
    wins: NDArray[np.bool_]
    touched: tuple[str, ...]
    kept: dict[str, tuple[Any, NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def stored(self) -> int:
        return int(self.wins.sum())

    @property
    def superseded(self) -> int:
        return len(self.wins) - self.stored


def plan(workspace: Workspace, feed: str, batch: Any) -> Plan:
    """Decide which rows of ``batch`` (from :func:`~liftloop.adapters.delta.as_batch`) win."""
    declared = FEEDS[feed]
    current = open_table(table_path(workspace.facts, feed, "current"))
    book = KeyBook.of(batch, declared.key)
    reported = instants(batch["reported_at"])
    wins = last_of_each(book.codes, reported, instants(batch["row_number"]))
    planned = Plan(declared, batch, current, book, wins, ())
    if current is None:
        return planned
    months = _months_to_search(declared, batch, current)
    keep = sum(current.months[month][1] for month in months) <= KEPT_ROWS
    places = np.flatnonzero(wins)
    index = pd.Index(book.codes[places])
    lookup = None if keep else [*declared.key, "reported_at"]
    touched = []
    for month in months:
        rows = current.month(month, lookup)
        at = index.get_indexer(book.find(rows))
        found = np.flatnonzero(at >= 0)
        mine = places[at[found]]
        stronger = instants(rows["reported_at"])[found] > reported[mine]
        wins[mine[stronger]] = False
        if not stronger.all():
            touched.append(month)
        if keep:
            replacing = np.full(len(rows), -1)
            replacing[found[~stronger]] = mine[~stronger]
            planned.kept[month] = rows, replacing
    planned.touched = tuple(touched)
    return planned


def _months_to_search(feed: Feed, batch: Any, current: Table) -> list[str]:
    """A key without a date may be stored under any month; one with it only under its own."""
    there = sorted(current.months)
    if not feed.dated_by_key:
        return there
    named = set(batch[MONTH].unique().to_pylist())
    return [month for month in there if month in named]


def store(workspace: Workspace, planned: Plan, *, delivery: str) -> FactsVersion | None:
    """Carry the plan out: at most one commit to ``history``, then at most one to ``current``.

    Doing it again after a crash makes only the commits that are missing. If another program wrote
    to the tables meanwhile, the plan is made again on what it left.

    Raises
    ------
    OutsideServiceFailed
        When other writers got in between every time.
    """
    feed = planned.feed.name
    for attempt in range(ATTEMPTS):
        try:
            _commit_history(workspace, planned, delivery)
            _commit_current(workspace, planned, delivery)
            return facts_version(workspace, feed)
        except CommitFailedError as conflict:
            log.warning("the %s facts changed meanwhile (%s); trying again", feed, conflict)
            time.sleep(0.1 * 2**attempt)
            planned = plan(workspace, feed, planned.batch)
    raise OutsideServiceFailed(
        f"The {feed} facts", "other programs keep writing to them.",
        fix="let them end, then run the command again.",
    )  # fmt: skip


def _commit_history(workspace: Workspace, planned: Plan, delivery: str) -> None:
    path = table_path(workspace.facts, planned.feed.name, "history")
    table = open_table(path)
    current = planned.current
    if (table and table.has(delivery)) or (current and current.has(delivery)):
        return
    lost = list(_replaced(planned))
    if planned.superseded:
        lost.append(planned.batch.filter(arrow.array(~planned.wins)))
    if not sum(map(len, lost)):
        return
    schema = _schema(planned.feed, planned.batch, table, planned.current)
    months = sorted({month for rows in lost for month in rows[MONTH].unique().to_pylist()})
    crowded = _crowded(table, months)
    if crowded and table is not None:
        lost = [*(table.month(month) for month in months), *lost]
    commit(
        path, schema=schema, rows=iter(lost), delivery=delivery, months=months if crowded else None
    )


def _crowded(table: Table | None, months: list[str]) -> bool:
    """Whether one of the months has so many files that it is time to write it as one."""
    return table is not None and any(table.months.get(m, (0, 0))[0] >= MANY_FILES for m in months)


def _replaced(planned: Plan) -> Iterator[Any]:
    """The stored rows the batch replaces, but for those that say just what their winner says."""
    feed = planned.feed
    spare = {"reported_at", *feed.key}  # keys are equal, or the row would not be replaced
    names = [c.name for c in feed.columns if c.name not in spare]
    for month in planned.touched:
        rows, replacing = _month(planned, month)
        found = np.flatnonzero(replacing >= 0)
        before = rows if len(found) == len(rows) else rows.take(arrow.array(found))
        free = feed.covariates([*planned.batch.column_names, *before.column_names])
        said = sorted({*names, "known_from", *(column.name for column in free)})
        mine = [name for name in said if name in planned.batch.column_names]
        after = planned.batch.select(mine).take(arrow.array(replacing[found]))
        repeats = same_values(before, after, said)
        yield before.filter(arrow.array(~repeats)) if repeats.any() else before


def _month(planned: Plan, month: str) -> tuple[Any, NDArray[np.int64]]:
    """A stored month's rows, and the places of the batch's rows that replace them (-1: none)."""
    if month in planned.kept:
        return planned.kept[month]
    assert planned.current is not None
    rows = planned.current.month(month)
    places = np.flatnonzero(planned.wins)
    at = pd.Index(planned.book.codes[places]).get_indexer(planned.book.find(rows))
    return rows, np.where(at >= 0, places[at] if len(places) else -1, -1)


def _commit_current(workspace: Workspace, planned: Plan, delivery: str) -> None:
    current = planned.current
    if (current and current.has(delivery)) or not planned.stored:
        return
    path = table_path(workspace.facts, planned.feed.name, "current")
    whole = bool(planned.wins.all())
    winners = planned.batch if whole else planned.batch.filter(arrow.array(planned.wins))
    mine = sorted(winners[MONTH].unique().to_pylist())
    crowded = _crowded(current, mine)
    rewrite = sorted({*planned.touched, *mine}) if planned.touched or crowded else None
    rows = iter([winners]) if rewrite is None else _rewritten(planned, winners, rewrite)
    commit(
        path, schema=_schema(planned.feed, planned.batch, current), rows=rows, delivery=delivery,
        months=rewrite,
    )  # fmt: skip


def _rewritten(planned: Plan, winners: Any, months: list[str]) -> Iterator[Any]:
    stored = planned.current.months if planned.current else {}
    for month in months:
        if month not in stored:
            continue
        rows, replacing = _month(planned, month)
        if month in planned.touched:
            rows = rows.filter(arrow.array(replacing < 0))
        yield rows
    yield winners


def _schema(feed: Feed, batch: Any, *tables: Table | None) -> Any:
    names = set(batch.column_names)
    for table in tables:
        names |= set(table.schema.names) if table else set()
    return feed_schema(feed, names)


__all__ = ["Plan", "plan", "store"]
