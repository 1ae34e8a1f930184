"""Data health: is each cell's feed there, in time, and does it agree with itself and the budgets?

While a feed of a cell is late or broken, a default stands in for it: the budgets set for its spend,
the model's forecast for its holdout. That is only done for some days, and only while another feed
of the cell is sound. Then the cell does not move until its facts are sound again. The rest goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arrays import Index, coded, days_of
from liftloop.core.policy import Cell, Policy
from monitoring.feeds.recent_days import CellFeeds, FeedDays, RecentDays, recent_days
from monitoring.verdicts import CellHealth, HealthVerdict

DEFAULT = "the budget in force stays as it is"
STAND_IN = {
    "performance": "the budgets set stand in for its spend",
    "holdout": "the model's forecast stands in for its lifts",
}
SHOWN = 3
REFERENCE_DAYS = 84  # say what is usual


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """What is still healthy.

    Attributes
    ----------
    max_lag_days : a feed whose last sound day is more days before yesterday is late
    default_days : a default stands in for a feed that is no more days late than this
    stable_days : a cell that was paused moves again after so many sound days
    lookback_days : completeness and consistency are judged on so many days
    least_complete : share of the days, from a cell's first to its last day of the lookback, below
        which it is paused
    pacing_warn, pacing_pause : spend over budget (mean of the days since the budgets took effect)
        further from 1 than this factor is told, or pauses the cell
    """

    max_lag_days: int = 3
    default_days: int = 10
    stable_days: int = 2
    lookback_days: int = 28
    least_complete: float = 0.7
    pacing_warn: float = 1.3
    pacing_pause: float = 4.0

    @property
    def longest_gap(self) -> int:
        """Days after which a late feed pauses its cell, whatever stands in."""
        return max(self.max_lag_days, self.default_days)


def health(
    told: CellFeeds,
    *,
    policy: Policy,
    as_of: date,
    in_force_since: date | None = None,
    config: HealthConfig | None = None,
) -> HealthVerdict:
    """Judge the feeds of every cell of the policy in force, each by its own facts.

    Parameters
    ----------
    told : the feeds, as known on ``as_of``
    policy : budgets in force; a cell with a zero budget owes no performance rows
    as_of : facts on or after this day are ignored; the last day that can be known is the day before
    in_force_since : first day of these budgets, for pacing; None when it is not known
    """
    rule = config or HealthConfig()
    seen = recent_days(
        told,
        policy=policy,
        as_of=as_of,
        in_force_since=in_force_since,
        days=REFERENCE_DAYS,
        believable=rule.pacing_pause,
    )
    sold = _sound_sales(told.sales, as_of, rule)
    feeds = [_Feed("performance", seen, seen.performance, rule)]
    if seen.holdout is not None:
        feeds.append(_Feed("holdout", seen, seen.holdout, rule))
    pacing = _pacing(seen, policy)
    cells = tuple(
        _inspect(_Paid(cell, i, float(budget), pacing[i], cell.segment in sold), feeds, rule)
        for i, (cell, budget) in enumerate(policy.budgets)
    )
    verdict = HealthVerdict(as_of, cells, DEFAULT, "")
    return replace(verdict, summary=_summary(cells, verdict.defaults))


class _Feed:
    """What one feed says of every cell."""

    def __init__(self, name: str, seen: RecentDays, days: FeedDays, rule: HealthConfig) -> None:
        self.name, self.seen, self.days = name, seen, days
        self.near, self.lag = rule.lookback_days, days.late()
        self.since = days.since_gap(rule.longest_gap)
        self.late = self.lag > rule.max_lag_days
        self.back = ~self.late & (self.since < rule.stable_days)
        self.sound = days.ever & ~self.late & ~self.back
        self.missing, self.span = _missing(days, rule)

    def last(self, i: int) -> date | None:
        return self.seen.day(self.days.last[i]) if self.days.ever[i] else None

    def lacking(self, i: int) -> tuple[date, ...]:
        """The days since the last sound one."""
        count = len(self.days.told)
        return tuple(self.seen.day(row) for row in range(count - int(self.lag[i]), count))

    def trouble(self, i: int) -> str:
        """Why the feed is late: nothing told, or nothing sound told."""
        if not self.days.ever[i]:
            return f"no {self.name} facts at all"
        count = len(self.days.told)
        broken = slice(max(count - int(self.lag[i]), 0), count)
        odd = {name: int(mask[broken, i].sum()) for name, mask in self.days.wrong.items()}
        if any(odd.values()):
            name = max(odd, key=lambda word: odd[word])
            first = self.seen.day(broken.start + int(self.days.wrong[name][broken, i].argmax()))
            return f"{self.name} {name} since {first}"
        return f"{self.name} is {self.lag[i]} days late (last day {self.last(i)})"

    def warnings(self, i: int) -> list[str]:
        """What is not in order, and pauses nothing."""
        if self.late[i]:
            return []
        told = int(self.days.told[-self.near :, i].sum())
        found = [
            f"{self.name} {name} on {mask[-self.near :, i].sum()} of {told} days"
            for name, mask in self.days.wrong.items()
            if mask[-self.near :, i].any()
        ]
        if self.missing[i]:
            whose = "" if self.name == "performance" else f" in {self.name}"
            found.append(f"{self.missing[i]} of {self.span[i]} days are missing{whose}")
        return found


def _missing(days: FeedDays, rule: HealthConfig) -> tuple[Index, Index]:
    """Days not told between a cell's first and last of the lookback, after its last long gap; and
    how many days that are."""
    told = days.told[-rule.lookback_days :]
    count = len(told)
    first = np.where(told.any(axis=0), told.argmax(axis=0), count)
    last = np.where(told.any(axis=0), count - 1 - told[::-1].argmax(axis=0), count - 1)
    run = np.zeros(told.shape[1], dtype=np.intp)
    for row, there in enumerate(told):
        first = np.where(there & (run > rule.longest_gap) & (row > first), row, first)
        run = np.where(there, 0, run + 1)
    inside = np.arange(count)[:, None] >= first
    span = np.maximum(last - first + 1, 0)
    return np.asarray(span - (told & inside).sum(axis=0)), np.asarray(span)


def _pacing(seen: RecentDays, policy: Policy) -> list[float | None]:
    """Spend over budget of the sound days since the budgets took effect; None for less than 3."""
    used = seen.performance.sound & seen.paid[:, None]
    spent, days = np.where(used, seen.spend, 0.0).sum(axis=0), used.sum(axis=0)
    return [
        float(spent[i] / days[i] / float(budget)) if days[i] >= 3 and budget > 0 else None
        for i, (_, budget) in enumerate(policy.budgets)
    ]


@dataclass(frozen=True, slots=True)
class _Paid:
    """A cell and its ``place`` among all, its daily budget, spend over budget (None where that is
    not known), and whether sales of its segment are in time."""

    cell: Cell
    place: int
    budget: float
    pacing: float | None
    sold: bool


def _inspect(paid: _Paid, feeds: list[_Feed], rule: HealthConfig) -> CellHealth:
    i, pacing = paid.place, paid.pacing
    asked = [f for f in feeds if (paid.budget > 0 if f.name == "performance" else f.days.ever[i])]
    vouched = paid.sold and not (len(feeds) > 1 and feeds[1].days.ever[i])
    reasons, stands_in, warnings = [], [], []
    lacking = {}
    for feed in asked:
        others = vouched or any(other.sound[i] for other in feeds if other is not feed)
        if feed.late[i] and feed.days.ever[i] and feed.lag[i] <= rule.default_days and others:
            stands_in.append(f"{feed.trouble(i)}: {STAND_IN[feed.name]}")
            lacking[feed.name] = feed.lacking(i)
        elif feed.late[i]:
            reasons.append(feed.trouble(i))
        elif feed.back[i]:
            reasons.append(
                f"{feed.name} is back for {feed.since[i]} of the {rule.stable_days} sound days "
                "that are asked for"
            )
        warnings += feed.warnings(i)
    performance = feeds[0]
    missing, span = int(performance.missing[i]), int(performance.span[i])
    if span >= 7 and 1 - missing / span < rule.least_complete:
        reasons.append(f"{missing} of {span} days are missing")
    if pacing is not None:
        apart = max(pacing, 1 / pacing) if pacing > 0 else float("inf")
        words = f"spend runs at {pacing:.0%} of the budget"
        if apart > rule.pacing_pause:
            reasons.append(words)
        elif apart > rule.pacing_warn:
            warnings.append(words)
    last = performance.last(i)
    lag = len(performance.days.told) - 1 - int(performance.days.last[i]) if last else None
    return CellHealth(
        paid.cell,
        last,
        lag,
        missing,
        pacing,
        "; ".join(reasons),
        tuple(warnings),
        tuple(stands_in),
        lacking,
    )


def _sound_sales(sales: pd.DataFrame | None, as_of: date, rule: HealthConfig) -> frozenset[str]:
    """Segments whose sales are in time."""
    if sales is None or sales.empty:
        return frozenset()
    when, today = days_of(sales["date"]), np.datetime64(as_of, "D")
    recent = (when < today) & (when >= today - np.timedelta64(rule.max_lag_days + 1, "D"))
    return frozenset(str(name) for name in coded(sales.loc[recent, "segment"])[1])


def _summary(cells: tuple[CellHealth, ...], defaults: str) -> str:
    stopped = [c for c in cells if c.paused]
    warned = [c for c in cells if c.warnings and not c.paused and not c.stands_in]
    if not stopped and not defaults and not warned:
        if len(cells) == 1:
            return f"{cells[0].cell} reports in time and agrees with its budget."
        return f"All {len(cells)} cells report in time and agree with their budgets."
    parts = []
    if stopped:
        shown = "; ".join(f"{c.cell}: {c.paused}" for c in stopped[:SHOWN])
        more = f"; and {len(stopped) - SHOWN} more" if len(stopped) > SHOWN else ""
        parts.append(
            f"{len(stopped)} of {len(cells)} cells are paused ({shown}{more}): {DEFAULT} until "
            "their facts are sound again."
        )
    if defaults:
        parts.append(defaults)
    if warned:
        first = warned[0]
        parts.append(
            f"{len(warned)} more deserve a look, such as {first.cell}: {'; '.join(first.warnings)}."
        )
    return " ".join(parts)
