"""Why a plan is held is said by guardrails; here is who must do what, and what waiting costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from liftloop.core.curves.gain import Estimate
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.reporting.outcome_words import OutcomeWords

TO_DO = "To do: "
LATE_DATA = (
    "whoever delivers the data brings the days that are missing, or repairs the feed (liftloop "
    "doctor names it)."
)
OLD_MODEL = (
    "whoever runs the models finds out in MLflow why none was promoted since; the next cycle "
    "trains again."
)
PLAN_ANEW = "nobody: the next cycle plans anew within today's limits (now: liftloop cycle)."
ARMS = "whoever runs the holdout repairs how users get into its arms (liftloop doctor)."
ALLOWANCE = (
    "nobody: the allowance is free again as gains are measured. Whoever answers for the risk may "
    "raise allowance in [rollout]."
)
RULES = "whoever sets the budget rules changes one of those named, in [budget]."


def to_do_for(verdicts: Iterable[GuardrailVerdict]) -> str:
    """Who must do what before the plan that these verdicts hold may go, a sentence each."""
    found = []
    for verdict in verdicts:
        if verdict.name != "fresh data":
            found.append(PLAN_ANEW)
        else:
            found.append(OLD_MODEL if "model_days" in verdict.evidence else LATE_DATA)
    return _sentences(found)


def to_do_for_holds(reasons: Sequence[str], *, is_passing: bool) -> str:
    """Who must do what where every cell is held.

    Parameters
    ----------
    reasons
        Why, by what lasts until somebody ends it: pauses, tests, the standing holdback.
    is_passing
        Whether late or broken facts, or an alarm of the monitor, hold cells as well.
    """
    paused = any(why.startswith("paused by") for why in reasons)
    found = [LATE_DATA] if is_passing else []
    if paused:
        found.append("whoever paused the cells lets them move again: liftloop resume.")
    return _sentences(found)


def to_do_when_paused(by: str) -> str:
    return f"{by}, or somebody in their place, lets the rollout go on: liftloop resume --rollout."


def to_do_until(day: date) -> str:
    return f"nobody: from {day} on plans may enter again."


def _sentences(found: Sequence[str]) -> str:
    first, *others = dict.fromkeys(found) or ("",)
    return " ".join((first, *(f"{words[0].upper()}{words[1:]}" for words in others)))


def without(reason: str, *parts: str) -> str:
    """A decision's reason without the sentences that a message says in a place of their own."""
    for part in filter(None, parts):
        reason = reason.replace(f" {part}", "")
    return reason


def cost_of_waiting(gain: Estimate, words: OutcomeWords) -> str:
    """What a day that the plan waits costs, as far as is known, in a sentence.

    Parameters
    ----------
    gain
        Expected profit a day of the plan over the budgets in force, account currency.
    """
    return (
        f"A day of waiting costs {words.gain(gain.mean)} {words.gain_label} (90 %: "
        f"{words.gain(gain.low)} to {words.gain(gain.high)})."
    )
