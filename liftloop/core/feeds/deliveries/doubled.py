"""The same facts under two segments: one export taken in twice, under two names of one market."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from liftloop.core.feeds.identity import IDS

DAYS = 3  # fewer days may agree by chance
SHARE = 0.8  # of the days both segments have, on which they tell the same
FIGURES = ["spend", "impressions", "clicks", "conversions", "revenue"]


@dataclass(frozen=True)
class DoubledSegments:
    """Two segments that tell the same of a channel.

    Attributes
    ----------
    segments
        The two names, sorted.
    days
        Days on which they tell the same; ``first`` and ``last`` of them.
    spend
        What is counted twice, in the account's currency.
    """

    segments: tuple[str, str]
    channel: str
    days: int
    first: date
    last: date
    spend: float


def doubled_segments(performance: pd.DataFrame) -> list[DoubledSegments]:
    """Pairs of segments whose rows of a channel are the same on most days.

    Parameters
    ----------
    performance
        The feed, newest versions: a row a date, segment, channel, campaign and creative. Days
        without spend say nothing.

    Returns
    -------
    list of DoubledSegments
        The most spend first. Rows are the same when campaigns, creatives and all figures are.
    """
    if performance.empty:
        return []
    named = performance.reset_index(drop=True)
    for label, ident in IDS.items():
        if ident in named:
            named[label] = named[ident].where(named[ident].fillna("") != "", named[label])
    what = ["channel", "campaign", "creative", *FIGURES]
    rows = pd.util.hash_pandas_object(named[what], index=False)
    days = (
        named.assign(rows=rows.to_numpy(), spend=named["spend"].astype(float))
        .groupby(["channel", "date", "segment"], observed=True)
        .agg(rows=("rows", "sum"), spend=("spend", "sum"))
        .reset_index()
    )
    days = days[days["spend"] > 0]
    counted = days.groupby(["channel", "segment"])["date"].nunique()
    pairs = days.merge(days, on=["channel", "date", "rows"], suffixes=("", "_other"))
    pairs = pairs[pairs["segment"] < pairs["segment_other"]]
    found = []
    for (channel, one, other), same in pairs.groupby(["channel", "segment", "segment_other"]):
        fewer = min(counted.get((channel, name), 0) for name in (one, other))
        if len(same) >= DAYS and len(same) >= SHARE * fewer:
            found.append(_doubled(str(channel), (str(one), str(other)), same))
    return sorted(found, key=lambda pair: (-pair.spend, pair.segments, pair.channel))


def _doubled(channel: str, segments: tuple[str, str], same: pd.DataFrame) -> DoubledSegments:
    days: Any = pd.to_datetime(same["date"])
    spend = round(float(same["spend"].sum()), 2)
    return DoubledSegments(
        segments, channel, len(same), days.min().date(), days.max().date(), spend
    )
