"""Guardrails on one metric with a margin: fail, pass, undecided, and what cannot be measured."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from liftloop.core.guardrails.noninferiority import ChangeRule, MetricChange, judge_change
from liftloop.core.guardrails.verdict import GuardrailVerdict

NOW = date(2026, 3, 2)
SOUND = MetricChange(0.0, 0.01, 1000.0, NOW - timedelta(days=1), 28, ("north",))
RULE = ChangeRule(alpha=0.0025, margin=0.05)


def judged(
    change: MetricChange, rule: ChangeRule = RULE, prior: tuple[float, float] | None = None
) -> GuardrailVerdict:
    return judge_change(change, name="revenue", what="Sales", now=NOW, rule=rule, prior=prior)


def test_a_fall_proven_beyond_the_margin_rolls_back() -> None:
    verdict = judged(replace(SOUND, effect=-0.12))
    assert (verdict.verdict, verdict.recommendation) == ("fail", "roll_back")
    assert float(verdict.evidence["change_high"]) < -0.05


def test_a_fall_within_the_margin_is_not_a_failure_however_surely_it_is_known() -> None:
    tiny = replace(SOUND, effect=-0.03, standard_error=0.0001)
    assert judged(tiny).verdict == "pass"


def test_no_change_passes_once_the_evidence_rules_a_fall_out() -> None:
    assert judged(SOUND).verdict == "pass"


def test_a_bad_sign_that_proves_nothing_is_undecided() -> None:
    verdict = judged(replace(SOUND, effect=-0.05, standard_error=0.03))
    assert (verdict.verdict, verdict.recommendation) == ("undecided", "hold")


def test_a_prediction_never_passes_against_evidence_that_leans_the_other_way() -> None:
    leaning = replace(SOUND, effect=-0.08, standard_error=0.05)
    assert judged(leaning, prior=(0.5, 0.001)).verdict == "undecided"


def test_proven_asks_for_the_whole_range_above_the_margin() -> None:
    proven = replace(RULE, promotion="proven")
    assert judged(replace(SOUND, standard_error=0.02)).verdict == "pass"
    assert judged(replace(SOUND, standard_error=0.02), proven).verdict == "undecided"
    assert judged(replace(SOUND, standard_error=0.005), proven).verdict == "pass"


@pytest.mark.parametrize(
    "broken",
    [
        MetricChange(),
        MetricChange(problem="There are no sales."),
        replace(SOUND, effect=math.nan),
        replace(SOUND, effect=math.inf),
        replace(SOUND, standard_error=0.0),
        replace(SOUND, standard_error=math.nan),
        replace(SOUND, level=0.0),
        replace(SOUND, level=math.nan),
        replace(SOUND, day=None),
        replace(SOUND, day=NOW - timedelta(days=22)),
    ],
)
def test_what_is_missing_immature_not_finite_or_stale_never_passes(broken: MetricChange) -> None:
    verdict = judged(broken)
    assert (verdict.verdict, verdict.recommendation) == ("review", "hold")
    assert "blocks promotion" in verdict.sentence


def test_a_fall_of_exactly_the_margin_is_rolled_back_ever_at_most_as_often_as_alpha_says() -> None:
    """2,000 walks of 56 daily looks; alpha 5 % so that its binomial error (.5 %) can be seen."""
    rng = np.random.default_rng(5)
    rule = ChangeRule(alpha=0.05, margin=0.05)
    runs, looks, noise = 2000, 56, 0.1
    steps = -rule.margin + noise * rng.standard_normal((runs, looks))
    effects = steps.cumsum(axis=1) / np.arange(1, looks + 1)
    failed = sum(
        any(
            judged(replace(SOUND, effect=effect, standard_error=noise / math.sqrt(n)), rule).verdict
            == "fail"
            for n, effect in enumerate(walk, start=1)
            if effect < -rule.margin - 1.5 * noise / math.sqrt(n)  # nearer ones cannot fail
        )
        for walk in effects.tolist()
    )
    assert failed / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
