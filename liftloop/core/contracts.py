"""The feeds' contracts: what comes in is typed and sifted, row by row, before anything is stored.

The rules themselves are in ``feeds/models.py``, one Pandera class a feed.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from liftloop.core.errors import RefusedFile
from liftloop.core.feeds import models
from liftloop.core.feeds.coercion import UNREADABLE, Coerced, coerce, default_column
from liftloop.core.feeds.columns import LONGEST_NAME, Column, Kind, columns_of
from liftloop.core.feeds.context import (
    Account,
    Rate,
    account_days,
    conversion,
    day_after,
    future_days,
    future_reports,
    midnight,
)
from liftloop.core.feeds.sales import sales_with_events

__all__ = [
    "FEEDS",
    "Account",
    "Feed",
    "Rate",
    "Sifted",
    "midnight",
    "sales_with_events",
    "sift",
]

BROKEN = "_broken"  # what the reader could not split into columns: its text, else missing
CURRENCY = Column("currency", "text", False, None, False, LONGEST_NAME)
_COVARIATE = re.compile(r"[xyc]_[A-Za-z0-9_]+")
_PREFIX_KINDS: Mapping[str, Kind] = {"x_": "number", "y_": "number", "c_": "text"}

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Feed:
    """One kind of input: its contract, its key, and the column that dates its rows.

    ``prefixes`` are those of the free columns it keeps (``x_``, ``y_`` numbers, ``c_`` categories).
    """

    name: str
    model: type[pa.DataFrameModel]
    key: tuple[str, ...]
    date_column: str = "date"
    prefixes: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Its declared columns. ``date`` is derived where another column dates the rows."""
        derived = self.date_column != "date"
        return tuple(c for c in columns_of(self.model) if not (derived and c.name == "date"))

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.required)

    @cached_property
    def money(self) -> tuple[str, ...]:
        """Columns in a currency of the row's own, converted to the account's on the way in."""
        return tuple(column.name for column in self.columns if column.money)

    @property
    def dated_by_key(self) -> bool:
        """Whether a restatement always has the date of the row it restates."""
        return "date" in self.key

    def covariates(self, names: pd.Index[Any] | list[str]) -> tuple[Column, ...]:
        """The free columns among ``names``, with their kinds."""
        return tuple(
            Column(name, _PREFIX_KINDS[name[:2]], False, None, False, LONGEST_NAME)
            for name in map(str, names)
            if name.startswith(self.prefixes) and self.prefixes
        )


FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        Feed(
            "performance",
            models.Performance,
            ("date", "segment", "channel", "campaign", "creative"),
        ),
        Feed(
            "holdout",
            models.Holdout,
            ("date", "segment", "channel", "arm", "stratum"),
            prefixes=("x_",),
        ),
        Feed(
            "units",
            models.Units,
            ("experiment", "unit_id"),
            date_column="assigned_on",
            prefixes=("x_", "y_", "c_"),
        ),
        Feed("sales", models.Sales, ("date", "segment"), prefixes=("x_",)),
        Feed("events", models.Events, ("event_id",), date_column="occurred_at"),
        Feed("experiments", models.Experiments, ("experiment",), date_column="end"),
    )
}


