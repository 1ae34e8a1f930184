"""Guardrails on outcomes other than money: a user-level test that harms one is not shipped.

Harm is shown, not suspected: the one-sided 95 % interval of the effect lies beyond the margin, so a
test whose true effect is just the margin is refused one time in twenty. What is not shown may still
be there; how much is part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from liftloop.core.policy import Cell

Z95_ONE_SIDED = 1.6448536269514722
Direction = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """An outcome that must not get worse by more than ``margin``, in its own unit a user (0.01 of a
    0/1 outcome: one user in a hundred). ``worse`` says which way is bad."""

    outcome: str
    worse: Direction = "lower"
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class OutcomeVerdict:
    """What a test did to a guarded outcome.

    Attributes
    ----------
    effect, standard_error
        Doubly robust effect a user, in the outcome's unit; nan where the test does not have it.
    worst, best
        One-sided 95 % bounds of how much worse the outcome got (> 0: worse): at most ``worst``, at
        least ``best``.
    assigned_on
        The last day of assignment, ISO 8601.
    """

    experiment: str
    channel: str
    segments: tuple[str, ...]
    rule: OutcomeRule
    effect: float
    standard_error: float
    worst: float
    best: float
    assigned_on: str = ""

    @property
    def is_measured(self) -> bool:
        return self.effect == self.effect

    @property
    def is_harmful(self) -> bool:
        """Whether it is worse by more than the margin, 95 % sure."""
        return self.is_measured and self.best > self.rule.margin

    @property
    def could_hide_harm(self) -> bool:
        """Whether harm beyond the margin could go unseen."""
        return not self.is_harmful and not self.worst <= self.rule.margin


def judge_outcomes(
    rules: Sequence[OutcomeRule], tests: Iterable[Mapping[str, Any]]
) -> tuple[OutcomeVerdict, ...]:
    """One verdict for each rule and test.

    Parameters
    ----------
    tests
        experiment, channel, segments, assigned_on, and ``outcomes``: name -> (effect a user,
        standard error).
    """
    found = []
    for test in tests:
        for rule in rules:
            effect, error = test["outcomes"].get(rule.outcome, (float("nan"), float("nan")))
            harm = -effect if rule.worse == "lower" else effect
            found.append(
                OutcomeVerdict(
                    experiment=str(test["experiment"]),
                    channel=str(test["channel"]),
                    segments=tuple(test["segments"]),
                    rule=rule,
                    effect=float(effect),
                    standard_error=float(error),
                    worst=harm + Z95_ONE_SIDED * error,
                    best=harm - Z95_ONE_SIDED * error,
                    assigned_on=str(test.get("assigned_on", "")),
                )
            )
    return tuple(found)


def harmed_cells(verdicts: Iterable[OutcomeVerdict]) -> dict[Cell, OutcomeVerdict]:
    """The cells whose latest test that measured an outcome harmed it, with the first verdict that
    says so: a later test that does no harm sets them free."""
    latest: dict[tuple[Cell, str], OutcomeVerdict] = {}
    for verdict in sorted(verdicts, key=lambda one: one.assigned_on):
        if verdict.is_measured:
            for segment in verdict.segments:
                latest[Cell(segment, verdict.channel), verdict.rule.outcome] = verdict
    found: dict[Cell, OutcomeVerdict] = {}
    for (cell, _), verdict in latest.items():
        if verdict.is_harmful:
            found.setdefault(cell, verdict)
    return found
