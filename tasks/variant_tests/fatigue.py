"""Which creatives tire: each one beside its siblings, by channel, from what the platforms report.

Attributed figures serve here for comparing creatives of one channel with each other, never for what
the channel causes.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.arrays import Days, days_of
from liftloop.core.variant_tests.fatigue import (
    CreativeFacts,
    FatigueRule,
    Finding,
    find_fatigue,
)
from liftloop.core.variant_tests.fatigue_costs import FatigueMoney, frequency_cap, when_to_refresh
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import daily_sums
from liftloop.reporting.tired_creatives import TiredCreative
from tasks.context import Loop, view

LEAST_IMPRESSIONS = 1000
MOST_CREATIVES = 30  # of a channel, the most shown ones
SEED = 17


def tired_creatives(
    loop: Loop, *, as_of: date, days: int, refresh_cost: float = 0.0
) -> list[TiredCreative]:
    """The creatives of every channel as known on ``as_of``, over its last ``days`` days, the
    surest fall first.

    Parameters
    ----------
    refresh_cost
        What a new version of a creative costs, account currency.
    """
    start = as_of - timedelta(days=days)
    rows = view(loop, as_of, ["performance"], start=start)["performance"]
    money = FatigueMoney(refresh_cost=refresh_cost, margin=loop.settings.budget.margin)
    found: list[TiredCreative] = []
    for channel, part in rows.groupby("channel", sort=True):
        sizes = {
            one.segment: float(one.users)
            for one in loop.settings.budget.audiences
            if one.channel in (channel, "*")
        }
        facts = creative_facts(part, sizes)
        if facts is None:
            continue
        known = next(iter(facts.strata.values())).days
        for one in find_fatigue(facts, FatigueRule()):
            tires = one.finding is Finding.FALLING
            found.append(
                TiredCreative(
                    channel=str(channel),
                    found=one,
                    broke=None if one.broke_on is None else known[one.broke_on].astype(date),
                    refresh=when_to_refresh(facts, one, money, seed=SEED) if tires else None,
                    cap=frequency_cap(facts, one, money, seed=SEED) if tires else None,
                )
            )
    order = list(Finding)
    return sorted(
        found,
        key=lambda one: (order.index(one.found.finding), one.channel, one.found.creative),
    )


def creative_facts(rows: pd.DataFrame, audiences: dict[str, float]) -> CreativeFacts | None:
    """A channel's creatives by day, each segment a stratum; None where no two were shown enough.

    Parameters
    ----------
    rows
        The channel's rows of the performance feed.
    audiences
        People by segment; frequencies need all of the channel's.
    """
    counted = "revenue" if float(rows["revenue"].sum()) > 0 else "conversions"
    sums = rows.groupby("creative")[["impressions", counted]].sum()
    shown = sums.loc[sums[counted] > 0, "impressions"]  # of one that sold nothing none is known
    shown = shown[shown >= LEAST_IMPRESSIONS].sort_values(ascending=False)[:MOST_CREATIVES]
    names = tuple(sorted(map(str, shown.index)))
    rows = rows[rows["creative"].isin(names)]
    when = days_of(rows["date"])
    if len(names) < 2 or len(when) == 0:
        return None
    known: Days = np.arange(when.min(), when.max() + np.timedelta64(1, "D"))
    strata = {}
    for segment in sorted(set(map(str, rows["segment"]))):
        part = rows[rows["segment"] == segment]
        units, spend, value = (
            daily_sums(part, column, names=("creative", names), days=known)
            for column in ("impressions", "spend", counted)
        )
        strata[segment] = VariantDays(names, known, units, spend, value)
    people = [audiences.get(segment, 0.0) for segment in strata]
    whole = sum(people) if all(people) else None
    return CreativeFacts(strata, audience=whole)
