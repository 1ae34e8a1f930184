"""A person leaves the workspace: facts, archive, quarantine, predictions, texts, and a receipt.

The order is that of every write: the intention in the audit trail (by a hash of the id, never the
id), the effects, each of which may be done again, and the completion with the counts. From the
intention on, rows of the person that are delivered are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.audit.trail import entries
from liftloop.adapters.facts.archived_deliveries import finish_pending
from liftloop.adapters.facts.deliveries import taking_in
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.privacy.archived_rows import remove_unit_from_archive
from liftloop.adapters.privacy.identity import BEGIN, FORGET, OF_FACTS, Unit, unit_hash
from liftloop.adapters.privacy.model_rows import remove_unit_from_models
from liftloop.adapters.privacy.removed_rows import keep_all_but_unit, remove_rows
from liftloop.adapters.privacy.texts import (
    Places,
    clear_files,
    clear_ledger_texts,
    clear_quarantine,
    compact_ledger,
)
from liftloop.core.errors import ConfigurationError
from liftloop.core.feeds.consent import UNIT_FEEDS
from liftloop.core.ids import key
from liftloop.settings.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was removed of a person.

    Attributes
    ----------
    unit
        The hash of the id, as the audit trail has it.
    at, by, reason
        When, by whom and why.
    removed
        Place -> rows, copies or texts that were removed there; what held nothing is left out.
    versions
        Table of facts -> versions of it that hold fewer rows now.
    waiting
        Files to be taken in that name the person: its rows will be left out.
    left
        Files that still name the person and that nobody but their owner can change.
    before
        When the person had been forgotten before, and nothing more was found; else "".
    """

    unit: str
    at: str
    by: str
    reason: str
    removed: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    is_searched: bool = True
    before: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as the audit trail and ``--json`` have them."""
        return {**asdict(self), "waiting": list(self.waiting), "left": list(self.left)}

    @property
    def is_complete(self) -> bool:
        """Whether no file of the workspace but those that wait names the person."""
        return not self.left


def forget_unit(
    workspace: Workspace, id: str, *, engine: Engine, actor: str, reason: str = ""
) -> Receipt:
    """Remove a person from the workspace. Killed anywhere and called again, it goes on; called
    once more it finds nothing.

    Raises
    ------
    ConfigurationError
        If the id cannot be one, or the reason or the actor names it.
    DamagedWorkspace
        If the facts are not what the ledger recorded of them.
    OutsideServiceFailed
        If other programs keep the ledger or the deliveries busy.
    """
    unit = Unit.named(id)
    for words in (actor, reason):
        if words.strip() == unit.id or unit.is_in(words.encode()):
            raise ConfigurationError(
                "The reason and the name of who acts are kept for good, and may not name the "
                "person.",
                fix="leave the id out of them.",
            )
    hashed = unit_hash(workspace, unit.id)
    with taking_in(workspace):
        finish_pending(workspace, engine=engine)
        _intend(engine, hashed, actor=actor, reason=reason, at=clock.now())
        removed, versions, places = _remove(workspace, unit, engine=engine, actor=actor)
        receipt = Receipt(
            hashed,
            clock.now().isoformat(timespec="seconds"),
            actor,
            reason,
            removed,
            versions,
            tuple(places.waiting),
            tuple(places.left),
            unit.is_distinctive,
        )
        return _complete(engine, receipt)


def _remove(
    workspace: Workspace, unit: Unit, *, engine: Engine, actor: str
) -> tuple[dict[str, int], dict[str, int], Places]:
    """All effects. The archive comes before the facts, which can be built again from it."""
    keep = keep_all_but_unit(unit.id)
    counts = {
        "archived copies": remove_unit_from_archive(workspace, unit, engine=engine, keep=keep)
    }
    versions = {}
    for feed in UNIT_FEEDS:
        for one in remove_rows(workspace, feed, keep, engine=engine):
            counts[f"{OF_FACTS}{one.table}"] = one.rows
            versions[one.table] = one.versions
    counts["kept predictions"] = remove_unit_from_models(
        workspace, unit.id, engine=engine, actor=actor
    )
    counts["rows in quarantine"] = clear_quarantine(unit, engine=engine)
    counts["texts of the ledger"] = clear_ledger_texts(unit, engine=engine)
    compact_ledger(engine)
    places = clear_files(workspace, unit)
    counts["logs and pages"] = len(places.masked)
    counts["refused files"] = len(places.dropped)
    return {name: count for name, count in counts.items() if count}, versions, places


def _intend(engine: Engine, hashed: str, *, actor: str, reason: str, at: datetime) -> None:
    with session(engine) as opened:
        append_audit(
            opened,
            AuditEvent(
                key=key("a", BEGIN, hashed),
                actor=actor,
                act=BEGIN,
                subject=hashed,
                payload={"reason": reason},
                at=at,
            ),
        )


def _complete(engine: Engine, receipt: Receipt) -> Receipt:
    """Enter the receipt into the trail; where nothing was found since the last one, that one."""
    with session(engine) as opened:
        before = _receipts(opened, receipt.unit)
        found = receipt.removed or receipt.versions or receipt.left
        if before and not found and not before[-1].left:
            last = before[-1]
            return Receipt(**{**_fields(last), "waiting": receipt.waiting, "before": last.at})
        append_audit(
            opened,
            AuditEvent(
                key=key("a", FORGET, receipt.unit, len(before)),
                actor=receipt.by,
                act=FORGET,
                subject=receipt.unit,
                payload=receipt.as_dict(),
                at=clock.now(),
            ),
        )
    return receipt


def _fields(receipt: Receipt) -> dict[str, Any]:
    return {name: getattr(receipt, name) for name in Receipt.__dataclass_fields__}


def _receipts(opened: Session, hashed: str) -> list[Receipt]:
    said = [json.loads(one.payload) for one in entries(opened, subject=hashed) if one.act == FORGET]
    return [Receipt(**{**one, "waiting": (), "left": tuple(one["left"])}) for one in said]
