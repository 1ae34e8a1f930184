"""Stored rows of an account's days that a new report of these days no longer has.

A deleted campaign disappears from a platform's report. A report that has most of what is stored of
the days, channels and segments it covers is taken as complete, and what it lacks goes; one that has
less may be a part of the account, and is asked about, as is an export that names no account. A
plain feed file that changes the rows it has is a correction of them. Only rows that once came in
one delivery with rows that the report has can be missed: what another file told may be another part
of the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow

from liftloop.core.arrays import Mask
from liftloop.core.feeds.deliveries.overlap import ALL
from liftloop.core.feeds.deliveries.questions import Question, Stands
from liftloop.core.feeds.deliveries.restating import Ints, KeyBook, instants
from liftloop.core.feeds.identity import id_of
from liftloop.core.money.currencies import amount_words as money

COMPLETE = 0.5  # of the stored spend of its account-days, that a complete report has at least
UNCHANGED = 0.01  # of the restated spend: a file that repeats it is a report, not a correction
NAMED = 5  # campaigns that a note names
SCOPE = ("date", "channel", "segment")


@dataclass(frozen=True)
class Absent:
    """Candidates among a part of the stored rows.

    Attributes
    ----------
    accounts
        The accounts that are stored of the delivery's days.
    places, by : shape (n,)
        Places of stored rows that the delivery lacks, and of a row of it from the same day.
    rows
        Of each its ``account``, ``campaign``, ``date`` and ``spend``.
    had
        By account, of the stored rows that the delivery has: ``old`` spend, and how far the new
        is ``apart``.
    """

    accounts: frozenset[str]
    places: Ints
    by: Ints
    rows: pd.DataFrame
    had: pd.DataFrame

    def goes(self, complete: frozenset[str]) -> Mask:
        """Which candidates are of accounts whose report is ``complete``."""
        mask: Mask = self.rows["account"].isin(complete).to_numpy(bool)
        return mask

    def among(self, free: Mask) -> Absent:
        """Those of the candidates that are still ``free``, shape (n_stored,)."""
        kept = free[self.places]
        return replace(self, places=self.places[kept], by=self.by[kept], rows=self.rows[kept])


@dataclass(frozen=True)
class Verdict:
    """The accounts whose stored rows go where the delivery lacks them, and what is to be said."""

    complete: frozenset[str]
    notes: list[str]
    question: Question | None


@dataclass(frozen=True)
class AccountDays:
    """The days, channels and segments of each account that a delivery covers."""

    batch: Any
    unnamed: bool  # the delivery names no account at all
    stands: Stands

    @classmethod
    def of(cls, batch: Any, kind: str, stands: Stands) -> AccountDays | None:
        """Those of an Arrow table of performance; None where nothing can be told to be complete:
        in a correction, and in a plain feed file without accounts."""
        if not len(batch) or stands == "beside" or kind == "mended":
            return None
        unnamed = not (id_of(batch, "account").to_pandas() != "").any()
        if unnamed and kind != "export" and stands != "replace":
            return None
        covered = arrow.table(
            {"account": id_of(batch, "account"), **{name: batch[name] for name in SCOPE}}
        )
        return cls(covered, unnamed, stands)

    def absent(self, stored: Any, *, free: Mask, restated: Ints, batch: Any) -> Absent | None:
        """The candidates among ``stored``: ``free`` rows, that nothing of the delivery replaces."""
        accounts = id_of(stored, "account").to_pandas().astype("str")
        covered = self._covers(stored, accounts)
        latest = instants(batch["reported_at"]).max()
        missed = covered & free & (instants(stored["reported_at"]) <= latest)
        missed &= stored["spend"].to_numpy() > 0
        if self.stands != "replace":
            sources = instants(stored["received_at"])  # an instant is one delivery's alone
            missed &= np.isin(sources, sources[covered & ~free])
        places = np.flatnonzero(missed)
        days = KeyBook.of(self.batch, ("date",))
        codes = days.find(stored.take(arrow.array(places)))
        first = pd.Series(np.arange(len(self.batch))).groupby(days.codes).first()
        rows = stored.select(["campaign", "date", "spend"]).take(arrow.array(places)).to_pandas()
        rows["account"] = accounts.iloc[places].to_numpy()
        kept = np.flatnonzero(covered & ~free)
        old = stored["spend"].to_numpy()[kept]
        mine = restated[kept]
        new = np.where(mine >= 0, batch["spend"].to_numpy()[mine], old)
        had = pd.DataFrame(
            {"account": accounts.iloc[kept].to_numpy(), "old": old, "apart": np.abs(new - old)}
        )
        there = frozenset(accounts[covered].unique())
        return Absent(there, places, first.loc[pd.Index(codes)].to_numpy(), rows, had)

    def _covers(self, stored: Any, accounts: pd.Series[Any]) -> Mask:
        named = (accounts != "").to_numpy()
        if not self.unnamed:
            mask = self._within(stored, with_account=True) & named
            if self.stands == "replace":
                mask |= self._within(stored, with_account=False) & ~named
            return mask
        anyones = self._within(stored, with_account=False)
        return anyones if self.stands == "replace" else anyones & ~named

    def _within(self, stored: Any, *, with_account: bool) -> Mask:
        """Rows of a day, of a channel and of a segment that the delivery has (of the account)."""
        by = ("account",) if with_account else ()
        theirs = stored.select(list(SCOPE)).append_column("account", id_of(stored, "account"))
        mask = np.ones(len(stored), bool)
        for name in SCOPE:
            columns = [*by, name]
            inside = _member(self.batch, theirs, columns)
            if name == "segment":  # "all" says of no segment that it is another
                inside |= (theirs["segment"].to_pandas() == ALL).to_numpy()
                total = self.batch.filter(
                    arrow.array((self.batch["segment"].to_pandas() == ALL).to_numpy())
                )
                if len(total):
                    inside |= _member(total, theirs, list(by)) if by else True
            mask &= inside
        return mask

    def judge(self, found: Sequence[Absent], kind: str) -> Verdict:
        """Which accounts' reports are complete; called once, with the whole delivery's rows."""
        several = frozenset[str]().union(*(one.accounts for one in found)) - {""}
        if self.unnamed and self.stands == "replace" and len(several) > 1:
            named = ", ".join(sorted(several))
            return Verdict(
                frozenset(),
                [],
                Question(
                    f"it names no account, and {len(several)} accounts are stored of its days "
                    f"({named}): it may replace one of them, not all.",
                    "--account NAME --replace.",
                ),
            )
        rows = pd.concat([one.rows for one in found]) if found else pd.DataFrame()
        if not len(rows):
            return Verdict(frozenset(), [], None)
        had = pd.concat([one.had for one in found]).groupby("account")[["old", "apart"]].sum()
        complete: set[str] = set()
        notes: list[str] = []
        question = None
        for account, lost in rows.groupby(rows["account"].astype(object), sort=True):
            old, apart = (float(had[name].get(account, 0.0)) for name in ("old", "apart"))
            share = old / (old + lost["spend"].sum()) if old else 0.0
            report = kind == "export" or apart <= UNCHANGED * old
            whose = f"account {account!s}" if account else "the account without a name"
            if self.stands == "replace":
                complete.add(str(account))
            elif not report and share < COMPLETE:
                notes.append(
                    f"Not in this correction of {share:.0%} of what is stored of {whose} on its "
                    f"days, and kept: {_named(lost)}. --replace takes it out."
                )
                continue
            elif report and (not account or share < COMPLETE):
                question = question or Question(
                    f"it lacks what came with its rows before, of {whose}: {_named(lost)}.",
                    "--replace if they are gone, --beside if the file is a part of what was "
                    "reported.",
                )
                continue
            elif report:
                complete.add(str(account))
            else:
                question = question or Question(
                    f"it corrects rows of {whose} ({money(apart)} in all) and lacks others of the "
                    f"same days: {_named(lost)}.",
                    "--replace if they are gone, --beside if the file is a correction of the rows "
                    "it has alone.",
                )
                continue
            notes.append(f"No longer in the report of {whose}, and taken out: {_named(lost)}.")
        return Verdict(frozenset(complete), notes, question)


def _member(batch: Any, stored: Any, columns: list[str]) -> Mask:
    book = KeyBook.of(batch, columns)
    mask: Mask = np.isin(book.find(stored), book.codes)
    return mask


def _named(rows: pd.DataFrame) -> str:
    """The campaigns of ``rows`` with spend and days, the largest first."""
    sums = rows.groupby("campaign").agg(spend=("spend", "sum"), days=("date", "nunique"))
    sums = sums.sort_values("spend", ascending=False)
    words = [
        f"{campaign}, {money(spend)} on {days} {'day' if days == 1 else 'days'}"
        for campaign, spend, days in sums.head(NAMED).itertuples()
    ]
    more = len(sums) - NAMED
    return "; ".join(words) + (f"; and {more} more campaigns" if more > 0 else "")
