"""A changed time zone or rate does not restate what is stored: whom it concerns is told so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters.files.archive import load_reading
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery
from liftloop.core.feeds.context import Account
from liftloop.settings.workspace import Workspace

AGAIN = "liftloop ingest FILE --replace"


def note_on_account(workspace: Workspace, engine: Engine, account: Account) -> tuple[str, ...]:
    """A sentence for the first delivery after the time zone or a rate was changed; else none."""
    latest = next(readings(workspace, engine, newest_alone=True), None)
    changes = _changes(latest[1], account) if latest else ""
    if not changes:
        return ()
    return (
        f"Since the last delivery {changes}. What is stored stays as it was read; liftloop doctor "
        f"names the files this concerns, and {AGAIN} reads one again.",
    )


def readings(
    workspace: Workspace, engine: Engine, *, newest_alone: bool = False
) -> Iterator[tuple[Delivery, Account]]:
    """The deliveries with stored rows (the newest alone, if ``newest_alone``) whose reading is
    archived, and the account of then."""
    moment: Any = col(Delivery.received_at)
    with session(engine, read_only=True) as opened:
        wanted = select(Delivery).where(Delivery.stored + Delivery.superseded > 0)
        wanted = wanted.order_by(moment.desc() if newest_alone else moment)
        deliveries = opened.exec(wanted.limit(1) if newest_alone else wanted).all()
    for delivery in deliveries:
        try:
            yield delivery, load_reading(workspace, delivery.sha256, delivery.id)[2]
        except FileNotFoundError:  # the archive was cleared, or a readmission of earlier versions
            continue


def _changes(before: Account, now: Account) -> str:
    words = []
    if before.timezone != now.timezone:
        words.append(f"the account's time zone became {now.timezone} ({before.timezone} before)")
    lost = lost_rates(before, now)
    if lost:
        words.append(f"the rate of {', '.join(lost)} was changed")
    return " and ".join(words)


def lost_rates(before: Account, now: Account) -> list[str]:
    """The currencies of which a day's rate is another one now, or none."""
    return sorted(
        {
            rate.currency
            for rate in before.rates
            if not any(
                (other.currency, other.rate) == (rate.currency, rate.rate)
                and other.start <= rate.start
                and other.end >= rate.end
                for other in now.rates
            )
        }
    )
