"""What is wrong about randomized evidence: one finding a test, segment or stretch of days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

MONEY_OUTCOMES = ("revenue", "conversions", "converted")
Severity = Literal["broken", "note"]


@dataclass(frozen=True, slots=True)
class ArmFinding:
    """Evidence that is not what its plan says.

    Attributes
    ----------
    feed : ``units`` or ``holdout``
    check : ``sample ratio``, ``covariate balance``, ``both arms``, ``missing outcomes``,
        ``propensity`` or ``one arm``
    severity : ``broken`` is not learned from; ``note`` is only said
    experiment : of ``units``; "" for a holdout
    segment, channel : the part of it that is broken, ``*`` for all
    segments : those of the test, or of the part of it, by name
    first, last : days of a holdout, both included; None for ``units``
    stratum : of a holdout
    outcome : the one outcome that is broken, "" for all
    sentence, fix : what was seen, with its numbers, and how to mend it
    """

    feed: str
    check: str
    severity: Severity
    sentence: str
    fix: str
    experiment: str = ""
    segment: str = "*"
    channel: str = "*"
    segments: tuple[str, ...] = ()
    stratum: str = ""
    first: date | None = None
    last: date | None = None
    outcome: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        return self.severity == "broken"

    @property
    def days(self) -> int:
        """How many days of a holdout, 0 for a user-level test."""
        return (self.last - self.first).days + 1 if self.first and self.last else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "feed": self.feed,
            "check": self.check,
            "severity": self.severity,
            "experiment": self.experiment,
            "segment": self.segment,
            "channel": self.channel,
            "segments": list(self.segments),
            "stratum": self.stratum,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "fix": self.fix,
            "numbers": dict(self.numbers),
        }
