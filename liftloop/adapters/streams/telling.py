"""When to tell of rows that came in a few at a time: every batch would start a monitoring run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.files.whole_files import write_whole
from liftloop.settings.workspace import Workspace


def to_tell(
    workspace: Workspace,
    summaries: Sequence[DeliverySummary],
    *,
    now: datetime,
    minutes: float,
) -> tuple[list[str], int] | None:
    """Feeds and rows stored since the last telling, once ``minutes`` have passed; else None.

    What a kill leaves untold is told with the next rows: the count may be low, never the fact.
    """
    place = _place(workspace)
    said = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    feeds = set(said.get("feeds", ())) | {str(one.feed) for one in summaries}
    rows = said.get("rows", 0) + sum(one.stored for one in summaries)
    last = datetime.fromisoformat(said["told"]) if said.get("told") else None
    due = bool(feeds) and (last is None or now - last >= timedelta(minutes=minutes))
    if not due and not summaries:
        return None
    left = {"feeds": [], "rows": 0} if due else {"feeds": sorted(feeds), "rows": rows}
    told = now.isoformat() if due else last and last.isoformat()
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, json.dumps({**left, "told": told}).encode())
    return (sorted(feeds), rows) if due else None


def _place(workspace: Workspace) -> Path:
    return workspace.root / "streams" / "untold.json"
