"""Cells that the triage's last verdict pauses: those that depend on a broken feed."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

from liftloop.adapters.ledger import session, verdicts
from monitoring.causes import Act
from tasks.context import Loop

FRESH_DAYS = 7  # a verdict of a week ago says nothing of today's feeds
# Lateness is data health's own: it knows which default stands in for how long.
LEFT_TO_HEALTH = ("late", "unsound")


def alarmed_cells(loop: Loop, as_of: date) -> tuple[tuple[str, str, str], ...]:
    """(segment, channel, why) of each cell whose budgets may not move on ``as_of``."""
    with session(loop.engine, read_only=True) as db:
        told = verdicts(db, before=as_of + timedelta(days=1), made_by=loop.at, limit=1)
        last = next(iter(told), None)
        if last is None or (as_of - last.as_of).days > FRESH_DAYS:
            return ()
        return paused_in(json.loads(last.evidence).get("triage", {}))


def paused_in(triage: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """The paused cells of a verdict's triage, each with its first reason."""
    why: dict[tuple[str, str], str] = {}
    for finding in triage.get("findings", ()):
        if finding["act"] == Act.PAUSE and finding["name"] not in LEFT_TO_HEALTH:
            for segment, channel in finding["cells"]:
                why.setdefault((segment, channel), finding["sentence"])
    return tuple((*cell, words) for cell, words in sorted(why.items()))
