"""The feeds' contracts: what comes in is typed and sifted, row by row, before anything is stored.

The rules themselves are in ``feeds/models.py``, one Pandera class a feed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from liftloop.core.feeds.coercion import Coerced, coerce, default_column
from liftloop.core.feeds.columns import LONGEST_NAME, Column
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
from liftloop.core.feeds.declared import FEEDS, Feed
from liftloop.core.feeds.refusing import refuse_wrong_columns, refuse_wrong_unit
from liftloop.core.feeds.sales import sales_with_events

__all__ = [
    "FEEDS",
    "Account",
    "Feed",
    "Missing",
    "Rate",
    "Sifted",
    "midnight",
    "sales_with_events",
    "sift",
]

BROKEN = "_broken"  # what the reader could not split into columns: its text, else missing
TWO_COLUMNS = "clicks_at_most_impressions"
CURRENCY = Column("currency", "text", False, None, False, LONGEST_NAME)

Mask = NDArray[np.bool_]


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
