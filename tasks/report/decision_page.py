"""The decision's page: what the ledger and the curves say, gathered for
liftloop/reporting/pages/decision_page.py."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from sqlmodel import Session, col, select

from liftloop.adapters.ledger.decisions import budget_lines
from liftloop.adapters.ledger.records import verdicts
from liftloop.adapters.ledger.rollouts import rollout
from liftloop.adapters.ledger.tables import Decision, Delivery
from liftloop.core.curves.gain import interval_around
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import BudgetLine
from liftloop.reporting.explain_guardrails import in_brief, step_verdicts
from liftloop.reporting.pages.decision_page import DecisionPage
from liftloop.reporting.rollout_sentences import day_text
from liftloop.reporting.rollout_summary import ACTS, RolloutSummary
from tasks.context import Loop
from tasks.decision.total_proposals import judged_by, waiting_sentence
from tasks.model.curves import curves_of
from tasks.report.rollout_summary import summary_of
from tasks.report.weekly import gained

POINTS = 30


def gather_page(loop: Loop, db: Session, head: Decision) -> DecisionPage:
    """Everything the page of ``head`` says."""
    lines = budget_lines(db, decision_id=head.id)
    curves = curves_of(loop, head.training_key)
    drift = next((v for v in verdicts(db) if v.as_of == head.as_of), None)
    health = json.loads(drift.evidence)["health"] if drift else None
    worth = gained(db, head.as_of)
    return DecisionPage(
        title=_title(head, lines),
        as_of=head.as_of,
        decision_id=head.id,
        sentences=[
            in_brief(head.reason, step_verdicts(head.evidence)),
            judged_by(head),
            waiting_sentence(db, loop.settings),
            f"Gained so far: {worth}" if worth else "",
        ],
        currency=loop.settings.account.currency,
        gain=(head.expected_gain, head.gain_low, head.gain_high) if curves else None,
        moves=_moves(lines),
        curves=_samples(curves, lines) if curves else None,
        quality=_quality(db),
        quality_sentence=health["summary"] if health else "",
        drift=drift.summary if drift else "",
        links=[("Why the last weeks differ", drift.report.removeprefix("reports/"))]
        if drift and drift.report
        else [],
        **_rollout(loop, db, head),
    )


_TITLES = {
    "move": "Budgets move",
    "hold": "Budgets stay",
    "promote": "The newest plan reaches more segments",
    "roll_back": "Budgets go back",
    "pause": "Budget moves pause",
}


def _title(head: Decision, lines: list[BudgetLine]) -> str:
    if head.kind == "promote" and all(line.stage == "full" for line in lines):
        return "The new budgets are in all segments"
    return _TITLES.get(head.kind, head.kind.capitalize())


def _moves(lines: list[BudgetLine]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "segment": line.segment,
                "channel": line.channel,
                "previous": float(line.previous_daily_budget),
                "budget": float(line.daily_budget),
                "stage": line.stage,
                "expected": line.expected_incremental_revenue,
                "low": line.expected_low,
                "high": line.expected_high,
                "reason": line.reason,
            }
            for line in lines
        ]
    )


def _samples(curves: ResponseCurves, lines: list[BudgetLine]) -> pd.DataFrame:
    """Each cell's curve from nothing to twice the larger of its budgets, with its 90 % band."""
    was = {(x.segment, x.channel): float(x.previous_daily_budget) for x in lines}
    will = {(x.segment, x.channel): float(x.daily_budget) for x in lines}
    names = [(cell.segment, cell.channel) for cell in curves.cells]
    top = np.array([2 * max(was.get(n, 0.0), will.get(n, 0.0), 1.0) for n in names])
    rows = []
    for share in np.linspace(0, 1, POINTS):
        spend = share * top
        drawn = curves.draw_revenue(spend)
        mean = curves.mean_revenue(spend)
        low, high = interval_around(mean, drawn)
        rows += [
            (*n, spend[i], mean[i], low[i], high[i], was.get(n, 0.0), will.get(n, 0.0))
            for i, n in enumerate(names)
            if n in will
        ]
    columns = ["segment", "channel", "spend", "mean", "low", "high", "current", "planned"]
    return pd.DataFrame(rows, columns=columns)


def _rollout(loop: Loop, db: Session, head: Decision) -> dict[str, Any]:
    """What the page says of a rollout, as it was at the decision."""
    record = rollout(db, id=head.rollout_id) if head.rollout_id else None
    found = summary_of(db, record, loop.settings, until=head.as_of) if record else None
    if found is None:
        return {}
    names = ["name", "verdict", "sentence"]
    return {
        "rollout_sentences": [
            found.sentence,
            found.cooldown_sentence,
            *found.risk_sentences,
            *(f"Gain proven on {proof.sentence(found.currency)}" for proof in found.proofs),
        ],
        "waves": _wave_rows(found),
        "measured": _measured_rows(found),
        "rollout_marks": found.marks,
        "guardrails": pd.DataFrame(found.verdicts)[names] if found.verdicts else None,
        "would_go_on": found.would_go_on,
        "would_slow": found.would_slow,
        "would_take_back": found.would_take_back,
        "history": [
            (day_text(step.on), ACTS.get(step.act, step.act), step.reason)
            for step in reversed(found.steps)
            if step.act != "hold"
        ],
    }


def _wave_rows(found: RolloutSummary) -> pd.DataFrame | None:
    if found.ended or not found.waves:
        return None
    return pd.DataFrame(
        [
            {
                "wave": number,
                "segments": ", ".join(wave.segments),
                "plan": found.plan_label(wave.plan),
                "since": day_text(wave.since) if wave.since else None,
            }
            for number, wave in enumerate(found.waves, 1)
        ]
    )


def _measured_rows(found: RolloutSummary) -> pd.DataFrame | None:
    if not found.measured:
        return None
    return pd.DataFrame(
        [
            {
                "days": (m.on - found.started_on).days,
                "since": (m.since - found.started_on).days,
                "gained": m.gained,
                "low": m.low,
                "high": m.high,
            }
            for m in found.measured
        ]
    )


def _quality(db: Session) -> pd.DataFrame | None:
    """The last deliveries and what became of their rows."""
    query = select(Delivery).order_by(col(Delivery.received_at).desc()).limit(12)
    rows = [
        {
            "file": d.filename,
            "feed": d.feed,
            "rows": d.received,
            "stored": d.stored,
            "superseded": d.superseded,
            "in quarantine": d.quarantined,
        }
        for d in db.exec(query)
    ]
    return pd.DataFrame(rows) if rows else None
