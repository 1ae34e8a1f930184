"""Storing a delivery: planned first and counted, then committed, history before current.

Each commit happens once (see ``delta.py``). Between the two commits of a delivery nothing is lost:
a replaced row is in both tables, and its winner is still in the delivery.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as arrow
from deltalake.exceptions import CommitFailedError
from numpy.typing import NDArray
from pyarrow import compute

from liftloop.adapters.facts.delta import (
    BOOKKEEPING,
    INSTANT,
    MANY_FILES,
    MONTH,
    REMOVED,
    TableVersion,
    commit,
    feed_schema,
    open_table,
    table_path,
)
from liftloop.adapters.facts.read_facts import FactsVersion, facts_version
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.feeds.declared import FEEDS, Feed
from liftloop.core.feeds.deliveries.overlap import accounts_beside_unnamed
from liftloop.core.feeds.deliveries.repeated import FIGURES
from liftloop.core.feeds.deliveries.replacing import CONTRACT, Against, Replacing, Sender
from liftloop.core.feeds.deliveries.restating import same_values
from liftloop.core.feeds.identity import Identity
from liftloop.settings.workspace import Workspace

log = logging.getLogger(__name__)

# Months of up to so many stored rows together are read once and kept; larger ones are read again
# for each use, one at a time, so that memory stays bounded however much is stored.
KEPT_ROWS = 2_500_000
ATTEMPTS = 5


@dataclass
class StoragePlan:
    """What a batch does to a feed's tables, decided on one version of ``current``.

    Attributes
    ----------
    wins : shape (n_rows,)
        The batch's rows that become current; the others are superseded.
    replacing
        What the batch does to stored rows, and the doubts that are to be asked about.
    months
        For each month that was searched: the places of the batch's rows that restate its rows, and
        of those in whose favour its rows no longer count (-1 when none does).
    kept
        Months read already: their rows.
    """

    feed: Feed
    batch: Any
    current: TableVersion | None
    replacing: Replacing
    months: dict[str, Against] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def wins(self) -> NDArray[np.bool_]:
        return self.replacing.wins

    @property
    def touched(self) -> tuple[str, ...]:
        return tuple(month for month, against in self.months.items() if against.changes)

    @property
    def stored(self) -> int:
        return int(self.wins.sum())

    @property
    def superseded(self) -> int:
        return len(self.wins) - self.stored

    @property
    def taken_out(self) -> int:
        """Stored rows of another identity that no longer count."""
        return sum(int((against.taken >= 0).sum()) for against in self.months.values())


def plan(workspace: Workspace, feed: str, batch: Any, sender: Sender = CONTRACT) -> StoragePlan:
    """Decide which rows of ``batch`` (from :func:`~liftloop.adapters.facts.delta.as_batch`) win.

    Whoever stores a plan asks first what its ``replacing.question`` asks.
    """
    current = open_table(table_path(workspace.facts, feed, "current"))
    planned = _planned(feed, batch, current, sender)
    if current is None or planned.replacing.question is None:
        return planned
    apart = _accounts_apart(planned, current)  # what was answered in the month before counts
    return _planned(feed, batch, current, sender, apart) if apart else planned


def _accounts_apart(planned: StoragePlan, current: TableVersion) -> frozenset[str]:
    """Accounts that count beside rows without one, in the last month before the batch's."""
    earlier = [month for month in current.months if month < min(planned.months, default="")]
    if "account" not in current.schema.names or not earlier:
        return frozenset()
    names = planned.replacing.identity.inputs(current.schema.names)
    return accounts_beside_unnamed(current.month(max(earlier), names))


def _planned(
    feed: str,
    batch: Any,
    current: TableVersion | None,
    sender: Sender,
    apart: frozenset[str] = frozenset(),
) -> StoragePlan:
    declared = FEEDS[feed]
    there = current.schema.names if current else ()
    identity = Identity.among(declared, batch.column_names, there)
    replacing = Replacing(declared, batch, identity, sender, apart)
    planned = StoragePlan(declared, batch, current, replacing)
    if current is None:
        return planned
    months = _months_to_search(declared, batch, current)
    keep = sum(current.months[month][1] for month in months) <= KEPT_ROWS
    spend = [name for name in FIGURES if name in there]
    lookup = (
        None
        if keep
        else [*identity.inputs(there), "reported_at", "known_from", "received_at", *spend]
    )
    for month in months:
        rows = current.month(month, lookup)
        part = None
        if declared.dated_by_key and len(months) > 1:
            part = compute.equal(batch[MONTH], month).to_numpy()
        planned.months[month] = planned.replacing.against(rows, part)
        if keep:
            planned.kept[month] = rows
    planned.replacing.finish()
    return planned


def _months_to_search(feed: Feed, batch: Any, current: TableVersion) -> list[str]:
    """A key without a date may be stored under any month; one with it only under its own."""
    there = sorted(current.months)
    if not feed.dated_by_key:
        return there
    named = set(batch[MONTH].unique().to_pylist())
    return [month for month in there if month in named]


def store(workspace: Workspace, planned: StoragePlan, *, delivery: str) -> FactsVersion | None:
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
            planned = plan(workspace, feed, planned.batch, planned.replacing.sender)
    raise OutsideServiceFailed(
        f"The {feed} facts",
        "other programs keep writing to them.",
        fix="let them end, then run the command again.",
    )


