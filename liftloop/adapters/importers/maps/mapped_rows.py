"""Which rows of a mapped table are counted: as in a platform's report where the mapping sums rows,
as in a feed's own file where it does not."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from liftloop.adapters.files.reading import RawTable
from liftloop.adapters.importers.feed_rows import feed_rows, select_feed_rows
from liftloop.adapters.importers.maps.mapping import Columns, TableMap
from liftloop.adapters.importers.tables.columns import normal
from liftloop.adapters.importers.tables.repeats import codes, latest_syncs
from liftloop.adapters.importers.tables.selecting import select_rows
from liftloop.adapters.importers.tables.sums import KEYS
from liftloop.core.arrays import Mask


def select_mapped_rows(
    table_map: TableMap,
    table: Columns,
    raw: RawTable,
    frame: pd.DataFrame,
    parts: Collection[str] = (),
) -> tuple[Mask, list[str]]:
    """(rows of ``frame`` that count, notes).

    Parameters
    ----------
    table
        The set of columns the frame was made with.
    frame
        The feed's columns; its index holds the places of the rows in the file.
    parts
        Columns of which it was said that rows differing in them alone are parts, to be added.

    Raises
    ------
    RefusedFile
        When it cannot be told what is to be counted; the message has the options that settle it.
    """
    feed = table_map.feed
    sources = {normal(name) for name in table.renamed.values()}
    given = dict.fromkeys(normal(name) for name in raw.header)
    extra = [name for name in given if name not in sources and name not in table.names]
    if not table_map.aggregate:
        return select_feed_rows(raw, feed, frame, extra=extra, parts=parts)
    keep = np.ones(len(frame), bool)
    if single_events(feed.name, frame):
        return keep, []
    readable = ~frame["_broken"].notna().to_numpy() if "_broken" in frame else keep
    rows = feed_rows(raw, feed, frame[readable], extra)
    if feed.name == "performance":
        key = [name for name in KEYS[feed.name] if name in frame]
        # The mapping says that rows of one key are added: only one spend seen twice is asked about.
        chosen, notes = select_rows(
            rows, codes(frame.loc[readable, key], key), identified=None, parts=parts
        )
    else:
        chosen, notes = latest_syncs(rows)
    keep = keep.copy()
    keep[np.flatnonzero(readable)[~chosen]] = False
    return keep, notes


def single_events(feed: str, frame: pd.DataFrame) -> bool:
    """Whether a table has an impression a row, or none: two equal rows are two events then."""
    if feed != "performance":
        return False
    shown = pd.to_numeric(frame["impressions"], errors="coerce")
    return not bool((shown > 1).any())
