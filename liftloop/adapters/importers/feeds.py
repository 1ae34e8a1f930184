"""What each feed's columns are called and what kind of cell they hold: enough to recognise a file
and to give its cells a type. The rules a row must keep are the contract's, not this module's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "day", "instant"]


@dataclass(frozen=True, slots=True)
class FeedColumns:
    """A feed's columns. ``prefixes`` are the families of extra columns it takes (``x_``...)."""

    name: str
    required: dict[str, Kind]
    optional: dict[str, Kind]
    prefixes: dict[str, Kind]

    def kind(self, column: str) -> Kind | None:
        """The kind of ``column``, or ``None`` when the feed has no such column."""
        found = self.required.get(column) or self.optional.get(column)
        if found:
            return found
        return next((k for p, k in self.prefixes.items() if column.startswith(p)), None)

    def missing(self, columns: Iterable[str]) -> tuple[str, ...]:
        have = set(columns)
        return tuple(name for name in self.required if name not in have)


def _columns(text: str) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for word in text.split():
        column, _, kind = word.partition(":")
        kinds[column] = kind or "text"  # type: ignore[assignment]
    return kinds


def _feed(name: str, required: str, optional: str, prefixes: str = "") -> FeedColumns:
    return FeedColumns(name, _columns(required), _columns(optional), _columns(prefixes))


FEEDS: dict[str, FeedColumns] = {
    feed.name: feed
    for feed in (
        _feed(
            "performance",
            "date:day segment channel spend:number impressions:number clicks:number "
            "conversions:number revenue:number",
            "campaign creative account campaign_id adset_id ad_id currency reported_at:instant",
        ),
        _feed(
            "holdout",
            "date:day segment channel arm users:number converters:number conversions:number "
            "revenue:number revenue_sq:number",
            "stratum reported_at:instant",
            "x_:number",
        ),
        _feed(
            "units",
            "experiment unit_id segment arm assigned_on:day converted:number "
            "conversions:number revenue:number",
            "channel propensity:number outcome_days:number cost:number consent purpose "
            "reported_at:instant",
            "x_:number y_:number c_:text",
        ),
        _feed(
            "sales",
            "date:day segment orders:number revenue:number",
            "reported_at:instant",
            "x_:number",
        ),
        _feed(
            "events",
            "event_id occurred_at:instant segment revenue:number",
            "channel unit_id orders:number currency consent purpose reported_at:instant",
        ),
        _feed(
            "experiments",
            "experiment segments channel start:day end:day spend_delta:number "
            "incremental_revenue:number standard_error:number",
            "reported_at:instant",
        ),
        _feed(
            "variants",
            "test date:day segment channel variant units:number conversions:number revenue:number",
            "spend:number revenue_sq:number currency reported_at:instant",
        ),
    )
}


def named_feed(folder: str, file: str) -> str | None:
    """The feed a folder (``inbox/sales/x.csv``) or a file name (``sales-2026.csv``) names."""
    if folder.lower() in FEEDS:
        return folder.lower()
    for name in FEEDS:
        if re.match(rf"{name}(?![a-z])", file.lower()):
            return name
    return None


def feeds_with(columns: Iterable[str]) -> tuple[str, ...]:
    """The feeds all of whose required columns are there."""
    have = set(columns)
    return tuple(name for name, feed in FEEDS.items() if not feed.missing(have))
