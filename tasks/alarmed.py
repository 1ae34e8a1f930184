"""Cells that the triage's last verdict pauses: those that depend on a broken feed."""

from __future__ import annotations

import json
from datetime import date, timedelta

from liftloop.adapters.ledger import session, verdicts
from liftloop.pipeline.holds import alarms_in
from tasks.context import Loop

FRESH_DAYS = 7  # a verdict of a week ago says nothing of today's feeds


def alarmed_cells(loop: Loop, as_of: date) -> tuple[tuple[str, str, str], ...]:
    """(segment, channel, why) of each cell whose budgets may not move on ``as_of``."""
    with session(loop.engine, read_only=True) as db:
        told = verdicts(db, before=as_of + timedelta(days=1), made_by=loop.at, limit=1)
        last = next(iter(told), None)
        if last is None or (as_of - last.as_of).days > FRESH_DAYS:
            return ()
        return alarms_in(json.loads(last.evidence).get("triage", {}).get("findings", ()))
