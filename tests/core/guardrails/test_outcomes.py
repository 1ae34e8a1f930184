"""A test that harms a guarded outcome is not shipped; one that does not, is."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.guardrails.outcomes import (
    OutcomeRule,
    OutcomeVerdict,
    harmed_cells,
    judge_outcomes,
)
from liftloop.core.policy import Cell
from liftloop.reporting.outcome_guardrails import outcome_sentence

RULE = OutcomeRule("y_retained", "lower", 0.01)


def judged(effect: float, error: float, rule: OutcomeRule = RULE) -> OutcomeVerdict:
    test = {
        "experiment": "may",
        "channel": "email",
        "segments": ["north", "south"],
        "outcomes": {"y_retained": (effect, error)},
    }
    (verdict,) = judge_outcomes([rule], [test])
    return verdict


@pytest.mark.parametrize(
    ("effect", "harmful", "could_hide"),
    [(-0.05, True, False), (-0.015, False, True), (0.0, False, False), (0.03, False, False)],
)
def test_harm_is_an_interval_beyond_the_margin(
    effect: float, harmful: bool, could_hide: bool
) -> None:
    verdict = judged(effect, 0.006)
    assert (verdict.is_harmful, verdict.could_hide_harm) == (harmful, could_hide)


def test_what_is_bad_may_be_a_rise() -> None:
    rule = OutcomeRule("y_retained", "higher", 0.01)
    assert judged(0.05, 0.006, rule).is_harmful and not judged(-0.05, 0.006, rule).is_harmful


def test_the_cells_of_a_harmful_test_are_all_its_segments() -> None:
    assert set(harmed_cells([judged(-0.05, 0.006)])) == {
        Cell("north", "email"),
        Cell("south", "email"),
    }
    assert not harmed_cells([judged(0.0, 0.006)])


def test_a_test_without_the_outcome_is_not_called_harmless() -> None:
    (verdict,) = judge_outcomes(
        [RULE], [{"experiment": "a", "channel": "b", "segments": ["s"], "outcomes": {}}]
    )
    assert not verdict.is_measured and not verdict.is_harmful
    assert "not known" in outcome_sentence(verdict)


def test_the_sentence_says_what_could_go_unseen() -> None:
    assert "lowers y_retained by 0.05" in outcome_sentence(judged(-0.05, 0.006))
    assert "a fall of up to 0.0364 could go unseen" in outcome_sentence(judged(-0.02, 0.01))
    assert "beyond 0.01 is ruled out" in outcome_sentence(judged(0.0, 0.006))


def test_it_alarms_one_time_in_twenty_at_the_margin_and_finds_what_is_worse() -> None:
    rng = np.random.default_rng(5)
    error, draws = 0.005, 4000
    at_margin = [judged(-0.01 + error * z, error).is_harmful for z in rng.normal(size=draws)]
    # four standard errors of a share of .05 in 4,000 draws
    assert abs(np.mean(at_margin) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / draws)
    none = [judged(error * z, error).is_harmful for z in rng.normal(size=draws)]
    assert np.mean(none) < 0.002  # a margin of two errors away
    worse = [judged(-0.03 + error * z, error).is_harmful for z in rng.normal(size=draws)]
    assert np.mean(worse) > 0.98  # normal: P(z < 4 - 1.645) = .991
