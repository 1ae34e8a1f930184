"""Deliveries stored from their copies in the archive: those that a crash cut short, and all of a
feed whose tables are not what the ledger recorded.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowException, parquet
from sqlalchemy import Engine, delete
from sqlmodel import col, select

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.facts.checks import facts_faults, record_commits
from liftloop.adapters.facts.delta import as_batch, open_table, table_path
from liftloop.adapters.facts.read_facts import FactsVersion, facts_version
from liftloop.adapters.facts.storing import plan, store
from liftloop.adapters.files.archive import first_receipt, load_reading, reading_path
from liftloop.adapters.files.reading import printable
from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, FactsCommit
from liftloop.adapters.streams.entries import ENTRIES, is_entries, read_entries, sift_entries
from liftloop.core.errors import ConfigurationError, DamagedWorkspace, LiftLoopError
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.deliveries.questions import Stands
from liftloop.core.feeds.deliveries.replacing import Sender
from liftloop.core.feeds.validate import Sifted, sift
from liftloop.core.ids import key
from liftloop.settings.workspace import Workspace

READMISSION = "readmission"  # the importer of deliveries made of mended rows: kept as typed rows
REPAIR = ".repair"  # inside facts/, so that what is rebuilt there takes its place by a rename


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A feed whose tables were built again. ``differing``: deliveries whose counts are no longer
    those that the ledger has."""

    feed: str
    deliveries: int
    rows: int
    differing: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        words = (
            f"{self.feed}: built again from {self.deliveries} archived deliveries, "
            f"{self.rows:,} rows"
        )
        if self.differing:
            words += f"; other counts than at first: {', '.join(self.differing)}"
        return f"{words}."


def finish_pending(workspace: Workspace, *, engine: Engine) -> tuple[str, ...]:
    """Finish the deliveries that were cut short between the ledger and the facts, in order.

    To be called while :func:`~liftloop.adapters.facts.deliveries.taking_in`. Returns their ids.
    Those of a feed whose facts are damaged wait for their repair.
    """
    with session(engine, read_only=True) as opened:
        cut_short = opened.exec(
            select(Delivery).where(Delivery.state == "pending").order_by(col(Delivery.received_at))
        ).all()
    feeds = sorted({delivery.feed for delivery in cut_short})
    damaged = {fault.feed for fault in facts_faults(workspace, engine=engine, feeds=feeds)}
    finished = [delivery for delivery in cut_short if delivery.feed not in damaged]
    for delivery in finished:
        current = open_table(table_path(workspace.facts, delivery.feed, "current"))
        if current is not None and current.has(delivery.id):  # all but the last word was said
            version = facts_version(workspace, delivery.feed)
        else:
            version, _ = _store_again(workspace, workspace, delivery)
        mark_stored(workspace, delivery, version, engine=engine)
    return tuple(delivery.id for delivery in finished)


def mark_stored(
    workspace: Workspace, delivery: Delivery, version: FactsVersion | None, *, engine: Engine
) -> None:
    """The completion of a delivery in the ledger, with the hashes of its commits."""
    with session(engine) as opened:
        found = opened.get_one(Delivery, delivery.id)
        found.state = "stored"
        found.facts_version = version.current if version else None
        record_commits(opened, workspace, delivery.feed)


def rebuild(workspace: Workspace, feed: str, *, engine: Engine, actor: str) -> Rebuilt:
    """Build a feed's tables again from the archive, as the ledger has its deliveries.

    To be called while :func:`~liftloop.adapters.facts.deliveries.taking_in`. Nothing takes the
    place of the present tables before all is built; killed anywhere, it is done again from its
    beginning.

    Raises
    ------
    DamagedWorkspace
        When copies are gone from the archive, or changed: it names the files to deliver again.
    """
    with session(engine, read_only=True) as opened:
        deliveries = opened.exec(
            select(Delivery).where(Delivery.feed == feed).order_by(col(Delivery.received_at))
        ).all()
        before = [fault.sentence for fault in facts_faults(workspace, engine=engine, feeds=[feed])]
    _refuse_lost_copies(workspace, feed, deliveries)
    side = Workspace(workspace.facts / REPAIR)
    shutil.rmtree(side.root, ignore_errors=True)
    side.root.mkdir(parents=True)
    versions: dict[str, FactsVersion | None] = {}
    differing = []
    for delivery in deliveries:
        versions[delivery.id], counts = _store_again(workspace, side, delivery)
        if counts != (delivery.stored, delivery.superseded):
            differing.append(f"{delivery.id} ({delivery.filename})")
    _swap(workspace, side, feed)
    rebuilt = Rebuilt(
        feed, len(deliveries), sum(delivery.stored for delivery in deliveries), tuple(differing)
    )
    with session(engine) as opened:
        opened.connection().execute(delete(FactsCommit).where(col(FactsCommit.feed) == feed))
        record_commits(opened, workspace, feed)
        for id, version in versions.items():
            found = opened.get_one(Delivery, id)
            found.state = "stored"
            found.facts_version = version.current if version else None
        at = clock.now()
        append_audit(
            opened,
            AuditEvent(
                key=key("a", "repair", feed, before, at.isoformat()),
                actor=actor,
                act="repair",
                subject=feed,
                at=at,
                payload={
                    "faults": before,
                    "deliveries": len(deliveries),
                    "rows": rebuilt.rows,
                    "differing": differing,
                },
            ),
        )
    shutil.rmtree(side.root, ignore_errors=True)
    return rebuilt


