"""Rows that are there more than once: exact repeats, and rows a pipeline tool has synced again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.importers.tables.roles import Role, is_sync, same_entity, words_of
from liftloop.core.arrays import Mask
from liftloop.core.errors import RefusedFile

_ORDER = (
    "_airbyte_extracted_at",
    "_airbyte_emitted_at",
    "_ab_cdc_updated_at",
    "_fivetran_synced",
    "_sdc_sequence",
    "_sdc_batched_at",
    "_sdc_extracted_at",
    "_sdc_received_at",
    "_dlt_load_id",
    "__hevo__ingested_at",
    "__hevo__loaded_at",
)
_TIME = re.compile(
    r"synced|extracted|emitted|batched|received|loaded|ingested|updated|sequence|at|on|from|time"
    r"|timestamp|ts|runtime|date|datetime|partitiontime|partitiondate|version"
)
_KEYS = ("_fivetran_id", "__hevo_id", "_sdc_primary_key")
_FALSE = ("", "false", "0", "no", "f", "n", "none", "null")


@dataclass(frozen=True)
class Rows:
    """The rows of a table that could be read, side by side as they were delivered and as numbers.

    Attributes
    ----------
    file
        For messages.
    cells : shape (n_rows, n_columns)
        Text of every column of the file, None where empty; index: place in the file.
    roles
        Column -> role.
    numbers : shape (n_rows, n_measures)
        The measures that are counted, float64, in their unit; ``spend`` (or ``revenue``) first.
    """

    file: str
    cells: pd.DataFrame
    roles: Mapping[str, Role]
    numbers: pd.DataFrame

    def named(self, *roles: Role) -> list[str]:
        """The columns that have one of ``roles``."""
        return [name for name in self.cells.columns if self.roles[name] in roles]

    def only(self, keep: Mask) -> Rows:
        return (
            self
            if keep.all()
            else Rows(self.file, self.cells[keep], self.roles, self.numbers[keep])
        )

    def amount(self, mask: Mask) -> str:
        """What the rows of ``mask`` sum to, for a sentence: ``12.50 spend``."""
        money = self.numbers.columns[0]
        return f"{self.numbers.loc[mask, money].sum():,.2f} {money}"

    @property
    def counted(self) -> Mask:
        """Rows with any number above 0."""
        flags: Mask = (self.numbers.to_numpy() != 0).any(axis=1)
        return flags


def codes(cells: pd.DataFrame, columns: Iterable[str]) -> NDArray[np.int64]:
    """A whole number a row, equal where the row's cells in ``columns`` are; shape (n_rows,)."""
    names = list(columns)
    if not names:
        return np.zeros(len(cells), np.int64)
    number = cells.groupby(names, dropna=False, sort=False).ngroup()
    return cast(NDArray[np.int64], number.to_numpy())


def exact_repeats(rows: Rows) -> tuple[Mask, list[str]]:
    """(rows to keep, notes): a row equal to an earlier one in every column is that row again."""
    both = pd.concat([rows.cells, rows.numbers.add_prefix("number of ")], axis=1)
    again = both.duplicated(keep="first").to_numpy() & rows.counted
    if not again.any():
        return ~again, []
    return ~again, [
        f"{_rows(again)} equal to another in every column, and counted once "
        f"({rows.amount(again)} left out); if these are parts of a day, export the column that "
        "tells them apart (hour, device...)."
    ]


def latest_syncs(rows: Rows) -> tuple[Mask, list[str]]:
    """(rows to keep, notes): of a row that was synced more than once the latest sync counts, and
    none of it where that one says it was deleted.

    Raises
    ------
    RefusedFile
        When versions of a row differ and no column says which is the latest.
    """
    sync = rows.named("sync")
    keep = np.ones(len(rows.cells), bool)
    if not sync:
        return keep, []
    identity = rows.named("day", "part", "view", "unknown")
    identity = [name for name in identity if not same_entity(name, identity)]
    latest, order = latest_of(rows, codes(rows.cells, identity), sync)
    gone = deleted(rows.cells, sync)
    keep = latest & ~gone
    notes = []
    if not latest.all():
        replaced = ~latest & rows.counted
        notes.append(
            f"{_rows(~latest)} an earlier sync of another ({order or ', '.join(sync)}): the latest "
            f"counts ({rows.amount(replaced)} of earlier ones left out)."
        )
    if (latest & gone).any():
        lost = latest & gone
        notes.append(f"{_rows(lost)} marked deleted and left out ({rows.amount(lost)}).")
    return keep, notes


