"""From a training in the ledger to its score card: load, ask one pure suite, say it in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import pandas as pd

from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import load_unseen
from liftloop.adapters.registry.model_checks import recorded_hashes
from liftloop.adapters.registry.trainings import log_examination
from liftloop.core.curves.interacting import separable_at
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.guardrails.model_gate import (
    BINDING,
    Challenge,
    Examination,
    PromotionRules,
    challenge_of,
    decide,
    examine,
)
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.plan.plan_budgets import objective_of
from liftloop.pipeline.plan.rules import rules_of
from liftloop.pipeline.plan.total import what_pays
from liftloop.pipeline.user_tests import unit_rules
from liftloop.reporting.rendering import render
from liftloop.settings.schema import Settings
from models.evaluation.curves import Contenders, Plan, examine_curves
from models.evaluation.data_splits import Specification, gather_evidence, part_evidence
from models.evaluation.users import Targeting, examine_users, from_arrays
from models.lift.evidence import Evidence
from models.lift.holdout_lifts import LiftConfig
from models.lift.user_test_lifts import with_user_tests
from tasks.context import Loop, view
from tasks.decision.reallocate import budgets_before
from tasks.evidence.health import filled_in
from tasks.model.curves import load_model_curves
from tasks.model.learning import HOLDOUT_FEEDS


def rules_of_promotion(settings: Settings) -> PromotionRules:
    """The configured rules of promotion."""
    asked = settings.promotion
    return PromotionRules(
        margin=asked.margin,
        superiority=asked.superiority,
        alpha=asked.alpha,
        bootstrap=asked.bootstrap,
        tolerance=asked.tolerance,
    )


def specification(settings: Settings, *, source: str) -> dict[str, Any]:
    """What makes two trainings the same kind. Draws, seeds, threads and tuning do not."""
    if source == "units":
        return {"door": source}
    rules = settings.model
    return {"door": source, "fade_per_day": rules.fade_per_day, "claims": rules.claims}


def examined(loop: Loop, found: Training, before: Training | None) -> Examination:
    """Examine a training against the champion ``before`` it (None: there is none)."""
    if found.door == "units":
        return _users(loop, found, before)
    mine = json.loads(found.examination).get("specification", {})
    theirs = None if before is None else json.loads(before.examination).get("specification", {})
    challenge = challenge_of(mine, theirs)
    try:
        return _curves(loop, found, before, challenge)
    except InsufficientEvidence:  # trained on it, and yet not there: nothing to compare with
        alone = before is None
        return (
            examine(found.metrics, source=found.door) if alone else decide((), challenge=challenge)
        )


def _curves(
    loop: Loop, found: Training, before: Training | None, challenge: Challenge
) -> Examination:
    metrics = json.loads(found.metrics)
    mine = kind_of(loop, found)
    evidence = evidence_of(loop, found.as_of, mine)
    parted = part_evidence(
        evidence,
        challenger=mine,
        champion=None if before is None else kind_of(loop, before),
        champion_row=None if before is None else row_of(loop, before.as_of, found.as_of),
    )
    contenders = Contenders(
        load_model_curves(loop, found),
        metrics,
        challenge,
        champion=None if before is None else load_model_curves(loop, before),
    )
    checks = examine_curves(
        contenders,
        parted,
        plan=plan_of(loop, found.as_of),
        margin=loop.settings.budget.margin,
        rules=rules_of_promotion(loop.settings),
    )
    alone = len(evidence.lift) == 0 and before is not None
    return decide(checks, challenge="tests alone" if alone else challenge)


def _users(loop: Loop, found: Training, before: Training | None) -> Examination:
    """Both models predicted users out of fold when they were trained. A champion from before that
    was kept can be compared with nothing: it is followed like the first."""
    old = () if before is None else predictions_of(loop, before)
    challenge: Challenge = "refresh" if old else "first"
    checks = examine_users(
        predictions_of(loop, found),
        old or None,
        margin=loop.settings.budget.margin,
        challenge=challenge,
        rules=rules_of_promotion(loop.settings),
    )
    return decide(checks, challenge=challenge)


def predictions_of(loop: Loop, trained: Training) -> tuple[Targeting, ...]:
    """What a training predicted of users that it did not see.

    Raises
    ------
    DamagedWorkspace
        When they cannot be read, or are not those whose hash the audit trail has.
    """
    with session(loop.engine, read_only=True) as db:
        recorded = recorded_hashes(db, trained.key).get("unseen")
    return from_arrays(load_unseen(loop.workspace, run_id=str(trained.run_id), recorded=recorded))


def kind_of(loop: Loop, trained: Training) -> Specification:
    """The specification of a training; where it was not kept, the present settings'."""
    kept = json.loads(trained.examination).get("specification")
    told = kept or specification(loop.settings, source=trained.door)
    return Specification(
        fade_per_day=float(told["fade_per_day"]),
        claims=told["claims"] == "calibrated",
        season_elasticity=json.loads(trained.metrics).get("season_elasticity"),
    )


