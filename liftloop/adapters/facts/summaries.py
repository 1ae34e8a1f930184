"""What became of delivered files: figures and a sentence each, and the page an ingest leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from liftloop.adapters.files.reading import printable
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, QuarantinedRow
from liftloop.core.feeds.validate import Missing
from liftloop.reporting.rendering import render

LONGEST = 8  # notes of a file that are shown; --json has all
NEARLY_ALL = 0.9  # share of a delivery from which its currency is taken for the account's own
_SAMPLE = 1000  # rows whose currencies are looked at
_NO_RATE = "currency_has_rate"


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """What became of one file. ``received = stored + superseded + quarantined``.

    ``rows_read`` counts before an importer sums rows up, ``rules`` are the quarantined rows by the
    rules they broke (a row may break several), ``refused`` says why nothing of the file was stored,
    ``held`` why it waits in its place and is taken in later, ``duplicate`` that it had been taken
    in before: the counts are those of then. ``waiting`` counts the rows that are still in
    quarantine, and ``advice`` says how a setting mends them, where one does. ``missing`` is what
    stored rows lack of what a platform attributes; the notes say it, too.
    ``healed`` says what a file that came again has mended.
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
    held: str | None = None
    waiting: int = 0
    advice: str = ""
    missing: tuple[Missing, ...] = ()
    healed: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "rules": dict(self.rules), "sentence": self.sentence}

    @property
    def is_taken_in(self) -> bool:
        """Whether its rows are in the ledger's counts, now or from an earlier time."""
        return self.refused is None and self.held is None

    @property
    def sentence(self) -> str:
        if not self.is_taken_in:
            return str(self.refused or self.held)
        name = printable(self.filename)
        why = ", ".join(f"{rule} {rows:,}" for rule, rows in self.rules)
        if self.duplicate:
            words = f"{name}: taken in before, nothing changed ({self.delivery_id})"
            if self.healed:
                return f"{name}: taken in before ({self.delivery_id}); {self.healed}"
            if self.waiting:
                words += f"; {self.waiting:,} of its rows are in quarantine ({why})"
            return self._advised(words)
        rows = "row" if self.received == 1 else "rows"
        words = f"{name}: {self.received:,} {self.feed} {rows}, {self.stored:,} stored"
        if self.superseded:
            words += f", {self.superseded:,} superseded"
        if self.quarantined:
            words += f", {self.quarantined:,} in quarantine ({why})"
        return self._advised(words)

    def _advised(self, words: str) -> str:
        return f"{words}. {self.advice}" if self.advice else f"{words}."


def summary_lines(summaries: Sequence[DeliverySummary]) -> Iterator[str]:
    """What a terminal shows: a sentence a file, and below it, indented, each of its notes once.

    Notes beyond the first :data:`LONGEST` are counted, and a file with the notes of the one before
    it says so.
    """
    before: tuple[str, tuple[str, ...]] = ("", ())
    for summary in summaries:
        yield summary.sentence
        notes = tuple(dict.fromkeys(summary.notes))
        if summary.duplicate or not summary.is_taken_in or not notes:
            continue
        name = printable(summary.filename)
        if len(notes) > 1 and notes == before[1]:
            yield f"  The same {len(notes)} notes as for {before[0]}."
            continue
        before = name, notes
        shown = notes if len(notes) <= LONGEST else notes[: LONGEST - 1]
        yield from (f"  {' '.join(note.split())}" for note in shown)
        if len(shown) < len(notes):
            yield f"  and {len(notes) - len(shown)} more: --json"


