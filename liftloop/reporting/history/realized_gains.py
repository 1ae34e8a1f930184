"""What a rollout's plans earned beside what they were expected to, from its steps. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from liftloop.core.arrays import Z90
from liftloop.core.curves.gain import Estimate
from liftloop.core.rollout.allowance import KeptPromise
from liftloop.core.rollout.state import RolloutState
from liftloop.reporting.rendering import signed
from liftloop.reporting.rollout_summary import RecordedStep

End = Literal["proven", "taken back", "so far"]


@dataclass(frozen=True, slots=True)
class RealizedGain:
    """The profit of a rollout's plans against the budgets they replaced, over the days from
    ``since`` that were known on ``until``: what was expected and what was measured, each in the
    account's currency over these days with its 90 % interval."""

    rollout: str
    since: date
    until: date
    expected: Estimate
    measured: Estimate
    end: End

    @property
    def is_outside(self) -> bool:
        """Whether what was measured lies outside the interval of what was expected."""
        return not self.expected.low <= self.measured.mean <= self.expected.high

    @property
    def is_surely_outside(self) -> bool:
        """Whether the two intervals do not even meet."""
        return self.measured.high < self.expected.low or self.measured.low > self.expected.high

    def sentence(self, currency: str) -> str:
        """Both figures, and what their difference means."""
        words = (
            f"since {self.since} ({self.end}): {signed(self.measured.mean)} {currency} measured "
            f"({_interval(self.measured)}), {signed(self.expected.mean)} expected for the same "
            f"days ({_interval(self.expected)})"
        )
        if not self.is_outside:
            return f"{words}."
        side = "more" if self.measured.mean > self.expected.mean else "less"
        if self.is_surely_outside:
            return f"{words}: {side} than expected."
        return f"{words}: {side} than expected, though the measurement's error may explain it."

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "rollout": self.rollout,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "expected": asdict(self.expected),
            "measured": asdict(self.measured),
            "end": self.end,
            "outside_interval": self.is_outside,
        }


def realized_gains(rollout: str, steps: Sequence[RecordedStep]) -> tuple[RealizedGain, ...]:
    """One entry for each time that a gain was proven or the plans were taken back, and one for what
    is measured since; oldest first. Steps of an earlier version tell none."""
    found: list[RealizedGain] = []
    before: RolloutState | None = None
    for step in steps:
        state = step.state
        if state is None:
            continue
        if before is not None and state.record and state.record != before.record:
            end: End = "proven" if step.act == "prove" else "taken back"
            found.append(_gain(rollout, before.reference_on, step.on, state.record[-1], end))
        before = state
    last = steps[-1] if steps else None
    if before is None or last is None or (found and found[-1].end == "taken back"):
        return tuple(found)
    so_far = _so_far(before, until=last.on)
    if so_far is not None:
        found.append(_gain(rollout, before.reference_on, last.on, so_far, "so far"))
    return tuple(found)


def realized_of(gains: Sequence[RealizedGain], *, rollout: str, on: date) -> RealizedGain | None:
    """What came of a decision of ``rollout`` that took effect ``on``: the gain measured over the
    days that include it; None where none is."""
    inside = [g for g in gains if g.rollout == rollout and g.since <= on < g.until]
    return inside[0] if inside else None


def _so_far(state: RolloutState, *, until: date) -> KeptPromise | None:
    """What is measured since the last proof; None where nothing is, or it counts from before."""
    risk = state.risk
    if risk is None or not math.isfinite(risk.standard_error) or state.proven_on == until:
        return None
    promise = state.promised(since=state.reference_on, until=until)
    known = risk.promised / promise.gain if promise.gain else 1.0  # of these days
    spread = abs(promise.spread * known)
    return KeptPromise(type(promise)(risk.promised, spread), risk.measured, risk.standard_error)


def _gain(rollout: str, since: date, until: date, kept: KeptPromise, end: End) -> RealizedGain:
    expected = _estimate(kept.promised.gain, kept.promised.spread)
    measured = _estimate(kept.measured, kept.standard_error)
    return RealizedGain(rollout, since, until, expected, measured, end)


def _estimate(mean: float, deviation: float) -> Estimate:
    return Estimate(mean, mean - Z90 * deviation, mean + Z90 * deviation)


def _interval(one: Estimate) -> str:
    return f"90 % interval {signed(one.low)} to {signed(one.high)}"
