"""What of an alarm is told, and when: each trouble once while it stands, one training a storm.

State lives in the verdicts themselves: each says which trainings were asked for before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from monitoring.causes.cause import AlarmAct, Cause, Finding, Triage


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the verdict before this one found (``identities`` with an act), which of them already
    asked for a training (``asked``), and when a training was last asked for."""

    identities: frozenset[str] = frozenset()
    feeds: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    asked_on: date | None = None

    @classmethod
    def of(cls, evidence: Mapping[str, Any]) -> Earlier:
        """Read back from a verdict's evidence; one from before there was a triage found nothing."""
        found = evidence.get("triage", {}).get("findings", [])
        told = evidence.get("told", {})
        day = told.get("asked_on")
        return cls(
            frozenset(f["identity"] for f in found if f["act"] != AlarmAct.NOTHING.value),
            frozenset(f["identity"] for f in found if f["cause"] == Cause.FEED.value),
            frozenset(told.get("asked", ())),
            date.fromisoformat(day) if day else None,
        )


@dataclass(frozen=True, slots=True)
class Telling:
    """What to tell now.

    Attributes
    ----------
    fresh : findings that ask for something and did not stand before
    train : whether to ask for a training now; ``waiting`` says why not, where one is due
    recovered : identities of broken feeds that are sound again
    asked, asked_on : to be kept with the verdict
    """

    fresh: tuple[Finding, ...]
    train: bool
    waiting: str
    recovered: tuple[str, ...]
    asked: tuple[str, ...]
    asked_on: date | None

    @property
    def broken(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.fresh if f.cause is Cause.FEED)

    def as_dict(self) -> dict[str, Any]:
        return {
            "fresh": [f.identity for f in self.fresh],
            "train": self.train,
            "waiting": self.waiting,
            "recovered": list(self.recovered),
            "asked": list(self.asked),
            "asked_on": self.asked_on.isoformat() if self.asked_on else None,
        }


def tell(found: Triage, earlier: Earlier, *, cooldown_days: int) -> Telling:
    """Decide what of ``found`` is news.

    A training is asked for once for each trouble while it stands, and not within ``cooldown_days``
    of the last one asked for: what comes up meanwhile is asked for when they are over, if it still
    stands. Nothing is learned while a feed is broken.
    """
    standing = {f.identity for f in found.findings if f.act is not AlarmAct.NOTHING}
    fresh = tuple(
        f
        for f in found.findings
        if f.act is not AlarmAct.NOTHING and f.identity not in earlier.identities
    )
    kept = earlier.asked & standing
    due = {f.identity for f in found.findings if f.act is AlarmAct.RETRAIN} - kept
    ready = earlier.asked_on is None or found.as_of >= earlier.asked_on + timedelta(
        days=cooldown_days
    )
    train = bool(due) and ready and found.retrain
    waiting = ""
    if due and not train:
        waiting = (
            "A training waits until the feed is mended."
            if found.broken
            else f"A training was asked for on {earlier.asked_on}; the next not before "
            f"{earlier.asked_on + timedelta(days=cooldown_days) if earlier.asked_on else ''}."
        )
    feeds = {f.identity for f in found.broken}
    return Telling(
        fresh,
        train,
        waiting,
        tuple(sorted(earlier.feeds - feeds)),
        tuple(sorted(kept | due if train else kept)),
        found.as_of if train else earlier.asked_on,
    )