@dataclass(frozen=True, slots=True)
class Sifted:
    """A delivery after its contract.

    Attributes
    ----------
    accepted
        The feed's columns, typed (text str, days datetime64[us], numbers float64, counts int64),
        plus ``date``, ``reported_at`` and ``known_from`` (UTC instants) and ``row_number``.
        ``known_from`` is the given ``reported_at``, else 00:00 account time of the day after.
    rejected
        ``row_number`` (from 1, as received), ``rules`` (names joined by ``;``) and ``row`` (JSON
        text of the row as received).
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame


def sift(feed: str, frame: pd.DataFrame, *, account: Account, received_at: datetime) -> Sifted:
    """Type ``frame`` as ``feed`` asks and part the rows that keep its rules from those that don't.

    Parameters
    ----------
    feed
        A name in :data:`FEEDS`.
    frame
        Rows as received, of any dtypes (all text will do); never changed. Columns the feed does
        not know are left out. Text in a column ``_broken`` rejects its row as ``broken_row``.
    account
        Currency, zone and exchange rates.
    received_at
        The instant of receipt (aware): the default of ``reported_at``.

    Raises
    ------
    RefusedFile
        When the frame as a whole cannot be this feed: a required column is missing or there twice,
        or no value of a column is of its unit.
    """
    declared = FEEDS[feed]
    columns = declared.columns + declared.covariates(frame.columns)
    _refuse_wrong_columns(declared, frame)
    rows = frame.reset_index(drop=True)
    whole = _Whole(declared, rows, account=account, received_at=received_at)
    whole.read(columns)
    whole.date_rows()
    whole.convert_money()
    return whole.part()


@dataclass
class _Whole:
    """A delivery on its way through the sieve: columns typed so far, and rules broken so far."""

    feed: Feed
    rows: pd.DataFrame
    account: Account
    received_at: datetime
    typed: dict[str, pd.Series[Any]] = field(default_factory=dict)
    broken: dict[str, Mask] = field(default_factory=dict)
    unreported: Mask | None = None

    def note(self, broken: Mapping[str, Mask]) -> None:
        for rule, mask in broken.items():
            if mask.any():
                self.broken[rule] = self.broken[rule] | mask if rule in self.broken else mask

    def read(self, columns: tuple[Column, ...]) -> None:
        unsplit = self._unsplit()
        for column in columns:
            if column.name not in self.rows.columns:
                self.typed[column.name] = default_column(column, len(self.rows))
                continue
            coerced = coerce(column, self.rows[column.name])
            if unsplit is not None:  # what else such a row seems to say means nothing
                coerced = _spare(coerced, unsplit)
            _refuse_wrong_unit(self.feed, column, self.rows[column.name], coerced, unsplit)
            self.typed[column.name] = coerced.values
            self.note(coerced.broken)

    def _unsplit(self) -> Mask | None:
        if BROKEN not in self.rows.columns:
            return None
        mask: Mask = self.rows[BROKEN].notna().to_numpy()
        self.note({"broken_row": mask})
        return mask if mask.any() else None

    def date_rows(self) -> None:
        moments = self.typed[self.feed.date_column]
        if self.feed.date_column == "occurred_at":
            moments = account_days(moments.fillna(pd.Timestamp(0, tz="UTC")), self.account.timezone)
        self.typed["date"] = moments
        given = self.typed["reported_at"]
        received = pd.Timestamp(self.received_at).tz_convert("UTC").as_unit("us")
        following = day_after(moments, self.account.timezone)
        self.typed["known_from"] = given.fillna(following).dt.as_unit("us")
        self.typed["reported_at"] = given.fillna(received).dt.as_unit("us")
        self.note(
            {
                "date_not_in_future": future_days(
                    moments, account=self.account, received_at=self.received_at
                ),
                "reported_at_not_in_future": future_reports(given, self.received_at),
            }
        )

    def convert_money(self) -> None:
        if not self.feed.money or "currency" not in self.rows.columns:
            return
        currency = coerce(CURRENCY, self.rows["currency"])
        self.note(currency.broken)
        factor, broken = conversion(currency.values, self.typed["date"], account=self.account)
        self.note(broken)
        if factor is not None:
            for name in self.feed.money:
                self.typed[name] = self.typed[name] * factor

    def part(self) -> Sifted:
        frame = pd.DataFrame(self.typed, copy=False)
        frame["row_number"] = np.arange(1, len(frame) + 1)
        spoilt = np.zeros(len(frame), bool)
        for mask in self.broken.values():
            spoilt |= mask
        sound = frame[~spoilt] if spoilt.any() else frame
        self.note(_rules_broken(self.feed.model, sound, len(frame)))
        for mask in self.broken.values():
            spoilt |= mask
        if not spoilt.any():
            return Sifted(frame, _rejects(self.rows, spoilt, self.broken))
        accepted = frame[~spoilt].reset_index(drop=True)
        return Sifted(accepted, _rejects(self.rows, spoilt, self.broken))


def _spare(coerced: Coerced, unsplit: Mask) -> Coerced:
    broken = {rule: mask & ~unsplit for rule, mask in coerced.broken.items()}
    return Coerced(coerced.values, coerced.empty, broken)


def _rules_broken(
    model: type[pa.DataFrameModel], sound: pd.DataFrame, rows: int
) -> dict[str, Mask]:
    """Pandera's verdict: for each rule the rows (by index label = position) that break it."""
    try:
        model.validate(sound, lazy=True)
    except pa.errors.SchemaErrors as errors:
        failures = errors.failure_cases
        if failures["index"].isna().any():  # ours to repair, not the sender's: types are set above
            raise
        broken = {}
        for rule, places in failures.groupby("check", sort=False)["index"]:
            mask = np.zeros(rows, bool)
            mask[places.to_numpy().astype("int64")] = True
            broken[str(rule)] = mask
        return broken
    return {}


