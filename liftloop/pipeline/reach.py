"""What cells reach, from the facts: impressions per unit of spend, and the users behind them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.policy import Cell
from liftloop.core.reach import frequency_caps
from liftloop.core.rules import covered

DAYS = 28  # long enough for a stable price of an impression, short enough to follow it


def caps_by_frequency(
    settings: Settings,
    *,
    cells: tuple[Cell, ...],
    facts: Mapping[str, pd.DataFrame],
    as_of: date,
) -> dict[Cell, Decimal]:
    """The frequency caps of ``cells`` from the last 28 days; cells without known reach have none.

    The audience is the configured one, else the mean daily ``users`` of the holdout's treated arm.
    """
    most = settings.budget.frequency_per_week
    if most is None:
        return {}
    since = pd.Timestamp(as_of - timedelta(days=DAYS))
    bought: dict[Cell, float] = {}
    audience: dict[Cell, float] = {}
    performance, holdout = facts.get("performance"), facts.get("holdout")
    if performance is not None and len(performance) and "impressions" in performance:
        known = performance["impressions"].notna()
        recent = performance[((pd.to_datetime(performance["date"]) >= since) & known).to_numpy()]
        sums = (
            recent.astype({"spend": float, "impressions": float})
            .groupby(["segment", "channel"], observed=True)[["spend", "impressions"]]
            .sum()
        )
        bought = {
            Cell(str(segment), str(channel)): row.impressions / row.spend
            for (segment, channel), row in zip(sums.index, sums.itertuples(), strict=True)
            if row.spend > 0 and row.impressions > 0
        }
    if holdout is not None and len(holdout):
        recent = holdout[
            ((pd.to_datetime(holdout["date"]) >= since) & (holdout["arm"] == "treated")).to_numpy()
        ]
        daily = recent.groupby(["segment", "channel", "date"], observed=True)["users"].sum()
        users = daily.groupby(["segment", "channel"], observed=True).mean()
        audience = {
            Cell(str(segment), str(channel)): float(count)
            for (segment, channel), count in zip(users.index, users, strict=True)
        }
    for known in settings.budget.audiences:
        inside = covered(cells, [known.segment], [known.channel])
        for cell, here in zip(cells, inside, strict=True):
            if here:
                audience[cell] = float(known.users)
    caps = frequency_caps(impressions_per_unit=bought, audience=audience, per_week=most)
    return {cell: cap for cell, cap in caps.items() if cell in set(cells)}
