"""The feeds' contracts: what comes in is typed and sifted, row by row, before anything is stored.

The rules themselves are in ``feeds/models.py``, one Pandera class a feed.

A file is refused whole where a column is missing, there twice, or in a wrong unit throughout.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from liftloop.core.arrays import Mask
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.coercion import UNREADABLE, Coerced, coerce, default_column
from liftloop.core.feeds.columns import LONGEST_NAME, Column
from liftloop.core.feeds.consent import UNIT_FEEDS
from liftloop.core.feeds.context import (
    Account,
    account_days,
    conversion,
    day_after,
    future_days,
    future_reports,
)
from liftloop.core.feeds.declared import FEEDS, Feed

_COVARIATE = re.compile(r"[xyc]_[A-Za-z0-9_]+")


def refuse_wrong_columns(feed: Feed, frame: pd.DataFrame) -> None:
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


def refuse_wrong_unit(
    feed: Feed, column: Column, given: pd.Series[Any], coerced: Coerced, unsplit: Mask | None
) -> None:
    """Refuse the whole file when not one value of a column can be read as its unit."""
    spared = _or_none(unsplit, len(given))
    if column.required:  # in an optional column an empty cell is a sound one
        spared = spared | _or_none(coerced.empty, len(given))
    present = int((~spared).sum())
    for rule in UNREADABLE:
        mask = coerced.broken.get(rule)
        if mask is None:
            continue
        if not mask.any() or int(mask.sum()) < present:
            continue
        example = str(given[mask].iloc[0])[:60]
        if feed.name in UNIT_FEEDS:  # a message is kept for good, and the cell may be an id
            example = re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "x", example))
        raise _refused(
            feed,
            f"no value is {_UNITS[rule]} (the first is {example!r}).",
            _FIXES[rule],
            column.name,
        )


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
    return RefusedFile(f"the {feed.name} feed", problem, fix=fix, column=column)


BROKEN = "_broken"  # what the reader could not split into columns: its text, else missing
TWO_COLUMNS = "clicks_at_most_impressions"
CURRENCY = Column("currency", "text", False, None, False, LONGEST_NAME)


@dataclass(frozen=True, slots=True)
class Missing:
    """A column of what a platform attributes that ``rows`` rows are stored without: its values
    broke ``rule``. The rows' spend is as good as any."""

    column: str
    rule: str
    rows: int

    @property
    def sentence(self) -> str:
        """For the notes of a delivery."""
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return f"{self.column} is missing in {rows} ({self.rule}); the spend is stored."


