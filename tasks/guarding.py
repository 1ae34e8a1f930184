"""Guardrails of rollouts and plans: facts become small pieces of evidence, the core judges them.

Pure: frames and settings in, verdicts out. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pandas as pd

from liftloop.adapters.settings import Rollout, Settings
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.guardrails import GuardrailVerdict, judge_health
from liftloop.core.policy import Policy
from liftloop.core.profit import Prediction, ProfitRule, judge_profit
from liftloop.core.settlement import Running
from monitoring.verdicts import HealthVerdict


def profit_rule(settings: Rollout) -> ProfitRule:
    """The guardrail on incremental profit, as configured."""
    return ProfitRule(alpha=settings.alpha, margin=settings.margin)


def guard_rollout(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    running: Running,
    as_of: date,
    evidence: CanaryEvidence,
    prediction: Prediction | None,
    facts_health: HealthVerdict,
) -> tuple[GuardrailVerdict, ...]:
    """What every guardrail says about a running rollout on ``as_of``."""
    return (
        judge_profit(
            evidence, now=as_of, rule=profit_rule(settings.rollout), prediction=prediction
        ),
        judge_health(facts_health.paused_segments, canary=running.canary, control=running.control),
    )


def guard_plan(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    proposed: Policy,
    incumbent: Policy,
    as_of: date,
    facts_health: HealthVerdict,
) -> tuple[GuardrailVerdict, ...]:
    """What the guardrails on plans say about ``proposed``, whether or not a rollout follows."""
    return ()
