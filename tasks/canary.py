"""A running rollout as the ledger has it, and what its canary segments show."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, cast

from sqlmodel import Session

from liftloop.adapters.decisions import decisions
from liftloop.adapters.ledger import policy, session
from liftloop.adapters.rollouts import active_rollout, transitions
from liftloop.adapters.settings import Rollout
from liftloop.adapters.tables import RolloutRecord
from liftloop.core.decide import gain, spends
from liftloop.core.evidence import CanaryEvidence, canary_evidence, combine
from liftloop.core.guardrails import Prediction, ProfitRule
from liftloop.core.policy import Policy, Stage
from liftloop.core.rollout import RolloutState
from liftloop.core.sales_contrast import sales_evidence
from liftloop.core.settlement import Running
from models.lift import LiftConfig, weekly_lifts
from tasks.context import Loop, view
from tasks.curves import curves_of


def running_rollout(db: Session) -> Running | None:
    """The rollout under way, or None."""
    record = active_rollout(db)
    return as_running(db, record) if record else None


def as_running(db: Session, record: RolloutRecord) -> Running:
    """A recorded rollout as the core sees it."""
    exposed = next(d for d in decisions(db, rollout_id=record.id) if d.state == "in_force")
    return Running(
        state=state_of(db, record),
        canary=tuple(json.loads(record.canary_segments)),
        control=tuple(json.loads(record.control_segments)),
        challenger=_policy(db, record.challenger_version),
        incumbent=_policy(db, record.incumbent_version),
        current=_policy(db, exposed.policy_version),
    )


def state_of(db: Session, record: RolloutRecord) -> RolloutState:
    """Where a rollout stands: the state its last transition left."""
    said = json.loads(transitions(db, rollout_id=record.id)[-1].evidence)["state"]
    paused = said["paused_since"]
    return RolloutState(
        rollout_id=record.id,
        stage=cast(Stage, said["stage"]),
        started_on=date.fromisoformat(said["started_on"]),
        paused_since=date.fromisoformat(paused) if paused else None,
        paused_days=said["paused_days"],
        paused_by=said["paused_by"],
    )


def _policy(db: Session, version: str) -> Policy:
    found = policy(db, version=version)
    assert found is not None  # a foreign key holds it
    return found


def sizes_of(incumbent: Policy) -> dict[str, float]:
    """Daily spend of each segment."""
    sizes: dict[str, float] = {}
    for cell, amount in incumbent.budgets:
        sizes[cell.segment] = sizes.get(cell.segment, 0.0) + float(amount)
    return sizes


def profit_rule(settings: Rollout) -> ProfitRule:
    """The guardrail on incremental profit, as configured."""
    return ProfitRule(alpha=settings.alpha, margin=settings.margin)


def evidence_of(loop: Loop, as_of: date, running: Running) -> CanaryEvidence:
    """What the canary shows so far: holdout lifts, joined by sales where they are reported."""
    facts = view(loop, as_of, ["holdout", "performance", "sales"])
    rules = loop.settings.rollout
    window: dict[str, Any] = {
        "canary": running.canary,
        "control": running.control,
        "started_on": running.state.started_on,
        "as_of": as_of,
        "wait_days": rules.wait_days,
        "revenue_margin": loop.settings.budget.margin,
    }
    baseline = baseline_of(loop, running)
    lifts = weekly_lifts(
        holdout=facts["holdout"],
        performance=facts["performance"],
        sales=facts["sales"],
        as_of=as_of,
        config=LiftConfig(adjust=False),
    )
    found = canary_evidence(lifts, **window, baseline=baseline)
    if facts["sales"].empty:
        return found
    sold = sales_evidence(
        facts["sales"], **window, baseline=found.baseline, canary_spend=found.canary_spend
    )
    return combine(found, sold)


def baseline_of(loop: Loop, running: Running) -> float | None:
    """The canary's incremental revenue per day under the incumbent, times the margin, as the model
    saw it when the rollout began: what losses are measured against. None without a model."""
    with session(loop.engine, read_only=True) as db:
        began = decisions(db, rollout_id=running.state.rollout_id)[-1]
    curves = curves_of(loop, began.training_key)
    if curves is None:
        return None
    revenue = curves.mean_revenue(spends(running.incumbent, curves))
    inside = [cell.segment in running.canary for cell in curves.cells]
    return loop.settings.budget.margin * float(revenue[inside].sum())


def prediction_of(loop: Loop, running: Running, evidence: CanaryEvidence) -> Prediction | None:
    """The gain the model predicted when the rollout began, as a share of the canary's baseline."""
    with session(loop.engine, read_only=True) as db:
        began = decisions(db, rollout_id=running.state.rollout_id)[-1]
    curves = curves_of(loop, began.training_key)
    if curves is None or not evidence.baseline > 0:
        return None
    said = gain(
        curves,
        policy=running.current,
        incumbent=running.incumbent,
        margin=loop.settings.budget.margin,
    )
    spread = (said.high - said.low) / (2 * 1.645)
    return Prediction(said.mean / evidence.baseline, spread / evidence.baseline)
