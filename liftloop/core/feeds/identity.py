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

import pyarrow as arrow  # type: ignore[import-untyped]
from pyarrow import compute

from liftloop.core.feeds.declared import Feed

IDS = {"campaign": "campaign_id", "creative": "ad_id"}  # a label, and the id that is meant by it


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
                columns[name] = text_of(table, name)
            elif name in table.column_names:
                ids = text_of(table, name)
                columns[label] = compute.if_else(compute.equal(ids, ""), columns[label], ids)
        return arrow.table(columns)


def text_of(table: Any, name: str) -> Any:
    """A text column of an Arrow table, with "" where the table or the row has none."""
    if name not in table.column_names:
        return arrow.repeat("", len(table))
    column = _plain(table[name])
    return compute.fill_null(column, "") if column.null_count else column


def _plain(column: Any) -> Any:
    """One array; text as ``string``, whichever library made it."""
    whole = column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column
    return whole.cast(arrow.string()) if arrow.types.is_large_string(whole.type) else whole
