"""The segments and channels a workspace's facts are under already.

What an export calls otherwise (``United Kingdom`` for ``UK``) is stored under the name in use, so
that one market never gets a second name.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyarrow import compute

from liftloop.adapters.delta import open_table, table_path
from liftloop.adapters.workspace import Workspace

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
        table = open_table(table_path(workspace.facts, feed, "current"))
        if table is None:
            continue
        rows = table.read(columns=columns)
        for column in columns:
            names[column] |= {str(name) for name in compute.unique(rows[column]).to_pylist()}
    return NamesInUse(tuple(sorted(names["segment"])), tuple(sorted(names["channel"])))
