"""Where a rollout is, from its recorded steps: which plan is in force where, what is at risk, what
was measured and proven, and what would move it forward, slow it or take it back.

Steps that an earlier version recorded (one plan behind a gate) have another kind of state: of them
only the stage, the dates and the steps are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from liftloop.core.rollout.state import ENDED, Risk, RolloutState, StreamPlan
from liftloop.reporting.rollout_sentences import (
    Terms,
    allowance_sentence,
    day_text,
    evidence_of,
    kept_sentence,
    measured_sentence,
    named,
    take_back_in_brief,
    what_goes_on,
    what_slows,
    what_takes_back,
)

PROFIT = "incremental profit"
Z90 = 1.645
BEFORE = "the budgets before"  # what plan number 0 is called
STAGES = {
    "shadow": "waiting to start",
    "canary": "running",
    "ramp": "running",
    "rolled_back": "taken back",
    "full": "finished",
    "incumbent": "not started",
}
ACTS = {
    "start": "started",
    "move": "new plan",
    "promote": "more segments",
    "hold": "no change",
    "prove": "gain proven",
    "roll_back": "taken back",
    "pause": "paused",
    "resume": "resumed",
}
MARKED = ("start", "prove", "roll_back", "pause", "resume")  # acts that a chart names


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One recorded step; ``evidence`` is what ``Transition.as_dict`` wrote."""

    on: date
    act: str
    before: str
    after: str
    reason: str
    evidence: Mapping[str, Any]

    @property
    def verdicts(self) -> Sequence[Mapping[str, Any]]:
        """The guardrails' verdicts as plain values."""
        found: Sequence[Mapping[str, Any]] = self.evidence.get("verdicts", ())
        return found

    @property
    def state(self) -> RolloutState | None:
        """The state after the step; None where an earlier version wrote it."""
        values = self.evidence.get("state") or {}
        return RolloutState.from_dict(values) if "positions" in values else None


@dataclass(frozen=True, slots=True)
class WaveStatus:
    """The plan that a wave's segments follow; number 0 are the budgets before the rollout."""

    segments: tuple[str, ...]
    plan: int
    since: date | None


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """One plan of the rollout.

    Attributes
    ----------
    share
        How far of the proposed step it goes, in (0, 1].
    waves
        Numbers of the waves that follow it today, the leading one is 1.
    since
        Its first day in force in any wave; None where no wave has followed it yet.
    proven
        Whether its gain was measured, so that later plans are compared with it.
    """

    number: int
    version: str
    made_on: date
    share: float
    waves: tuple[int, ...]
    since: date | None
    proven: bool

    @property
    def label(self) -> str:
        """Its number and date, and how far of its step it goes where that is not all of it."""
        part = f", {self.share:.0%} of its step" if self.share < 1 else ""
        return f"plan {self.number} of {day_text(self.made_on)}{part}"


@dataclass(frozen=True, slots=True)
class MeasuredGain:
    """Profit gained from ``since`` to the days known on ``on``, with bounds that hold at all checks
    together, account currency."""

    on: date
    since: date
    gained: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proof:
    """A gain that was measured: from ``on`` the budgets ``version`` are what later plans are
    compared with. Amounts are account currency over the days since the proof before."""

    on: date
    version: str
    promised: float
    measured: float
    standard_error: float

    def sentence(self, currency: str) -> str:
        """When, and how much with its 90 % interval."""
        half = Z90 * self.standard_error
        return (
            f"{day_text(self.on)}: {self.measured:+z,.0f} {currency} measured (90 % interval "
            f"{self.measured - half:+z,.0f} to {self.measured + half:+z,.0f}), "
            f"{self.promised:+z,.0f} promised."
        )


