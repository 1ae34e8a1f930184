"""An entry of the playbook: what was supposed, what came out, what was learned, what happened
outside. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

KINDS = ("hypothesis", "result", "lesson", "event")
COLUMNS = ("entry", "kind", "days", "cells", "text", "about", "by")


@dataclass(frozen=True, slots=True)
class PlaybookEntry:
    """One entry.

    Attributes
    ----------
    id
        Of a note, to cite it by; the name of an experiment for what is derived from its record.
    first, last
        The days it is about, both included.
    segment, channel
        The cells it is about; ``"*"`` is any.
    about
        The decision, experiment or note it belongs to; "" for none.
    """

    id: str
    kind: str
    text: str
    first: date
    last: date
    segment: str
    channel: str
    about: str
    who: str

    @property
    def days(self) -> str:
        """Its days in words."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    @property
    def cells(self) -> str:
        """Its cells in words; "" for all."""
        if self.segment == self.channel == "*":
            return ""
        segment = "all segments" if self.segment == "*" else self.segment
        return f"{segment} x {'all channels' if self.channel == '*' else self.channel}"

    @property
    def brief(self) -> str:
        """What happened, where and when, for a sentence beside a deviation."""
        where = f" ({self.cells})" if self.cells else ""
        return f"{self.text.rstrip('.')}{where}, {self.days} [{self.id}]"

    def has(self, words: str) -> bool:
        """Whether every one of ``words`` occurs somewhere in the entry, in whatever case."""
        everything = (self.id, self.kind, self.text, self.days, self.cells, self.about, self.who)
        text = " ".join(everything).casefold()
        return all(word in text for word in words.casefold().split())

    def row(self) -> tuple[str, ...]:
        """A row of ``COLUMNS``."""
        return (self.id, self.kind, self.days, self.cells, self.text, self.about, self.who)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        said = asdict(self)
        return {**said, "first": self.first.isoformat(), "last": self.last.isoformat()}


def events_sentence(events: tuple[PlaybookEntry, ...]) -> str:
    """What was noted of days that look otherwise; "" where nothing was."""
    if not events:
        return ""
    return f"Noted for these days: {'; '.join(one.brief for one in events)}."
