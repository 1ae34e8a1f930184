"""What a rollout shows so far, from the facts. Pure: frames and settings in, evidence out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.daily_evidence import DailyConfig, daily_evidence
from liftloop.core.evidence import CanaryEvidence
from models.daily_facts import daily_facts

BEFORE_DAYS = 84


def seen(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    exposed: Mapping[str, date],
    control: Collection[str],
    started_on: date,
    as_of: date,
    baseline: float | None,
) -> CanaryEvidence:
    """All looks at a rollout so far: holdout lifts, joined by sales where they are reported.

    Parameters
    ----------
    facts
        ``holdout``, ``performance`` and ``sales`` as known on ``as_of``.
    exposed
        Segment: its first day under the new policy.
    control
        Segments that kept the incumbent all the time.
    baseline
        Incremental revenue per day times the margin of all ``exposed`` under the incumbent, as the
        curves said when the rollout began; None: as their own lifts and spend say.
    """
    rules = settings.rollout
    earliest = pd.to_datetime(facts["performance"]["date"]).min()
    first = started_on - timedelta(days=BEFORE_DAYS)
    daily = daily_facts(
        holdout=facts["holdout"],
        performance=facts["performance"],
        sales=facts["sales"],
        segments=[*exposed, *control],
        first=max(first, earliest.date()) if pd.notna(earliest) else first,
        as_of=as_of,
    )
    return daily_evidence(
        daily,
        exposed=exposed,
        control=control,
        started_on=started_on,
        as_of=as_of,
        baseline=baseline,
        config=DailyConfig(
            wait_days=rules.wait_days,
            revenue_margin=settings.budget.margin,
            before_days=BEFORE_DAYS,
            max_days=rules.max_days,
        ),
    )
