"""Taking a file in, so that a crash at any moment loses nothing and counts nothing twice.

The order is: copy to the archive; intention into the ledger (the delivery with its counts, its
quarantined rows, an audit entry, all in one transaction); the facts; completion into the ledger;
the file out of the inbox. Whatever was cut short is finished, before anything else is taken in,
from the archived copy and with the instant of receipt that the ledger recorded.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet
from sqlalchemy import Engine, func, insert
from sqlmodel import Session, col, select

from liftloop.adapters import clock
from liftloop.adapters.archive import (
    LATER_OPTIONS,
    Archived,
    archive_file,
    first_receipt,
    forget,
    in_inbox,
    load_reading,
    options_key,
    reading_path,
    refuse,
    save_reading,
)
from liftloop.adapters.changed_account import note_on_account
from liftloop.adapters.delta import as_batch, open_table, table_path
from liftloop.adapters.engine import session
from liftloop.adapters.facts import FactsVersion, facts_version
from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.adapters.importers.feeds import named_feed
from liftloop.adapters.locks import exclusive
from liftloop.adapters.name_checks import notes_on_names
from liftloop.adapters.names_in_use import names_in_use
from liftloop.adapters.period_sources import refuse_periods_beside_days
from liftloop.adapters.reading import printable
from liftloop.adapters.rereading import close_earlier_readings
from liftloop.adapters.sales_sources import refuse_other_source
from liftloop.adapters.sealing import append_audit
from liftloop.adapters.settings import Account as AccountSettings
from liftloop.adapters.storing import plan, store
from liftloop.adapters.streams.entries import ENTRIES, is_entries, read_entries, sift_entries
from liftloop.adapters.summaries import DeliverySummary, summary_of
from liftloop.adapters.tables import Delivery, QuarantinedRow
from liftloop.adapters.workspace import Workspace
from liftloop.core.contracts import FEEDS, Account, Rate, Sifted, sift
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.core.feeds.questions import Question, Stands
from liftloop.core.feeds.replacing import Sender
from liftloop.core.keys import canonical, key

READMISSION = "readmission"  # the importer of deliveries made of mended rows: kept as typed rows
STEPS = 5
LOCK_SECONDS = 600.0
_ROWS_AT_ONCE = 10_000

Progress = Callable[[int, int], None]


def account_of(settings: AccountSettings) -> Account:
    """The account as the contracts want it."""
    rates = tuple(Rate(r.currency, r.rate, r.start, r.end) for r in settings.rates)
    return Account(settings.currency, settings.timezone, rates)


def deliver(
    workspace: Workspace,
    path: Path,
    *,
    engine: Engine,
    account: Account,
    options: ImportOptions | None = None,
    actor: str = "liftloop",
    received_at: datetime | None = None,
    progress: Progress | None = None,
) -> DeliverySummary:
    """Take one file in.

    Parameters
    ----------
    received_at
        The instant of receipt (aware; default: now). Deliveries of a workspace never share one: it
        is moved on by a microsecond where it would not be after the last delivery's.
    progress
        Called with (steps done, steps in all).

    Returns
    -------
    DeliverySummary
        A refused file is one with ``refused``, not an exception.

    Raises
    ------
    ConfigurationError
        When an option, a mapping or a plugin is wrong.
    OutsideServiceFailed
        When the ledger cannot be reached, or another program is taking files in for too long.
    """
    told = progress or (lambda done, steps: None)
    with taking_in(workspace):
        finished = finish_pending(workspace, engine=engine)
        names = names_in_use(workspace)
        wanted = replace(
            options or ImportOptions(),
            timezone=account.timezone,
            currency=account.currency,
            segments_in_use=names.segments,
            channels_in_use=names.channels,
        )
        taken = Taking(workspace, path, engine, account, actor, told)
        try:
            return taken.run(wanted, received_at or clock.now(), finished)
        except RefusedFile as error:
            return taken.refuse(error, received_at or clock.now())


def taking_in(workspace: Workspace) -> Any:
    """One program at a time takes deliveries into a workspace."""
    return exclusive(workspace.locks / "ingest.lock", what="Taking files in", timeout=LOCK_SECONDS)


@dataclass
class Taking:
    """One file on its way in."""

    workspace: Workspace
    path: Path
    engine: Engine
    account: Account
    actor: str
    told: Progress
    archived: Archived | None = None

    def run(
        self, options: ImportOptions, now: datetime, finished: tuple[str, ...]
    ) -> DeliverySummary:
        if self.path.is_symlink() or not self.path.is_file():
            read_delivery(self.path, options)  # refuses it, in its own words
        self.archived = archive_file(self.workspace, self.path)
        self.told(1, STEPS)
        if options.feed is None and options.mapping is None:
            options = replace(options, feed=named_feed(self.path.parent.name, self.path.name))
        imported = read_copy(self.archived.path, options)
        self.told(2, STEPS)
        delivery = delivery_id(self.archived.sha256, imported, options)
        known = summary_of(self.engine, delivery)
        if known is not None:
            self._clear()
            return replace(known, filename=self.path.name, duplicate=delivery not in finished)
        refuse_other_source(
            self.workspace, self.engine, imported, file=self.path.name, stands=options.stands
        )
        refuse_periods_beside_days(
            self.workspace, self.engine, imported, file=self.path.name, stands=options.stands
        )
        at = next_instant(self.engine, now)
        sifted = sift_copy(imported, self.account, at)
        changed = note_on_account(self.workspace, self.engine, self.account)
        imported = replace(imported, notes=(*imported.notes, *changed))
        intended = intention(
            delivery, self.archived.sha256, self.path.name, imported, at, len(sifted.rejected)
        )
        del imported
        return self.record(intended, sifted, options)

    def record(
        self,
        intended: Delivery,
        sifted: Sifted,
        options: ImportOptions,
        *,
        first: datetime | None = None,
        resolves: Callable[[Session], None] | None = None,
    ) -> DeliverySummary:
        """Keep how the file was read, then store its rows.

        ``first`` is the instant of the first receipt where the file is read again; ``resolves``
        joins the intention's transaction.
        """
        assert self.archived is not None
        self.told(3, STEPS)
        save_reading(
            self.workspace, self.archived, delivery=intended.id, options=options,
            account=self.account, received_at=first,
        )  # fmt: skip
        delivery = intended.id
        try:
            store_delivery(
                self.workspace, intended, sifted, engine=self.engine, actor=self.actor,
                told=self.told, resolves=resolves, stands=options.stands,
            )  # fmt: skip
        except RefusedFile:  # a question: the file is as if it had never been read
            reading_path(self.workspace, self.archived.sha256, delivery).unlink(missing_ok=True)
            raise
        self._clear()
        summary = summary_of(self.engine, delivery)
        assert summary is not None
        return summary

    def refuse(self, error: RefusedFile, at: datetime) -> DeliverySummary:
        """Nothing of the file is kept but the reason, an audit entry, and the file itself aside."""
        name = self.path.name
        named = RefusedFile(printable(name), error.problem, fix=error.fix, column=error.column)
        sha256 = self.archived.sha256 if self.archived else None
        with session(self.engine) as opened:
            append_audit(
                opened, key=key("refused", name, sha256, str(named)), actor=self.actor,
                act="refuse", subject=name, at=at,
                payload={"file": name, "sha256": sha256, "why": str(named)},
            )  # fmt: skip
        refuse(self.workspace, self.path, sha256=sha256, why=str(named))
        if self.archived:
            forget(self.archived)
        return DeliverySummary(filename=name, refused=str(named))

    def _clear(self) -> None:
        if in_inbox(self.workspace, self.path):
            self.path.unlink(missing_ok=True)
        self.told(STEPS, STEPS)


def read_copy(path: Path, options: ImportOptions) -> Imported:
    """The rows of an archived file."""
    if is_entries(path):
        return read_entries(path)
    return read_delivery(path, options)


def sift_copy(imported: Imported, account: Account, at: datetime) -> Sifted:
    """The rows of an archived file after their contract."""
    if imported.importer == ENTRIES:
        return sift_entries(imported, account=account, received_at=at)
    return sift(imported.feed, imported.frame, account=account, received_at=at)


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
    """Like :func:`liftloop.core.keys.key`, with 20 digits: a collision would lose a file."""
    return f"{prefix}-{hashlib.sha256(canonical(parts).encode()).hexdigest()[:20]}"


def next_instant(engine: Engine, now: datetime) -> datetime:
    """``now``, or just after the last delivery: equal instants must not hide who came last."""
    with session(engine, read_only=True) as opened:
        last = opened.exec(select(func.max(Delivery.received_at))).one()
    after = _utc(last) + timedelta(microseconds=1) if last is not None else now
    return max(now.astimezone(UTC), after)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def store_delivery(
    workspace: Workspace,
    intended: Delivery,
    sifted: Sifted,
    *,
    engine: Engine,
    actor: str,
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
    """
    at, feed, delivery = intended.received_at, intended.feed, intended.id
    batch = as_batch(FEEDS[feed], sifted.accepted, delivery=delivery, received_at=at)
    rejected, missing = sifted.rejected, [asdict(one) for one in sifted.missing]
    del sifted
    planned = plan(workspace, feed, batch, _sender(intended.importer, stands))
    question = planned.replacing.question
    if question is not None:
        raise RefusedFile(intended.filename, question.problem, fix=_answer(intended, question))
    intended.stored, intended.superseded = planned.stored, planned.superseded
    notes = [*json.loads(intended.notes or "[]"), *missing, *planned.replacing.notes]
    notes += notes_on_names(workspace, feed, batch)
    intended.notes = json.dumps(notes)
    with session(engine) as opened:
        opened.add(intended)
        opened.flush()
        _quarantine(opened, rejected, delivery=delivery, feed=feed)
        if resolves is not None:
            resolves(opened)
        closed = close_earlier_readings(opened, intended)
        append_audit(
            opened, key=f"receive:{delivery}", actor=actor, act="receive", subject=delivery,
            payload=_counts(intended) | ({"closed": closed} if closed else {}), at=at,
        )  # fmt: skip
    told(4, STEPS)
    version = store(workspace, planned, delivery=delivery)
    _mark_stored(engine, delivery, version)


