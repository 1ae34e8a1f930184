"""The playbook: notes that people write, and what experiments supposed and found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date

from sqlmodel import Session

from liftloop.adapters.audit.sealing import row_content
from liftloop.adapters.ledger.decisions import decision
from liftloop.adapters.ledger.experiments import MEASURED, UNMEASURED, experiment, experiments
from liftloop.adapters.ledger.experiments import plan_of as plan_of_experiment
from liftloop.adapters.ledger.playbook import add_note, events_between, note_of, notes
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import ExperimentRecord, PlaybookNote, VariantTestRecord
from liftloop.adapters.ledger.variant_tests import (
    RUNNING,
    planned_test,
    variant_test,
    variant_tests,
)
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.ids import key
from liftloop.reporting.history.playbook import KINDS, PlaybookEntry
from tasks.context import Loop
from tasks.experiments.runs import ExperimentPromise
from tasks.operate.audit_notes import anchor, note


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNote:
    """A note to be written. Days are included; without ``last`` it is of ``first`` alone."""

    text: str
    kind: str
    first: date
    last: date | None = None
    segment: str = "*"
    channel: str = "*"
    about: str = ""


def write_note(loop: Loop, new: NewNote, *, actor: str) -> str:
    """Keep a note and enter it into the audit trail; its id. The same note again changes nothing.

    Raises
    ------
    Declined
        When it says nothing, is of an unknown kind, or ends before it begins.
    UnknownName
        When what it is about is no decision, experiment, test or note.
    """
    last = new.last or new.first
    text = " ".join(new.text.split())
    if not text:
        raise Declined("The note is empty: write what was supposed, found, learned or happened.")
    if new.kind not in KINDS:
        raise Declined(f"{new.kind!r} is no kind of note: use {', '.join(KINDS)}.")
    if last < new.first:
        raise Declined(f"The note ends on {last}, before {new.first}: turn the days round.")
    row = PlaybookNote(
        id=key("n", new.kind, text, new.first, last, new.segment, new.channel, new.about),
        kind=new.kind,
        text=text,
        starts_on=new.first,
        ends_on=last,
        segment=new.segment,
        channel=new.channel,
        about=new.about,
        actor=actor,
        created_at=loop.now(),
    )
    id, said = row.id, {"kind": row.kind, "reason": text, "content": row_content(row)}
    with session(loop.engine) as db:
        if new.about and not _is_known(db, new.about):
            raise UnknownName(
                f"There is no decision, experiment or note {new.about}: liftloop changelog, "
                "liftloop experiments and liftloop playbook list them."
            )
        if add_note(db, note=row):
            note(db, loop, "note", id, actor=actor, payload=said)
    anchor(loop)
    return id


def _is_known(db: Session, name: str) -> bool:
    rows = (
        decision(db, id=name),
        experiment(db, name=name),
        variant_test(db, name=name),
        note_of(db, id=name),
    )
    return any(row is not None for row in rows)


def playbook(loop: Loop, words: str = "") -> tuple[PlaybookEntry, ...]:
    """Every entry that has all the words, by its first day: notes, and of each experiment and each
    test inside a cell what was supposed and what came out."""
    with session(loop.engine, read_only=True) as db:
        found = playbook_in(db)
    return tuple(one for one in found if one.has(words))


def playbook_in(db: Session) -> tuple[PlaybookEntry, ...]:
    """Every entry, by its first day."""
    found = [_of_note(row) for row in notes(db)]
    for record in experiments(db):
        found += _of_experiment(record)
    for test in variant_tests(db):
        found += _of_variant_test(test)
    return tuple(sorted(found, key=lambda one: (one.first, KINDS.index(one.kind), one.id)))


def noted_events(db: Session, *, first: date, last: date) -> tuple[PlaybookEntry, ...]:
    """External events on any of the days from ``first`` to ``last``, both included."""
    return tuple(_of_note(row) for row in events_between(db, first=first, last=last))


def _of_note(row: PlaybookNote) -> PlaybookEntry:
    return PlaybookEntry(
        id=row.id,
        kind=row.kind,
        text=row.text,
        first=row.starts_on,
        last=row.ends_on,
        segment=row.segment,
        channel=row.channel,
        about=row.about,
        who=row.actor,
    )


def _of_experiment(record: ExperimentRecord) -> list[PlaybookEntry]:
    """What it tests, and once it is over what came out or why nothing did."""
    planned = plan_of_experiment(record)
    promise = ExperimentPromise(**json.loads(record.promise))
    result = json.loads(record.result).get("sentence") or record.reason
    texts = {"hypothesis": promise.hypotheses}
    if record.state in (MEASURED, UNMEASURED):
        texts["result"] = " ".join(dict.fromkeys(filter(None, (record.reason, result))))
    return [
        PlaybookEntry(
            id=record.name,
            kind=kind,
            text=text,
            first=planned.start,
            last=planned.end,
            segment=", ".join(planned.segments),
            channel=planned.channel,
            about=record.name,
            who=record.actor,
        )
        for kind, text in texts.items()
    ]


def _of_variant_test(record: VariantTestRecord) -> list[PlaybookEntry]:
    """What it tests, and once it is over what came out."""
    planned = planned_test(record)
    texts = {"hypothesis": f"{planned.hypothesis} ({' against '.join(planned.variants)})"}
    if record.state != RUNNING:
        texts["result"] = record.reason
    return [
        PlaybookEntry(
            id=record.name,
            kind=kind,
            text=text,
            first=record.starts_on,
            last=record.ended_on or record.ends_on,
            segment=", ".join(planned.segments),
            channel=planned.channel,
            about=record.name,
            who=record.actor,
        )
        for kind, text in texts.items()
    ]
