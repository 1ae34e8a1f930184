"""Taking a file in, so that a crash at any moment loses nothing and counts nothing twice.

The order is: copy to the archive; intention into the ledger (the delivery with its counts, its
quarantined rows, an audit entry, all in one transaction); the facts; completion into the ledger;
the file out of the inbox. Whatever was cut short is finished, before anything else is taken in,
from the archived copy and with the instant of receipt that the ledger recorded.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.doctor.changed_account import note_on_account
from liftloop.adapters.facts.archived_deliveries import (
    copy_problem,
    finish_pending,
    read_copy,
    rebuild,
    sift_copy,
)
from liftloop.adapters.facts.checks import facts_faults
from liftloop.adapters.facts.delta import as_batch
from liftloop.adapters.facts.recording import (
    STEPS,
    Intake,
    Progress,
    delivery_id,
    intention,
    next_instant,
    store_delivery,
)
from liftloop.adapters.facts.summaries import DeliverySummary, summary_of
from liftloop.adapters.files.archive import (
    Archived,
    archive_file,
    forget,
    in_inbox,
    reading_path,
    refuse,
    save_reading,
)
from liftloop.adapters.files.period_sources import refuse_periods_beside_days
from liftloop.adapters.files.reading import printable
from liftloop.adapters.files.sales_sources import refuse_other_source, refuse_total_beside_parts
from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.adapters.importers.feeds import named_feed
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery
from liftloop.adapters.locks import exclusive
from liftloop.adapters.names.in_use import names_in_use
from liftloop.adapters.privacy.sieve import drop_raw
from liftloop.core.errors import DamagedWorkspace, LiftLoopError, RefusedFile
from liftloop.core.feeds.context import Account, Rate
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.validate import Sifted
from liftloop.core.ids import key
from liftloop.settings.schema import AccountSettings
from liftloop.settings.workspace import Workspace

log = logging.getLogger(__name__)

LOCK_SECONDS = 600.0
_OF_THE_FILE = {None, errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP}  # not of the disk


def account_of(settings: AccountSettings) -> Account:
    """The account as the contracts want it."""
    rates = tuple(Rate(r.currency, r.rate, r.start, r.end) for r in settings.rates)
    return Account(settings.currency, settings.timezone, rates)


def deliver(
    intake: Intake,
    path: Path,
    *,
    options: ImportOptions | None = None,
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
        A refused file is one with ``refused``, not an exception; so is one that no reader can
        make anything of. One that waits (in its place) until its feed's facts are repaired is one
        with ``held``.

    Raises
    ------
    ConfigurationError
        When an option, a mapping or a plugin is wrong.
    OutsideServiceFailed
        When the ledger cannot be reached, or another program is taking files in for too long.
    """
    told = progress or (lambda done, steps: None)
    with taking_in(intake.workspace):
        finished = finish_pending(intake.workspace, engine=intake.engine)
        wanted = options_here(intake.workspace, intake.account, options or ImportOptions())
        taken = Taking(intake, path, told)
        try:
            return taken.run(wanted, received_at or clock.now(), finished)
        except RefusedFile as error:
            return taken.refuse(error, received_at or clock.now())
        except DamagedWorkspace as error:
            why = f"{printable(path.name)} waits in its place and was not taken in. {error}"
            return DeliverySummary(filename=path.name, held=why)
        except (LiftLoopError, SQLAlchemyError):
            raise
        except Exception as error:
            if taken.is_recorded or not _is_of_the_file(error, path):
                raise
            log.debug("%s cannot be read", path, exc_info=True)
            return taken.refuse(_unreadable(path, error), received_at or clock.now())


def options_here(workspace: Workspace, account: Account, options: ImportOptions) -> ImportOptions:
    """The options with what is the workspace's: its account and the names in use."""
    names = names_in_use(workspace)
    return replace(
        options,
        timezone=account.timezone,
        currency=account.currency,
        segments_in_use=names.segments,
        channels_in_use=names.channels,
    )


def refusal_to_come(path: Path, *, account: Account, options: ImportOptions) -> RefusedFile | None:
    """Why a file would be refused that was taken in now, with options from :func:`options_here`;
    None where it can be read. Nothing is written."""
    if options.feed is None and options.mapping is None:
        options = replace(options, feed=named_feed(path.parent.name, path.name))
    try:
        imported, now = read_copy(path, options), clock.now()
        rows = sift_copy(imported, account, now).accepted
        as_batch(FEEDS[imported.feed], rows, delivery="d", received_at=now)
    except RefusedFile as error:
        return error
    except LiftLoopError:  # of the workspace: told elsewhere
        return None
    except Exception as error:
        return _unreadable(path, error)
    return None


def _is_of_the_file(error: Exception, path: Path) -> bool:
    """Whether a file is to blame for what happened while it was read, and not the disk."""
    if not isinstance(error, OSError):
        return True
    ours = error.filename in (None, str(path), path)
    return ours and error.errno in _OF_THE_FILE


