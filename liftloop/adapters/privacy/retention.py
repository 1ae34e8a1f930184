"""Rows older than their feed is kept for leave facts, archive and quarantine.

The intention with its counts goes into the audit trail first, then the rows go, then the completion
is entered. What was begun and not completed is gone on with, whatever the settings say by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from pyarrow import compute
from sqlalchemy import Engine
from sqlmodel import col, select, update

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.facts.archived_deliveries import finish_pending
from liftloop.adapters.facts.checks import KINDS
from liftloop.adapters.facts.deliveries import taking_in
from liftloop.adapters.facts.delta import open_table, table_path
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import AuditEntry, QuarantinedRow
from liftloop.adapters.privacy.archived_rows import remove_rows_from_archive
from liftloop.adapters.privacy.identity import OF_FACTS, RETAIN
from liftloop.adapters.privacy.removed_rows import finish_swap, keep_from, remove_rows
from liftloop.adapters.privacy.texts import NOTHING
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.ids import key
from liftloop.settings.workspace import Workspace

BEGIN_RETAIN = "begin_retain"
EXPIRED = "expired"  # the state of a row in quarantine that is kept as a count alone


@dataclass(frozen=True, slots=True)
class Expired:
    """Rows of a feed dated before ``before`` that were removed: place -> how many, and table of
    facts -> versions of it that hold fewer rows now."""

    feed: str
    before: date
    removed: Mapping[str, int]
    versions: Mapping[str, int]

    @property
    def sentence(self) -> str:
        """For a person."""
        rows = sum(count for name, count in self.removed.items() if name.startswith(OF_FACTS))
        return f"{self.feed}: {rows:,} rows from before {self.before} were removed for good."

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "before": self.before.isoformat()}


def apply_retention(
    workspace: Workspace,
    kept_days: Mapping[str, int | None],
    *,
    today: date,
    engine: Engine,
    actor: str,
) -> list[Expired]:
    """Remove the rows of each feed that are older than ``kept_days`` of it (None: kept for good).
    Killed anywhere and called again, it goes on; where nothing is too old nothing is written.

    Raises
    ------
    DamagedWorkspace
        If the facts are not what the ledger recorded of them.
    OutsideServiceFailed
        If another program is taking files in for too long.
    """
    wanted = {feed: today - timedelta(days=days) for feed, days in kept_days.items() if days}
    if not wanted and not _begun(engine):
        return []
    done = []
    with taking_in(workspace):
        finish_pending(workspace, engine=engine)
        for feed, before in _begun(engine):
            done.append(_expire(workspace, feed, before, engine=engine, actor=actor))
        for feed, before in wanted.items():
            found = _too_old(workspace, feed, before)
            waiting = _in_quarantine(engine, feed, before)
            if found or waiting:
                _intend(engine, feed, before, found, actor=actor)
                done.append(_expire(workspace, feed, before, engine=engine, actor=actor))
    return done


def _too_old(workspace: Workspace, feed: str, before: date) -> dict[str, int]:
    """Rows dated before ``before`` by table, where there are any."""
    found = {}
    for kind in KINDS:
        table = open_table(table_path(workspace.facts, feed, kind))
        if table is None or not any(month <= f"{before:%Y-%m}" for month in table.months):
            continue
        rows = len(table.read(compute.field("date") < before, ["date"]))
        if rows:
            found[f"{feed}/{kind}"] = rows
    return found


def _in_quarantine(engine: Engine, feed: str, before: date) -> list[tuple[str, int]]:
    """Rows in quarantine whose day can be read and is before ``before``."""
    column = FEEDS[feed].date_column
    with session(engine, read_only=True) as opened:
        rows = opened.exec(
            select(QuarantinedRow.delivery_id, QuarantinedRow.row_number, QuarantinedRow.row)
            .where(QuarantinedRow.feed == feed)
            .where(QuarantinedRow.row != NOTHING)
        ).all()
    return [
        (delivery, number)
        for delivery, number, row in rows
        if _is_before(str(json.loads(row).get(column, "")), before)
    ]


def _is_before(text: str, before: date) -> bool:
    try:
        return date.fromisoformat(text.strip()[:10]) < before
    except ValueError:
        return False


def _expire(
    workspace: Workspace, feed: str, before: date, *, engine: Engine, actor: str
) -> Expired:
    """All effects, and the completion. The archive comes before the facts, which can be built again
    from it."""
    keep = keep_from(before)
    finish_swap(workspace, feed, engine=engine)
    emptied = _in_quarantine(engine, feed, before)
    waiting = frozenset(delivery for delivery, _ in emptied)
    copies = remove_rows_from_archive(workspace, feed, engine=engine, keep=keep, also=waiting)
    versions = {
        one.table: one.versions for one in remove_rows(workspace, feed, keep, engine=engine)
    }
    with session(engine) as opened:
        if engine.dialect.name == "sqlite":
            opened.connection().exec_driver_sql("PRAGMA secure_delete = ON")
        for delivery, number in emptied:
            opened.connection().execute(
                update(QuarantinedRow)
                .where(col(QuarantinedRow.delivery_id) == delivery)
                .where(col(QuarantinedRow.row_number) == number)
                .values(row=NOTHING, state=EXPIRED)
            )
        begun = opened.exec(
            select(AuditEntry.payload).where(AuditEntry.key == key("a", BEGIN_RETAIN, feed, before))
        ).one()
        rows: dict[str, int] = json.loads(begun)["rows"]
        counts = {f"{OF_FACTS}{table}": count for table, count in rows.items()}
        counts |= {"archived copies": copies, "rows in quarantine": len(emptied)}
        expired = Expired(
            feed,
            before,
            {name: count for name, count in counts.items() if count},
            {**dict.fromkeys(rows, 0), **versions},
        )
        append_audit(
            opened,
            AuditEvent(
                key=key("a", RETAIN, feed, before),
                actor=actor,
                act=RETAIN,
                subject=feed,
                payload=expired.as_dict(),
                at=clock.now(),
            ),
        )
    return expired


def _intend(
    engine: Engine, feed: str, before: date, rows: Mapping[str, int], *, actor: str
) -> None:
    with session(engine) as opened:
        append_audit(
            opened,
            AuditEvent(
                key=key("a", BEGIN_RETAIN, feed, before),
                actor=actor,
                act=BEGIN_RETAIN,
                subject=feed,
                payload={"before": before, "rows": dict(rows)},
                at=clock.now(),
            ),
        )


def _begun(engine: Engine) -> list[tuple[str, date]]:
    """What was begun and not completed: feed, and the day before which rows leave."""
    with session(engine, read_only=True) as opened:
        rows = opened.exec(
            select(AuditEntry.subject, AuditEntry.act, AuditEntry.payload)
            .where(col(AuditEntry.act).in_((BEGIN_RETAIN, RETAIN)))
            .where(col(AuditEntry.subject).in_(FEEDS))
        ).all()
    named = [(act, (feed, json.loads(payload)["before"])) for feed, act, payload in rows]
    done = {what for act, what in named if act == RETAIN}
    open_ones = {what for act, what in named if act == BEGIN_RETAIN} - done
    return [(feed, date.fromisoformat(before)) for feed, before in sorted(open_ones)]
