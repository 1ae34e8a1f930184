from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from liftloop.adapters.ledger.records import record_verdict, session
from liftloop.adapters.ledger.tables import MonitorVerdict
from liftloop.core.ids import canonical
from liftloop.core.policy import Cell
from liftloop.settings.workspace import Workspace
from monitoring.causes.cause import Cause, Finding, Triage
from tasks.context import Loop, open_loop
from tasks.decision.holds import alarmed_cells

DAY = date(2026, 3, 2)
CELL = Cell("north", "search")


def found(name: str, cause: Cause = Cause.FEED) -> Finding:
    return Finding(cause, name, f"It is {name}.", ("performance",), None, (CELL,))


def verdict(loop: Loop, day: date, *findings: Finding) -> None:
    triage = Triage(day, findings[0] if findings else None, findings)
    said = MonitorVerdict(
        key=f"m-{day}",
        as_of=day,
        drifted=bool(findings),
        summary="s",
        evidence=canonical({"triage": triage.as_dict()}),
        created_at=datetime.now(UTC),
    )
    with session(loop.engine) as db:
        record_verdict(db, verdict=said)


def test_a_unit_that_changed_pauses_its_cells_until_a_verdict_without_it(
    fresh_workspace: Workspace,
) -> None:
    loop = open_loop(fresh_workspace.root)
    assert alarmed_cells(loop, DAY) == ()
    verdict(loop, DAY, found("unit"), found("down", Cause.RESPONSE))
    assert alarmed_cells(loop, DAY) == (("north", "search", "It is unit."),)
    assert alarmed_cells(loop, DAY - timedelta(days=1)) == (), "not known then"
    verdict(loop, DAY + timedelta(days=3))
    assert alarmed_cells(loop, DAY + timedelta(days=3)) == ()


def test_lateness_is_left_to_data_health_and_an_old_verdict_says_nothing(
    fresh_workspace: Workspace,
) -> None:
    loop = open_loop(fresh_workspace.root)
    verdict(loop, DAY, found("late"))
    assert alarmed_cells(loop, DAY) == ()
    verdict(loop, DAY + timedelta(days=1), found("unit"))
    assert alarmed_cells(loop, DAY + timedelta(days=8))
    assert alarmed_cells(loop, DAY + timedelta(days=9)) == ()
