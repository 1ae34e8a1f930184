"""What a stream of plans is at one moment, and one step of it.

Plans flow through waves of segments: the newest is in force in the first wave, an earlier one in
those behind. A plan is numbered from 1; number 0 is the reference, the budgets that the stream
replaced and is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.policy import Stage
from liftloop.core.rollout.allowance import KeptPromise, Promise

Act = Literal["start", "move", "promote", "hold", "prove", "roll_back", "pause", "resume", "close"]

ENDED: frozenset[Stage] = frozenset({"full", "rolled_back", "incumbent"})
GUARDRAIL = "guardrail"


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One plan of the stream.

    Attributes
    ----------
    version
        Of its budgets for all segments, as they will be once every wave follows it.
    on
        The day it was made.
    share
        How far of the proposed step it goes, in (0, 1].
    reached
        For each wave the first day it follows this plan or a newer one; None for one that does not
        yet.
    """

    number: int
    version: str
    on: date
    share: float
    reached: tuple[date | None, ...]


@dataclass(frozen=True, slots=True)
class Risk:
    """The allowance in numbers, account currency.

    Attributes
    ----------
    allowance
        What may be lost in a quarter, against the budgets that were replaced.
    in_use
        What is plausibly lost of it: so far, and until the next plan can be judged.
    lost
        Of streams that ended in this quarter; part of ``in_use``.
    expected
        What the stream under way is expected to have gained this quarter (negative: lost).
    kept, kept_sd
        The share of promised gains that comes true, by the record.
    promised, measured, standard_error
        Profit of the stream so far; NaN and infinity where nothing is measured.
    left
        What is left of the allowance for further plans. Each stream taken back in the last
        half-year halves what there is.
    """

    allowance: float
    in_use: float
    lost: float
    expected: float
    kept: float
    kept_sd: float
    promised: float
    measured: float
    standard_error: float
    left: float


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where one stream of plans stands.

    Attributes
    ----------
    reference, reference_on
        Version of the budgets that the stream is compared with and goes back to, and the first day
        of the moves away from them. A measured gain makes the budgets that earned it the next
        reference.
    baseline
        What the reference earns a day: incremental revenue times the margin, account currency.
    plans
        Those that some wave follows or is to follow, oldest first.
    positions
        For each wave the number of the plan it follows; 0 for the reference.
    promises
        (first day, profit a day promised for the budgets then put in force against the reference,
        its standard deviation), oldest first.
    record
        Promises of earlier streams and references, compared with what was measured; oldest first.
    proven_on
        The day the last reference was proven; None where it is the first.
    paused_since, paused_by
        First day of the pause and "guardrail" or a person's name; None and "" when running.
    held_days
        Days that pauses took so far.
    varied
        Whether the budgets in force differ on purpose from what the waves follow
        (:mod:`liftloop.core.exploration.budget_variation`).
    """

    rollout_id: str
    stage: Stage
    started_on: date
    reference: str
    reference_on: date
    baseline: float = 0.0
    plans: tuple[StreamPlan, ...] = ()
    positions: tuple[int, ...] = ()
    promises: tuple[tuple[date, float, float], ...] = ()
    record: tuple[KeptPromise, ...] = ()
    risk: Risk | None = None
    proven_on: date | None = None
    paused_since: date | None = None
    paused_by: str = ""
    held_days: int = 0
    varied: bool = False

    @property
    def newest(self) -> int:
        """The number of the newest plan that any wave follows; 0 where none does."""
        return max(self.positions, default=0)

    @property
    def oldest(self) -> int:
        """The number of the plan that every wave follows at least."""
        return min(self.positions, default=0)

    def plan(self, number: int) -> StreamPlan | None:
        """The plan of this number, where the stream still knows it."""
        return next((plan for plan in self.plans if plan.number == number), None)

    def promised(self, *, since: date, until: date) -> Promise:
        """What was promised for the days from ``since`` to the day before ``until``."""
        gain = spread = 0.0
        ends = [day for day, _, _ in self.promises[1:]] + [until]
        for (begin, rate, deviation), end in zip(self.promises, ends, strict=False):
            days = max((min(end, until) - max(begin, since)).days, 0)
            gain += rate * days
            spread += deviation * days
        return Promise(gain, spread)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; :meth:`from_dict` reads them back."""
        return {
            "rollout_id": self.rollout_id,
            "stage": self.stage,
            "started_on": self.started_on.isoformat(),
            "reference": self.reference,
            "reference_on": self.reference_on.isoformat(),
            "baseline": self.baseline,
            "plans": [
                {
                    **asdict(plan),
                    "on": plan.on.isoformat(),
                    "reached": [_text(day) for day in plan.reached],
                }
                for plan in self.plans
            ],
            "positions": list(self.positions),
            "promises": [[day.isoformat(), rate, sd] for day, rate, sd in self.promises],
            "record": [
                [k.promised.gain, k.promised.spread, k.measured, k.standard_error]
                for k in self.record
            ],
            "risk": None if self.risk is None else _finite(asdict(self.risk)),
            "proven_on": _text(self.proven_on),
            "paused_since": _text(self.paused_since),
            "paused_by": self.paused_by,
            "held_days": self.held_days,
            "varied": self.varied,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RolloutState:
        """Of :meth:`as_dict`.

        Raises
        ------
        KeyError
            For the state of a rollout that began as a gate for one plan; see
            :func:`liftloop.core.rollout.transitions.adopt`.
        """
        return cls(
            rollout_id=values["rollout_id"],
            stage=values["stage"],
            started_on=date.fromisoformat(values["started_on"]),
            reference=values["reference"],
            reference_on=date.fromisoformat(values["reference_on"]),
            baseline=float(values["baseline"]),
            plans=tuple(
                StreamPlan(
                    number=int(plan["number"]),
                    version=plan["version"],
                    on=date.fromisoformat(plan["on"]),
                    share=float(plan["share"]),
                    reached=tuple(_day(day) for day in plan["reached"]),
                )
                for plan in values["plans"]
            ),
            positions=tuple(int(p) for p in values["positions"]),
            promises=tuple(
                (date.fromisoformat(day), float(rate), float(sd))
                for day, rate, sd in values["promises"]
            ),
            record=tuple(
                KeptPromise(Promise(float(gain), float(spread)), float(measured), float(error))
                for gain, spread, measured, error in values["record"]
            ),
            risk=None if values["risk"] is None else Risk(**_numbers(values["risk"])),
            proven_on=_day(values["proven_on"]),
            paused_since=_day(values["paused_since"]),
            paused_by=values["paused_by"],
            held_days=int(values["held_days"]),
            varied=bool(values.get("varied", False)),
        )


@dataclass(frozen=True, slots=True)
class Transition:
    """One step: what was, what is, why, and all it rests on. ``barred_until`` is the end of the
    cool-down after a stream was taken back."""

    act: Act
    before: RolloutState
    after: RolloutState
    on: date
    reason: str
    verdicts: tuple[GuardrailVerdict, ...] = ()
    barred_until: date | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for the ledger's JSON: the state after it, and each verdict whole."""
        return {
            "state": self.after.as_dict(),
            "verdicts": [{**asdict(v), "evidence": dict(v.evidence)} for v in self.verdicts],
            "barred_until": _text(self.barred_until),
        }


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no infinity and no NaN: what is not measured is null."""
    return {name: x if abs(x) < float("inf") else None for name, x in numbers.items()}


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    missing = {"standard_error": float("inf")}
    return {
        name: missing.get(name, float("nan")) if x is None else float(x)
        for name, x in values.items()
    }
