"""Guardrails on every plan, whether a rollout follows or not: how much moves, how much one channel
gets, no raise for cells that do not spend what they have, and no move on stale data.

``fail`` and ``review`` hold the plan: the budgets in force stay, and the sentence says why. A plan
that moves nothing passes them all. How much moves and what a channel gets are rules that a plan is
made under; here they are checked once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from liftloop.core.allocation.constraints import sum_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.curves.gain import share_moved
from liftloop.core.guardrails.pacing import channel_shares
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.policy import Cell, Policy, to_cents

WINDOW_DAYS = 14
RECENT_DAYS = 3
NAMED = 5
PLAN_PACING = "spend pacing"
ROUNDING = 1e-12  # of a share in floating point


@dataclass(frozen=True, slots=True)
class PlanRule:
    """What a plan may do.

    Attributes
    ----------
    total_change : largest share of the total that may move at once
    channel_share : largest share of the total that one channel may reach
    underspend : a cell that spent less than this share of its budget gets no raise; 0: off
    stale_days : facts whose last day is older than this many days are stale
    model_days : a model whose facts end more days ago is stale
    """

    total_change: float = 0.5
    channel_share: float = 0.8
    underspend: float = 0.7
    stale_days: int = 7
    model_days: int = 90


def _held(
    name: str, sentence: str, numbers: Mapping[str, float | str], *, measured: bool = True
) -> GuardrailVerdict:
    return GuardrailVerdict(
        name,
        "fail" if measured else "review",
        "hold",
        f"{sentence} The budgets in force stay.",
        numbers,
    )


def _fine(
    name: str, sentence: str, numbers: Mapping[str, float | str] | None = None
) -> GuardrailVerdict:
    return GuardrailVerdict(name, "pass", "promote", sentence, numbers or {})


def judge_total_change(proposed: Policy, incumbent: Policy, rule: PlanRule) -> GuardrailVerdict:
    """The share of the total that moves, and the total itself."""
    name = "total change"
    share = share_moved(proposed, incumbent)
    grown = float(proposed.total / incumbent.total) - 1 if incumbent.total else 0.0
    moved = max(share, abs(grown))
    words = f"{share:.0%} of the money moves"
    if grown:
        words += f" and the total changes by {grown:+z.0%}"
    numbers: dict[str, float | str] = {
        "share_moved": share,
        "total_change": grown,
        "limit": rule.total_change,
    }
    if moved > rule.total_change + ROUNDING:
        return _held(name, f"{words}; at most {rule.total_change:.0%} may at once.", numbers)
    return _fine(name, f"{words} (limit {rule.total_change:.0%}).", numbers)


def channel_limits(cells: Iterable[Cell], rule: PlanRule) -> tuple[Group, ...]:
    """What each channel may get, as rules of the plan that bear the channels' names: no larger
    share of the total than the limit, or than it has of the budgets in force."""
    if rule.channel_share >= 1:
        return ()
    return tuple(
        Group(channel, ("*",), (channel,), maximum_share=rule.channel_share, may_keep=True)
        for channel in sorted({cell.channel for cell in cells})
    )


def channels_beyond(
    proposed: Policy, incumbent: Policy, limits: Iterable[Group]
) -> tuple[str, ...]:
    """The channels that ``proposed`` gives more than their ``limits`` (:func:`channel_limits`)."""
    budgets, held = proposed.as_dict(), incumbent.as_dict()
    cells, nothing = tuple(sorted(budgets.keys() | held.keys())), Decimal(0)
    after, before = (
        np.array([to_cents(policy.get(cell, nothing)) for cell in cells], dtype=np.int64)
        for policy in (budgets, held)
    )
    return tuple(
        limit.name
        for limit in limits
        for bound in sum_rules(limit, cells, before, int(after.sum()))
        if after[bound.members].sum() > bound.high[0]
    )


def judge_plan_channels(
    proposed: Policy,
    incumbent: Policy,
    rule: PlanRule,
    limits: Iterable[Group] | None = None,
) -> GuardrailVerdict:
    """No channel may grow past its largest share; one that had more before may keep or lose it.

    Parameters
    ----------
    limits
        Those that the plan was made under, where some are out of a cycle's reach; by default those
        of :func:`channel_limits`.
    """
    name = "channel share"
    after = channel_shares({cell: float(amount) for cell, amount in proposed.budgets})
    before = channel_shares({cell: float(amount) for cell, amount in incumbent.budgets})
    if not after:
        return _fine(name, "Nothing is spent.")
    largest = max(sorted(after), key=lambda channel: after[channel])
    numbers: dict[str, float | str] = {
        "channel": largest,
        "share": after[largest],
        "share_before": before.get(largest, 0.0),
        "limit": rule.channel_share,
    }
    if limits is None:
        limits = channel_limits({*proposed.cells, *incumbent.cells}, rule)
    if channels_beyond(proposed, incumbent, limits):
        return _held(
            name,
            f"{largest} would get {after[largest]:.0%} of the money (now "
            f"{before.get(largest, 0.0):.0%}); at most {rule.channel_share:.0%} is allowed.",
            numbers,
        )
    return _fine(
        name,
        f"The largest channel, {largest}, gets {after[largest]:.0%} "
        f"(limit {rule.channel_share:.0%}).",
        numbers,
    )


def underspenders(
    performance: pd.DataFrame,
    *,
    incumbent: Policy,
    pacing: Mapping[Cell, float | None],
    as_of: date,
    share: float,
) -> Mapping[Cell, float]:
    """Cells that spend less than ``share`` of their budget in force, with spend over budget.

    Three means must all be below: that since the budget took effect, that of the last 14 days, and
    that of the last 3 reported days. The first leaves out cells whose budget was just raised, the
    second those that began slowly, the third those that are catching up. A cell without a reported
    day, or whose budget has not been in force for some days, is not among them.

    Parameters
    ----------
    pacing : spend over budget since the budget took effect; None where that is not known
    """
    suspects = {
        cell: float(budget)
        for cell, budget in incumbent.budgets
        if budget > 0 and (pace := pacing.get(cell)) is not None and pace < share
    }
    if performance.empty or not suspects:
        return {}
    begin, end = pd.Timestamp(as_of) - timedelta(days=WINDOW_DAYS), pd.Timestamp(as_of)
    plain = pd.DataFrame(
        {
            "segment": performance.segment.astype(str).to_numpy(),
            "channel": performance.channel.astype(str).to_numpy(),
            "date": pd.to_datetime(performance.date).to_numpy(),
            "spend": performance.spend.astype(float).to_numpy(),
        }
    )
    near = plain[(plain.date >= begin) & (plain.date < end)]
    days = near.groupby(["segment", "channel", "date"])["spend"].sum()
    cells = days.groupby(level=[0, 1])
    means, last = cells.mean(), cells.apply(lambda spend: float(spend.tail(RECENT_DAYS).mean()))
    found = {}
    for cell, budget in suspects.items():
        key = (cell.segment, cell.channel)
        if key in means.index:
            pace = max(float(means[key]), float(last[key])) / budget
            if math.isfinite(pace) and pace < share:
                found[cell] = pace
    return found


def judge_plan_pacing(
    slow: Mapping[Cell, float], *, proposed: Policy, incumbent: Policy, rule: PlanRule
) -> GuardrailVerdict:
    """A cell that does not spend what it has must not get more.

    Parameters
    ----------
    slow : as of :func:`underspenders`
    """
    name = PLAN_PACING
    before, after = incumbent.as_dict(), proposed.as_dict()
    raised = [cell for cell in sorted(slow) if after.get(cell, before[cell]) > before[cell]]
    if raised:
        told = ", ".join(f"{cell} ({slow[cell]:.0%})" for cell in raised[:NAMED])
        more = f" and {len(raised) - NAMED} more" if len(raised) > NAMED else ""
        return _held(
            name,
            f"{told}{more} spent less than {rule.underspend:.0%} of their budgets in the last "
            f"{WINDOW_DAYS} days and would get more.",
            {"cells": ", ".join(map(str, raised)), "lowest": min(slow[c] for c in raised)},
        )
    return _fine(
        name, f"No cell that spends less than {rule.underspend:.0%} of its budget gets more."
    )


def judge_harmed(
    harmed: Mapping[Cell, str], *, proposed: Policy, incumbent: Policy
) -> GuardrailVerdict:
    """A cell whose user-level test harms a guarded outcome must not get more.

    Parameters
    ----------
    harmed : cell -> what its test harms
    """
    name = "outcomes of tests"
    before, after = incumbent.as_dict(), proposed.as_dict()
    raised = [cell for cell in sorted(harmed) if after.get(cell, before[cell]) > before[cell]]
    if not raised:
        return _fine(name, "No cell whose test harms a guarded outcome gets more.")
    told = "; ".join(f"{cell}: {harmed[cell]}" for cell in raised[:NAMED])
    words = f"{len(raised)} cells would get more though their test harms an outcome ({told})."
    return _held(name, words, {"cells": ", ".join(map(str, raised))})


def judge_staleness(
    last_days: Mapping[str, date | None],
    *,
    as_of: date,
    rule: PlanRule,
    model_until: date | None = None,
    user_level: bool = False,
) -> GuardrailVerdict:
    """No move on stale data.

    Parameters
    ----------
    last_days : feed -> its last day with facts; None for one that was never delivered, which is
        not stale unless all are
    model_until : last day of the facts the model learned from; None: not told
    user_level : the plan rests on user-level tests, which stay true longer than days do
    """
    name = "fresh data"
    known = {feed: day for feed, day in last_days.items() if day is not None}
    if not known and user_level:
        return _fine(name, "The plan rests on user-level tests.")
    if not known:
        return _held(name, "There are no facts to rest a move on.", {}, measured=False)
    ages = {feed: (as_of - day).days - 1 for feed, day in known.items()}
    stale = {feed: age for feed, age in ages.items() if age > rule.stale_days}
    numbers: dict[str, float | str] = {f"{feed}_days": float(age) for feed, age in ages.items()}
    if stale:
        told = " and ".join(f"{feed} is {age} days late" for feed, age in sorted(stale.items()))
        return _held(name, f"{told}; at most {rule.stale_days} are allowed.".capitalize(), numbers)
    if model_until is not None:
        age = (as_of - model_until).days - 1
        numbers["model_days"] = float(age)
        if age > rule.model_days:
            return _held(
                name,
                f"The model learned from facts that ended {age} days ago; at most "
                f"{rule.model_days} are allowed.",
                numbers,
            )
    return _fine(name, "The facts, and the model where one is named, are fresh.", numbers)


def judge_late_cells(
    late: Mapping[Cell, str], *, proposed: Policy, incumbent: Policy
) -> GuardrailVerdict:
    """A cell whose facts are late or broken must not move: planning freezes it, and this makes
    sure.

    Parameters
    ----------
    late : cell -> why it may not move
    """
    name = "data health"
    before, after = incumbent.as_dict(), proposed.as_dict()
    moved = [cell for cell in sorted(late) if before.get(cell) != after.get(cell)]
    if not moved:
        return _fine(name, "No cell with late or broken facts moves.")
    told = "; ".join(f"{cell}: {late[cell]}" for cell in moved[:NAMED])
    words = f"{len(moved)} cells would move though their facts are not sound ({told})."
    return _held(name, words, {"cells": ", ".join(map(str, moved))})


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old what a plan rests on is on ``as_of``.

    Attributes
    ----------
    last_days
        The last day that each daily feed has facts of; None without any.
    model_until
        Last day of the facts the model learned from; None: its age is not judged.
    user_level
        Whether the plan rests on user-level tests, which have no daily facts.
    late
        Cells that may not move, and why: their facts are late or broken.
    """

    last_days: Mapping[str, date | None]
    as_of: date
    model_until: date | None = None
    user_level: bool = False
    late: Mapping[Cell, str] = field(default_factory=dict)