def _commit_history(workspace: Workspace, planned: StoragePlan, delivery: str) -> None:
    path = table_path(workspace.facts, planned.feed.name, "history")
    table = open_table(path)
    current = planned.current
    if (table and table.has(delivery)) or (current and current.has(delivery)):
        return
    lost = list(_replaced(planned))
    if planned.superseded:
        lost.append(planned.batch.filter(arrow.array(~planned.wins)))
    lost += _tombstones(planned)
    if not sum(map(len, lost)):
        return
    removed = [REMOVED] if any(REMOVED in rows.column_names for rows in lost) else []
    schema = _schema(planned.feed, planned.batch, table, planned.current, more=removed)
    months = sorted({month for rows in lost for month in rows[MONTH].unique().to_pylist()})
    crowded = _crowded(table, months)
    if crowded and table is not None:
        lost = [*(table.month(month) for month in months), *lost]
    commit(
        path, schema=schema, rows=iter(lost), delivery=delivery, months=months if crowded else None
    )


def _crowded(table: TableVersion | None, months: list[str]) -> bool:
    """Whether one of the months has so many files that it is time to write it as one."""
    return table is not None and any(table.months.get(m, (0, 0))[0] >= MANY_FILES for m in months)


def _replaced(planned: StoragePlan) -> Iterator[Any]:
    """The stored rows the batch replaces, but for those that say just what their winner says."""
    feed = planned.feed
    labels = [] if planned.replacing.identity.columns else feed.key  # equal, or not restated
    spare = {"reported_at", *labels}
    names = [c.name for c in feed.columns if c.name not in spare]
    for month in planned.touched:
        rows, against = _month(planned, month)
        found = np.flatnonzero(against.restated >= 0)
        before = rows if len(found) == len(rows) else rows.take(arrow.array(found))
        free = feed.covariates([*planned.batch.column_names, *before.column_names])
        said = sorted({*names, "known_from", *(column.name for column in free)})
        mine = [name for name in said if name in planned.batch.column_names]
        after = planned.batch.select(mine).take(arrow.array(against.restated[found]))
        repeats = same_values(before, after, said)
        yield before.filter(arrow.array(~repeats)) if repeats.any() else before
        yield rows.filter(arrow.array(against.taken >= 0))


def _tombstones(planned: StoragePlan) -> Iterator[Any]:
    """What says that a row no longer counts, and from when on: a copy of it, marked, that was
    known when the rows were in whose favour it goes, and reported no earlier than the row itself
    (of those rows some may name an earlier instant than the row, whose latest is later)."""
    for month in planned.touched:
        rows, against = _month(planned, month)
        taken = np.flatnonzero(against.taken >= 0)
        if not len(taken):
            continue
        favoured = planned.batch.take(arrow.array(against.taken[taken]))
        dead = rows.take(arrow.array(taken))
        own, theirs = dead["reported_at"], favoured["reported_at"]
        reported = compute.if_else(compute.greater(own, theirs), own, theirs)
        dead = dead.set_column(dead.column_names.index("reported_at"), "reported_at", reported)
        for name in BOOKKEEPING:
            dead = dead.set_column(dead.column_names.index(name), name, favoured[name])
        yield _marked(dead)
    for places, reported_at, known_from in planned.replacing.yielded:
        dead = planned.batch.take(arrow.array(places))
        for name, moments in (("reported_at", reported_at), ("known_from", known_from)):
            column = arrow.array(moments).cast(INSTANT)
            dead = dead.set_column(dead.column_names.index(name), name, column)
        yield _marked(dead)


def _marked(dead: Any) -> Any:
    return dead.append_column(REMOVED, arrow.repeat(arrow.scalar(True), len(dead)))


def _month(planned: StoragePlan, month: str) -> tuple[Any, Against]:
    """A stored month's rows, and what the batch does to them."""
    if month in planned.kept:
        return planned.kept[month], planned.months[month]
    assert planned.current is not None
    return planned.current.month(month), planned.months[month]


def _commit_current(workspace: Workspace, planned: StoragePlan, delivery: str) -> None:
    current = planned.current
    if (current and current.has(delivery)) or not (planned.stored or planned.taken_out):
        return
    path = table_path(workspace.facts, planned.feed.name, "current")
    whole = bool(planned.wins.all())
    winners = planned.batch if whole else planned.batch.filter(arrow.array(planned.wins))
    mine = sorted(winners[MONTH].unique().to_pylist())
    crowded = _crowded(current, mine)
    rewrite = sorted({*planned.touched, *mine}) if planned.touched or crowded else None
    rows = iter([winners]) if rewrite is None else _rewritten(planned, winners, rewrite)
    commit(
        path,
        schema=_schema(planned.feed, planned.batch, current),
        rows=rows,
        delivery=delivery,
        months=rewrite,
    )


def _rewritten(planned: StoragePlan, winners: Any, months: list[str]) -> Iterator[Any]:
    stored = planned.current.months if planned.current else {}
    for month in months:
        if month not in stored:
            continue
        if month not in planned.months:
            yield planned.current.month(month) if planned.current else winners.schema.empty_table()
            continue
        rows, against = _month(planned, month)
        if against.changes:
            rows = rows.filter(arrow.array((against.restated < 0) & (against.taken < 0)))
        yield rows
    yield winners


def _schema(feed: Feed, batch: Any, *tables: TableVersion | None, more: Sequence[str] = ()) -> Any:
    names = {*batch.column_names, *more}
    for table in tables:
        names |= set(table.schema.names) if table else set()
    return feed_schema(feed, names)
