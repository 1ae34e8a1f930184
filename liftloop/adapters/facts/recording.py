"""A delivery in the ledger and the facts: its name and instant, its intention, its rows, its
completion."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine, func, insert
from sqlmodel import Session, select

from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.facts.archived_deliveries import (
    READMISSION,
    mark_stored,
    sender_of,
    utc,
)
from liftloop.adapters.facts.checks import require_sound_facts
from liftloop.adapters.facts.delta import as_batch
from liftloop.adapters.facts.storing import plan, store
from liftloop.adapters.files.archive import (
    LATER_OPTIONS,
    options_key,
)
from liftloop.adapters.files.reading import printable
from liftloop.adapters.files.rereading import close_earlier_readings
from liftloop.adapters.importers import Imported, ImportOptions
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, QuarantinedRow
from liftloop.adapters.names.checks import notes_on_names
from liftloop.adapters.privacy.sieve import keep_typed, without_forgotten
from liftloop.adapters.streams.entries import ENTRIES
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.consent import ANY_ROW, UNIT_FEEDS, ConsentRules
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.deliveries.questions import Question, Stands
from liftloop.core.feeds.validate import Sifted
from liftloop.core.ids import canonical
from liftloop.settings.workspace import Workspace

STEPS = 5
_ROWS_AT_ONCE = 10_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Intake:
    """A workspace that takes deliveries in: its ledger, its account, who acts, and what rows about
    persons must say to be learned from."""

    workspace: Workspace
    engine: Engine
    account: Account
    actor: str = "liftloop"
    consent: ConsentRules = ANY_ROW


def intention(
    id: str, sha256: str, filename: str, imported: Imported, at: datetime, quarantined: int
) -> Delivery:
    """A delivery as the ledger records it before anything is stored."""
    return Delivery(
        id=id,
        feed=imported.feed,
        filename=filename,
        sha256=sha256,
        importer=imported.importer,
        received_at=at,
        rows_read=imported.rows_read,
        received=len(imported.frame),
        stored=0,
        superseded=0,
        quarantined=quarantined,
        state="pending",
        notes=json.dumps(imported.notes),
    )


def delivery_id(sha256: str, imported: Imported, options: ImportOptions) -> str:
    """Names a delivery by its content and by how it was read."""
    how = options_key(options)
    if imported.importer in ("contract", ENTRIES):
        how = {name: how[name] for name in LATER_OPTIONS if name in how}
    return long_key("d", sha256, imported.feed, imported.importer, how)


def long_key(prefix: str, *parts: Any) -> str:
    """Like :func:`liftloop.core.ids.key`, with 20 digits: a collision would lose a file."""
    return f"{prefix}-{hashlib.sha256(canonical(parts).encode()).hexdigest()[:20]}"


def next_instant(engine: Engine, now: datetime) -> datetime:
    """``now``, or just after the last delivery: equal instants must not hide who came last."""
    with session(engine, read_only=True) as opened:
        last = opened.exec(select(func.max(Delivery.received_at))).one()
    after = utc(last) + timedelta(microseconds=1) if last is not None else now
    return max(now.astimezone(UTC), after)


def store_delivery(
    intake: Intake,
    intended: Delivery,
    sifted: Sifted,
    *,
    told: Progress,
    resolves: Callable[[Session], None] | None = None,
    stands: Stands = "",
) -> None:
    """Intention, facts, completion. ``resolves`` joins the intention's transaction.

    Raises
    ------
    RefusedFile
        When nobody but the sender can say whether the rows tell money that is stored already, and
        ``stands`` does not.
    DamagedWorkspace
        When the feed's facts are not what the ledger recorded.
    """
    workspace, engine = intake.workspace, intake.engine
    at, feed, delivery = intended.received_at, intended.feed, intended.id
    sifted, forgotten = without_forgotten(workspace, feed, sifted, engine=engine)
    intended.quarantined = len(sifted.rejected)
    batch = as_batch(FEEDS[feed], sifted.accepted, delivery=delivery, received_at=at)
    require_sound_facts(workspace, engine=engine, feeds=[feed], log_alone=True)
    rejected, missing = sifted.rejected, [asdict(one) for one in sifted.missing]
    typed = sifted if forgotten else None
    del sifted
    planned = plan(workspace, feed, batch, sender_of(intended.importer, stands))
    question = planned.replacing.question
    if question is not None:
        raise RefusedFile(intended.filename, question.problem, fix=_answer(intended, question))
    intended.stored, intended.superseded = planned.stored, planned.superseded
    notes = [*json.loads(intended.notes or "[]"), *missing, *planned.replacing.notes]
    notes += notes_on_names(workspace, feed, batch)
    if feed in UNIT_FEEDS:
        notes += intake.consent.notes(batch)
    intended.notes = json.dumps(notes)
    if typed is not None:
        keep_typed(workspace, intended, typed)
    with session(engine) as opened:
        opened.add(intended)
        opened.flush()
        _quarantine(opened, rejected, delivery=delivery, feed=feed)
        if resolves is not None:
            resolves(opened)
        closed = close_earlier_readings(opened, intended)
        append_audit(
            opened,
            AuditEvent(
                key=f"receive:{delivery}",
                actor=intake.actor,
                act="receive",
                subject=delivery,
                payload=_counts(intended) | ({"closed": closed} if closed else {}),
                at=at,
            ),
        )
    told(4, STEPS)
    version = store(workspace, planned, delivery=delivery)
    mark_stored(workspace, intended, version, engine=engine)


def _answer(intended: Delivery, question: Question) -> str:
    if intended.importer == READMISSION:
        return f"liftloop quarantine readmit with {question.answers}"
    return f"liftloop ingest {shlex.quote(printable(intended.filename))} with {question.answers}"


def _quarantine(opened: Session, rejected: pd.DataFrame, *, delivery: str, feed: str) -> None:
    for start in range(0, len(rejected), _ROWS_AT_ONCE):
        part = rejected.iloc[start : start + _ROWS_AT_ONCE]
        state = part.get("state", "open")
        rows: Any = part.assign(delivery_id=delivery, feed=feed, state=state).to_dict("records")
        opened.connection().execute(insert(QuarantinedRow), rows)


def _counts(delivery: Delivery) -> dict[str, Any]:
    names = (
        "feed",
        "filename",
        "sha256",
        "importer",
        "rows_read",
        "received",
        "stored",
        "superseded",
        "quarantined",
    )
    return {name: getattr(delivery, name) for name in names}
