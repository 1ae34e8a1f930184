"""What a delivery does to the rows that are stored: restates, replaces, leaves out, or is in doubt.

- A row restates the stored row with its identity (``identity.py``).
- A row that tells the same money on another level of detail replaces what told it before
  (``overlap.py``). Two levels of one report agree to the cent but for late corrections; where they
  do not, nobody but the sender can say whether the money is the same, and the delivery is asked
  about.
- A report of an account's days that has most of what is stored of them is complete: what it no
  longer has goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as arrow
from numpy.typing import NDArray

from liftloop.core.arrays import Mask
from liftloop.core.feeds.declared import Feed
from liftloop.core.feeds.deliveries.absent import Absent, AccountDays
from liftloop.core.feeds.deliveries.overlap import (
    ALL,
    Overlap,
    accounts_beside_unnamed,
    levels,
    overlaps,
    settle,
)
from liftloop.core.feeds.deliveries.questions import Amounts, Question, Stands
from liftloop.core.feeds.deliveries.repeated import (
    LEAST,
    Repeated,
    doubt_of_channels,
    doubt_of_figures,
)
from liftloop.core.feeds.deliveries.restating import Ints, KeyBook, instants, last_of_each
from liftloop.core.feeds.identity import Identity, id_of, text_of
from liftloop.core.money.currencies import amount_words as money

Kind = Literal["contract", "export", "mended"]

# Platforms correct a day for some days (late clicks, invalid traffic), by a few percent. Summed
# over a delivery, levels of one report differ by less; two accounts, or a part of one, by more.
SAME_MONEY = 0.05
# A day is settled when it was reported so long after its end that platforms change it no more
# than by a few percent; an export that changes settled days by more is likely of another account.
SETTLED = np.timedelta64(3, "D")
SETTLED_CHANGE = 0.10
# A correction changes a row by less than this part of it; more may be the total of several rows.
CORRECTED = 0.5


@dataclass(frozen=True)
class Sender:
    """What is known of a delivery beside its rows: how it was made, and what its sender answered.

    ``kind`` is "contract" for a plain feed file, "export" for a platform's report or a mapped
    table, "mended" for rows that come back from quarantine.
    """

    kind: Kind = "contract"
    stands: Stands = ""


CONTRACT = Sender()


@dataclass
class Against:
    """Stored rows against a delivery.

    Attributes
    ----------
    restated : shape (n_stored,)
        Place of the delivery's row with the same identity that wins; -1 where there is none.
    taken : shape (n_stored,)
        Place of the delivery's row in whose favour the stored row no longer counts; -1: it stays.
    mixed : shape (n_stored,)
        The same for stored rows that a row overlaps which restates another one; ``finish`` settles
        whether they are taken.
    absent, figures, channels
        Candidates to be missed, or told again under other names; None where nothing is looked for.
    """

    restated: Ints
    taken: Ints
    mixed: Ints
    absent: Absent | None = None
    figures: Repeated | None = None
    channels: Repeated | None = None

    @property
    def changes(self) -> bool:
        return bool((self.restated >= 0).any() or (self.taken >= 0).any())


@dataclass
class Replacing:
    """A delivery on its way over the stored rows: :meth:`against` each part of them (rows of one
    day are never in two parts), then :meth:`finish`.

    Attributes
    ----------
    apart
        Accounts that count beside rows without an account: their sender said so before.
    wins : shape (n_rows,)
        The delivery's rows that become current.
    yielded
        Rows that yield to a stored one of another identity: place, and the stored row's
        ``reported_at`` and ``known_from``.
    question
        What has to be asked before anything is stored; None when nothing is in doubt.
    notes
        Plain sentences: what was replaced, taken out or kept, with amounts.
    """

    feed: Feed
    batch: Any
    identity: Identity
    sender: Sender = CONTRACT
    apart: frozenset[str] = frozenset()
    question: Question | None = None
    notes: list[str] = field(default_factory=list)
    yielded: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    parts: list[Against] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = KeyBook.of(self.identity.keys(self.batch), self.identity.key)
        self.reported = instants(self.batch["reported_at"])
        self.known = instants(self.batch["known_from"])
        self.wins = last_of_each(self.book.codes, self.reported, instants(self.batch["row_number"]))
        self._places = np.flatnonzero(self.wins)
        self._index = pd.Index(self.book.codes[self._places])
        self._levelled = any(column.identity for column in self.feed.columns)
        if self._levelled:
            self._levels = levels(self.batch)
            self._account_days = AccountDays.of(self.batch, self.sender.kind, self.sender.stands)
            self._level_money, self._mixed_money = Amounts(), Amounts()
            self._settled = np.zeros(3)  # spend before, after, and how far rows are apart
            self._unplaced = 0.0  # spend that would lose its segment
            self._twins, self._new_rows = np.zeros(len(self.batch), bool), 0

    def against(self, stored: Any, part: Mask | None = None) -> Against:
        """Decide on a part of the stored rows.

        Parameters
        ----------
        stored
            Arrow table: the columns of ``identity.inputs``, ``reported_at``, ``known_from``,
            ``received_at`` and, for performance, ``spend``.
        part : shape (n_rows,)
            The delivery's rows that can be of the days of ``stored``; None: all.
        """
        at = self._index.get_indexer(pd.Index(self.book.find(self.identity.keys(stored))))
        twins = np.flatnonzero(at >= 0)
        mine = self._places[at[twins]]
        reported = instants(stored["reported_at"])
        stronger = reported[twins] > self.reported[mine]
        self.wins[mine[stronger]] = False
        restated = np.full(len(stored), -1, np.int64)
        restated[twins[~stronger]] = mine[~stronger]
        untouched = np.full(len(stored), -1, np.int64)
        found = Against(restated, untouched, untouched.copy())
        self.parts.append(found)
        if self._levelled and len(stored):
            self._compare_settled(stored, twins[~stronger], mine[~stronger])
            free = np.ones(len(stored), bool)
            free[twins] = False
            self._twins[mine] = True
            self._level(stored, found, free, mine, part)
            if self._account_days is not None:
                found.absent = self._account_days.absent(
                    stored, free=free & (found.taken < 0), restated=restated, batch=self.batch
                )
            self._look_for_repeats(stored, found, free, part)
        return found

    def _look_for_repeats(self, stored: Any, found: Against, free: Mask, part: Mask | None) -> None:
        """New rows that tell what is stored under other names."""
        if self.sender.stands == "beside" or self.sender.kind == "mended":
            return
        fresh = self.wins & ~self._twins & (_numbers(self.batch, "spend") > 0)
        new = np.flatnonzero(fresh if part is None else fresh & part)
        old = np.flatnonzero(free & (found.taken < 0) & (_numbers(stored, "spend") > 0))
        self._new_rows += len(new)
        if not len(new) or not len(old):
            return
        found.figures = Repeated.figures(self.batch, stored, new, old)
        if "campaign_id" in self.batch.column_names and "campaign_id" in stored.column_names:
            found.channels = Repeated.channels(self.batch, stored, new, old)

    def _level(
        self, stored: Any, found: Against, free: Mask, twins: Ints, part: Mask | None
    ) -> None:
        """Rows of other levels: those whose delivery's row is new, and those whose is not."""
        if self.sender.stands == "beside":
            return
        theirs = levels(stored)
        able = self.wins if part is None else self.wins & part
        if len(np.unique([*_there(self._levels[able]), *_there(theirs)])) < 2:
            return
        twin = np.zeros(len(self.batch), bool)
        twin[twins] = True
        reported, spent = instants(stored["reported_at"]), _numbers(stored, "spend")
        self.apart |= accounts_beside_unnamed(stored)
        groups = self._overlaps(
            stored, np.where(able & ~twin, self._levels, -1), np.where(free, theirs, -1)
        )
        if groups:
            settled = settle(groups, self.reported, reported, self.known)
            found.taken = settled.by
            self._unplaced += self._losing_segments(stored, settled.by, spent)
            yields = np.flatnonzero(settled.yields_to >= 0)
            if len(yields):
                keeper = settled.yields_to[yields]
                known = instants(stored["known_from"])
                self.yielded.append((yields, reported[keeper], known[keeper]))
                self.wins[yields] = False
            ours = settled.replacing | (settled.yields_to >= 0)
            self._level_money.add(
                self.batch,
                np.flatnonzero(ours),
                stored,
                np.flatnonzero((settled.by >= 0) | settled.kept),
            )
        free = free & (found.taken < 0)
        groups = self._overlaps(
            stored, np.where(able & twin & self.wins, self._levels, -1), np.where(free, theirs, -1)
        )
        if groups:
            settled = settle(groups, self.reported, reported, self.known)
            found.mixed = settled.by
            replacing = np.flatnonzero(settled.replacing)
            own = np.flatnonzero(np.isin(found.restated, replacing))
            others = np.flatnonzero(settled.by >= 0)
            self._mixed_money.add(self.batch, replacing, stored, np.union1d(own, others))
            self._mixed_money.own += float(spent[own].sum())

    def _overlaps(self, stored: Any, mine: Ints, theirs: Ints) -> list[Overlap]:
        groups = overlaps(self.batch, stored, mine, theirs)
        if not self.apart or not groups:
            return groups
        accounts = [
            np.asarray(id_of(table, "account").to_numpy(zero_copy_only=False))
            for table in (self.batch, stored)
        ]
        return [
            one for group in groups if (one := group.without(self.apart, *accounts)) is not None
        ]

    def _losing_segments(self, stored: Any, by: Ints, spent: NDArray[np.float64]) -> float:
        """Spend of stored rows of a segment in whose place a row of all segments would come: the
        money would leave its cells for another one."""
        taken = np.flatnonzero(by >= 0)
        placed = np.asarray(text_of(stored, "segment").to_numpy(False))[taken] != ALL
        whole = np.asarray(text_of(self.batch, "segment").to_numpy(False))[by[taken]] == ALL
        return float(spent[taken][placed & whole].sum())

    def _compare_settled(self, stored: Any, twins: Ints, mine: Ints) -> None:
        """How far an export without an account changes days that were settled."""
        if self.sender.kind != "export" or self.sender.stands or not len(twins):
            return
        old, new = stored.take(arrow.array(twins)), self.batch.take(arrow.array(mine))
        nameless = np.ones(len(twins), bool)
        for table in (old, new):
            for name in ("account", "campaign_id"):
                if name in table.column_names:
                    nameless &= np.asarray(id_of(table, name).to_numpy(False) == "")
        days = instants(old["date"]).astype("M8[D]")
        settled = instants(old["reported_at"]).astype("M8[us]") - days >= SETTLED
        before, after = _numbers(old, "spend"), _numbers(new, "spend")
        counts = nameless & settled & (before > 0)
        self._settled += [
            before[counts].sum(),
            after[counts].sum(),
            np.abs(after - before)[counts].sum(),
        ]

    def finish(self) -> None:
        """Settle what takes the whole delivery: doubts, and what it no longer has."""
        if not self._levelled or (len(self.batch) and not self.parts):
            return
        self._judge_levels()
        self._judge_mixed()
        self._judge_account()
        self._judge_repeats()
        if self._account_days is not None:
            for part in self.parts:
                if part.absent is not None:
                    part.absent = part.absent.among(part.taken < 0)
            absent = [part.absent for part in self.parts if part.absent is not None]
            verdict = self._account_days.judge(absent, self.sender.kind)
            self.notes += verdict.notes
            self.question = self.question or verdict.question
            for part in self.parts:
                if part.absent is not None:
                    goes = part.absent.goes(verdict.complete)
                    part.taken[part.absent.places[goes]] = part.absent.by[goes]

    def _judge_levels(self) -> None:
        amounts = self._level_money
        if not amounts.stored_rows:
            return
        if not self.sender.stands and amounts.apart > SAME_MONEY:
            self.question = amounts.question()
        elif not self.sender.stands and self._unplaced > 0:
            self.question = Question(
                f"it does not say the segments of {money(self._unplaced)} that are stored by "
                "segment: that money would leave its segments for `all`.",
                "export it with the country or segment, --replace if it shall count without, "
                "--beside if it adds to what is stored.",
            )
        self.notes.append(amounts.note(sum(len(places) for places, _, _ in self.yielded)))

    def _judge_mixed(self) -> None:
        """A row that restates one stored row and overlaps others: it may tell all of them."""
        amounts = self._mixed_money
        if not amounts.stored_rows:
            return
        whole = abs(amounts.new - amounts.stored)
        alone = abs(amounts.new - amounts.own)
        if self.sender.stands == "replace" or (
            whole <= min(alone, SAME_MONEY * amounts.stored) and alone > 0
        ):
            for part in self.parts:
                part.taken = np.where(part.taken < 0, part.mixed, part.taken)
            self.notes.append(amounts.note(0))
        elif whole <= alone or alone > CORRECTED * amounts.own:
            self.question = self.question or amounts.question()

    def _judge_account(self) -> None:
        before, after, apart = self._settled
        if before > 0 and apart > SETTLED_CHANGE * max(before, after):
            self.question = self.question or Question(
                f"it restates settled days with quite other amounts: {money(after)} where "
                f"{money(before)} is stored for the same campaigns, and neither names an account.",
                "--account NAME --beside if it is another account's, --replace if it corrects "
                "what is stored.",
            )

    def _judge_repeats(self) -> None:
        """Rows under new names for what is stored: asked about; the stored ones go if told so."""
        figures = [part.figures for part in self.parts if part.figures is not None]
        channels = [part.channels for part in self.parts if part.channels is not None]
        least = LEAST - 1 if self.sender.kind == "export" else LEAST
        for found, doubt in (
            (figures, doubt_of_figures(figures, self._new_rows, least)),
            (channels, doubt_of_channels(channels)),
        ):
            if doubt is None:
                continue
            if self.sender.stands != "replace":
                self.question = self.question or doubt
                continue
            spend = sum(float(one.rows["spend"].sum()) for one in found)
            rows = sum(len(one.rows) for one in found)
            self.notes.append(
                f"Told again under other names, and taken out: {rows:,} stored rows "
                f"({money(spend)})."
            )
            for part in self.parts:
                one = part.figures if found is figures else part.channels
                if one is not None:
                    part.taken[one.places] = one.by


def _there(levels_of: Ints) -> Ints:
    return np.flatnonzero(np.bincount(levels_of, minlength=1))


def _numbers(table: Any, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table[name].to_numpy()
    return values
