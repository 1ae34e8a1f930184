"""What a row of a feed is: the columns two rows share when one restates the other.

For most feeds that is the key of the contract. A row of performance is its date, segment, channel,
account, campaign, ad set and creative; where an export has an id, the id is meant and the name is a
label that may change. An id that was a label before (exports that have ids alone) stays the same
row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as arrow
from pyarrow import compute

from liftloop.core.feeds.declared import Feed

IDS = {"campaign": "campaign_id", "creative": "ad_id"}  # a label, and the id that is meant by it


OF_IDS = ("campaign_id", "adset_id", "ad_id")
_DASHED = r"^([0-9]{3})-([0-9]{3})-([0-9]{4})$"  # Google's way to write an account
_META = r"^act_([0-9]+)$"
_FLOAT = r"^([0-9]+)\.0$"  # a spreadsheet's or a data frame's way to write an id


@dataclass(frozen=True)
class Identity:
    """The identity columns that matter among some tables of a feed.

    Attributes
    ----------
    columns
        The optional identity columns that at least one of the tables has.
    """

    feed: Feed
    columns: tuple[str, ...]

    @classmethod
    def among(cls, feed: Feed, *names: Iterable[str]) -> Identity:
        """The identity of rows in tables with these column ``names``."""
        there = {name for table in names for name in table}
        return cls(feed, tuple(c.name for c in feed.columns if c.identity and c.name in there))

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of :meth:`keys`."""
        own = (name for name in self.columns if name not in IDS.values())
        return (*self.feed.key, *own)

    def inputs(self, names: Iterable[str]) -> list[str]:
        """The columns of a table with ``names`` that say what its rows are."""
        there = set(names)
        return [*self.feed.key, *(name for name in self.columns if name in there)]

    def keys(self, table: Any) -> Any:
        """The rows' identity: an Arrow table with the columns of :attr:`key`."""
        if not self.columns:
            return table
        columns = {name: _plain(table[name]) for name in self.feed.key}
        for name in self.columns:
            label = next((label for label, ident in IDS.items() if ident == name), None)
            if label is None:
                columns[name] = id_of(table, name)
            elif name in table.column_names:
                ids = id_of(table, name)
                columns[label] = compute.if_else(compute.equal(ids, ""), columns[label], ids)
        return arrow.table(columns)


def text_of(table: Any, name: str) -> Any:
    """A text column of an Arrow table, with "" where the table or the row has none."""
    if name not in table.column_names:
        return arrow.repeat("", len(table))
    column = _plain(table[name])
    return compute.fill_null(column, "") if column.null_count else column


def id_of(table: Any, name: str) -> Any:
    """Like :func:`text_of`, with accounts and ids in one spelling, however an export writes them:
    ``123-456-7890`` and ``1234567890``, ``act_12`` and ``12``, ``7.0`` and ``7``, an account's name
    in any case."""
    values = text_of(table, name)
    if name not in ("account", *OF_IDS) or name not in table.column_names:
        return values
    coded = values.dictionary_encode()
    distinct = coded.dictionary
    if name == "account":
        distinct = compute.utf8_lower(distinct)
        distinct = compute.replace_substring_regex(distinct, _DASHED, r"\1\2\3")
        distinct = compute.replace_substring_regex(distinct, _META, r"\1")
    distinct = compute.replace_substring_regex(distinct, _FLOAT, r"\1")
    return distinct.take(coded.indices)


def _plain(column: Any) -> Any:
    """One array; text as ``string``, whichever library made it."""
    whole = column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column
    return whole.cast(arrow.string()) if arrow.types.is_large_string(whole.type) else whole
