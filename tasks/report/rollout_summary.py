"""A recorded rollout in summary: what ``liftloop rollouts``, page, messages and dashboard show."""

from __future__ import annotations

import json
from datetime import date

from sqlmodel import Session

from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.rollouts import active_rollout, rollouts, transitions
from liftloop.adapters.ledger.tables import RolloutRecord
from liftloop.core.rollout.allowance import LOST_SHARE, PLAN_DAYS, PLAN_SHARE
from liftloop.reporting.rollout_sentences import Terms
from liftloop.reporting.rollout_summary import RecordedStep, RolloutSummary, summarize
from liftloop.settings.schema import Settings
from tasks.decision.running_rollout import waves_of


def summary_of(
    db: Session, record: RolloutRecord, settings: Settings, *, until: date | None = None
) -> RolloutSummary | None:
    """The summary up to and with the steps of ``until`` (default: all); None before its first."""
    steps = [
        RecordedStep(t.as_of, t.act, t.from_stage, t.to_stage, t.reason, json.loads(t.evidence))
        for t in transitions(db, rollout_id=record.id)
        if until is None or t.as_of <= until
    ]
    if not steps:
        return None
    days = [steps[-1].on, *(d.as_of for d in decisions(db, limit=1))]
    return summarize(
        steps,
        waves=waves_of(record),
        started_on=record.started_on,
        terms=terms_of(settings),
        now=until or max(days),
    )


def last_summary(db: Session, settings: Settings) -> RolloutSummary | None:
    """The rollout under way, else the last one that ended; None where there was none."""
    record = active_rollout(db) or next(iter(rollouts(db, limit=1)), None)
    return summary_of(db, record, settings) if record is not None else None


def terms_of(settings: Settings) -> Terms:
    """The rules that the sentences about a rollout speak of."""
    rules = settings.rollout
    return Terms(
        currency=settings.account.currency,
        plan_days=PLAN_DAYS,
        plan_share=PLAN_SHARE,
        lost_share=LOST_SHARE,
        shadow_days=rules.shadow_days,
        proven_only=rules.allowance == 0,
    )
