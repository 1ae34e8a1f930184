"""The segments and channels a workspace's facts are under already.

What an export calls otherwise (``United Kingdom`` for ``UK``) is stored under the name in use, so
that one market never gets a second name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from liftloop.adapters.facts.delta import open_table, table_path
from liftloop.settings.workspace import Workspace

_FEEDS = {
    "performance": ("segment", "channel"),
    "sales": ("segment",),
    "holdout": ("segment", "channel"),
}


@dataclass(frozen=True, slots=True)
class NamesInUse:
    """Sorted names; empty in a new workspace."""

    segments: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def names_in_use(workspace: Workspace) -> NamesInUse:
    """The segments of all feeds' facts, and the channels that spend or are measured."""
    names: dict[str, set[str]] = {"segment": set(), "channel": set()}
    for feed, columns in _FEEDS.items():
        counts = stored_names(workspace, feed)
        for column in columns:
            names[column] |= set(counts.get(column, ()))
    return NamesInUse(tuple(sorted(names["segment"])), tuple(sorted(names["channel"])))


def stored_names(workspace: Workspace, feed: str) -> Mapping[str, Counter[str]]:
    """The segments and channels of a feed's facts, as far as it has them, with their rows."""
    path = table_path(workspace.facts, feed, "current")
    table = open_table(path)
    return _counts(path.resolve(), table.version) if table is not None else {}


@lru_cache(maxsize=32)
def _counts(path: Path, version: int) -> Mapping[str, Counter[str]]:
    """A delivery asks two times, and a stream's small deliveries again and again."""
    table = open_table(path, version)
    assert table is not None  # this version was there a moment ago
    columns = [name for name in ("segment", "channel") if name in table.schema.names]
    rows = table.read(columns=columns)
    return {name: counted(rows[name]) for name in columns}


def counted(column: Any) -> Counter[str]:
    """The names in an Arrow column, with their rows; a missing one is none."""
    entries = column.value_counts().to_pylist()
    return Counter(
        {str(one["values"]): int(one["counts"]) for one in entries if one["values"] is not None}
    )
