"""What the look at the feeds' consistency holds to be usual, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

SHOWN = 3  # subjects named in the summary, by check
QUIET_DAYS = 7  # without it before something is news again


@dataclass(frozen=True, slots=True)
class ConsistencyConfig:
    """From where on feeds disagree.

    Attributes
    ----------
    budget_days : spend is compared with budgets over so many days: two weeks outlast what a
        platform overspends on one day and takes back on the next
    budget_factor : spend this many times the budget, or its inverse: platforms pace within 20 % or
        so; as data health's warning
    least_days : days of spend under known budgets below which nothing is said
    reference_weeks : whole weeks that say what is usual: as data health's 84 days hold, less what a
        season moves
    least_weeks : fewer weeks have no spread worth the name
    ratio_factor : a ratio that changed less is what a move of budgets can do by itself (25 % a week
        and a week of noise)
    arm_factor : arms are drawn with fixed shares, so their sizes move with the traffic alone
    least_z : change in robust standard deviations; with eight weeks these have heavy tails, so more
        than a normal quantile
    claimed_of_sold : claims over sales of four weeks: more than all that was sold cannot be true
    anomaly_days : days that are looked at for anomalies and gaps
    anomaly_alpha : chance that a look on sound facts names any day, divided by days x series
    anomaly_factor : a day closer than this to its usual level is of no consequence: less than a day
        that is told twice, and more than the claims and clicks of a small cell do by chance (at 1.5
        one sound month in nine had such a day)
    """

    budget_days: int = 14
    budget_factor: float = 1.3
    least_days: int = 3
    reference_weeks: int = 8
    least_weeks: int = 4
    ratio_factor: float = 1.5
    arm_factor: float = 1.25
    least_z: float = 4.0
    claimed_of_sold: float = 1.0
    anomaly_days: int = 14
    anomaly_alpha: float = 0.001
    anomaly_factor: float = 1.8


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """One disagreement: which ``check`` of which ``feed`` and whom it is about, in words and
    numbers."""

    check: str
    feed: str
    subject: str
    sentence: str
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class Consistency:
    """What was found, and what could not be looked at."""

    as_of: date
    warnings: tuple[Inconsistency, ...]
    unmeasured: tuple[str, ...]
    nothing: bool = False  # no performance facts at all

    @property
    def said(self) -> dict[str, str]:
        """A sentence a check and feed, with the first subjects; by "check (feed)"."""
        groups: dict[str, list[Inconsistency]] = {}
        for one in self.warnings:
            groups.setdefault(f"{one.check} ({one.feed})", []).append(one)
        return {
            name: f"{name}: {'; '.join(one.sentence for one in ones[:SHOWN])}"
            + (f" (and {len(ones) - SHOWN} more)." if len(ones) > SHOWN else ".")
            for name, ones in groups.items()
        }

    @property
    def lines(self) -> tuple[str, ...]:
        """What is said, then what could not be looked at."""
        return (*self.said.values(), *self.unmeasured)

    def news(self, seen: Mapping[str, str], *, broken: bool) -> tuple[list[str], dict[str, str]]:
        """The sentences to tell now; and of all that was told, on which day it was last seen, to be
        given as ``seen`` by the next look.

        What was seen within a week is not told again: a ratio near its limit comes and goes. While
        a feed is ``broken`` its own alarm is what is told: the rest may follow from it.
        """
        since = self.as_of - timedelta(days=QUIET_DAYS)
        told = {name: day for name, day in seen.items() if date.fromisoformat(day) >= since}
        fresh = {} if broken else {n: text for n, text in self.said.items() if n not in told}
        standing = {n: self.as_of.isoformat() for n in self.said if n in told or n in fresh}
        return list(fresh.values()), told | standing

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "lines": list(self.lines),
            "unmeasured": list(self.unmeasured),
            "warnings": [
                {
                    "check": w.check,
                    "feed": w.feed,
                    "subject": w.subject,
                    "sentence": w.sentence,
                    "numbers": w.numbers,
                }
                for w in self.warnings
            ],
        }
