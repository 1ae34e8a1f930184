"""The facts of a backtest, in memory: the feeds' contracts and the rule of which row wins are
production's; the clock is the simulated day.

As of D, rows dated before D and reported before D 00:00 (account time) are known, each key in its
newest version: the later ``reported_at`` wins; equal instants: the row received last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as arrow

from liftloop.core.arms.comparisons import BOTH_ARMS
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import CLOCK_SKEW, Account, midnight
from liftloop.core.feeds.declared import FEEDS, Feed
from liftloop.core.feeds.deliveries.both_arms import marked, users_in_both_arms
from liftloop.core.feeds.deliveries.replacing import Replacing, Sender
from liftloop.core.feeds.identity import Identity
from liftloop.core.feeds.sales import sales_with_events
from liftloop.core.feeds.validate import sift

ORDER = ["reported_at", "received_at", "row_number"]
BOOKKEEPING = ["known_from", "received_at", "row_number"]
# A market's report is taken for what a platform's export is; its doubts are nobody's to answer, and
# what it tells on another level of detail replaces what was told before.
NOBODY_TO_ASK = Sender("export")
UNDATED = ("units", "experiments")  # kept however old: production reads them whole


@dataclass(slots=True)
class Received:
    """What became of the rows a market handed over. ``waiting`` rows are not reported yet."""

    rows: int = 0
    quarantined: int = 0
    refused: int = 0  # rows of deliveries that were refused whole
    waiting: int = 0
    rules: dict[str, int] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """Rows that passed their contract, superseded ones included."""
        return self.rows - self.quarantined - self.refused - self.waiting


class KnownFacts:
    """Deliveries in, the feeds as known on a day out. Days may only be asked in order.

    Parameters
    ----------
    account
        Currency, zone and rates.
    history_days
        How far back a cycle looks.
    feeds
        The feeds that are kept; others are dropped unread.
    """

    def __init__(
        self, account: Account, *, history_days: int, feeds: tuple[str, ...] = tuple(FEEDS)
    ) -> None:
        self.received = Received()
        self._account = account
        self._history = timedelta(days=history_days)
        self._books = {name: _Book(FEEDS[name]) for name in feeds}
        for name in feeds:
            empty_feed(name)  # reads the contracts, and imports what that takes, before any cycle

    def deliver(self, feeds: Mapping[str, pd.DataFrame], *, on: date) -> None:
        """Take in what was handed over when ``on`` began.

        Rows that say they are reported more than a sender's clock may err after that moment are
        delivered when they are reported.
        """
        now = midnight(on, self._account.timezone)
        for name, frame in feeds.items():
            book = self._books.get(name)
            if book is None or frame.empty:
                continue
            self.received.rows += len(frame)
            later = _reported_after(frame, now + CLOCK_SKEW)
            if later is not None:
                book.unreported.append(frame[later])
                self.received.waiting += int(later.sum())
            self._sift(book, frame if later is None else frame[~later], now, refuse=True)

    def known(self, as_of: date) -> dict[str, pd.DataFrame]:
        """Every kept feed as known when ``as_of`` begins, sorted by key. Not to be changed."""
        now = midnight(as_of, self._account.timezone)
        found = {}
        for name, book in self._books.items():
            self._take_reported(book, now)
            book.admit(before=as_of, cutoff=now)
            frame = book.frame
            if name not in UNDATED and len(frame):
                recent = (frame["date"] >= pd.Timestamp(as_of - self._history)).to_numpy()
                frame = frame if recent.all() else frame[recent].reset_index(drop=True)
            found[name] = frame
        if len(found.get("events", ())):
            found["sales"] = sales_with_events(found["sales"], found["events"])
        return found

    def _take_reported(self, book: _Book, now: datetime) -> None:
        held, book.unreported = book.unreported, []
        for frame in held:
            later = _reported_after(frame, now + CLOCK_SKEW)
            due = frame if later is None else frame[~later]
            self.received.waiting -= len(due)
            self._sift(book, due, now, refuse=False)
            if later is not None:
                book.unreported.append(frame[later])

    def _sift(self, book: _Book, frame: pd.DataFrame, now: datetime, *, refuse: bool) -> None:
        if frame.empty:
            return
        try:
            sifted = sift(
                book.feed.name, frame, account=self._account, received_at=now, refuse=refuse
            )
        except RefusedFile as refusal:
            self.received.refused += len(frame)
            self.received.refusals.append(str(refusal))
            return
        self.received.quarantined += len(sifted.rejected)
        for rules, count in sifted.rejected["rules"].value_counts().items():
            for rule in str(rules).split(";"):
                self.received.rules[rule] = self.received.rules.get(rule, 0) + int(count)
        book.waiting.append(sifted.accepted.assign(received_at=pd.Timestamp(now)))


@dataclass(slots=True)
class _Book:
    """One feed. ``current`` holds the winning known row of each key, sorted; ``waiting`` what
    passed its contract but is not known yet; ``unreported`` raw rows to be delivered later."""

    feed: Feed
    current: pd.DataFrame | None = None
    waiting: list[pd.DataFrame] = field(default_factory=list)
    unreported: list[pd.DataFrame] = field(default_factory=list)
    twice: pd.MultiIndex | None = None  # users of the feed `units` who came in both arms

    @property
    def frame(self) -> pd.DataFrame:
        if self.current is None:
            return empty_feed(self.feed.name)
        frame = self.current.drop(columns=BOOKKEEPING)
        return frame if self.twice is None else marked(frame, self.twice, column=BOTH_ARMS)

    def admit(self, *, before: date, cutoff: datetime) -> None:
        """Move what is known by now from ``waiting`` to ``current``."""
        fresh, still = [], []
        for frame in self.waiting:
            reported = (frame["known_from"] < pd.Timestamp(cutoff)).to_numpy()
            seen = reported & (frame["date"] < pd.Timestamp(before)).to_numpy()
            if seen.all():
                fresh.append(frame)
                continue
            fresh.append(frame[seen])
            still.append(frame[~seen])
        self.waiting = still
        fresh = [frame for frame in fresh if len(frame)]
        if fresh and not self.levelled:
            fresh = [pd.concat(fresh, ignore_index=True) if len(fresh) > 1 else fresh[0]]
        for frame in fresh:  # one delivery after the other: rows of one never replace each other
            self._merge(self._replacing(frame) if self.levelled else frame)

    @property
    def levelled(self) -> bool:
        """Whether rows of another identity can tell the same money."""
        return any(column.identity for column in self.feed.columns)

    def _replacing(self, fresh: pd.DataFrame) -> pd.DataFrame:
        """The rows of a delivery that count; what they replace on another level is left out."""
        current = fresh.iloc[:0] if self.current is None else self.current
        first = int(current["date"].searchsorted(fresh["date"].min()))
        stored, batch = _arrow(current.iloc[first:]), _arrow(fresh)
        identity = Identity.among(self.feed, stored.column_names, batch.column_names)
        replacing = Replacing(self.feed, batch, identity, NOBODY_TO_ASK)
        against = replacing.against(stored)
        replacing.finish()
        gone = (against.taken >= 0) | (against.restated >= 0)
        if gone.any():
            kept = np.append(np.ones(first, bool), ~gone)
            self.current = current[kept].reset_index(drop=True)
        return fresh if replacing.wins.all() else fresh[replacing.wins].reset_index(drop=True)

    def _merge(self, fresh: pd.DataFrame) -> None:
        """Only days that ``fresh`` touches are sorted again where the key begins with the day."""
        key, current, untouched = list(self.feed.key), self.current, 0
        mixed = fresh
        if current is not None:
            if key[0] == "date":
                untouched = int(current["date"].searchsorted(fresh["date"].min()))
            if untouched < len(current):
                mixed = pd.concat([current.iloc[untouched:], fresh], ignore_index=True)
        identity = [c.name for c in self.feed.columns if c.identity and c.name in mixed]
        if identity:
            mixed = mixed.assign(**{name: mixed[name].fillna("") for name in identity})
        if self.feed.name == "units":
            users = users_in_both_arms(mixed)
            self.twice = users if self.twice is None else self.twice.union(users)
        newest = _newest(mixed, [*key, *identity])
        parts = [newest] if current is None or not untouched else [current.iloc[:untouched], newest]
        whole = pd.concat(parts, ignore_index=True)
        free = sorted(
            c for c in cast(list[str], list(whole)) if str(c).startswith(("x_", "y_", "c_"))
        )
        named = [*(c for c in whole if c not in free), *free]
        self.current = whole if named == list(whole) else whole[named]


def _arrow(frame: pd.DataFrame) -> Any:
    # as the facts hold them: days are days
    table = arrow.Table.from_pandas(frame, preserve_index=False)
    days = table["date"].cast(arrow.date32())
    return table.set_column(table.column_names.index("date"), "date", days)


def _newest(rows: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """The newest of the rows that share a key, sorted by key."""
    codes = [pd.factorize(rows[name], sort=True)[0] for name in key]
    order = np.lexsort([rows[name].astype("int64") for name in reversed(ORDER)] + codes[::-1])
    changes = [np.diff(code[order]) != 0 for code in codes]
    last = np.append(np.logical_or.reduce(changes), True)
    newest: pd.DataFrame = rows.iloc[order[last]]
    return newest


def _reported_after(frame: pd.DataFrame, moment: datetime) -> Any:
    """Which rows say that they are reported after ``moment``, shape (n_rows,); None if none."""
    if "reported_at" not in frame.columns:
        return None
    told = frame["reported_at"]
    if not isinstance(told.dtype, pd.DatetimeTZDtype):
        told = pd.to_datetime(told, utc=True, errors="coerce", format="mixed")
    later = (told > pd.Timestamp(moment)).to_numpy()
    return later if later.any() else None


@lru_cache(maxsize=8)
def empty_feed(name: str) -> pd.DataFrame:
    """A feed nobody delivered: no rows, of the feed's types."""
    bare = pd.DataFrame({column: [] for column in FEEDS[name].required})
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    typed = sift(name, bare, account=Account(), received_at=moment, refuse=False).accepted
    return typed.drop(columns=[c for c in BOOKKEEPING if c in typed])