def evidence_of(loop: Loop, as_of: date, kind: Specification) -> Evidence:
    """The evidence as known on ``as_of``; user-level tests join the lift tests run elsewhere. What
    stands in for spend that is not reported is what it was trained with, and judges nothing."""
    facts = view(loop, as_of, HOLDOUT_FEEDS)
    filled = filled_in(loop, facts)
    feeds = {**facts.frames, "performance": filled.performance}
    rules = loop.settings.model
    mend = loop.settings.data.health_checks
    feeds = with_user_tests(
        feeds,
        as_of=as_of,
        rules=unit_rules(loop.settings),
        seed=rules.seed,
        threads=rules.threads,
        mend=mend,
    )
    return gather_evidence(
        feeds,
        as_of=as_of,
        specification=kind,
        lift=LiftConfig(mend_spend=mend),
        guessed=filled.days,
    )


def row_of(loop: Loop, day: date, as_of: date) -> int:
    """The row of ``day`` among the days of the evidence as known on ``as_of``."""
    dates = pd.to_datetime(view(loop, as_of, ["performance"])["performance"]["date"])
    first = dates[dates < pd.Timestamp(as_of)].min()
    return int((pd.Timestamp(day) - first).days) if pd.notna(first) else 0


def plan_of(loop: Loop, as_of: date) -> Plan:
    """Where curves would lead the budgets in force: the objective's plan under all rules, cells
    moving by up to ``promotion.step``, for a model leads them over many cycles."""
    settings = loop.settings
    wide = settings.budget.model_copy(update={"max_step": settings.promotion.step})
    settings = settings.model_copy(update={"budget": wide})
    incumbent, _ = budgets_before(loop, as_of, source="holdout")

    def plan(curves: ResponseCurves) -> Mapping[Cell, float]:
        return _planned(settings, curves, incumbent or Policy.of({}))

    return plan


def _planned(settings: Settings, curves: ResponseCurves, incumbent: Policy) -> dict[Cell, float]:
    alone, rules = separable_at(curves, incumbent), rules_of(settings, incumbent, ())
    found = objective_of(settings).plan(
        curves=alone,
        rules=what_pays(settings, curves=alone, rules=rules, incumbent=incumbent),
        incumbent=incumbent,
        margin=settings.budget.margin,
    )
    return {cell: float(amount) for cell, amount in found.allocation.policy.budgets}


def keep_score_card(loop: Loop, found: Training, verdict: Examination) -> None:
    """The score card with its MLflow run: numbers as metrics, and a page to read."""
    numbers = {
        f"examination/{check.name}/{name}": value
        for check in verdict.checks
        for name, value in check.numbers.items()
    }
    log_examination(
        loop.workspace,
        run_id=str(found.run_id),
        numbers={"examination/passed": float(verdict.passed), **numbers},
        pages={
            "score-card.md": score_card(found, verdict),
            "score-card.json": json.dumps(verdict.as_dict(), indent=1, sort_keys=True),
        },
        at=found.created_at,
    )


def score_card(found: Training, verdict: Examination) -> str:
    """The examination as a page of Markdown."""
    return render(
        "markdown/score_card.md.j2",
        trained=found,
        verdict=verdict,
        binding=BINDING[verdict.challenge],
    )