@dataclass(frozen=True, slots=True)
class Sifted:
    """A delivery after its contract.

    Attributes
    ----------
    accepted
        The feed's columns, typed (text str, days datetime64[us], numbers float64, counts int64),
        plus ``date``, ``reported_at`` and ``known_from`` (UTC instants) and ``row_number``.
        ``known_from`` is the given ``reported_at``, else 00:00 account time of the day after.
        Identity columns (``account``, ``campaign_id``...) are there where ``frame`` has them.
    rejected
        ``row_number`` (from 1, as received), ``rules`` (names joined by ``;``) and ``row`` (JSON
        text of the row as received).
    missing
        What of the accepted rows broke a rule about attribution, and is missing (NaN) there.
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame
    missing: tuple[Missing, ...] = ()


def sift(
    feed: str,
    frame: pd.DataFrame,
    *,
    account: Account,
    received_at: datetime,
    refuse: bool = True,
) -> Sifted:
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
    refuse
        Whether a column without one readable value refuses the frame as a whole. If not, its rows
        are rejected one by one (mended rows come back a few at a time).

    Raises
    ------
    RefusedFile
        When the frame as a whole cannot be this feed: a required column is missing or there twice,
        or no value of a column is of its unit.
    """
    declared = FEEDS[feed]
    columns = declared.columns + declared.covariates(frame.columns)
    refuse_wrong_columns(declared, frame)
    rows = frame.reset_index(drop=True)
    whole = _Whole(declared, rows, account=account, received_at=received_at)
    whole.read(columns, refuse=refuse)
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
    missing: dict[tuple[str, str], Mask] = field(default_factory=dict)

    def note(self, broken: Mapping[str, Mask]) -> None:
        for rule, mask in broken.items():
            if mask.any():
                self.broken[rule] = self.broken[rule] | mask if rule in self.broken else mask

    def read(self, columns: tuple[Column, ...], *, refuse: bool) -> None:
        unsplit = self._unsplit()
        for column in columns:
            if column.name not in self.rows.columns:
                if column.identity:
                    continue
                self.typed[column.name] = default_column(column, len(self.rows))
                continue
            coerced = coerce(column, self.rows[column.name])
            if unsplit is not None:  # what else such a row seems to say means nothing
                coerced = _spare(coerced, unsplit)
            if refuse:
                refuse_wrong_unit(self.feed, column, self.rows[column.name], coerced, unsplit)
            self.typed[column.name] = coerced.values
            if column.name in self.feed.attributed:
                self._leave_out(column.name, coerced.broken)
            else:
                self.note(coerced.broken)

    def _leave_out(self, column: str, broken: Mapping[str, Mask]) -> None:
        for rule, mask in broken.items():
            self.typed[column] = self.typed[column].astype("float64").mask(mask)
            self.missing[column, rule] = mask

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
        broken = _rules_broken(self.feed.model, sound, len(frame))
        own = {rule: mask for rule, mask in broken.items() if rule in self.feed.attribution}
        self.note({rule: mask for rule, mask in broken.items() if rule not in own})
        self._leave_out_by_rules(own)
        for name in {column for column, _ in self.missing}:
            frame[name] = self.typed[name]
        for mask in self.broken.values():
            spoilt |= mask
        missing = tuple(
            Missing(column, rule, int((mask & ~spoilt).sum()))
            for (column, rule), mask in self.missing.items()
            if (mask & ~spoilt).any()
        )
        accepted = frame[~spoilt].reset_index(drop=True) if spoilt.any() else frame
        return Sifted(accepted, _rejects(self.rows, spoilt, self.broken), missing)

    def _leave_out_by_rules(self, broken: Mapping[str, Mask]) -> None:
        """A rule about two columns says nothing where one of them breaks a rule of its own."""
        alone = np.zeros(len(self.rows), bool)
        for rule, mask in sorted(broken.items(), key=lambda item: item[0] == TWO_COLUMNS):
            broke = mask & ~alone if rule == TWO_COLUMNS else mask
            if self.feed.attribution[rule] in ("clicks", "impressions"):
                alone |= broke
            if broke.any():
                self._leave_out(self.feed.attribution[rule], {rule: broke})


def _spare(coerced: Coerced, unsplit: Mask) -> Coerced:
    broken = {rule: mask & ~unsplit for rule, mask in coerced.broken.items()}
    return Coerced(coerced.values, coerced.empty, broken)


@lru_cache(maxsize=len(FEEDS))
def _rules_of(model: type[pa.DataFrameModel]) -> pa.DataFrameSchema:
    """A model's rules alone, without the columns that have none. Types, and what is missing, are
    settled by reading; Pandera compares those of text value by value, which takes longer than all
    rules together."""
    schema = model.to_schema()
    for name, column in schema.columns.items():
        for check in column.checks:
            if check.name == "greater_than_or_equal_to":
                check.error = f"{name}_not_negative"
    schema = schema.remove_columns([n for n, column in schema.columns.items() if not column.checks])
    return schema.update_columns({n: {"dtype": None, "nullable": True} for n in schema.columns})


def _rules_broken(
    model: type[pa.DataFrameModel], sound: pd.DataFrame, rows: int
) -> dict[str, Mask]:
    """Pandera's verdict: for each rule the rows (by index label = position) that break it."""
    try:
        _rules_of(model).validate(sound, lazy=True)
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


_NONE_REJECTED = pd.DataFrame(
    {
        "row_number": pd.Series(dtype="int64"),
        "rules": pd.Series(dtype="str"),
        "row": pd.Series(dtype="str"),
    }
)


def _rejects(rows: pd.DataFrame, spoilt: Mask, broken: Mapping[str, Mask]) -> pd.DataFrame:
    places = np.flatnonzero(spoilt)
    if not len(places):
        return _NONE_REJECTED.copy()
    rules = [";".join(rule for rule, mask in broken.items() if mask[at]) for at in places]
    kept = rows.iloc[places]
    texts = [
        json.dumps(_present(row), ensure_ascii=False, default=str)
        .encode("utf-8", "backslashreplace")  # a lone surrogate is no text a database would keep
        .decode()
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
