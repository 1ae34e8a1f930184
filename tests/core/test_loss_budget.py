"""The guardrail on money lost so far."""

from __future__ import annotations

from datetime import date

import pytest

from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.finite_horizon import Plan
from liftloop.core.loss_budget import default_budget, judge_loss
from liftloop.core.profit import ProfitRule

NOW = date(2026, 2, 1)
PLAN = Plan(information=100.0, looks=50, before_days=56, wait_days=3)


def evidence(effect: float, *, plan: Plan | None = PLAN, stake: float = 20_000.0) -> CanaryEvidence:
    look = Look(date(2026, 1, 28), effect, 100.0, 20)
    return CanaryEvidence((look,), 1_000.0, 900.0, plan=plan, at_stake=stake)


def test_the_expected_loss_is_the_share_lost_of_what_was_at_stake() -> None:
    verdict = judge_loss(evidence(-300.0), now=NOW, days_live=27, rule=ProfitRule(), budget=7_000.0)
    assert verdict.verdict == "pass"
    assert verdict.evidence["expected_loss"] == pytest.approx(0.3 * 20_000)
    assert float(verdict.evidence["upper_bound"]) > 0.3 * 20_000


def test_past_the_budget_it_goes_back_at_once() -> None:
    verdict = judge_loss(evidence(-300.0), now=NOW, days_live=27, rule=ProfitRule(), budget=5_999.0)
    assert (verdict.verdict, verdict.recommendation) == ("fail", "roll_back")
    assert "5,999" in verdict.sentence


def test_a_gain_loses_nothing() -> None:
    verdict = judge_loss(evidence(300.0), now=NOW, days_live=27, rule=ProfitRule(), budget=1.0)
    assert verdict.verdict == "pass"
    assert verdict.evidence["expected_loss"] == 0.0


def test_by_default_the_budget_follows_from_the_noise_known_before() -> None:
    budget = default_budget(evidence(0.0), alpha=0.05)
    noisier = Plan(information=25.0, looks=50, before_days=56, wait_days=3)
    twice = default_budget(evidence(0.0, plan=noisier), alpha=0.05)
    assert budget is not None
    assert twice == pytest.approx(2 * budget)


def test_without_a_budget_or_anything_to_measure_it_never_passes() -> None:
    assert (
        judge_loss(evidence(0.0, plan=None), now=NOW, days_live=27, rule=ProfitRule()).verdict
        == "review"
    )
    nothing = CanaryEvidence((), 1_000.0, 900.0, "No lift.")
    for budget in (None, 5.0, float("nan")):
        verdict = judge_loss(nothing, now=NOW, days_live=27, rule=ProfitRule(), budget=budget)
        assert verdict.verdict == "review"
