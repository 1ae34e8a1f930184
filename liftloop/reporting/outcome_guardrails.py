"""What a guarded outcome of a user-level test says, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from liftloop.core.guardrails.outcomes import OutcomeVerdict
from liftloop.core.policy import Cell

NAMED = 3  # cells in one sentence


def outcome_sentence(verdict: OutcomeVerdict) -> str:
    """Harmful, harmless, not sure (with what could go unseen), or not measured."""
    rule = verdict.rule
    name = f"{verdict.experiment} x {verdict.channel}"
    if not verdict.is_measured:
        return f"{name} does not report {rule.outcome}: whether it is harmed is not known."
    falls, fall = ("lowers", "fall") if rule.worse == "lower" else ("raises", "rise")
    tolerated = f"the tolerated {rule.margin:.4g}" if rule.margin else "tolerated"
    if verdict.is_harmful:
        harm = abs(verdict.effect)
        return (
            f"{name} {falls} {rule.outcome} by {harm:.3g} a user (95 % sure of at least "
            f"{verdict.best:.3g}), more than {tolerated}."
        )
    seen = f"{name} changes {rule.outcome} by {verdict.effect:+z.3g} a user"
    if verdict.could_hide_harm:
        return (
            f"{seen}: no harm is shown, but a {fall} of up to {verdict.worst:.3g} could go unseen "
            f"(95 %; tolerated: {rule.margin:.4g})."
        )
    return f"{seen}: a {fall} beyond {rule.margin:.4g} is ruled out (95 %)."


def held_sentence(reasons: Mapping[Cell, str]) -> str:
    """Which cells get no raise because their test harms an outcome; "" without any."""
    cells: dict[str, list[str]] = {}
    for cell in sorted(reasons):
        cells.setdefault(reasons[cell], []).append(str(cell))
    found = []
    for why, names in cells.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        who = f"{', '.join(names[:NAMED])}{more}"
        found.append(f"{why}: {who} get{'s' if len(names) == 1 else ''} no raise.")
    return " ".join(found)


def no_raise_reason(verdict: OutcomeVerdict) -> str:
    """Why a cell gets no raise."""
    rule = verdict.rule
    falls = "lowers" if rule.worse == "lower" else "raises"
    return (
        f"The test {verdict.experiment} {falls} {rule.outcome} by at least {verdict.best:.3g} "
        "a user (95 % sure)"
    )
