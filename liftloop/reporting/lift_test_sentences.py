"""Lift tests in words: the one to run next, and which contradict what else is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from liftloop.core.experiments.known_days import day_words
from liftloop.core.experiments.lift_tests import LiftTest
from liftloop.core.experiments.power import Placebo
from liftloop.reporting.outcome_words import OutcomeWords

TOO_OFTEN, ENOUGH_TESTS = 0.1, 40  # of placebo tests that show an effect, of at least so many
NAMED = 2  # in one message: the others are on the list of experiments


def conflict_sentences(tests: Sequence[Mapping[str, Any]]) -> str:
    """The lift tests in conflict, in sentences; "" without any.

    Parameters
    ----------
    tests
        What became of each lift test in a training: experiment, conflict ("" without one).
    """
    names = [(str(t["experiment"]), str(t["conflict"])) for t in tests if t.get("conflict")]
    words = [f"The lift test {name} counts little: {why}" for name, why in names[:NAMED]]
    more = len(names) - NAMED
    if more > 0:
        words.append(
            f"{more} more {'contradicts' if more == 1 else 'contradict'} other evidence: "
            "liftloop experiments names them."
        )
    return " ".join(words)


def suggestion_sentence(
    best: LiftTest, start: date, *, words: OutcomeWords, horizon_weeks: int
) -> str:
    """The test to run next from ``start``: what to do, what it costs and is worth, and what can be
    seen.

    Parameters
    ----------
    horizon_weeks
        How long its answer is used.
    """
    expected = (
        f"{words.gain(best.expected_effect)} {'conversions' if words.counted else words.currency}"
    )
    least = words.gain(best.detectable).removeprefix("+")
    chance = f"with a power of {best.power:.0%}"
    if best.value is None:
        return (
            f"Nothing is known of any response yet. Begin so: {best.act} from {start}. If the "
            f"spend just pays for itself, sales change by {expected}, which {best.measured_by} let "
            f"you see {chance}; the least effect seen 4 times in 5 is {least}."
        )
    free = (
        "the money it saves earns at least as much elsewhere"
        if best.spend_delta < 0
        else "the money earns there at least what it earns elsewhere"
    )
    price = f"costs about {best.cost:,.0f}" if best.cost else f"costs nothing, for {free}"
    worth = (
        f"the answer is worth about {best.value:,.0f} {words.currency} until {horizon_weeks} "
        f"weeks from now and {price}"
    )
    seen = (
        f"The expected effect of {expected} is seen {chance} "
        f"({best.measured_by}); the least effect seen 4 times in 5 is {least}."
    )
    if best.net <= 0:
        return f"No lift test is worth its cost now. The nearest: {best.act}: {worth}. {seen}"
    return f"Next: {best.act} from {start}: {worth}. {seen}"


def drawn_words(test: LiftTest, *, sets: int, seed: int) -> str:
    """What the seed draws: the order of the weeks, or the segments, from so many ``sets`` of them;
    "" where there was one."""
    if test.turns is not None:
        return (
            f"Which week of each pair is changed is drawn by seed {seed}; the first "
            f"{test.turns.washout} days of a turn are not compared (wash-out)."
        )
    if sets < 2:
        return ""
    return f"The segments are drawn by seed {seed} from {sets} sets that measure as well."


def placebo_words(placebo: Placebo | None) -> str:
    """How often such a test of nothing showed an effect on the past; "" where none could be run."""
    if placebo is None:
        return ""
    found = f"{placebo.false} of {placebo.tests} such tests"
    beware = (
        " That is more than a test may claim: take its interval with care."
        if placebo.rate > TOO_OFTEN and placebo.tests >= ENOUGH_TESTS
        else ""
    )
    return (
        f"Checked on your own past, where nothing was changed: {found} would have shown an effect "
        f"({placebo.rate:.0%}; 5 % is what it claims).{beware}"
    )


def known_days_words(
    start: date, begin: date, held: Mapping[date, str], *, left: Mapping[date, str]
) -> str:
    """The known days that a test holds, or those it leaves out by beginning on ``begin`` and not on
    ``start``; "" without any."""
    if held:
        return (
            f"Its days hold {day_words(held)}: the test measures these days, too, and no start in "
            "the next eight weeks leaves them out."
        )
    if begin == start:
        return ""
    return f"It begins on {begin}, not on {start}, to leave out {day_words(left)}."