def judge_plan(
    *,
    proposed: Policy,
    incumbent: Policy,
    slow: Mapping[Cell, float | str],
    freshness: Freshness,
    rule: PlanRule,
    limits: Iterable[Group] | None = None,
) -> tuple[GuardrailVerdict, ...]:
    """All guardrails on a plan; one verdict that passes where it moves nothing. ``slow``: cells
    that get no raise, with spend over budget, or the reason where a test harms an outcome;
    ``limits``: as of :func:`judge_plan_channels`."""
    if proposed.version == incumbent.version:
        return (_fine("total change", "Nothing moves."),)
    paces = {cell: pace for cell, pace in slow.items() if not isinstance(pace, str)}
    harmed = {cell: why for cell, why in slow.items() if isinstance(why, str)}
    return (
        judge_total_change(proposed, incumbent, rule),
        judge_plan_channels(proposed, incumbent, rule, limits),
        judge_plan_pacing(paces, proposed=proposed, incumbent=incumbent, rule=rule),
        *([judge_harmed(harmed, proposed=proposed, incumbent=incumbent)] if harmed else []),
        judge_late_cells(freshness.late, proposed=proposed, incumbent=incumbent),
        judge_staleness(
            freshness.last_days,
            as_of=freshness.as_of,
            rule=rule,
            model_until=freshness.model_until,
            user_level=freshness.user_level,
        ),
    )