def _rejects(rows: pd.DataFrame, spoilt: Mask, broken: Mapping[str, Mask]) -> pd.DataFrame:
    places = np.flatnonzero(spoilt)
    rules = [";".join(rule for rule, mask in broken.items() if mask[at]) for at in places]
    kept = rows.iloc[places]
    texts = [
        json.dumps(_present(row), ensure_ascii=False, default=str, allow_nan=True)
        for row in kept.to_dict("records")
    ]
    return pd.DataFrame(
        {
            "row_number": (places + 1).astype("int64"),
            "rules": pd.Series(rules, dtype="str"),
            "row": pd.Series(texts, dtype="str"),
        }
    )


def _present(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row without its empty values. Infinities stay readable as text."""
    said: dict[str, Any] = {}
    for name, value in row.items():
        if value is None or value is pd.NaT or value is pd.NA or value != value:  # noqa: PLR0124
            continue
        said[str(name)] = str(value) if value in (np.inf, -np.inf) else value
    return said


def _refuse_wrong_columns(feed: Feed, frame: pd.DataFrame) -> None:
    names = [str(name) for name in frame.columns]
    known = {column.name for column in feed.columns} | {"currency"}
    for name in names:
        free = bool(feed.prefixes) and name.startswith(feed.prefixes)
        if names.count(name) > 1 and (name in known or free):
            raise _refused(feed, "it is there twice.", "keep one of the two.", name)
        if free and not _COVARIATE.fullmatch(name):
            fix = "rename it: letters, digits and underscores after the prefix."
            raise _refused(feed, "its name cannot be kept in a table.", fix, name)
        if free and sum(other.lower() == name.lower() for other in names) > 1:
            fix = "rename one of the two."
            raise _refused(feed, "another differs from it only in upper and lower case.", fix, name)
    for name in feed.required:
        if name not in names:
            raise _missing(feed, name, names)


def _missing(feed: Feed, name: str, names: list[str]) -> RefusedFile:
    """The message names the column and, when one looks like it, the column to rename."""
    alike = difflib.get_close_matches(name, [n.strip().lower() for n in names], 1, 0.75)
    guess = next((n for n in names if alike and n.strip().lower() == alike[0]), None)
    there = ", ".join(names[:12]) or "none"
    fix = f"rename {guess!r} to {name!r}" if guess else f"add {name!r}"
    return _refused(
        feed, f"it is missing (columns there: {there}).", f"{fix}, or use a mapping file.", name
    )


def _refuse_wrong_unit(
    feed: Feed, column: Column, given: pd.Series[Any], coerced: Coerced, unsplit: Mask | None
) -> None:
    """Refuse the whole file when not one value of a column can be read as its unit."""
    for rule in UNREADABLE:
        mask = coerced.broken.get(rule)
        if mask is None:
            continue
        present = len(given) - (0 if coerced.empty is None else int(coerced.empty.sum()))
        if unsplit is not None:
            present -= int((unsplit & ~_or_none(coerced.empty, len(given))).sum())
        if int(mask.sum()) < present:
            continue
        example = str(given[mask].iloc[0])[:60]
        raise _refused(
            feed, f"no value is {_UNITS[rule]} (the first is {example!r}).", _FIXES[rule],
            column.name,
        )  # fmt: skip


def _or_none(mask: Mask | None, rows: int) -> Mask:
    return np.zeros(rows, bool) if mask is None else mask


_UNITS = {
    "not_a_number": "a number",
    "not_a_date": "a date",
    "not_an_instant": "an instant",
}
_FIXES = {
    "not_a_number": "write plain numbers such as 1234.56, or use the platform's importer.",
    "not_a_date": "write days as YYYY-MM-DD, or use the platform's importer.",
    "not_an_instant": "write instants as 2026-01-31T09:30:00Z.",
}


def _refused(feed: Feed, problem: str, fix: str, column: str) -> RefusedFile:
    return RefusedFile(f"the {feed.name} feed", problem, fix=fix, column=cast(str, column))
