"""Findings for ``liftloop doctor``, which warn and pause nothing: do the feeds agree, and what did
the monitor's last look leave out?"""

from __future__ import annotations

import json
from datetime import date

from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.ledger.records import last_verdict, session
from liftloop.core.failed_reports import in_words
from liftloop.settings.workspace import Workspace
from monitoring.feeds.consistency import consistency
from monitoring.feeds.consistency_verdict import Consistency
from tasks.context import Loop, open_loop, view
from tasks.evidence.health import budgets_over_time

CHECK, MONITOR = "feeds agree", "monitor"
FEEDS = ("performance", "holdout", "sales")


def consistency_on(loop: Loop, as_of: date) -> Consistency:
    """The feeds as known on ``as_of``, compared."""
    facts = view(loop, as_of, FEEDS)
    return consistency(
        facts["performance"],
        holdout=facts["holdout"],
        sales=facts["sales"],
        budgets=budgets_over_time(loop, as_of),
        as_of=as_of,
    )


def consistency_of(workspace: Workspace) -> list[DoctorFinding]:
    """Findings for the doctor, as of today: worth knowing, nothing to mend by itself. None while
    there are no performance facts; a look that fails is a finding, too."""
    try:
        loop = open_loop(workspace.root)
        found = consistency_on(loop, loop.today())
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [DoctorFinding(CHECK, None, f"they could not be compared: {words}")]
    if found.nothing:
        return []
    fix = "" if not found.warnings else "compare the feeds named with their sources"
    told = [DoctorFinding(CHECK, None, line, fix) for line in found.lines]
    return told or [DoctorFinding(CHECK, True, "with each other, the budgets and their past")]


def skipped_parts_of(workspace: Workspace) -> list[DoctorFinding]:
    """A finding for each part of the last look that failed; none where there was no look yet, or
    all of it could be done."""
    try:
        with session(open_loop(workspace.root).engine, read_only=True) as db:
            last = last_verdict(db)
    except Exception as error:
        return [DoctorFinding(MONITOR, None, f"its last look could not be read: {in_words(error)}")]
    parts = json.loads(last.evidence).get("skipped", []) if last else []
    fix = "the next look tries again; report it as a defect if it stays"
    return [
        DoctorFinding(MONITOR, None, f"on {last.as_of}: {words}", fix) for words in parts if last
    ]
