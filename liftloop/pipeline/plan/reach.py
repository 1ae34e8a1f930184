"""Frequency caps: how much a cell can spend before its users see too many impressions, by what it
reaches as the facts have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pandas as pd

from liftloop.core.allocation.constraints import covered
from liftloop.core.policy import CENT, Cell
from liftloop.settings.schema import Settings

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
        rows: Iterable[Any] = sums.itertuples()
        bought = {
            Cell(str(segment), str(channel)): row.impressions / row.spend
            for (segment, channel), row in zip(sums.index, rows, strict=True)
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
    for stated in settings.budget.audiences:
        inside = covered(cells, [stated.segment], [stated.channel])
        for cell, here in zip(cells, inside, strict=True):
            if here:
                audience[cell] = float(stated.users)
    caps = frequency_caps(impressions_per_unit=bought, audience=audience, per_week=most)
    return {cell: cap for cell, cap in caps.items() if cell in set(cells)}


def frequency_caps(
    *,
    impressions_per_unit: Mapping[Cell, float],
    audience: Mapping[Cell, float],
    per_week: float,
) -> dict[Cell, Decimal]:
    """The most each cell can spend a day, account currency, rounded down to the cent.

    ``cap = per_week x audience / 7 / impressions_per_unit``: at that spend the average user of the
    cell sees ``per_week`` impressions a week, at the cell's own price of an impression.

    Parameters
    ----------
    impressions_per_unit
        Impressions per unit of spend, > 0.
    audience
        Users a cell can show ads to, > 0.
    per_week
        Impressions per user and week that are allowed, > 0.

    Returns
    -------
    Caps of the cells that are in both; a cell whose reach is not known has none.
    """
    caps = {}
    for cell in impressions_per_unit.keys() & audience.keys():
        bought, users = impressions_per_unit[cell], audience[cell]
        if bought > 0 and users > 0:
            cap = Decimal(str(per_week * users / 7 / bought))
            caps[cell] = cap.quantize(CENT, rounding=ROUND_FLOOR)
    return caps
