"""Do the feeds agree? Read for the monitor and for ``liftloop doctor``; it warns and pauses
nothing."""

from __future__ import annotations

from datetime import date

from liftloop.adapters.diagnosis import Finding
from liftloop.adapters.workspace import Workspace
from monitoring.consistency import consistency
from monitoring.consistency_verdict import Consistency
from tasks.context import Loop, open_loop, view
from tasks.health import budgets_over_time

CHECK = "feeds agree"
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


def consistency_of(workspace: Workspace) -> list[Finding]:
    """Findings for the doctor, as of today: worth knowing, nothing to mend by itself. None while
    there are no performance facts; a look that fails is a finding, too."""
    try:
        loop = open_loop(workspace.root)
        found = consistency_on(loop, loop.today())
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [Finding(CHECK, None, f"they could not be compared: {words}")]
    if found.nothing:
        return []
    fix = "" if not found.warnings else "compare the feeds named with their sources"
    told = [Finding(CHECK, None, line, fix) for line in found.lines]
    return told or [Finding(CHECK, True, "with each other, the budgets and their past")]