def _sender(importer: str, stands: Stands) -> Sender:
    if importer == READMISSION:
        return Sender("mended", stands)
    return Sender("contract" if importer in ("contract", ENTRIES) else "export", stands)


def _answer(intended: Delivery, question: Question) -> str:
    if intended.importer == READMISSION:
        return f"liftloop quarantine readmit with {question.answers}"
    return f"liftloop ingest {shlex.quote(printable(intended.filename))} with {question.answers}"


def _quarantine(opened: Session, rejected: pd.DataFrame, *, delivery: str, feed: str) -> None:
    for start in range(0, len(rejected), _ROWS_AT_ONCE):
        part = rejected.iloc[start : start + _ROWS_AT_ONCE]
        rows = part.assign(delivery_id=delivery, feed=feed, state="open").to_dict("records")
        opened.connection().execute(insert(QuarantinedRow), rows)


def _counts(delivery: Delivery) -> dict[str, Any]:
    names = ("feed", "filename", "sha256", "importer", "rows_read", "received", "stored",
             "superseded", "quarantined")  # fmt: skip
    return {name: getattr(delivery, name) for name in names}


def _mark_stored(engine: Engine, delivery: str, version: FactsVersion | None) -> None:
    with session(engine) as opened:
        found = opened.get_one(Delivery, delivery)
        found.state = "stored"
        found.facts_version = version.current if version else None


