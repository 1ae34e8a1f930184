"""One file read twice: by other options, or under another account.

A file's content is one set of facts, however it is read. Rows that an earlier reading left in
quarantine are closed when a later reading of the same file is taken in: admitted afterwards, they
would store the same money once more, under another segment.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult, Engine, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, QuarantinedRow

SUPERSEDED = "superseded"  # the state of a quarantined row whose file was read again


def close_earlier_readings(opened: Session, later: Delivery) -> int:
    """Close the open rows of earlier readings of the file that ``later`` is a reading of.

    Parameters
    ----------
    opened
        The transaction in which ``later`` is recorded.

    Returns
    -------
    int
        How many rows were open until now.
    """
    earlier = (
        select(Delivery.id)
        .where(Delivery.sha256 == later.sha256)
        .where(Delivery.feed == later.feed)
        .where(Delivery.importer == later.importer)
        .where(Delivery.id != later.id)
    )
    return _close(opened, col(QuarantinedRow.delivery_id).in_(earlier), later.id)


def close_replaced_readings(engine: Engine) -> int:
    """Close open rows whose file was read again by a later delivery, as ledgers of before have
    them; how many there were."""
    older, newer = aliased(Delivery), aliased(Delivery)
    with session(engine) as opened:
        pairs = opened.exec(
            select(older.id, newer.id)
            .join(
                newer,
                (col(newer.sha256) == col(older.sha256))
                & (col(newer.feed) == col(older.feed))
                & (col(newer.importer) == col(older.importer))
                & (col(newer.received_at) > col(older.received_at)),
            )
            .where(
                select(QuarantinedRow.delivery_id)
                .where(QuarantinedRow.delivery_id == older.id)
                .where(QuarantinedRow.state == "open")
                .exists()
            )
            .order_by(col(newer.received_at))
        ).all()
        latest = dict(pairs)
        return sum(
            _close(opened, col(QuarantinedRow.delivery_id) == before, after)
            for before, after in latest.items()
        )


def _close(opened: Session, condition: Any, later: str) -> int:
    closed: CursorResult[Any] = opened.connection().execute(
        update(QuarantinedRow)
        .where(col(QuarantinedRow.state) == "open")
        .where(condition)
        .values(state=SUPERSEDED, resolved_by=later)
    )
    return int(closed.rowcount)
