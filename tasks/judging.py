"""How a running rollout is judged: what its exposed segments show, what the model had predicted,
what every guardrail says, and the step that follows. Used by the flows' tasks and by ``liftloop
backtest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import gain, spends
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.plan_guardrails import PLAN_PACING
from liftloop.core.profit import Prediction
from liftloop.core.rollout import Transition, advance
from liftloop.core.settlement import Running
from monitoring.verdicts import HealthVerdict
from tasks.canary_evidence import seen
from tasks.guarding import guard_plan, guard_rollout
from tasks.settling import rollout_config

NINETY = 2 * 1.645  # standard deviations between the ends of a 90 % interval


def judge(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    running: Running,
    as_of: date,
    evidence: CanaryEvidence,
    prediction: Prediction | None,
    facts_health: HealthVerdict,
    model_until: date | None = None,
) -> Transition:
    """The next step of a running rollout, by every guardrail, whatever state it is in.

    Parameters
    ----------
    facts
        ``holdout``, ``performance`` and ``sales`` as known on ``as_of``; and ``units``, where the
        plan rests on user-level tests.
    model_until
        The last day that the model the plan rests on has seen. It counts in the shadow; an exposed
        segment is judged by what it shows.
    """
    verdicts = guard_rollout(
        settings,
        facts,
        running=running,
        as_of=as_of,
        evidence=evidence,
        prediction=prediction,
        facts_health=facts_health,
    )
    if not running.exposed:  # in the shadow the plan itself is what can be judged
        plan = guard_plan(
            settings,
            facts,
            proposed=running.challenger,
            incumbent=running.incumbent,
            as_of=as_of,
            facts_health=facts_health,
            model_until=model_until,
        )
        # a cell that stopped spending meanwhile is held alone when the canary's budgets are made
        verdicts = (*(v for v in plan if v.name != PLAN_PACING), *verdicts)
    config = rollout_config(settings)
    return advance(running.state, evidence, verdicts, as_of, config, running.waves)


def evidence_so_far(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    running: Running,
    as_of: date,
    curves: ResponseCurves | None,
) -> CanaryEvidence:
    """What the exposed segments show, measured against what ``curves`` (those the rollout was begun
    on) say they earned before."""
    if not running.exposed:
        return CanaryEvidence((), float("nan"), 0.0, "Nothing is exposed in the shadow.")
    return seen(
        settings,
        facts,
        exposed=running.exposed,
        control=running.control,
        started_on=min(running.exposed.values()),
        as_of=as_of,
        baseline=baseline_of(curves, running=running, margin=settings.budget.margin),
    )


def baseline_of(curves: ResponseCurves | None, *, running: Running, margin: float) -> float | None:
    """The exposed segments' incremental revenue per day under the incumbent, times the margin, as
    the curves said when the rollout began: what losses are measured against. None without a
    model."""
    if curves is None:
        return None
    revenue = curves.mean_revenue(spends(running.incumbent, curves))
    inside = [cell.segment in running.exposed for cell in curves.cells]
    return margin * float(revenue[inside].sum())


def predicted(
    curves: ResponseCurves | None, *, running: Running, evidence: CanaryEvidence, margin: float
) -> Prediction | None:
    """The gain that the curves predicted when the rollout began, as a share of the baseline."""
    if curves is None or not evidence.baseline > 0:
        return None
    said = gain(curves, policy=running.current, incumbent=running.incumbent, margin=margin)
    spread = (said.high - said.low) / NINETY
    return Prediction(said.mean / evidence.baseline, spread / evidence.baseline)