def finish_pending(workspace: Workspace, *, engine: Engine) -> tuple[str, ...]:
    """Finish the deliveries that were cut short between the ledger and the facts, in order.

    To be called while :func:`taking_in`. Returns their ids.
    """
    with session(engine, read_only=True) as opened:
        cut_short = opened.exec(
            select(Delivery).where(Delivery.state == "pending").order_by(col(Delivery.received_at))
        ).all()
    for delivery in cut_short:
        current = open_table(table_path(workspace.facts, delivery.feed, "current"))
        if current is not None and current.has(delivery.id):  # all but the last word was said
            version = facts_version(workspace, delivery.feed)
        else:
            at = _utc(delivery.received_at)
            accepted, stands = _accepted_again(workspace, delivery, at)
            batch = as_batch(FEEDS[delivery.feed], accepted, delivery=delivery.id, received_at=at)
            planned = plan(workspace, delivery.feed, batch, _sender(delivery.importer, stands))
            version = store(workspace, planned, delivery=delivery.id)
        _mark_stored(engine, delivery.id, version)
    return tuple(delivery.id for delivery in cut_short)


def _accepted_again(
    workspace: Workspace, delivery: Delivery, at: datetime
) -> tuple[pd.DataFrame, Stands]:
    """The rows of a delivery that was cut short, and how it stands to what is stored."""
    folder = workspace.archive / delivery.sha256
    try:
        if delivery.importer == READMISSION:
            frame: pd.DataFrame = parquet.read_table(folder / f"{delivery.id}.parquet").to_pandas()
            if not reading_path(workspace, delivery.sha256, delivery.id).is_file():
                return frame, ""
            return frame, load_reading(workspace, delivery.sha256, delivery.id)[1].stands
        copy, options, account = load_reading(workspace, delivery.sha256, delivery.id)
        imported = read_copy(copy, options)
        at = first_receipt(workspace, delivery.sha256, delivery.id) or at
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"Delivery {delivery.id} ({delivery.filename}) was cut short, and its copy is gone "
            f"from the archive ({error.filename}).",
            fix="restore the archive folder from a backup, then run the command again.",
        ) from None
    return sift_copy(imported, account, at).accepted, options.stands