def summary_of(engine: Engine, delivery: str) -> DeliverySummary | None:
    """What the ledger says of a delivery; None when it knows none of that id."""
    with session(engine, read_only=True) as opened:
        found = opened.get(Delivery, delivery)
        if found is None:
            return None
        broken = opened.exec(
            select(QuarantinedRow.rules, QuarantinedRow.state, func.count())
            .where(QuarantinedRow.delivery_id == delivery)
            .group_by(QuarantinedRow.rules, QuarantinedRow.state)
        ).all()
        waiting = {names: rows for names, state, rows in broken if state == "open"}
        foreign = sum(rows for names, rows in waiting.items() if _NO_RATE in names)
        advice = _advice(opened, found, foreign) if foreign else ""
    notes = json.loads(found.notes)  # sentences, and what is missing as data
    rules: dict[str, int] = {}
    for names, _, rows in broken:
        for rule in names.split(";"):
            rules[rule] = rules.get(rule, 0) + rows
    return DeliverySummary(
        filename=found.filename,
        delivery_id=found.id,
        feed=found.feed,
        importer=found.importer,
        rows_read=found.rows_read,
        received=found.received,
        stored=found.stored,
        superseded=found.superseded,
        quarantined=found.quarantined,
        rules=tuple(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
        notes=tuple(n if isinstance(n, str) else Missing(**n).sentence for n in notes),
        facts_version=found.facts_version,
        waiting=sum(waiting.values()),
        advice=advice,
        missing=tuple(Missing(**n) for n in notes if not isinstance(n, str)),
    )


def _advice(opened: Session, delivery: Delivery, foreign: int) -> str:
    """How the ``foreign`` rows in a currency without a rate come out of quarantine."""
    rows = opened.exec(
        select(QuarantinedRow.row)
        .where(QuarantinedRow.delivery_id == delivery.id)
        .where(QuarantinedRow.state == "open")
        .where(col(QuarantinedRow.rules).contains(_NO_RATE))
        .limit(_SAMPLE)
    ).all()
    codes = sorted({str(json.loads(row).get("currency", "")).strip().upper() for row in rows})
    named = " and ".join(codes)
    head = f"{foreign:,} rows are" if foreign != 1 else "1 row is"
    after = "then run liftloop ingest, which judges them again."
    if foreign >= NEARLY_ALL * delivery.received and len(codes) == 1:
        return (
            f"{head} in {named}, which is not the account's currency and has no rate. Fix: if the "
            f'account is in {named}, set currency = "{named}" under [account] in liftloop.toml, '
            f"else add a rate for {named} there ([[account.rates]]); {after}"
        )
    return (
        f"{head} in {named}, without a rate for their days. Fix: add a rate for {named} to "
        f"liftloop.toml ([[account.rates]]); {after}"
    )


def quality_summary(
    summaries: Sequence[DeliverySummary], last_dates: Mapping[str, date | None]
) -> str:
    """Markdown: one row a file, then the files refused or waiting with the reason, then the feeds'
    last days.

    Parameters
    ----------
    last_dates
        Feed -> the last day it has facts of.
    """
    refused = [summary for summary in summaries if summary.refused is not None]
    held = [summary for summary in summaries if summary.held is not None]
    taken = [summary for summary in summaries if summary.is_taken_in]
    return render(
        "markdown/deliveries.md.j2",
        headline=_headline(taken, refused, held),
        taken=taken,
        refused=refused,
        held=held,
        notes=[(s.filename, note) for s in taken if not s.duplicate for note in s.notes],
        last_days=last_dates,
    )


def _headline(
    taken: Sequence[DeliverySummary],
    refused: Sequence[DeliverySummary],
    held: Sequence[DeliverySummary],
) -> str:
    new = [summary for summary in taken if not summary.duplicate]
    received = sum(summary.received for summary in new)
    parts = [f"{received:,} rows in {_files(len(new), 'new ')}"]
    if len(taken) > len(new):
        parts.append(f"{_files(len(taken) - len(new))} taken in before (nothing changed)")
    if refused:
        parts.append(f"{_files(len(refused))} refused")
    if held:
        parts.append(f"{_files(len(held))} waiting")
    return ", ".join(parts) + "."


def _files(many: int, kind: str = "") -> str:
    return f"{many} {kind}file{'' if many == 1 else 's'}"