@dataclass(frozen=True, slots=True)
class RolloutSummary:
    """All that is shown of a rollout.

    Attributes
    ----------
    stage
        As recorded; :attr:`status` is the word for people.
    changed_on
        The day of the last step that changed something.
    paused_by, paused_since
        "" and None where it is not paused.
    risk
        None in steps of an earlier version, and before anything was at risk.
    measured
        One entry a day with a measurement, oldest first.
    would_go_on, would_slow, would_take_back
        Plain sentences; empty once the rollout has ended, and in steps of an earlier version.
    take_back_brief
        The last of these for a message.
    cooldown_until
        The first day on which a plan may enter again, while that lies ahead.
    marks
        (days since the start, words) of the steps that a chart names.
    """

    stage: str
    started_on: date
    changed_on: date
    currency: str
    steps: tuple[RecordedStep, ...]
    waves: tuple[WaveStatus, ...] = ()
    plans: tuple[PlanStatus, ...] = ()
    risk: Risk | None = None
    measured: tuple[MeasuredGain, ...] = ()
    proofs: tuple[Proof, ...] = ()
    verdicts: tuple[Mapping[str, Any], ...] = ()
    would_go_on: tuple[str, ...] = ()
    would_slow: tuple[str, ...] = ()
    would_take_back: tuple[str, ...] = ()
    take_back_brief: str = ""
    cooldown_until: date | None = None
    paused_by: str = ""
    paused_since: date | None = None
    marks: tuple[tuple[int, str], ...] = ()

    @property
    def ended(self) -> bool:
        """Whether no plan of it is in force or waits any more."""
        return self.stage in ENDED

    @property
    def proven_on(self) -> date | None:
        """The day the last gain was proven; None where none was."""
        return self.proofs[-1].on if self.proofs else None

    @property
    def status(self) -> str:
        """The stage in words."""
        if self.stage == "paused":
            return f"paused by {self.paused_by}" if self.paused_by else "paused"
        return STAGES.get(self.stage, self.stage.replace("_", " "))

    @property
    def sentence(self) -> str:
        """Where it is, in one or two sentences."""
        if self.stage == "rolled_back":
            back = "the proven budgets" if self.proofs else BEFORE
            return f"Taken back on {day_text(self.changed_on)}: all segments have {back}."
        if self.ended:
            where = ": the new budgets are in all segments" if self.stage == "full" else ""
            return f"{self.status.capitalize()} on {day_text(self.changed_on)}{where}."
        begun = f"since {day_text(self.started_on)}"
        if self.stage == "paused":
            pause = f" on {day_text(self.paused_since)}" if self.paused_since else ""
            return f"{self.status.capitalize()}{pause}; budgets stay. {self._places()}".strip()
        if not self.waves:
            stage = self.stage.replace("_", " ")
            return f"Stage {stage}, {begun}; begun by an earlier version of LiftLoop."
        return f"{self.status.capitalize()} {begun}. {self._places()}"

    def _places(self) -> str:
        """Which plan is where."""
        if not self.waves:
            return ""
        following: dict[int, list[str]] = {}
        for wave in self.waves:
            following.setdefault(wave.plan, []).extend(wave.segments)
        if len(following) == 1:
            (number,) = following
            what = f"plan {number}" if number else BEFORE
            return f"All segments have {what}."
        parts = [
            f"{named(segments)}: plan {number}" if number else f"{named(segments)}: {BEFORE}"
            for number, segments in sorted(following.items(), reverse=True)
        ]
        return f"{'; '.join(parts)}."

    @property
    def risk_sentences(self) -> tuple[str, ...]:
        """What is at risk, what was promised and measured, and how well promises are kept."""
        if self.risk is None:
            return ()
        return (
            allowance_sentence(self.risk, self.currency),
            measured_sentence(self.risk),
            kept_sentence(self.risk),
        )

    @property
    def cooldown_sentence(self) -> str:
        """Until when no plan enters; "" where one may."""
        if self.cooldown_until is None:
            return ""
        return f"Cool-down: no plan enters before {day_text(self.cooldown_until)}."

    def plan_label(self, number: int) -> str:
        """A plan in words; of number 0 the budgets before the rollout."""
        found = next((plan for plan in self.plans if plan.number == number), None)
        return found.label if found else f"plan {number}" if number else BEFORE

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; what is not measured is null."""
        return {
            "stage": self.stage,
            "status": self.sentence,
            "waves": [
                {"segments": list(w.segments), "plan": w.plan, "since": _text(w.since)}
                for w in self.waves
            ],
            "plans": [
                {
                    **asdict(plan),
                    "made_on": _text(plan.made_on),
                    "waves": list(plan.waves),
                    "since": _text(plan.since),
                }
                for plan in self.plans
            ],
            "risk": _risk_values(self.risk, self.risk_sentences),
            "measured": [
                {**asdict(m), "on": _text(m.on), "since": _text(m.since)} for m in self.measured
            ],
            "proofs": [{**asdict(proof), "on": _text(proof.on)} for proof in self.proofs],
            "proven_on": _text(self.proven_on),
            "guardrails": [dict(verdict) for verdict in self.verdicts],
            "would_go_on": list(self.would_go_on),
            "would_slow": list(self.would_slow),
            "would_take_back": list(self.would_take_back),
            "cooldown_until": _text(self.cooldown_until),
        }


def summarize(
    steps: Sequence[RecordedStep],
    *,
    waves: Sequence[Sequence[str]],
    started_on: date,
    terms: Terms,
    now: date | None = None,
) -> RolloutSummary:
    """Summarize a rollout.

    Parameters
    ----------
    steps
        In the order they were recorded, at least one.
    waves
        The segments of each wave, the leading one first; not used for steps of an earlier version.
    now
        The day as of which a cool-down is running; default: the day of the last step.
    """
    last, state = steps[-1], steps[-1].state
    changed = next((s for s in reversed(steps) if s.act != "hold"), last)
    ended = last.after in ENDED
    judged = next((step for step in reversed(steps) if step.verdicts), None)
    verdicts = tuple(judged.verdicts) if judged else ()
    running = state is not None and not ended
    return RolloutSummary(
        stage=last.after,
        started_on=started_on,
        changed_on=changed.on,
        currency=terms.currency,
        steps=tuple(steps),
        waves=_waves(state, waves, ended_on=last.on if ended else None) if state else (),
        plans=_plans(state) if state else (),
        risk=state.risk if state else None,
        measured=_measured(steps),
        proofs=_proofs(steps),
        verdicts=verdicts,
        would_go_on=what_goes_on(state, verdicts, terms) if state and running else (),
        would_slow=what_slows(state, terms) if state and running else (),
        would_take_back=what_takes_back(state, verdicts, terms) if state and running else (),
        take_back_brief=take_back_in_brief(state, verdicts, terms) if state and running else "",
        cooldown_until=_cooldown(steps, now or last.on) if ended else None,
        paused_by=state.paused_by if state else "",
        paused_since=state.paused_since if state else None,
        marks=tuple(
            ((step.on - started_on).days, ACTS[step.act]) for step in steps if step.act in MARKED
        ),
    )


def _waves(
    state: RolloutState, waves: Sequence[Sequence[str]], *, ended_on: date | None
) -> tuple[WaveStatus, ...]:
    found = []
    for index, number in enumerate(state.positions):
        segments = tuple(sorted(waves[index])) if index < len(waves) else (f"wave {index + 1}",)
        plan = state.plan(number)
        since = plan.reached[index] if plan else ended_on
        found.append(WaveStatus(segments, number, since))
    return tuple(found)


def _plans(state: RolloutState) -> tuple[PlanStatus, ...]:
    proven = state.plan(state.oldest) if state.proven_on else None

    def status(plan: StreamPlan) -> PlanStatus:
        return PlanStatus(
            number=plan.number,
            version=plan.version,
            made_on=plan.on,
            share=plan.share,
            waves=tuple(k + 1 for k, p in enumerate(state.positions) if p == plan.number),
            since=min((day for day in plan.reached if day), default=None),
            proven=bool(proven and plan.version == state.reference),
        )

    return tuple(status(plan) for plan in state.plans)


def _measured(steps: Sequence[RecordedStep]) -> tuple[MeasuredGain, ...]:
    """One measurement a day and reference, the last one of that day. A step that proves a gain
    shows what was gained against the reference before it."""
    found: dict[tuple[date, date], MeasuredGain] = {}
    since: date | None = None
    for step in steps:
        state = step.state
        numbers = evidence_of(step.verdicts, PROFIT)
        since = since or (state.reference_on if state else None)
        if since and {"gained", "low", "high"} <= numbers.keys():
            gained, low, high = (float(numbers[name]) for name in ("gained", "low", "high"))
            if step.act != "prove" and state is not None:
                since = state.reference_on
            found[since, step.on] = MeasuredGain(step.on, since, gained, low, high)
        if state is not None:
            since = state.reference_on
    return tuple(found[key] for key in sorted(found))


def _proofs(steps: Sequence[RecordedStep]) -> tuple[Proof, ...]:
    found = []
    for step in steps:
        state = step.state
        if step.act != "prove" or state is None or not state.record:
            continue
        kept = state.record[-1]
        found.append(
            Proof(
                step.on,
                state.reference,
                kept.promised.gain,
                kept.measured,
                kept.standard_error,
            )
        )
    return tuple(found)


def _cooldown(steps: Sequence[RecordedStep], now: date) -> date | None:
    text = next((s.evidence.get("barred_until") for s in reversed(steps) if s.act != "hold"), None)
    until = date.fromisoformat(str(text)) if text else None
    return until if until and until > now else None


def _risk_values(risk: Risk | None, sentences: Sequence[str]) -> dict[str, Any] | None:
    if risk is None:
        return None
    numbers = {name: x if math.isfinite(x) else None for name, x in asdict(risk).items()}
    return {**numbers, "sentence": sentences[0]}


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None
