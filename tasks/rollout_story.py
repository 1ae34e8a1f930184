"""A recorded rollout as a story: what ``liftloop rollouts``, the page and the dashboard show."""

from __future__ import annotations

import json
from datetime import date

from sqlmodel import Session

from liftloop.adapters.rollouts import transitions
from liftloop.adapters.settings import Settings
from liftloop.adapters.tables import RolloutRecord
from liftloop.core.rollout import RolloutConfig
from liftloop.core.rollout_story import Step, Story, tell


def story_of(
    db: Session, record: RolloutRecord, settings: Settings, *, until: date | None = None
) -> Story | None:
    """The story up to and with the steps of ``until`` (default: all); None before its first."""
    steps = [
        Step(t.as_of, t.act, t.from_stage, t.to_stage, t.reason, json.loads(t.evidence))
        for t in transitions(db, rollout_id=record.id)
        if until is None or t.as_of <= until
    ]
    if not steps:
        return None
    rules = settings.rollout
    return tell(
        steps,
        canary=json.loads(record.canary_segments),
        started_on=record.started_on,
        config=RolloutConfig(
            min_days=rules.min_days,
            max_days=rules.max_days,
            inconclusive=rules.inconclusive,
            cooldown_days=rules.cooldown_days,
            shadow_days=rules.shadow_days,
            ramp_min_days=rules.ramp_min_days,
            newer=rules.newer,
        ),
    )
