"""Guardrails of a rollout on what is really spent: pacing, and the share of one channel.

They compare means over days with thresholds; no chance is weighed, so they need no error
probability.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from liftloop.core.guardrails.verdict import GuardrailVerdict, review
from liftloop.core.policy import Cell, Policy

WINDOW_DAYS = 14
PACING, CHANNEL_SHARE = "spend pacing", "channel share"


@dataclass(frozen=True, slots=True)
class SpendRule:
    """What is still in order.

    Attributes
    ----------
    under, over : spend over budget, mean of the days; outside them a segment is out of pace
    channel_share : the largest share of the exposed segments' spend that one channel may reach
    least_days : fewer days than these are no evidence
    sure_days : overspending of fewer days than these blocks and does not roll back yet: platforms
        may spend more on one day and less on the next
    """

    under: float = 0.7
    over: float = 1.3
    channel_share: float = 0.8
    least_days: int = 3
    sure_days: int = 7


@dataclass(frozen=True, slots=True)
class Paced:
    """What a cell spends a day, over its budget; ``days`` is how many days were reported."""

    cell: Cell
    budget: float
    spend: float
    days: int


def realized(
    performance: pd.DataFrame, *, policy: Policy, since: date, as_of: date
) -> tuple[Paced, ...]:
    """Mean spend a day of every cell of ``policy`` since its budgets took effect, over the last 14
    days at most. A cell without a row spends an unknown amount: NaN."""
    begin = max(pd.Timestamp(since), pd.Timestamp(as_of) - timedelta(days=WINDOW_DAYS))
    plain = pd.DataFrame(
        {
            "segment": performance.segment.astype(str).to_numpy(),
            "channel": performance.channel.astype(str).to_numpy(),
            "date": pd.to_datetime(performance.date).to_numpy(),
            "spend": performance.spend.astype(float).to_numpy(),
        }
    )
    near = plain[(plain.date >= begin) & (plain.date < pd.Timestamp(as_of))]
    days = near.groupby(["segment", "channel", "date"])["spend"].sum()
    found = days.groupby(level=[0, 1]).agg(["mean", "size"])
    means, sizes = found["mean"].to_dict(), found["size"].to_dict()
    return tuple(
        Paced(
            cell,
            float(budget),
            float(means.get((cell.segment, cell.channel), 0.0 if budget == 0 else math.nan)),
            int(sizes.get((cell.segment, cell.channel), 0)),
        )
        for cell, budget in policy.budgets
    )


@dataclass(frozen=True, slots=True)
class _Pace:
    spend: float
    budget: float
    days: int

    @property
    def ratio(self) -> float:
        return self.spend / self.budget if self.budget > 0 else math.nan


def _pace(cells: Collection[Paced]) -> _Pace:
    funded = [c for c in cells if c.budget > 0]
    return _Pace(
        sum(c.spend for c in cells),
        sum(c.budget for c in cells),
        min((c.days for c in funded), default=0),
    )


def judge_pacing(
    cells: Collection[Paced], *, exposed: Collection[str], rule: SpendRule
) -> GuardrailVerdict:
    """The guardrail on realized spend against budgets set: each exposed segment, and the total.

    ``fail`` where exposed segments spend too much for a week while the control does not: the new
    budgets cause it. Too little spend is REVIEW: what runs is not the policy that is on trial. So
    is too much of it everywhere: a unit, or a feed, is wrong.
    """
    mine = {name: _pace([c for c in cells if c.cell.segment == name]) for name in sorted(exposed)}
    if not mine:
        return review(PACING, "No segment is exposed yet.")
    rest = _pace([c for c in cells if c.cell.segment not in set(exposed)])
    total = _pace(cells)
    days = min(pace.days for pace in mine.values())
    if days < rule.least_days:
        return review(
            PACING,
            f"{days} days of spend are known since the budgets changed; "
            f"{rule.least_days} are needed.",
        )
    unknown = [name for name, pace in mine.items() if not math.isfinite(pace.ratio)]
    if unknown:
        return review(PACING, f"Spend over budget of {', '.join(unknown)} is not a finite number.")
    over = {name: pace for name, pace in mine.items() if pace.ratio > rule.over}
    under = {name: pace for name, pace in mine.items() if pace.ratio < rule.under}
    numbers: dict[str, float | str] = {
        "days": float(days),
        "pacing_total": total.ratio,
        "pacing_control": rest.ratio,
        "pacing_lowest": min(pace.ratio for pace in mine.values()),
        "pacing_highest": max(pace.ratio for pace in mine.values()),
        "under": rule.under,
        "over": rule.over,
    }
    numbers = {k: v for k, v in numbers.items() if isinstance(v, str) or math.isfinite(v)}
    if over:
        words = f"{_paces(over)} of their budgets, more than {rule.over:.0%}"
        alike = rest.budget > 0 and not rest.ratio <= rule.over
        if alike or days < rule.sure_days:
            why = "so do the other segments" if alike else f"for {days} days so far"
            return GuardrailVerdict(
                PACING, "review", "hold", f"{words}; {why}. This blocks promotion.", numbers
            )
        return GuardrailVerdict(
            PACING,
            "fail",
            "roll_back",
            f"{words} over {days} days, and the other segments do not.",
            numbers,
        )
    if under:
        return GuardrailVerdict(
            PACING,
            "review",
            "hold",
            f"{_paces(under)} of their budgets, less than {rule.under:.0%}: what runs there is not "
            "the policy on trial. This blocks promotion.",
            numbers,
        )
    if not rule.under <= total.ratio <= rule.over:
        return GuardrailVerdict(
            PACING,
            "review",
            "hold",
            f"All segments together spend {_percent(total.ratio)} of their budgets. This blocks "
            "promotion.",
            numbers,
        )
    return GuardrailVerdict(
        PACING,
        "pass",
        "promote",
        f"The exposed segments spend {min(p.ratio for p in mine.values()):.0%} to "
        f"{max(p.ratio for p in mine.values()):.0%} of their budgets, all together "
        f"{total.ratio:.0%}.",
        numbers,
    )


def _paces(some: Mapping[str, _Pace]) -> str:
    return ", ".join(f"{name} spends {pace.ratio:.0%}" for name, pace in some.items())


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else "an unknown share"


def judge_channel_share(
    cells: Collection[Paced],
    *,
    exposed: Collection[str],
    incumbent: Policy,
    rule: SpendRule,
) -> GuardrailVerdict:
    """The guardrail on concentration: no channel may grow past ``channel_share`` of what the
    exposed segments spend. One that had more before may keep what it had, and one that has more of
    these segments' budgets may spend them: a plan keeps the limit over all segments together."""
    inside = [c for c in cells if c.cell.segment in set(exposed)]
    days = _pace(inside).days
    if days < rule.least_days:
        return review(
            CHANNEL_SHARE,
            f"{days} days of spend are known since the budgets changed; "
            f"{rule.least_days} are needed.",
        )
    shares = channel_shares({c.cell: c.spend for c in inside})
    if not shares or not all(math.isfinite(share) for share in shares.values()):
        return review(CHANNEL_SHARE, "What the channels spend is not a finite positive number.")
    before = channel_shares(
        {c: float(b) for c, b in incumbent.budgets if c.segment in set(exposed)}
    )
    planned = channel_shares({c.cell: c.budget for c in inside})
    largest = max(sorted(shares), key=lambda name: shares[name])
    numbers: dict[str, float | str] = {
        "channel": largest,
        "share": shares[largest],
        "share_before": before.get(largest, 0.0),
        "limit": rule.channel_share,
    }
    grown = {
        name: share
        for name, share in shares.items()
        if share
        > max(
            rule.channel_share,
            max(before.get(name, 0.0), planned.get(name, 0.0)) + REALIZED_SLACK,
        )
    }
    if grown:
        return GuardrailVerdict(
            CHANNEL_SHARE,
            "fail",
            "roll_back",
            f"{largest} takes {shares[largest]:.0%} of what the exposed segments spend, up from "
            f"{before.get(largest, 0.0):.0%}; at most {rule.channel_share:.0%} is allowed.",
            numbers,
        )
    return GuardrailVerdict(
        CHANNEL_SHARE,
        "pass",
        "promote",
        f"The largest channel, {largest}, takes {shares[largest]:.0%} of what the exposed segments "
        f"spend (limit {rule.channel_share:.0%}).",
        numbers,
    )


REALIZED_SLACK = 0.02
"""Realized shares wobble about the budgets' by this much without anyone having moved them."""


def channel_shares(amounts: Mapping[Cell, float]) -> dict[str, float]:
    """Share of the sum by channel; empty where the sum is zero."""
    total = sum(amounts.values())
    if total == 0:
        return {}
    shares: dict[str, float] = {}
    for cell, amount in amounts.items():
        shares[cell.channel] = shares.get(cell.channel, 0.0) + amount / total
    return shares
