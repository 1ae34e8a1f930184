"""What the budgets in force earned beside what the old ones would have, in words and rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from liftloop.core.curves.gain import Estimate
from liftloop.core.inference.weekly_profit import WeekProfit, summed
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.reporting.rendering import day


@dataclass(frozen=True, slots=True)
class BeforeAndAfter:
    """The weeks since the loop began, and the days on which budgets were ``decided`` that moved."""

    weeks: tuple[WeekProfit, ...]
    decided: tuple[date, ...]

    def sentence(self, words: OutcomeWords) -> str:
        """All measured weeks together: what came, what was predicted, and what the budgets left as
        they were would have earned."""
        whole = summed(self.weeks)
        if whole is None or whole.measured is None:
            return (
                "Not measured: no holdout covers these weeks. What was predicted stands beside "
                "what the curves say of the budgets left as they were."
            )
        more = _difference(whole.measured, whole.left)
        told = "" if whole.predicted is None else f"; {words.gain(whole.predicted)} were predicted"
        return (
            f"Since {day(whole.first)}, {whole.days} days: {_said(whole.measured, words)} "
            f"{words.gain_label} measured{told}. With the budgets left as they were it would have "
            f"been {_said(whole.left, words)} by the model in force: a difference of "
            f"{_said(more, words)}."
        )


def week_rows(weeks: Sequence[WeekProfit], words: OutcomeWords) -> list[dict[str, str]]:
    """A row a week, the last one first."""
    return [
        {
            "week from": day(week.first),
            "measured": "–" if week.measured is None else _said(week.measured, words),
            "predicted": "–" if week.predicted is None else words.gain(week.predicted),
            "budgets left as they were": _said(week.left, words),
            "difference": "–"
            if week.measured is None
            else _said(_difference(week.measured, week.left), words),
        }
        for week in reversed(weeks)
    ]


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """Of two independent estimates."""
    mean = one.mean - other.mean
    wide = math.hypot(one.high - one.low, other.high - other.low) / 2
    return Estimate(mean, mean - wide, mean + wide)


def _said(one: Estimate, words: OutcomeWords) -> str:
    return f"{words.gain(one.mean)} (90 %: {words.gain(one.low)} to {words.gain(one.high)})"
