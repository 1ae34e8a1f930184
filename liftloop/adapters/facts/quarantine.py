"""Rows in quarantine: list them, export them to be mended, discard them.

An export is a CSV that a spreadsheet may open: text that a spreadsheet would run as a formula gets
a leading apostrophe; re-admitting takes it off.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from datetime import datetime
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Engine, func, update
from sqlmodel import col, select

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.facts.recording import long_key
from liftloop.adapters.files.archive import write_whole
from liftloop.adapters.files.spreadsheet import disarmed
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, QuarantinedRow
from liftloop.core.feeds.declared import FEEDS

NAMES = ("delivery_id", "row_number")
SPARE = (*NAMES, "feed", "rules", "filename")  # of an export; the rest are the row's own
_ROWS_AT_ONCE = 500


def open_rows(
    engine: Engine,
    *,
    feed: str | None = None,
    delivery: str | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Open rows: delivery_id, row_number, feed, filename, rules, row (JSON text as received).

    In the order in which they were received.
    """
    wanted = (
        select(  # type: ignore[call-overload]  # typed for four columns at most
            QuarantinedRow.delivery_id,
            QuarantinedRow.row_number,
            QuarantinedRow.feed,
            Delivery.filename,
            QuarantinedRow.rules,
            QuarantinedRow.row,
        )
        .join(Delivery, col(Delivery.id) == QuarantinedRow.delivery_id)
        .where(QuarantinedRow.state == "open")
        .order_by(col(Delivery.received_at), col(QuarantinedRow.row_number))
        .limit(limit)
    )
    if feed is not None:
        wanted = wanted.where(QuarantinedRow.feed == feed)
    if delivery is not None:
        wanted = wanted.where(QuarantinedRow.delivery_id == delivery)
    with session(engine, read_only=True) as opened:
        rows = opened.exec(wanted).all()
    names = ["delivery_id", "row_number", "feed", "filename", "rules", "row"]
    return pd.DataFrame([tuple(row) for row in rows], columns=names)


def open_counts(engine: Engine) -> dict[str, dict[str, int]]:
    """Open rows by feed and by the rules they broke."""
    with session(engine, read_only=True) as opened:
        found = opened.exec(
            select(QuarantinedRow.feed, QuarantinedRow.rules, func.count())
            .where(QuarantinedRow.state == "open")
            .group_by(QuarantinedRow.feed, QuarantinedRow.rules)
        ).all()
    counts: dict[str, dict[str, int]] = {}
    for feed, rules, rows in sorted(found):
        for rule in rules.split(";"):
            of_feed = counts.setdefault(feed, {})
            of_feed[rule] = of_feed.get(rule, 0) + rows
    return counts


def export_rows(
    engine: Engine, path: Path, *, feed: str | None = None, delivery: str | None = None
) -> int:
    """Write the open rows to a CSV to be mended; how many there were.

    Columns: delivery_id, row_number (both name the row: leave them), feed, filename, rules, then
    the rows' own.
    """
    found = open_rows(engine, feed=feed, delivery=delivery)
    own = [json.loads(row) for row in found["row"]]
    names = list(dict.fromkeys(name for row in own for name in row))
    for declared in (FEEDS[name] for name in found["feed"].unique()):
        names += [name for name in declared.required if name not in names]
    written = StringIO()
    # all in quotes: with less, a carriage return in a cell would begin a row of its own
    target = csv.DictWriter(written, [*SPARE, *names], lineterminator="\n", quoting=csv.QUOTE_ALL)
    target.writeheader()
    for said, row in zip(found.drop(columns="row").to_dict("records"), own, strict=True):
        cells = {**row, **{name: said[name] for name in SPARE}}
        target.writerow({name: disarmed(cell) for name, cell in cells.items()})
    write_whole(path, written.getvalue())
    return len(found)


def of_rule(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Those of :func:`open_rows` that broke ``rule``, whatever else they broke."""
    broke = [rule in rules.split(";") for rules in rows["rules"]]
    return rows[np.array(broke, dtype=bool)]


def discard_rows(
    engine: Engine,
    rows: Iterable[tuple[str, int]],
    *,
    actor: str,
    at: datetime | None = None,
    because: str = "",
) -> int:
    """Close open rows for good, storing nothing of them; how many were open.

    ``because`` is the reason, for the audit trail.
    """
    closed: list[tuple[str, int]] = []
    numbers: dict[str, set[int]] = {}
    for delivery, number in rows:
        numbers.setdefault(delivery, set()).add(int(number))
    with session(engine) as opened:
        for delivery in sorted(numbers):
            still = opened.exec(
                select(QuarantinedRow.row_number)
                .where(QuarantinedRow.delivery_id == delivery)
                .where(QuarantinedRow.state == "open")
            ).all()
            wanted = sorted(numbers[delivery].intersection(still))
            for start in range(0, len(wanted), _ROWS_AT_ONCE):
                opened.connection().execute(
                    update(QuarantinedRow)
                    .where(col(QuarantinedRow.delivery_id) == delivery)
                    .where(
                        col(QuarantinedRow.row_number).in_(wanted[start : start + _ROWS_AT_ONCE])
                    )
                    .values(state="discarded")
                )
            closed += [(delivery, number) for number in wanted]
        if closed:
            named = [[delivery, number] for delivery, number in closed]
            append_audit(
                opened,
                AuditEvent(
                    key=long_key("discard", named),
                    actor=actor,
                    act="discard",
                    subject="quarantine",
                    at=at or clock.now(),
                    payload={"rows": named} | ({"reason": because} if because else {}),
                ),
            )
    return len(closed)
