from __future__ import annotations

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.profit import Prediction, ProfitRule, judge_profit, money_at_risk

DAY = date(2026, 3, 29)
NOW = date(2026, 3, 30)


def seen(effect: float, error: float, *, baseline: float = 1000.0) -> CanaryEvidence:
    return CanaryEvidence((Look(DAY, effect, error, 28),), baseline, 500.0)


def judge(
    effect: float, error: float, *, rule: ProfitRule | None = None, gain: float = 0.05
) -> GuardrailVerdict:
    return judge_profit(
        seen(effect, error), now=NOW, rule=rule or ProfitRule(), prediction=Prediction(gain, 0.03)
    )


def test_a_clear_loss_fails_and_recommends_going_back() -> None:
    verdict = judge(-600.0, 100.0)
    assert (verdict.verdict, verdict.recommendation) == ("fail", "roll_back")
    assert "loses money" in verdict.sentence
    assert verdict.evidence["relative_effect"] == pytest.approx(-0.6)
    assert verdict.evidence["high"] < 0
    assert verdict.evidence["loss_e_value"] > verdict.evidence["threshold"] == 20


def test_no_harm_with_good_evidence_passes() -> None:
    verdict = judge(60.0, 80.0)
    assert (verdict.verdict, verdict.recommendation) == ("pass", "promote")


def test_evidence_too_thin_to_rule_out_a_grave_loss_does_not_pass_whatever_the_model_says() -> None:
    verdict = judge(0.0, 400.0, gain=2.0)
    assert verdict.verdict == "undecided"
    assert "would promote it" in verdict.sentence
    assert "would roll it back" in verdict.sentence


def test_what_would_decide_is_true() -> None:
    verdict = judge(-60.0, 115.0)
    assert verdict.verdict == "undecided"
    words = verdict.sentence.split()
    up, down = words[words.index("above") + 1], words[words.index("below") + 1].rstrip(",")
    above, below = float(up.rstrip("%")) * 10, float(down.rstrip("%")) * 10
    assert judge(above + 6, 115.0).verdict == "pass"
    assert judge(above - 6, 115.0).verdict == "undecided"
    assert judge(below - 6, 115.0).verdict == "fail"
    assert judge(below + 6, 115.0).verdict == "undecided"


def test_proven_promotion_asks_that_the_whole_range_is_above_the_margin() -> None:
    rule = ProfitRule(promotion="proven")
    assert judge(60.0, 80.0, rule=rule).verdict == "undecided"
    assert judge(60.0, 30.0, rule=rule).verdict == "pass"


def test_a_model_that_predicts_a_loss_counts_against() -> None:
    assert judge(0.0, 80.0, gain=0.05).verdict == "pass"
    assert judge(0.0, 80.0, gain=-0.4).verdict == "undecided"


@pytest.mark.parametrize(
    ("evidence", "says"),
    [
        (CanaryEvidence((), 1000.0, 5.0, "The feed is gone."), "The feed is gone."),
        (CanaryEvidence((), 1000.0, 5.0), "No day"),
        (seen(math.nan, 1.0), "finite"),
        (seen(math.inf, 1.0), "finite"),
        (seen(1.0, 0.0), "finite"),
        (seen(1.0, 1.0, baseline=math.nan), "finite"),
        (seen(1.0, 1.0, baseline=0.0), "not positive"),
        (CanaryEvidence((Look(date(2026, 1, 4), 1.0, 1.0, 7),), 9.0, 5.0), "more than 21 days"),
    ],
)
def test_what_cannot_be_measured_is_a_review_with_words(
    evidence: CanaryEvidence, says: str
) -> None:
    verdict = judge_profit(evidence, now=NOW, rule=ProfitRule())
    assert (verdict.verdict, verdict.recommendation) == ("review", "hold")
    assert says in verdict.sentence
    assert "blocks promotion" in verdict.sentence


@given(st.floats(-2000, 2000), st.floats(1, 2000), st.floats(-1, 1))
def test_a_failing_guardrail_never_passes_for_the_models_sake(
    effect: float, error: float, gain: float
) -> None:
    verdict = judge(effect, error, gain=gain)
    if verdict.verdict == "pass":
        assert verdict.evidence["high"] >= 0
        assert verdict.evidence["low"] > -0.3


def test_money_at_risk_is_the_loss_so_far_and_its_bound() -> None:
    risk = money_at_risk(seen(-100.0, 80.0), days_live=28, rule=ProfitRule())
    assert risk is not None
    assert risk.expected == pytest.approx(2800.0)
    assert risk.upper > risk.expected
    assert money_at_risk(CanaryEvidence((), 1.0, 1.0), days_live=3, rule=ProfitRule()) is None
    gained = money_at_risk(seen(500.0, 50.0), days_live=28, rule=ProfitRule())
    assert gained is not None
    assert gained.expected == gained.upper == 0.0