def latest_of(
    rows: Rows, identity: NDArray[np.int64], sync: list[str], *, last_wins: bool = False
) -> tuple[Mask, str]:
    """(the latest row of each identity, the column that says so).

    Parameters
    ----------
    identity : shape (n_rows,)
        Equal for versions of one row.
    last_wins
        Whether of versions of one instant the last in the file counts. If not, those that the tool
        keys apart all stay, and others are asked about.
    """
    order = _order_columns(sync)
    ranks = [_rank(rows.cells[name]) for name in order]
    places = np.lexsort((np.arange(len(identity)), *reversed(ranks), identity))
    last = np.ones(len(places), bool)
    last[:-1] = identity[places][1:] != identity[places][:-1]
    latest = np.zeros(len(places), bool)
    latest[places[last]] = True
    winner = np.empty(identity.max(initial=-1) + 1, np.int64)
    winner[identity[latest]] = np.flatnonzero(latest)
    rival = ~latest
    for rank in ranks:
        rival &= rank == rank[winner[identity]]
    same = (rows.numbers.to_numpy() == rows.numbers.to_numpy()[winner[identity]]).all(axis=1)
    rival &= ~same & rows.counted
    if rival.any() and not last_wins:
        keys = [name for name in sync if name.lower() in _KEYS]
        own = pd.concat([rows.cells[keys], pd.Series(identity, rows.cells.index)], axis=1)
        if not keys or own[rival | latest].duplicated().any():
            raise _untold(rows, rival, order)
        latest = latest | rival
    return latest, order[0] if order else ""


def _untold(rows: Rows, rival: Mask, order: list[str]) -> RefusedFile:
    why = f"of the same {order[0]}" if order else "without a column that says when"
    return RefusedFile(
        rows.file,
        f"{int(rival.sum())} rows are other versions of a row {why} ({rows.amount(rival)}): which "
        "one is the latest cannot be told.",
        fix="export the tool's time of extraction too, or the final table instead of its raw one.",
        column=order[0] if order else None,
    )


def _order_columns(sync: list[str]) -> list[str]:
    by_name = {name.lower(): name for name in sync}
    first = [by_name[name] for name in _ORDER if name in by_name]
    others = [
        name
        for name in sync
        if name not in first
        and not _is_deletion(name)
        and any(_TIME.fullmatch(word) for word in words_of(name))
    ]
    # Numbers of runs and batches order like them, where no column has a time.
    runs = [name for name in sync if name not in first and words_of(name)[-1:] == ("id",)]
    return first[:1] or others[:1] or runs[:1]


def _is_deletion(name: str) -> bool:
    return "deleted" in words_of(name)


def _rank(cells: pd.Series) -> NDArray[np.float64]:
    """Times, load numbers and sequences as numbers that order like them."""
    text = cells.astype(object).where(cells.notna(), None)
    ranks = pd.to_numeric(text, errors="coerce")
    if ranks.isna().all():
        times = pd.to_datetime(text, errors="coerce", utc=True, format="mixed")
        ranks = times.dt.as_unit("us").astype("int64").where(times.notna(), -np.inf)
    return cast(NDArray[np.float64], ranks.astype("float64").fillna(-np.inf).to_numpy())


def deleted(cells: pd.DataFrame, sync: Iterable[str]) -> Mask:
    """Rows a tool marks as deleted, or as a version that is no longer active."""
    gone = np.zeros(len(cells), bool)
    for name in sync:
        said = cells[name].fillna("").astype(str).str.lower()
        if _is_deletion(name):
            gone |= ~said.isin(_FALSE).to_numpy()
        elif name.lower() == "_fivetran_active":
            gone |= said.isin(("false", "0")).to_numpy()
        elif name.lower() in ("__op", "_meta/op", "_change_type"):  # changes of a database
            gone |= said.isin(("d", "delete", "update_preimage")).to_numpy()
    return gone


def sync_columns(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that a pipeline tool writes."""
    return [name for name in names if is_sync(name)]


def counted_rows(count: int, verbs: tuple[str, str] = ("has", "have")) -> str:
    """The start of a sentence about rows: ``1 row has``, ``1,200 rows have``."""
    return f"1 row {verbs[0]}" if count == 1 else f"{count:,} rows {verbs[1]}"


def _rows(mask: Mask) -> str:
    return counted_rows(int(mask.sum()), ("is", "are"))
