"""Notes of the playbook in the ledger; a note never changes."""

from __future__ import annotations

from datetime import date

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.records import insert_once
from liftloop.adapters.ledger.tables import PlaybookNote

EVENT = "event"


def add_note(session: Session, *, note: PlaybookNote) -> bool:
    """Keep a note under its id; False when it is there already."""
    return insert_once(session, note)


def note_of(session: Session, *, id: str) -> PlaybookNote | None:
    return session.get(PlaybookNote, id)


def notes(session: Session) -> list[PlaybookNote]:
    """All notes, by their first day and then as they were written."""
    order = (
        col(PlaybookNote.starts_on),
        col(PlaybookNote.created_at),
        col(PlaybookNote.id),
    )
    return list(session.exec(select(PlaybookNote).order_by(*order)))


def events_between(session: Session, *, first: date, last: date) -> list[PlaybookNote]:
    """External events on any day from ``first`` to ``last``, both included, by their first day."""
    query = select(PlaybookNote).where(
        PlaybookNote.kind == EVENT, PlaybookNote.starts_on <= last, PlaybookNote.ends_on >= first
    )
    return list(session.exec(query.order_by(col(PlaybookNote.starts_on), col(PlaybookNote.id))))
