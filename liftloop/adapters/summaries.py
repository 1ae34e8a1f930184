"""What became of a delivered file, in figures and in a sentence."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, func
from sqlmodel import select

from liftloop.adapters.engine import session
from liftloop.adapters.reading import printable
from liftloop.adapters.tables import Delivery, QuarantinedRow


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """What became of one file. ``received = stored + superseded + quarantined``.

    ``rows_read`` counts before an importer sums rows up, ``rules`` are the quarantined rows by the
    rules they broke (a row may break several), ``refused`` says why nothing of the file was stored,
    ``duplicate`` that it had been taken in before: the counts are those of then.
    """

    filename: str
    delivery_id: str | None = None
    feed: str | None = None
    importer: str | None = None
    rows_read: int = 0
    received: int = 0
    stored: int = 0
    superseded: int = 0
    quarantined: int = 0
    rules: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    facts_version: int | None = None
    duplicate: bool = False
    refused: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "rules": dict(self.rules), "sentence": self.sentence}

    @property
    def sentence(self) -> str:
        if self.refused is not None:
            return self.refused
        name = printable(self.filename)
        if self.duplicate:
            return f"{name}: taken in before, nothing changed ({self.delivery_id})."
        rows = "row" if self.received == 1 else "rows"
        words = f"{name}: {self.received:,} {self.feed} {rows}, {self.stored:,} stored"
        if self.superseded:
            words += f", {self.superseded:,} superseded"
        if self.quarantined:
            why = ", ".join(f"{rule} {rows:,}" for rule, rows in self.rules)
            words += f", {self.quarantined:,} in quarantine ({why})"
        return words + "."


def summary_of(engine: Engine, delivery: str) -> DeliverySummary | None:
    """What the ledger says of a delivery; None when it knows none of that id."""
    with session(engine, read_only=True) as opened:
        found = opened.get(Delivery, delivery)
        if found is None:
            return None
        broken = opened.exec(
            select(QuarantinedRow.rules, func.count())
            .where(QuarantinedRow.delivery_id == delivery)
            .group_by(QuarantinedRow.rules)
        ).all()
    rules: dict[str, int] = {}
    for names, rows in broken:
        for rule in names.split(";"):
            rules[rule] = rules.get(rule, 0) + rows
    return DeliverySummary(
        filename=found.filename, delivery_id=found.id, feed=found.feed, importer=found.importer,
        rows_read=found.rows_read, received=found.received, stored=found.stored,
        superseded=found.superseded, quarantined=found.quarantined,
        rules=tuple(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
        notes=tuple(json.loads(found.notes)), facts_version=found.facts_version,
    )  # fmt: skip
