"""What the dashboard shows, as frames: read from the ledger and the facts, drawn elsewhere.

Money decided stays Decimal here; the page turns it into numbers to draw. Nothing writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, cast

import pandas as pd
from sqlmodel import Session, col, select

from liftloop.adapters.facts.read_facts import FactsPart, read_facts
from liftloop.adapters.ledger.decisions import budget_lines, budgets_in_force, decisions
from liftloop.adapters.ledger.loop_value_entries import worth_known
from liftloop.adapters.ledger.records import last_verdict, open_ledger, session
from liftloop.adapters.ledger.rollouts import active_rollout, rollouts, transitions
from liftloop.adapters.ledger.tables import Decision, Delivery, MonitorVerdict, RolloutRecord
from liftloop.adapters.names.aliases import load_aliases
from liftloop.core.policy import BudgetLine
from liftloop.reporting.rollout_summary import RolloutSummary
from liftloop.reporting.status import Situation
from liftloop.settings.schema import Settings
from liftloop.settings.workspace import Workspace
from tasks.context import Loop
from tasks.report.rollout_summary import summary_of
from tasks.report.situation import situation

BUDGET_COLUMNS = (
    "segment",
    "channel",
    "daily_budget",
    "previous_daily_budget",
    "change",
    "expected",
    "low",
    "high",
    "per_unit",
    "per_unit_low",
    "per_unit_high",
    "stage",
    "reason",
)
DECISION_COLUMNS = (
    "effective_from",
    "kind",
    "state",
    "cells_moved",
    "money_moved",
    "gain",
    "gain_low",
    "gain_high",
    "reason",
    "id",
)
DELIVERY_COLUMNS = (
    "received_at",
    "filename",
    "feed",
    "received",
    "stored",
    "superseded",
    "quarantined",
)
TRANSITION_COLUMNS = ("as_of", "act", "from_stage", "to_stage", "reason")


@dataclass(frozen=True, slots=True)
class RolloutView:
    """The rollout under way, or the last one that ended: who went first and who followed at its
    start, and what happened. ``since`` is the day its stage began."""

    id: str
    stage: str
    started_on: date
    since: date
    canary: tuple[str, ...]
    control: tuple[str, ...]
    transitions: pd.DataFrame
    summary: RolloutSummary | None = None


@dataclass(frozen=True, slots=True)
class DashboardView:
    """One consistent look into the ledger.

    ``in_force`` is the decision whose budgets hold, or None before the first one.
    """

    in_force: Decision | None
    budgets: pd.DataFrame
    decisions: pd.DataFrame
    rollout: RolloutView | None
    verdict: MonitorVerdict | None
    deliveries: pd.DataFrame
    situation: Situation
    worth: str = ""  # what the loop gained so far, a sentence


def look(workspace: Workspace, settings: Settings, *, limit: int = 20) -> DashboardView:
    """Everything the page shows of the ledger, read in one transaction; whether its audit trail is
    whole takes longer, and is asked apart.

    Parameters
    ----------
    limit
        How many decisions and deliveries, the last ones first.
    """
    with session(open_ledger(str(settings.ledger_url)), read_only=True) as db:
        found = budgets_in_force(db, before=date.max)
        worth = worth_known(db, as_of=date.max)
        head = found[1] if found else None
        record = active_rollout(db) or next(iter(rollouts(db, limit=1)), None)
        rollout = rollout_view(db, record, settings)
        summary = rollout.summary if rollout is not None else None
        return DashboardView(
            in_force=head,
            budgets=budgets_frame(budget_lines(db, decision_id=head.id) if head else []),
            decisions=decisions_frame(db, decisions(db, limit=limit)),
            rollout=rollout,
            verdict=last_verdict(db),
            deliveries=deliveries_frame(db, limit=limit),
            situation=situation(db, Loop(workspace, settings), None, summary),
            worth=str(worth["sentence"]) if worth else "",
        )


def spend_by_day(workspace: Workspace, *, timezone: str) -> pd.DataFrame:
    """date, channel, spend: all performance facts summed, newest versions; may have no rows."""
    facts = read_facts(
        workspace,
        "performance",
        as_of=None,
        timezone=timezone,
        part=FactsPart(columns=("date", "channel", "spend"), names=load_aliases(workspace)),
    )
    facts = facts.assign(spend=facts["spend"].astype(float))
    # with its keys as columns it is a frame
    return cast(
        pd.DataFrame,
        facts.groupby(["date", "channel"], as_index=False, sort=True)["spend"].sum(),
    )


def budgets_frame(lines: list[BudgetLine]) -> pd.DataFrame:
    """One row a cell: budgets, the predicted incremental revenue per day with its 90 % interval,
    and the same per unit of budget (missing where nothing is spent or predicted)."""
    rows = [
        {
            "segment": line.segment,
            "channel": line.channel,
            "daily_budget": line.daily_budget,
            "previous_daily_budget": line.previous_daily_budget,
            "change": line.daily_budget - line.previous_daily_budget,
            "expected": line.expected_incremental_revenue,
            "low": line.expected_low,
            "high": line.expected_high,
            "per_unit": _per_unit(line.expected_incremental_revenue, line.daily_budget),
            "per_unit_low": _per_unit(line.expected_low, line.daily_budget),
            "per_unit_high": _per_unit(line.expected_high, line.daily_budget),
            "stage": line.stage,
            "reason": line.reason,
        }
        for line in lines
    ]
    frame = pd.DataFrame(rows, columns=list(BUDGET_COLUMNS))
    figures = ["expected", "low", "high", "per_unit", "per_unit_low", "per_unit_high"]
    return frame.astype(dict.fromkeys(figures, "float64"))


def _per_unit(revenue: float | None, budget: Decimal) -> float | None:
    return revenue / float(budget) if revenue is not None and budget > 0 else None


def moves_frame(db: Session, decision_id: str) -> pd.DataFrame:
    """The cells a decision moved, the largest change first, with the reason for each."""
    frame = budgets_frame(budget_lines(db, decision_id=decision_id))
    moved = frame[frame["change"] != 0]
    return moved.sort_values("change", key=lambda c: -c.abs(), kind="stable", ignore_index=True)


def decisions_frame(db: Session, found: list[Decision]) -> pd.DataFrame:
    """One row a decision, with how many cells and how much money a day it moves."""
    rows = []
    for decision in found:
        changes = [
            line.daily_budget - line.previous_daily_budget
            for line in budget_lines(db, decision_id=decision.id)
        ]
        rows.append(
            {
                "effective_from": decision.effective_from,
                "kind": decision.kind,
                "state": decision.state,
                "cells_moved": sum(change != 0 for change in changes),
                "money_moved": sum((abs(change) for change in changes), Decimal(0)) / 2,
                "gain": decision.expected_gain,
                "gain_low": decision.gain_low,
                "gain_high": decision.gain_high,
                "reason": decision.reason,
                "id": decision.id,
            }
        )
    return pd.DataFrame(rows, columns=list(DECISION_COLUMNS))


def rollout_view(
    db: Session, record: RolloutRecord | None, settings: Settings
) -> RolloutView | None:
    """The rollout with its transitions, the last one first, and its summary."""
    if record is None:
        return None
    rows = [
        {name: getattr(step, name) for name in TRANSITION_COLUMNS}
        for step in reversed(transitions(db, rollout_id=record.id))
    ]
    return RolloutView(
        id=record.id,
        stage=record.stage,
        started_on=record.started_on,
        since=next(
            (r["as_of"] for r in rows if r["from_stage"] != r["to_stage"]), record.started_on
        ),
        canary=_names(record.canary_segments),
        control=_names(record.control_segments),
        transitions=pd.DataFrame(rows, columns=list(TRANSITION_COLUMNS)),
        summary=summary_of(db, record, settings),
    )


def _names(text: str) -> tuple[str, ...]:
    names: Any = json.loads(text)
    return tuple(str(name) for name in names)


def deliveries_frame(db: Session, *, limit: int) -> pd.DataFrame:
    """The last files taken in and what became of their rows."""
    query = select(Delivery).order_by(col(Delivery.received_at).desc()).limit(limit)
    rows = [{name: getattr(one, name) for name in DELIVERY_COLUMNS} for one in db.exec(query)]
    return pd.DataFrame(rows, columns=list(DELIVERY_COLUMNS))
