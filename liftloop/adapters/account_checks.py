"""What is stored otherwise than the account would have it now, delivery by delivery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Engine

from liftloop.adapters.archive import load_reading
from liftloop.adapters.changed_account import AGAIN, lost_rates, readings
from liftloop.adapters.changed_currency import valued_otherwise
from liftloop.adapters.deliveries import READMISSION, read_copy
from liftloop.adapters.reading import printable
from liftloop.adapters.tables import Delivery
from liftloop.adapters.workspace import Workspace
from liftloop.core.contracts import Account
from liftloop.core.errors import LiftLoopError


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
