"""Which rows of two deliveries tell the same money on different levels of detail.

Two rows of performance of one day and channel overlap when, in every dimension, they agree or one
of them does not say: a campaign's total and its ads, a report without countries and one by country,
rows with ids or an account and rows without. Rows that say as much as each other overlap exactly
when their identity is equal, so only rows that differ in *what* they say have to be compared, and
an ordinary delivery costs no more than finding out that it is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pyarrow as arrow
from pyarrow import compute

from liftloop.core.arrays import Mask
from liftloop.core.feeds.deliveries.restating import Ints, KeyBook
from liftloop.core.feeds.identity import IDS, id_of

ALL = "all"
NAMED_ADSET = "name:"  # an ad set known by its name alone: no match for a bare id, nor a mismatch
# How a row names a campaign, ad set or creative: not at all, by its name, or by its id.
_UNTOLD, _BY_NAME, _BY_ID = 0, 1, 2
_WAYS = 3


@dataclass(frozen=True)
class Overlap:
    """Rows that tell the same money, in groups: every new row of a group overlaps every stored one.

    Attributes
    ----------
    new, stored : shape (n,), (m,)
        Places of rows; a place may be in several groups.
    new_group, stored_group : shape (n,), (m,)
        The group of each, from 0 to ``groups`` - 1.
    """

    new: Ints
    new_group: Ints
    stored: Ints
    stored_group: Ints
    groups: int

    def without(self, apart: frozenset[str], new: Any, stored: Any) -> Overlap | None:
        """The groups in which no account of ``apart`` overlaps rows without an account; None when
        nothing is left. ``new`` and ``stored`` are the accounts of all rows."""
        mine, theirs = new[self.new], stored[self.stored]
        if not (mine == "").any() and not (theirs == "").any():
            return self
        left = ~np.isin(mine, list(apart)) | (theirs != "").all()
        right = ~np.isin(theirs, list(apart)) | (mine != "").all()
        if not left.any() or not right.any():
            return None
        return Overlap(
            self.new[left],
            self.new_group[left],
            self.stored[right],
            self.stored_group[right],
            self.groups,
        )


@dataclass(frozen=True)
class Settled:
    """What overlapping rows do to each other.

    Attributes
    ----------
    by : shape (n_stored,)
        The new row in whose favour a stored row goes; -1 where it stays.
    yields_to : shape (n_new,)
        The stored row, reported later, to which a new row yields; -1 where it doesn't.
    replacing : shape (n_new,)
        New rows that tell again what stored rows told.
    kept : shape (n_stored,)
        Stored rows to which new ones yield.
    """

    by: Ints
    yields_to: Ints
    replacing: Mask
    kept: Mask


def levels(table: Any) -> Ints:
    """What each row of an Arrow table of performance says, as a number: equal numbers, as much."""
    found = 2 * _differs(table, "segment", ALL)
    if "account" in table.column_names:
        found += _differs(table, "account", "")
    if "adset_id" in table.column_names:
        by_name = _flags(compute.starts_with(id_of(table, "adset_id"), NAMED_ADSET))
        found += 4 * (_BY_ID * _differs(table, "adset_id", "") - by_name)
    for place, (label, ident) in enumerate(IDS.items()):
        way = _differs(table, label, ALL)
        if ident in table.column_names:
            way = np.where(_differs(table, ident, "") > 0, _BY_ID, way)
        found += 4 * _WAYS ** (place + 1) * way
    return found


def _differs(table: Any, name: str, untold: str) -> Ints:
    return _flags(compute.not_equal(id_of(table, name), untold))


def overlaps(new: Any, stored: Any, new_levels: Ints, stored_levels: Ints) -> list[Overlap]:
    """The groups of overlapping rows that are not equal in what they say.

    Parameters
    ----------
    new, stored
        Arrow tables of performance: date, channel, segment, and what there is of the columns that
        name an account, a campaign, an ad set and an ad.
    new_levels, stored_levels : shape (n_new,), (n_stored,)
        From :func:`levels`; -1 leaves a row out.
    """
    found = []
    for mine in _distinct(new_levels):
        for theirs in _distinct(stored_levels):
            if mine == theirs:
                continue
            here = np.flatnonzero(new_levels == mine)
            there = np.flatnonzero(stored_levels == theirs)
            left, right = new.take(arrow.array(here)), stored.take(arrow.array(there))
            for columns in _compared(mine, theirs):
                group = _joined(_columns(left, columns, 0), _columns(right, columns, 1))
                if group is not None:
                    codes, other = group
                    ours, his = codes >= 0, other >= 0
                    found.append(
                        Overlap(
                            here[ours],
                            codes[ours],
                            there[his],
                            other[his],
                            int(max(codes.max(), other.max())) + 1,
                        )
                    )
    return found


def accounts_beside_unnamed(stored: Any) -> frozenset[str]:
    """The accounts of which stored rows count beside rows of the same campaigns and days that name
    no account: their sender said that they are another account's."""
    if "account" not in stored.column_names:
        return frozenset()
    accounts = id_of(stored, "account").to_numpy(zero_copy_only=False)
    unnamed = np.asarray(accounts == "")
    if unnamed.all() or not unnamed.any():
        return frozenset()
    found = levels(stored)
    groups = overlaps(stored, stored, np.where(unnamed, found, -1), np.where(unnamed, -1, found))
    return frozenset(
        str(account)
        for one in groups
        for account in np.unique(accounts[one.stored[np.isin(one.stored_group, one.new_group)]])
    )