def _swap(workspace: Workspace, side: Workspace, feed: str) -> None:
    """The rebuilt tables take the place of the present ones. Killed between the two renames, the
    tables are gone: that is seen, and they are built again."""
    present, damaged = workspace.facts / feed, side.root / "damaged"
    if present.exists():
        present.rename(damaged)
    if (side.facts / feed).exists():
        (side.facts / feed).rename(present)


def _store_again(
    workspace: Workspace, target: Workspace, delivery: Delivery
) -> tuple[FactsVersion | None, tuple[int, int]]:
    """Store a delivery's archived copy into ``target``: the version of its facts, and how many rows
    were stored and superseded."""
    at = utc(delivery.received_at)
    accepted, stands = accepted_again(workspace, delivery, at)
    batch = as_batch(FEEDS[delivery.feed], accepted, delivery=delivery.id, received_at=at)
    planned = plan(target, delivery.feed, batch, sender_of(delivery.importer, stands))
    return store(target, planned, delivery=delivery.id), (planned.stored, planned.superseded)


def accepted_again(
    workspace: Workspace, delivery: Delivery, at: datetime
) -> tuple[pd.DataFrame, Stands]:
    """The rows of a delivery as they were taken in, and how it stands to what is stored."""
    typed = typed_copy(workspace, delivery)
    try:
        if delivery.importer == READMISSION or typed.is_file():
            frame: pd.DataFrame = parquet.read_table(typed).to_pandas()
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


def _refuse_lost_copies(workspace: Workspace, feed: str, deliveries: Any) -> None:
    lost = [(one, problem) for one in deliveries if (problem := copy_problem(workspace, one))]
    if not lost:
        return
    files = list(dict.fromkeys(printable(one.filename) for one, _ in lost))
    named = " ".join(shlex.quote(name) for name in files[:5])
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    raise DamagedWorkspace(
        f"The {feed} facts cannot be built again: {lost[0][1]}"
        + (f" (and {len(lost) - 1} more)." if len(lost) > 1 else "."),
        fix=f"deliver these files again (liftloop ingest {named}{more}), or restore the folder "
        "archive from a backup, then run liftloop repair.",
    )


def copy_problem(workspace: Workspace, delivery: Delivery) -> str:
    """What is wrong with a delivery's copy in the archive, or with what says how it was read; ""
    where nothing is."""
    name = f"the archived copy of {printable(delivery.filename)} ({delivery.id})"
    typed = typed_copy(workspace, delivery)
    if delivery.importer == READMISSION or typed.is_file():
        try:
            parquet.read_metadata(typed)
        except FileNotFoundError:
            return f"{name} is gone"
        except (ArrowException, OSError):
            return f"{name} cannot be read"
        return ""
    try:
        copy, _, _ = load_reading(workspace, delivery.sha256, delivery.id)
        with copy.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return f"{name} is gone"
    except (OSError, ValueError, KeyError, TypeError, LiftLoopError):
        return f"how {printable(delivery.filename)} ({delivery.id}) was read cannot be read"
    return "" if sha256 == delivery.sha256 else f"{name} was changed"


def typed_copy(workspace: Workspace, delivery: Delivery) -> Path:
    """Where the accepted rows of a delivery lie, typed, if the file as it came is not kept: rows
    were mended, or had to leave it."""
    return workspace.archive / delivery.sha256 / f"{delivery.id}.parquet"


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


def sender_of(importer: str, stands: Stands) -> Sender:
    """Who sent a delivery, as its rows are set against what is stored."""
    if importer == READMISSION:
        return Sender("mended", stands)
    return Sender("contract" if importer in ("contract", ENTRIES) else "export", stands)


def utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
