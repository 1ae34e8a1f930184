"""What a rollout shows: the looks at its change in incremental profit, and what was planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from liftloop.core.finite_horizon import Plan
from liftloop.core.spillover import Spillover


@dataclass(frozen=True, slots=True)
class Look:
    """The evidence up to and with ``day``. Money per day of the whole canary set; positive is a
    gain of the new policy. The standard error holds the uncertainty of the days before."""

    day: date
    effect: float
    standard_error: float
    days: int


@dataclass(frozen=True, slots=True)
class CanaryEvidence:
    """All looks so far, the last one being the one that is judged.

    ``baseline`` is the canary's incremental revenue per day under the incumbent times the revenue
    margin: what losses are measured against. ``problem`` says why nothing can be judged, or is "".
    ``plan`` is what was known before the start; ``at_stake`` what the exposed segments would have
    earned so far under the incumbent (0: not known).
    """

    looks: tuple[Look, ...]
    baseline: float
    canary_spend: float
    problem: str = ""
    notes: tuple[str, ...] = ()
    plan: Plan | None = None
    at_stake: float = 0.0
    spillover: Spillover | None = None

    @property
    def last(self) -> Look | None:
        return self.looks[-1] if self.looks else None
