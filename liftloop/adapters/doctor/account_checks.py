"""What is stored against the account as it is set now: a changed currency must not rename money; a
changed rate or time zone is named by doctor, delivery by delivery.

Amounts are stored in the account's currency of their receipt. Rows that name no currency are in the
account's, whatever it is called; rows that do would count as another one from the change on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import parquet
from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.doctor.changed_account import AGAIN, lost_rates, readings
from liftloop.adapters.facts.archived_deliveries import READMISSION, read_copy, sift_copy
from liftloop.adapters.facts.recording import long_key
from liftloop.adapters.files.archive import load_reading
from liftloop.adapters.files.reading import printable
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import AuditEntry, Delivery
from liftloop.core.errors import ConfigurationError, LiftLoopError, RefusedFile
from liftloop.core.feeds.context import Account, conversion
from liftloop.core.feeds.declared import FEEDS
from liftloop.settings.workspace import Workspace

ACT = "account"


@dataclass(frozen=True, slots=True)
class Renamed:
    """Stored rows of one delivery whose money the changed account would rename."""

    filename: str
    currency: str
    rows: int
    amount: float


def refuse_renamed_money(
    workspace: Workspace, *, engine: Engine, account: Account, actor: str | None = "liftloop"
) -> None:
    """Refuse a changed account currency that stored rows contradict.

    A change that none contradicts is noted in the audit trail as ``actor``'s, and not looked into
    again; None notes nothing.

    Raises
    ------
    ConfigurationError
        When stored rows that name their currency were taken at another value than they would be
        now.
    """
    changed = _of_another_currency(workspace, engine, account)
    if not changed:
        return
    renamed = [r for d, before in changed if (r := valued_otherwise(workspace, d, before, account))]
    if renamed:
        before = changed[-1][1].currency
        first = renamed[0]
        others = f" and {len(renamed) - 1} other deliveries" if len(renamed) > 1 else ""
        raise ConfigurationError(
            f"[account] currency is {account.currency} now, but {first.rows:,} stored rows of "
            f"{printable(first.filename)}{others} are in {first.currency} "
            f"({first.amount:,.2f}) and would count as {account.currency}.",
            fix=f'set currency = "{before}" again and add a rate for {account.currency} '
            f"([[account.rates]]), or make a workspace for {account.currency} (liftloop init "
            f"--currency {account.currency}) and deliver the files there.",
        )
    if actor is None:
        return
    with session(engine) as opened:
        append_audit(
            opened,
            AuditEvent(
                key=long_key(ACT, account.currency, changed[-1][0].id),
                actor=actor,
                act=ACT,
                subject="account",
                at=clock.now(),
                payload={
                    "currency": account.currency,
                    "reason": f"The account's currency is "
                    f"{account.currency} ({changed[-1][1].currency} before); no stored row "
                    "names another.",
                },
            ),
        )


def _of_another_currency(
    workspace: Workspace, engine: Engine, account: Account
) -> list[tuple[Delivery, Account]]:
    """Deliveries with stored rows that were read under an account of another currency, since the
    last change that was noted."""
    with session(engine, read_only=True) as opened:
        noted = opened.exec(
            select(AuditEntry)
            .where(AuditEntry.act == ACT)
            .order_by(col(AuditEntry.sequence).desc())
            .limit(1)
        ).first()
        wanted = (
            select(Delivery)
            .where(Delivery.stored + Delivery.superseded > 0)
            .order_by(col(Delivery.received_at))
        )
        if noted is not None and json.loads(noted.payload)["currency"] == account.currency:
            wanted = wanted.where(Delivery.received_at > noted.at)
        deliveries = opened.exec(wanted).all()
    changed = []
    for delivery in deliveries:
        try:
            before = load_reading(workspace, delivery.sha256, delivery.id)[2]
        except FileNotFoundError:  # the archive was cleared: nothing is left to compare
            continue
        if before.currency != account.currency:
            changed.append((delivery, before))
    return changed


def valued_otherwise(
    workspace: Workspace, delivery: Delivery, before: Account, account: Account
) -> Renamed | None:
    """The stored rows of a delivery, read under the account ``before``, whose money ``account``
    would convert otherwise; None where there are none."""
    copy, options, _ = load_reading(workspace, delivery.sha256, delivery.id)
    if not copy.is_file():  # rows had to leave it: what is kept names no currency
        return None
    if delivery.importer == READMISSION:
        frame = _readmitted(copy)
    else:
        frame = _stored(copy, options, before, delivery)
    if frame.empty:
        return None
    currency = frame["currency"].astype("str").fillna("").str.strip()
    then, _ = conversion(currency, frame["date"], account=before)
    now, broken = conversion(currency, frame["date"], account=account)
    differs = np.zeros(len(frame), bool)
    differs |= (np.ones(len(frame)) if then is None else then) != (
        np.ones(len(frame)) if now is None else now
    )
    for mask in broken.values():
        differs |= mask
    if not differs.any():
        return None
    money = FEEDS[delivery.feed].money[0]
    amounts = pd.to_numeric(frame.loc[differs, money], errors="coerce")
    return Renamed(
        delivery.filename, str(currency[differs].iloc[0]), int(differs.sum()), float(amounts.sum())
    )


def _readmitted(copy: Path) -> pd.DataFrame:
    """The rows of a readmission that name a currency, as they were stored."""
    try:
        frame: pd.DataFrame = parquet.read_table(copy).to_pandas()
    except FileNotFoundError:
        return pd.DataFrame()
    return _naming_a_currency(frame)


def _stored(
    copy: Path, options: ImportOptions, before: Account, delivery: Delivery
) -> pd.DataFrame:
    """The rows that were stored and name a currency: as received, with their day."""
    try:
        imported = read_copy(copy, options)
    except (RefusedFile, FileNotFoundError):
        return pd.DataFrame()
    frame = imported.frame
    if "currency" not in frame or not FEEDS[delivery.feed].money:
        return pd.DataFrame()
    accepted = sift_copy(imported, before, delivery.received_at).accepted
    rows = frame.iloc[accepted["row_number"].to_numpy() - 1].reset_index(drop=True)
    rows["date"] = accepted["date"].reset_index(drop=True)
    return _naming_a_currency(rows)


def _naming_a_currency(rows: pd.DataFrame) -> pd.DataFrame:
    if "currency" not in rows:
        return rows.iloc[:0]
    named = rows["currency"].astype("str").fillna("").str.strip() != ""
    return rows[named].reset_index(drop=True)


def doctor_on_account(
    workspace: Workspace, engine: Engine, account: Account
) -> Iterator[tuple[str, str, str]]:
    """What is stored otherwise than the account would have it now: what is checked, the finding,
    and what mends it."""
    for delivery, before in readings(workspace, engine):
        name = printable(delivery.filename)
        if lost_rates(before, account):
            found = valued_otherwise(workspace, delivery, before, account)
            if found is not None:
                yield (
                    "rates",
                    f"{found.rows:,} stored rows of {name} in {found.currency} "
                    f"({found.amount:,.2f}) were converted at another rate than is set now",
                    AGAIN.replace("FILE", name),
                )
        if before.timezone != account.timezone and _days_differ(workspace, delivery, account):
            yield (
                "time zone",
                f"{name} was summed to days of {before.timezone}, and the account's zone is "
                f"{account.timezone} now: its stored rows are of other days",
                AGAIN.replace("FILE", name) + " (a day that it has no more keeps its rows)",
            )


def _days_differ(workspace: Workspace, delivery: Delivery, account: Account) -> bool:
    """Whether the archived file would have other rows in the account's zone of now."""
    if delivery.importer == READMISSION:
        return False
    copy, options, _ = load_reading(workspace, delivery.sha256, delivery.id)
    try:
        then = read_copy(copy, options).frame
        now = read_copy(copy, replace(options, timezone=account.timezone)).frame
    except (LiftLoopError, FileNotFoundError):
        return False
    return not then.equals(now)
