"""Lift tests held against the spend that was reported and against all other evidence.

A lift test enters as two numbers somebody typed. One that contradicts the reported spend, or what
everything else predicts of it, is named, and counts for no more than the contradiction leaves: its
standard error is widened until it is two standard deviations away (as a t likelihood would; Lange,
Little and Taylor 1989), and the rest of the evidence goes on. What all else predicts is exact and
leaves the test itself out (a cross-validated predictive check; Gelman et al. 2013, section 6.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from liftloop.core.experiments.spend_baseline import spend_change as spend_moved
from models.lift.evidence import Conflict, Evidence, Test
from models.response.hierarchy import Hierarchy
from models.response.linear_returns import LinearReturns, linear_returns
from models.response.prior import Prior

LEAST_ERROR = 0.02  # of the larger of gain and spend change: no model of a test is more exact
PRIOR_RETURN, PRIOR_SD = 1.0, 10.0  # of a channel, before any evidence
ANYTHING = 1e4  # the same for a test whose users and costs are recorded: cheap mail may return 50
OWN, CELL_SD = 0.45, 0.15  # cells around their channel: a share of its return, and at least so much
TOLERANCE = 0.2  # of what is predicted: seasons and carry-over are not in a linear model
TOO_FAR, KEPT_AWAY = 3.5, 2.0  # standard deviations: of a contradiction, and what is left of it
SPENT_AT_LEAST = 0.8  # of a raise, in the days of the test
FELL_AT_LEAST = 0.5  # of a cut, against the weeks before
SPEND_DOUBT = 0.5  # of the spend change: the error of a test whose spend is not to be found


def with_checked_tests(evidence: Evidence) -> Evidence:
    """The evidence with bounded lift tests, and its ``conflicts`` in the order of the tests."""
    tests = list(evidence.tests)
    if not any(test.randomized for test in tests):
        return evidence
    reported = [test.standard_error for test in tests]
    words: dict[int, list[str]] = {}
    for number, test in enumerate(tests):
        if not test.randomized:
            continue
        change = spend_change(test, evidence)
        least = LEAST_ERROR * max(abs(test.gain), abs(change))
        tests[number] = replace(test, standard_error=max(test.standard_error, least))
        doubt = _spend_conflict(test, evidence)
        if doubt:
            words[number] = [doubt]
            error = max(tests[number].standard_error, SPEND_DOUBT * abs(change))
            tests[number] = replace(test, standard_error=error)
    evidence = replace(evidence, tests=tuple(tests))
    for number, error, text in _contradictions(evidence, reported):
        words.setdefault(number, []).append(text)
        tests[number] = replace(tests[number], standard_error=error)
    conflicts = tuple(
        Conflict(
            tests[number].name,
            reported[number],
            tests[number].standard_error,
            " ".join(words[number]),
        )
        for number in sorted(words)
    )
    return replace(evidence, tests=tuple(tests), conflicts=conflicts)


def spend_change(test: Test, evidence: Evidence) -> float:
    """The signed money of a test, in all (account currency)."""
    moved = (test.actual - test.otherwise) * evidence.size[test.where] * test.portion
    return float(test.days * moved.sum())


def _spend_conflict(test: Test, evidence: Evidence) -> str:
    """How the reported spend contradicts the test's, in words; "" where it does not, or where its
    days are not known."""
    first = test.last - round(test.days) + 1
    if first < 0 or test.last >= len(evidence.spend):
        return ""
    channel = evidence.cells[int(test.where[0])].channel
    others = np.array([c.channel == channel for c in evidence.cells])
    others[test.where] = False
    spend = evidence.spend[:, test.where] @ evidence.size[test.where]
    beside = evidence.spend[:, others] @ evidence.size[others]
    days = round(test.days)
    spent = float(spend[first : test.last + 1].sum())
    claimed = test.spend_change
    if claimed > 0 and spent < SPENT_AT_LEAST * claimed:
        return (
            f"It says that {claimed:,.0f} more was spent; {spent:,.0f} in all is reported of "
            "these cells and days."
        )
    found = spend_moved(spend, beside, first=first, days=days)
    if claimed < 0 and found is not None and -found.delta < FELL_AT_LEAST * abs(claimed):
        fell = -found.delta
        told = f"fell by {fell:,.0f}" if fell > 0 else f"rose by {-fell:,.0f}"
        return (
            f"It says that {abs(claimed):,.0f} less was spent; the reported spend {told} against "
            "the four weeks before."
        )
    return ""


def _contradictions(evidence: Evidence, reported: Sequence[float]) -> list[tuple[int, float, str]]:
    """The tests that all other evidence of their channel contradicts, the worst first: number,
    the standard error they keep, words."""
    model = Hierarchy(replace(evidence, claims=None, breaks=None), Prior())
    state = model.start(np.full(len(evidence.channels), 0.3))
    found = []
    for channel in linear_returns(model, state):
        gains, loads = channel.gains.copy(), channel.loads.copy()
        left = set(range(len(gains)))
        recorded = [evidence.tests[int(number)].spend_change == 0 for number in channel.tests]
        while left:
            now = replace(channel, gains=gains, loads=loads)
            apart = {row: _apart(now, row, ANYTHING if recorded[row] else PRIOR_SD) for row in left}
            row = max(apart, key=lambda one: abs(apart[one][0]))
            z, gap, variance = apart[row]
            if abs(z) <= TOO_FAR:
                break
            left.discard(row)
            number = int(channel.tests[row])
            test = evidence.tests[number]
            # in units of the test's own error over the root of its weight
            wide = np.sqrt(max((gap / KEPT_AWAY) ** 2 - variance, 1.0))
            error = float(test.standard_error * wide)
            unit = test.standard_error / np.sqrt(test.weight)
            predicted = test.gain - gap * unit
            text = (
                f"It says {test.gain:+z,.0f} (standard error {reported[number]:,.4g}); all "
                f"other evidence predicts {predicted:+z,.0f} (standard error "
                f"{np.sqrt(variance) * unit:,.4g})."
            )
            found.append((number, error, text))
            gains[row] /= wide
            loads[row] /= wide
    return found


def _apart(channel: LinearReturns, row: int, prior_sd: float) -> tuple[float, float, float]:
    """How far a test lies from what all other evidence predicts: in standard deviations, and the
    gap and the prediction's variance in units of the test's own error. ``prior_sd`` is how far
    from :data:`PRIOR_RETURN` a channel's return may lie before any evidence."""
    others, load = channel.without(row), channel.loads[row]
    middle, error = others.common()
    precision = prior_sd**-2 + (error**-2 if np.isfinite(error) else 0.0)
    seen = middle * error**-2 if np.isfinite(error) else 0.0
    mean = (PRIOR_RETURN * prior_sd**-2 + seen) / precision
    spread = float(np.hypot(CELL_SD, OWN * mean))
    predicted, variance = others.spread_of(load, mean, spread)
    variance += float(load.sum()) ** 2 / precision + (TOLERANCE * predicted) ** 2
    gap = float(channel.gains[row]) - predicted
    return gap / np.sqrt(1.0 + variance), gap, variance