def settle(
    groups: list[Overlap], new_reported: Ints, stored_reported: Ints, new_known: Ints
) -> Settled:
    """Which rows go: of two levels the one reported later stays; at equal instants, the new one.

    A stored row is measured against the latest of the new rows that tell its money, so that a level
    goes or stays as a whole. ``new_known`` orders the new rows that a stored one goes in favour of:
    the one known first is named.
    """
    latest = np.full(len(stored_reported), -1, np.int64)
    for one in groups:
        _raise_to(latest, one.stored, _best(one, new_reported)[one.stored_group])
    goes = (latest >= 0) & (latest >= stored_reported)
    yields_to = np.full(len(new_reported), -1, np.int64)
    kept = np.zeros(len(stored_reported), bool)
    for one in groups:
        stays = ~goes[one.stored]
        keeper = np.full(one.groups, -1, np.int64)
        keeper[one.stored_group[stays]] = one.stored[stays]
        mine = keeper[one.new_group]
        yields_to[one.new[mine >= 0]] = mine[mine >= 0]
        kept[one.stored[stays]] = True
    by = np.full(len(stored_reported), -1, np.int64)
    replacing = np.zeros(len(new_reported), bool)
    for one in groups:
        wins = yields_to[one.new] < 0
        order = np.argsort(-new_known[one.new[wins]], kind="stable")  # the last written is first
        first = np.full(one.groups, -1, np.int64)
        first[one.new_group[wins][order]] = one.new[wins][order]
        favoured = first[one.stored_group]
        taken = goes[one.stored] & (favoured >= 0)
        by[one.stored[taken]] = favoured[taken]
        busy = np.zeros(one.groups, bool)
        busy[one.stored_group[taken]] = True
        replacing[one.new[wins & busy[one.new_group]]] = True
    return Settled(by, yields_to, replacing, kept)


def _best(one: Overlap, reported: Ints) -> Ints:
    best = np.full(one.groups, -1, np.int64)
    np.maximum.at(best, one.new_group, reported[one.new])
    return best


def _raise_to(values: Ints, places: Ints, floor: Ints) -> None:
    np.maximum.at(values, places, floor)


def _flags(values: Any) -> Ints:
    flags: Ints = values.to_numpy(zero_copy_only=False).astype(np.int64)
    return flags


def _distinct(levels_of: Ints) -> list[int]:
    there = np.bincount(levels_of[levels_of >= 0], minlength=1)
    return [int(level) for level in np.flatnonzero(there)]


def _compared(mine: int, theirs: int) -> Iterator[list[tuple[str, str]]]:
    """The columns (new, stored) in which rows of two levels must be equal to overlap; each of
    several ways is enough by itself: an id may have been stored as a label."""
    always = [("date", "date"), ("channel", "channel")]
    if mine % 2 and theirs % 2:
        always.append(("account", "account"))
    if mine // 2 % 2 and theirs // 2 % 2:
        always.append(("segment", "segment"))
    adsets = {mine // 4 % _WAYS, theirs // 4 % _WAYS}
    if len(adsets) == 1 and adsets != {_UNTOLD}:
        always.append(("adset_id", "adset_id"))
    ways: list[list[tuple[tuple[str, str], ...]]] = []
    for place, (label, ident) in enumerate(IDS.items()):
        here, there = (level // (4 * _WAYS ** (place + 1)) % _WAYS for level in (mine, theirs))
        if _UNTOLD in (here, there):
            ways.append([()])
        elif here == there == _BY_ID:
            ways.append([((ident, ident),)])
        else:
            either: list[tuple[tuple[str, str], ...]] = [((label, label),)]
            if here == _BY_ID:
                either.append(((ident, label),))
            if there == _BY_ID:
                either.append(((label, ident),))
            ways.append(either)
    for chosen in product(*ways):
        yield [*always, *(pair for pairs in chosen for pair in pairs)]


def _columns(table: Any, pairs: list[tuple[str, str]], side: int) -> Any:
    names = {f"{at}": pair[side] for at, pair in enumerate(pairs)}
    return arrow.table(
        {at: table["date"] if name == "date" else id_of(table, name) for at, name in names.items()}
    )


def _joined(new: Any, stored: Any) -> tuple[Ints, Ints] | None:
    """One number a key that both sides have, -1 elsewhere; None when they share no key."""
    book = KeyBook.of(new, new.column_names)
    theirs = book.find(stored)
    shared = np.unique(theirs[theirs >= 0])
    shared = shared[np.isin(shared, book.codes)]
    if not len(shared):
        return None
    return _placed(book.codes, shared), _placed(theirs, shared)


def _placed(codes: Ints, shared: Ints) -> Ints:
    at = np.minimum(np.searchsorted(shared, codes), len(shared) - 1)
    found: Ints = np.where(shared[at] == codes, at, -1)
    return found
