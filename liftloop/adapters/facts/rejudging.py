"""Rows that wait in quarantine for a setting: judged again, by themselves, once it has changed.

A file in another currency than the account's is kept whole in quarantine until ``[account]`` says
what its money is. A delivery of which nothing was stored is read again from the archived copy, as
its days, too, may depend on the setting (hours become days of the account's time zone); of one that
was stored in part only the rows that wait come back, beside their neighbours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine, or_
from sqlmodel import col, select

from liftloop.adapters import clock
from liftloop.adapters.facts.archived_deliveries import (
    READMISSION,
    finish_pending,
    read_copy,
    sift_copy,
)
from liftloop.adapters.facts.deliveries import Taking, taking_in
from liftloop.adapters.facts.quarantine import open_rows
from liftloop.adapters.facts.readmission import Readmission, note_judged_again, sift_rows
from liftloop.adapters.facts.recording import Intake, intention, long_key, next_instant
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.files.archive import Archived, first_receipt, load_reading
from liftloop.adapters.files.rereading import close_replaced_readings
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, QuarantinedRow
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account

BY_CURRENCY = "currency_has_rate"
BY_ZONE = "date_not_in_future"


def judge_again(
    intake: Intake,
    *,
    feed: str | None = None,
    received_at: datetime | None = None,
) -> list[DeliverySummary]:
    """Judge the open rows again (of one feed, or all) whose rules a changed ``[account]`` mends.

    Rows count as reported when they were first received, so that they hide nothing that came
    since. Without a changed setting nothing is done, and a second call changes nothing.

    Returns
    -------
    list of DeliverySummary
        One a delivery that came back, in the order of their first receipt; its first note says why.

    Raises
    ------
    OutsideServiceFailed
        When the ledger cannot be reached, or another program is taking files in for too long.
    """
    engine = intake.engine
    with taking_in(intake.workspace):
        finish_pending(intake.workspace, engine=engine)
        close_replaced_readings(engine)
        summaries = []
        for delivery in _waiting(engine):
            if feed not in (None, delivery.feed):
                continue
            judged = _Judged.of(intake, delivery)
            summary = judged and judged.take(received_at or clock.now())
            summaries += [summary] if summary else []
    return summaries


def _waiting(engine: Engine) -> list[Delivery]:
    """Deliveries with open rows that a setting may mend, first received first."""
    mendable = or_(*(col(QuarantinedRow.rules).contains(rule) for rule in (BY_CURRENCY, BY_ZONE)))
    with session(engine, read_only=True) as opened:
        named = (
            select(QuarantinedRow.delivery_id)
            .where(QuarantinedRow.state == "open")
            .where(mendable)
            .distinct()
        )
        return list(
            opened.exec(
                select(Delivery)
                .where(col(Delivery.id).in_(named))
                .where(Delivery.importer != READMISSION)
                .order_by(col(Delivery.received_at))
            ).all()
        )


@dataclass(frozen=True, slots=True)
class _Judged:
    """A delivery with open rows that keep the rules under the present account."""

    intake: Intake
    before: Account
    delivery: Delivery
    copy: Path
    options: ImportOptions
    first: datetime
    rows: pd.DataFrame
    whole: bool

    @classmethod
    def of(cls, intake: Intake, delivery: Delivery) -> _Judged | None:
        """None where the account is that of then, or no row keeps the rules."""
        workspace, account = intake.workspace, intake.account
        try:
            copy, options, before = load_reading(workspace, delivery.sha256, delivery.id)
            first = first_receipt(workspace, delivery.sha256, delivery.id) or delivery.received_at
        except FileNotFoundError:
            return None  # nobody can say under which account it was judged: readmit takes it
        if before == account:
            return None
        rules = [BY_CURRENCY, *([BY_ZONE] if before.timezone != account.timezone else [])]
        found = open_rows(intake.engine, delivery=delivery.id)
        rows = found[found["rules"].str.contains("|".join(rules))].reset_index(drop=True)
        if rows.empty:
            return None
        sifted = sift_rows(delivery.feed, rows, account=account, received_at=first)
        passing = rows.iloc[sifted.accepted["row_number"].to_numpy() - 1].reset_index(drop=True)
        if passing.empty:
            return None
        whole = len(found) == delivery.quarantined == delivery.received and copy.is_file()
        return cls(intake, before, delivery, copy, options, first, passing, whole)

    def take(self, now: datetime) -> DeliverySummary | None:
        if self.whole:
            try:
                return self._read_again(now)
            except RefusedFile:
                pass  # its rows were read once: they come back as they are
        back = Readmission(self.intake, self.delivery.feed, self.rows, self._because())
        return back.run(now)

    def _read_again(self, now: datetime) -> DeliverySummary:
        options = replace(self.options, timezone=self.intake.account.timezone)
        imported = read_copy(self.copy, options)
        imported = replace(imported, notes=(self._because(), *imported.notes))
        at = next_instant(self.intake.engine, now)
        sifted = sift_copy(imported, self.intake.account, self.first)
        id = long_key("d", self.delivery.id, asdict(self.intake.account))
        intended = intention(
            id, self.delivery.sha256, self.delivery.filename, imported, at, len(sifted.rejected)
        )
        taking = Taking(
            self.intake,
            self.copy,
            lambda done, steps: None,
            Archived(self.copy, self.delivery.sha256),
        )
        return taking.record(
            intended,
            sifted,
            options,
            first=self.first,
            resolves=lambda opened: note_judged_again(
                opened,
                intended,
                actor=self.intake.actor,
                because=self._because(),
                rows=self.delivery.quarantined,
            ),
        )

    def _because(self) -> str:
        now, before = self.intake.account, self.before
        changes = [
            f"{name} is {getattr(now, name)} ({getattr(before, name)} before)"
            for name in ("currency", "timezone")
            if getattr(now, name) != getattr(before, name)
        ]
        if now.rates != before.rates:
            changes.append("the rates were changed")
        rows = "1 row" if len(self.rows) == 1 else f"{len(self.rows):,} rows"
        return (
            f"{rows} of {self.delivery.filename} came back from quarantine, since [account] was "
            f"changed: {', '.join(changes)}."
        )
