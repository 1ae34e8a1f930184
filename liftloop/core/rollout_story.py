"""How a rollout stands, told from its recorded steps: looks over time, what each guardrail says,
what would promote it, what would roll it back, and the money at risk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from liftloop.core.rollout_state import ENDED, RolloutConfig, RolloutState

PROFIT, LOSS = "incremental profit", "loss budget"


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded step. ``evidence`` is what :meth:`Transition.as_dict` wrote."""

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


@dataclass(frozen=True, slots=True)
class SeenLook:
    """The evidence at one look: effect on incremental profit with its bounds, shares of the exposed
    segments' incremental revenue before. ``day`` is the last day that counts, ``in_force`` how many
    days the rollout had been under way by then."""

    day: date
    in_force: int
    effect: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Money:
    """Account currency; ``budget`` is None where none is set."""

    expected_loss: float
    upper_bound: float
    budget: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Story:
    """All that is shown of a rollout.

    Attributes
    ----------
    exposed : segment -> (first day under the new policy, days since)
    verdicts : of the last look that had any
    would_promote, would_roll_back : plain sentences; none once it has ended
    marks : (days in force, words) where the stage changed
    margin : tolerated loss of incremental profit, a share
    """

    stage: str
    started_on: date
    days_live: int
    days_in_stage: int
    exposed: Mapping[str, tuple[date, int]]
    looks: tuple[SeenLook, ...] = ()
    verdicts: tuple[Mapping[str, Any], ...] = ()
    would_promote: tuple[str, ...] = ()
    would_roll_back: tuple[str, ...] = ()
    marks: tuple[tuple[int, str], ...] = ()
    money: Money | None = None
    margin: float | None = None

    @property
    def sentence(self) -> str:
        """Where it stands, in words."""
        if self.stage == "full":
            return "The rollout has ended: the new budgets are in all segments."
        if self.stage in ENDED:
            return f"The rollout has ended: {self.stage.replace('_', ' ')}."
        told = ", ".join(f"{name} ({days(since)})" for name, (_, since) in self.exposed.items())
        return (
            f"{self.stage.capitalize()}, day {self.days_live} of the rollout. New budgets in: "
            f"{told or 'no segment yet'}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        money = self.money
        return {
            "stage": self.stage,
            "days_live": self.days_live,
            "days_in_stage": self.days_in_stage,
            "exposed": [
                {"segment": name, "since": first.isoformat(), "days": days}
                for name, (first, days) in self.exposed.items()
            ],
            "looks": [{**asdict(look), "day": look.day.isoformat()} for look in self.looks],
            "guardrails": [dict(verdict) for verdict in self.verdicts],
            "would_promote": list(self.would_promote),
            "would_roll_back": list(self.would_roll_back),
            "money_at_risk": asdict(money) if money else None,
        }


def days(count: int, which: str = "") -> str:
    """A count of days in words."""
    return f"{count} {which}{'day' if count == 1 else 'days'}"


def tell(
    steps: Sequence[Step],
    *,
    canary: Sequence[str],
    started_on: date,
    config: RolloutConfig,
    now: date | None = None,
) -> Story:
    """The story of a rollout.

    Parameters
    ----------
    steps : in the order they were recorded, at least one
    canary : its first segments, for states that were written before states named theirs
    now : default: the day of the last step
    """
    last = steps[-1]
    now = now or last.on
    state = RolloutState.from_dict(last.evidence["state"]) if "state" in last.evidence else None
    if state is None:
        state = RolloutState("", last.after, started_on)  # type: ignore[arg-type]
    following = state.exposed or (dict.fromkeys(canary, started_on) if _follows(state) else {})
    judged = next((step for step in reversed(steps) if step.verdicts), None)
    verdicts = tuple(judged.verdicts) if judged else ()
    ended = state.stage in ENDED
    return Story(
        stage=state.stage,
        started_on=started_on,
        days_live=(last.on - started_on).days if ended else state.days_live(now),
        days_in_stage=0 if ended else state.days_in_stage(now),
        exposed={
            name: (first, max((now - first).days, 0)) for name, first in sorted(following.items())
        },
        looks=_looks(steps, started_on),
        verdicts=verdicts,
        would_promote=() if ended else _would_promote(state, verdicts, config, now),
        would_roll_back=() if ended else _would_roll_back(state, verdicts, config, now),
        marks=_marks(steps, started_on),
        money=_money(verdicts, steps),
        margin=_number(verdicts, PROFIT, "margin"),
    )


def _follows(state: RolloutState) -> bool:
    return state.level in ("canary", "ramp") and state.stage not in ENDED


def _looks(steps: Sequence[Step], started_on: date) -> tuple[SeenLook, ...]:
    """One look a day of evidence, the last one said of that day."""
    found: dict[date, SeenLook] = {}
    for step in steps:
        numbers = _evidence(step.verdicts, PROFIT)
        if not {"relative_effect", "low", "high", "day"} <= numbers.keys():
            continue
        day = date.fromisoformat(str(numbers["day"]))
        found[day] = SeenLook(
            day,
            (day - started_on).days + 1,
            float(numbers["relative_effect"]),
            float(numbers["low"]),
            float(numbers["high"]),
        )
    return tuple(found[day] for day in sorted(found))


def _marks(steps: Sequence[Step], started_on: date) -> tuple[tuple[int, str], ...]:
    return tuple(
        ((step.on - started_on).days, step.after.replace("_", " "))
        for step in steps
        if step.before != step.after
    )


def _evidence(verdicts: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((v["evidence"] for v in verdicts if v["name"] == name), {})
    return found


def _number(verdicts: Sequence[Mapping[str, Any]], name: str, key: str) -> float | None:
    value = _evidence(verdicts, name).get(key)
    return float(value) if isinstance(value, int | float) else None


def _money(verdicts: Sequence[Mapping[str, Any]], steps: Sequence[Step]) -> Money | None:
    """As the loss budget's guardrail said it last."""
    numbers = _evidence(verdicts, LOSS)
    if "expected_loss" not in numbers:
        numbers = next(
            (
                said
                for step in reversed(steps)
                if "expected_loss" in (said := _evidence(step.verdicts, LOSS))
            ),
            {},
        )
    if "expected_loss" not in numbers:
        return None
    expected, upper = float(numbers["expected_loss"]), float(numbers["upper_bound"])
    budget = float(numbers["budget"]) if "budget" in numbers else None
    words = f"Expected loss so far {expected:,.0f}, at most {upper:,.0f}"
    if budget is not None:
        words += f", of a loss budget of {budget:,.0f}"
    return Money(expected, upper, budget, f"{words}.")


def _would_promote(
    state: RolloutState,
    verdicts: Sequence[Mapping[str, Any]],
    config: RolloutConfig,
    now: date,
) -> tuple[str, ...]:
    told = []
    if state.stage == "paused":
        told.append(
            f"It is paused by {state.paused_by or 'a guardrail'}: it has to be resumed first."
        )
    left = config.dwell(state.level) - state.days_in_stage(now)
    if left > 0:
        told.append(f"{days(left, 'more ')} in this stage.")
    told += [
        f"{v['name'].capitalize()} must pass. {v['sentence']}"
        for v in verdicts
        if v["verdict"] != "pass"
    ]
    if not verdicts:
        told.append("Every guardrail must be judged, and pass.")
    return tuple(told) or ("Nothing is missing: the next cycle promotes it.",)


Numbers = Mapping[str, Any]
_LIMITS: tuple[tuple[str, str, Callable[[Numbers], str]], ...] = (
    (
        PROFIT,
        "high",
        lambda n: f"Incremental profit wholly below zero (its upper bound is {n['high']:+z.0%}).",
    ),
    (
        LOSS,
        "budget",
        lambda n: f"An expected loss above {n['budget']:,.0f} (it is {n['expected_loss']:,.0f}).",
    ),
    (
        "revenue",
        "change_high",
        lambda n: (
            f"Sales wholly below {-n['margin']:.0%} against the control (the upper bound is "
            f"{n['change_high']:+z.1%})."
        ),
    ),
    (
        "cost per incremental conversion",
        "change_high",
        lambda n: (
            f"Incremental conversions per spend wholly below {-n['margin']:.0%} (the upper bound "
            f"is {n['change_high']:+z.0%})."
        ),
    ),
    (
        "spend pacing",
        "pacing_highest",
        lambda n: (
            f"An exposed segment that spends more than {n['over']:.0%} of its budget for a week "
            f"(the highest spends {n['pacing_highest']:.0%})."
        ),
    ),
    (
        "channel share",
        "share",
        lambda n: (
            f"A channel that grows past {n['limit']:.0%} of the exposed spend (the largest is "
            f"{n['channel']} with {n['share']:.0%})."
        ),
    ),
)


def _would_roll_back(
    state: RolloutState,
    verdicts: Sequence[Mapping[str, Any]],
    config: RolloutConfig,
    now: date,
) -> tuple[str, ...]:
    told = []
    for name, needed, words in _LIMITS:
        numbers = _evidence(verdicts, name)
        if needed in numbers:
            told.append(words(numbers))
    if not verdicts and _follows(state):
        told.append(
            "From the first day on, a guardrail that fails: incremental profit, loss budget, "
            "revenue, cost per incremental conversion, spend pacing or channel share."
        )
    left = config.max_days - state.days_live(now)
    if config.inconclusive == "roll_back":
        told.append(
            f"Being undecided after {config.max_days} days ({max(left, 0)} from now)."
            if left > 0
            else "Being undecided at the next look: its days are over."
        )
    told.append("A person: liftloop rollback.")
    return tuple(told)
