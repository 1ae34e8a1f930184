"""The review of a month: what came out, what deviates, what was learned, what is open. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from liftloop.core.curves.gain import Estimate
from liftloop.reporting.history.playbook import PlaybookEntry
from liftloop.reporting.history.realized_gains import RealizedGain
from liftloop.reporting.rendering import render


@dataclass(frozen=True, slots=True)
class DecisionReview:
    """A decision of the month that moved money: what it expected (profit a day against the budgets
    before), and what was measured over days that include it; None where nothing is."""

    id: str
    effective_from: date
    kind: str
    state: str
    expected: Estimate | None
    realized: RealizedGain | None


@dataclass(frozen=True, slots=True)
class Deviation:
    """A gain outside of what was expected, and what was noted of its days."""

    gain: RealizedGain
    sentence: str
    events: tuple[PlaybookEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A month, from ``first`` to ``last``, both included.

    Attributes
    ----------
    month_gain
        Profit of the month against the budgets as they were, account currency, with its 90 %
        interval; None where it is not measured.
    gained
        What the loop gained since it began, or why there is no figure.
    lessons
        Lessons and results of the month.
    questions
        Hypotheses that nothing has answered yet.
    waiting
        (what waits, the command that acts on it or "").
    otherwise
        What another objective would have decided, a sentence a plan.
    """

    first: date
    last: date
    currency: str
    month_gain: Estimate | None
    gained: str
    decisions: Sequence[DecisionReview]
    deviations: Sequence[Deviation]
    lessons: Sequence[PlaybookEntry]
    questions: Sequence[PlaybookEntry]
    waiting: Sequence[tuple[str, str]]
    otherwise: Sequence[str]

    @property
    def title(self) -> str:
        """What it is a review of."""
        return f"Review of {self.first:%B %Y}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "month": f"{self.first:%Y-%m}",
            "currency": self.currency,
            "gain_of_the_month": asdict(self.month_gain) if self.month_gain else None,
            "gained": self.gained,
            "decisions": [
                {
                    "id": one.id,
                    "effective_from": one.effective_from.isoformat(),
                    "kind": one.kind,
                    "state": one.state,
                    "expected_a_day": asdict(one.expected) if one.expected else None,
                    "realized": one.realized.as_dict() if one.realized else None,
                }
                for one in self.decisions
            ],
            "deviations": [
                {
                    **one.gain.as_dict(),
                    "sentence": one.sentence,
                    "events": [event.as_dict() for event in one.events],
                }
                for one in self.deviations
            ],
            "lessons": [one.as_dict() for one in self.lessons],
            "open_questions": [one.as_dict() for one in self.questions],
            "waiting": [{"what": what, "command": command} for what, command in self.waiting],
            "otherwise": list(self.otherwise),
        }


def review_page(review: Review) -> str:
    """The page, one file without anything from elsewhere."""
    return render("pages/review_page.html.j2", review=review)
