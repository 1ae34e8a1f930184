"""Who has to decide on a plan, by when and why, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from liftloop.core.access.escalation import Escalation, MetRule, Trigger
from liftloop.core.curves.gain import Estimate
from liftloop.core.experiments.lift_tests import listed
from liftloop.reporting.messages.message_parts import compose
from liftloop.reporting.messages.slack_blocks import Link, Words
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.reporting.rendering import day


def who_decides(found: Escalation) -> str:
    """The least role that decides: "finance approver"."""
    return found.decides.value.replace("-", " ") if found.decides else "whoever may approve"


def because(found: Escalation, *, most: int = 3) -> str:
    """Why a plan waits, at most so many reasons, without a full stop."""
    reasons = [_reason(one) for one in found.met] or ["somebody took it to approval"]
    more = len(reasons) - most
    return listed([*reasons[:most], *([f"{more} more"] if more > 0 else [])])


def asked_words(found: Escalation, due: date, *, most: int = 3) -> str:
    """Who has to decide by when, for at most so many reasons, and what happens otherwise."""
    who = who_decides(found)
    return (
        f"{who[0].upper()}{who[1:]} by {day(due)}, because {because(found, most=most)}; else the "
        "current budgets stay."
    )


def also_told(found: Escalation) -> str:
    """The roles that are told beside, in words; "" for none."""
    names = [role.value.replace("-", " ") for role in found.tell]
    return listed(names) if names else ""


def _reason(met: MetRule) -> str:
    value, limit = met.value, met.limit
    if met.trigger == Trigger.NEW_CHANNEL:
        return f"{listed(met.channels)} had no money before"
    if met.trigger == Trigger.RISK and value is None:
        return "no loss is allowed for, so its risk cannot be measured"
    if met.trigger == Trigger.LOW_CONFIDENCE and value is None:
        return "nobody can tell how probable a gain is"
    assert value is not None  # all others are met by a figure
    if met.trigger == Trigger.MODEL_ROLLED_BACK:
        return f"a model was rolled back {value:.0f} days ago"
    most = f"(limit {_share(limit)})"
    words = {
        Trigger.SIZE: f"{_share(value)} of the money moves {most}",
        Trigger.RISK: f"{_share(value)} of the allowance would be in use {most}",
        Trigger.LOW_CONFIDENCE: f"it gains with {value:.0%} probability {most}",
        Trigger.WIDENS: f"more segments follow and {value:.0%} of the money moves",
        Trigger.PERFORMANCE: f"profit is {value:.0%} below the old budgets' {most}",
    }
    return words[met.trigger]


def _share(value: float) -> str:
    """In whole per cent; a small one with a digit more, so that it is not taken for nothing."""
    return f"{value:.1%}" if 0 < value < 0.01 else f"{value:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingApproval:
    """A plan that waits for a person on ``due`` or was withdrawn after it.

    Attributes
    ----------
    gain
        Expected profit a day; None where nothing could be estimated.
    """

    decision_id: str
    effective_from: date
    due: date
    asked: Escalation
    outcome: OutcomeWords
    gain: Estimate | None = None
    is_withdrawn: bool = False
    links: tuple[Link, ...] = ()

    @property
    def who(self) -> str:
        """The role that decides."""
        return who_decides(self.asked)

    @property
    def copies(self) -> str:
        """Who is told beside."""
        return also_told(self.asked)

    @property
    def words(self) -> str:
        """Who decides by when and why."""
        return asked_words(self.asked, self.due, most=1)


def approval_message(found: WaitingApproval) -> Words:
    """The reminder of a plan on the day before it is withdrawn, or that it was."""
    return compose("approval.txt.j2", approval=found)