def _unreadable(path: Path, error: Exception) -> RefusedFile:
    words = (str(error).strip().splitlines() or [""])[0][:200]
    return RefusedFile(
        path.name,
        f"no reader can make anything of it ({type(error).__name__}: {printable(words)}).",
        fix="look for values that cannot be (dates, numbers), or export it again.",
    )


def taking_in(workspace: Workspace) -> Any:
    """One program at a time takes deliveries into a workspace."""
    return exclusive(workspace.locks / "ingest.lock", what="Taking files in", timeout=LOCK_SECONDS)


@dataclass
class Taking:
    """One file on its way in."""

    intake: Intake
    path: Path
    told: Progress
    archived: Archived | None = None
    delivery: str = ""

    @property
    def is_recorded(self) -> bool:
        """Whether the ledger knows the delivery: it will be finished, whatever happens."""
        return bool(self.delivery) and summary_of(self.intake.engine, self.delivery) is not None

    def run(
        self, options: ImportOptions, now: datetime, finished: tuple[str, ...]
    ) -> DeliverySummary:
        workspace, engine = self.intake.workspace, self.intake.engine
        if self.path.is_symlink() or not self.path.is_file():
            read_delivery(self.path, options)  # refuses it, in its own words
        self.archived = archive_file(workspace, self.path)
        self.told(1, STEPS)
        if options.feed is None and options.mapping is None:
            options = replace(options, feed=named_feed(self.path.parent.name, self.path.name))
        imported = read_copy(self.archived.path, options)
        self.told(2, STEPS)
        delivery = self.delivery = delivery_id(self.archived.sha256, imported, options)
        known = summary_of(engine, delivery)
        if known is not None:
            healed = self._heal(delivery, options)
            drop_raw(workspace, self.archived.sha256, delivery)
            self._clear()
            return replace(
                known,
                filename=self.path.name,
                duplicate=delivery not in finished,
                healed=healed,
            )
        for refuse_where_doubtful in (
            refuse_other_source,
            refuse_total_beside_parts,
            refuse_periods_beside_days,
        ):
            refuse_where_doubtful(
                workspace, engine, imported, file=self.path.name, stands=options.stands
            )
        at = next_instant(engine, now)
        sifted = sift_copy(imported, self.intake.account, at)
        changed = note_on_account(workspace, engine, self.intake.account)
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
            self.intake.workspace,
            self.archived,
            delivery=intended.id,
            options=options,
            account=self.intake.account,
            received_at=first,
        )
        delivery = intended.id
        try:
            store_delivery(
                self.intake,
                intended,
                sifted,
                told=self.told,
                resolves=resolves,
                stands=options.stands,
            )
        except (RefusedFile, DamagedWorkspace):  # the file is as if it had never been read
            reading = reading_path(self.intake.workspace, self.archived.sha256, delivery)
            reading.unlink(missing_ok=True)
            raise
        self._clear()
        summary = summary_of(self.intake.engine, delivery)
        assert summary is not None
        return summary

    def refuse(self, error: RefusedFile, at: datetime) -> DeliverySummary:
        """Nothing of the file is kept but the reason, an audit entry, and the file itself aside."""
        name = self.path.name
        named = RefusedFile(printable(name), error.problem, fix=error.fix, column=error.column)
        sha256 = self.archived.sha256 if self.archived else None
        with session(self.intake.engine) as opened:
            append_audit(
                opened,
                AuditEvent(
                    key=key("refused", name, sha256, str(named)),
                    actor=self.intake.actor,
                    act="refuse",
                    subject=name,
                    at=at,
                    payload={"file": name, "sha256": sha256, "why": str(named)},
                ),
            )
        if self.archived:  # while the file is in its place: a kill in between leaves no copy behind
            forget(self.archived)
        refuse(self.intake.workspace, self.path, sha256=sha256, why=str(named))
        return DeliverySummary(filename=name, refused=str(named))

    def _heal(self, delivery: str, options: ImportOptions) -> str:
        """A file that is delivered again mends what was lost of it in the archive, and with that
        its feed's facts; what was done, "" where all was well."""
        assert self.archived is not None
        workspace, engine = self.intake.workspace, self.intake.engine
        with session(engine, read_only=True) as opened:
            known = opened.get_one(Delivery, delivery)
        if copy_problem(workspace, known):
            save_reading(
                workspace,
                self.archived,
                delivery=delivery,
                options=options,
                account=self.intake.account,
            )
        if not facts_faults(workspace, engine=engine, feeds=[known.feed]):
            return ""
        try:
            actor = self.intake.actor
            return rebuild(workspace, known.feed, engine=engine, actor=actor).sentence
        except DamagedWorkspace as error:
            return f"its copy is in the archive again. {error}"

    def _clear(self) -> None:
        if in_inbox(self.intake.workspace, self.path):
            self.path.unlink(missing_ok=True)
        self.told(STEPS, STEPS)
