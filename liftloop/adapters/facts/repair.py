"""Mending facts that are not what the ledger recorded, from the archive."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from liftloop.adapters.facts.archived_deliveries import (
    finish_pending,
    read_copy,
    rebuild,
    sift_copy,
)
from liftloop.adapters.facts.checks import facts_faults
from liftloop.adapters.facts.deliveries import Taking, taking_in
from liftloop.adapters.facts.delta import open_table, table_path
from liftloop.adapters.facts.recording import Intake, delivery_id, intention, next_instant
from liftloop.adapters.files.archive import Archived, first_receipt, load_reading
from liftloop.core.errors import DamagedWorkspace
from liftloop.settings.workspace import Workspace


def repair_facts(workspace: Workspace, *, engine: Engine, actor: str) -> list[str]:
    """Build the tables of each damaged feed again, as the ledger has its deliveries. Deliveries
    that the facts hold and the ledger does not know (it is older, as after its restore) are then
    taken in again from their archived copies. What was done, a sentence each.

    Raises
    ------
    DamagedWorkspace
        When copies are gone from the archive: it names the files to deliver again. Feeds that can
        be mended have been.
    """
    said: list[str] = []
    with taking_in(workspace):
        faults = facts_faults(workspace, engine=engine, all_versions=True)
        unknown = {fault.unknown: fault.feed for fault in faults if fault.unknown}
        moments = {id: _received_at(workspace, id, feed) for id, feed in unknown.items()}
        failed: DamagedWorkspace | None = None
        for feed in dict.fromkeys(fault.feed for fault in faults):
            try:
                said.append(rebuild(workspace, feed, engine=engine, actor=actor).sentence)
            except DamagedWorkspace as error:
                failed = failed or error
        if failed is not None:
            raise failed
        finish_pending(workspace, engine=engine)
        for id, at in sorted(moments.items(), key=lambda item: item[1]):
            said.append(_take_again(workspace, id, at, engine=engine, actor=actor))
    return said


def _received_at(workspace: Workspace, delivery: str, feed: str) -> datetime:
    """When the rows of a delivery that the ledger does not know were received, as they say."""
    from pyarrow import compute

    for kind in ("current", "history"):
        try:
            table = open_table(table_path(workspace.facts, feed, kind))
            rows: Any = table and table.read(compute.field("delivery") == delivery, ["received_at"])
        except DamagedWorkspace:  # then the copy's own time counts
            rows = None
        if rows is not None and len(rows):
            found: datetime = rows["received_at"][0].as_py()
            return found
    reading = _reading(workspace, delivery)
    moment = reading.stat().st_mtime if reading else 0.0
    return datetime.fromtimestamp(moment, UTC)


def _reading(workspace: Workspace, delivery: str) -> Path | None:
    return next(workspace.archive.glob(f"*/{delivery}.json"), None)


def _take_again(
    workspace: Workspace, delivery: str, at: datetime, *, engine: Engine, actor: str
) -> str:
    """Take an archived file in that the ledger does not know."""
    reading = _reading(workspace, delivery)
    if reading is None:
        return f"{delivery}, unknown to the ledger, is not in the archive: deliver it again."
    sha256 = reading.parent.name
    copy, options, account = load_reading(workspace, sha256, delivery)
    if copy.name == f"{delivery}.parquet":
        return f"{delivery} holds mended rows: mend them again (liftloop quarantine)."
    if not copy.is_file():
        return f"{delivery} ({copy.name}) is kept without some of its rows: deliver it again."
    imported = read_copy(copy, options)
    if delivery_id(sha256, imported, options) != delivery:
        return f"{delivery} ({copy.name}) is read otherwise today: deliver it again."
    moment = next_instant(engine, at)
    first = first_receipt(workspace, sha256, delivery)
    sifted = sift_copy(imported, account, first or moment)
    intake = Intake(workspace, engine, account, actor)
    taking = Taking(intake, copy, lambda done, steps: None, Archived(copy, sha256))
    summary = taking.record(
        intention(delivery, sha256, copy.name, imported, moment, len(sifted.rejected)),
        sifted,
        options,
        first=first,
    )
    return f"Taken in again, as the ledger did not know it: {summary.sentence}"
