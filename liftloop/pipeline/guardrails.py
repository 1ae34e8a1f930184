"""Guardrails of rollouts and plans: facts become small pieces of evidence, the core judges them.

Pure: frames and settings in, verdicts out. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.arrays import days_of
from liftloop.core.guardrails.noninferiority import ChangeRule, judge_change
from liftloop.core.guardrails.pacing import (
    Paced,
    SpendRule,
    judge_channel_share,
    judge_pacing,
    realized,
)
from liftloop.core.guardrails.plan import Freshness, judge_plan
from liftloop.core.guardrails.verdict import ALPHA_SHARES, GuardrailVerdict
from liftloop.core.inference.difference_in_differences import (
    conversions_per_spend_change,
    sales_change,
)
from liftloop.core.inference.sample_ratio import arm_counts, judge_sample_ratio
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.plan.rules import (
    limits_within_reach,
    plan_rule,
    rules_of,
    with_frequency_caps,
)
from liftloop.settings.schema import Guardrails, Settings

BEFORE = timedelta(days=26 * 7)
DAILY = ("performance", "holdout")
REVENUE, COST = "revenue", "cost per incremental conversion"


def guard_stream(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    running: Running,
    as_of: date,
    baseline: float,
) -> tuple[GuardrailVerdict, ...]:
    """What the guardrails beside profit say about a stream of plans on ``as_of``.

    Revenue and cost per conversion compare segments: with the standing holdback where there is one,
    else those that have the newest plan with those that do not have it yet. Where every segment has
    it there is nothing to compare with, and they are not asked.

    Parameters
    ----------
    facts
        ``holdout``, ``performance`` and ``sales`` as known on ``as_of``.
    baseline
        Incremental revenue a day times the margin under the reference; NaN where not known.
    """
    if running.state.newest == 0:
        return ()
    exposed, control = _compared(running, facts)
    known = _window(facts, since=min(exposed.values()) - BEFORE, as_of=as_of)
    ever = {feed for feed, frame in facts.items() if len(frame)}
    rules = settings.guardrails
    return (
        *(
            (_revenue(settings, known, exposed, control, as_of),)
            if control and _judged(rules.revenue, "sales" in ever)
            else ()
        ),
        *(
            (_conversion_cost(settings, known, exposed, control, as_of),)
            if control and _judged(rules.conversion_cost, "holdout" in ever)
            else ()
        ),
        *_spending(rules, known, running, exposed, as_of),
        *((_arms(rules, known, running, as_of),) if "holdout" in ever else ()),
    )


def _compared(
    running: Running, facts: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, date], tuple[str, ...]]:
    """(segment -> first day of what it is judged for, the segments it is compared with)."""
    state, mine = running.state, set(running.segments)
    apart = {cell.segment for cell in running.current.cells} - mine
    plan = state.plan(state.newest)
    if apart or plan is None:
        return dict.fromkeys(running.segments, state.reference_on), tuple(sorted(apart))
    reached = {
        name: day
        for wave, day in zip(running.waves, plan.reached, strict=True)
        if day is not None
        for name in wave
    }
    return reached, tuple(sorted(mine - set(reached)))


def _window(
    facts: Mapping[str, pd.DataFrame], *, since: date, as_of: date
) -> dict[str, pd.DataFrame]:
    """The days that guardrails look at; a feed that is not there has no rows."""
    kept = {}
    for feed in ("performance", "holdout", "sales"):
        frame = facts.get(feed, pd.DataFrame())
        if len(frame):
            when = pd.to_datetime(frame["date"])
            frame = frame[(when >= pd.Timestamp(since)) & (when < pd.Timestamp(as_of))]
        kept[feed] = frame
    return kept


def _change_rule(settings: Settings, name: str, margin: float) -> ChangeRule:
    alpha = settings.rollout.alpha
    return ChangeRule(alpha=ALPHA_SHARES[name] * alpha, margin=margin, alpha_pass=alpha)


def _revenue(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    exposed: Mapping[str, date],
    control: tuple[str, ...],
    as_of: date,
) -> GuardrailVerdict:
    """First-party sales of the segments ahead against those behind."""
    return judge_change(
        sales_change(
            facts["sales"],
            exposed=exposed,
            control=control,
            as_of=as_of,
            wait_days=settings.rollout.wait_days,
        ),
        name=REVENUE,
        what="Sales of the exposed segments",
        now=as_of,
        rule=_change_rule(settings, REVENUE, settings.guardrails.revenue_margin),
        prior=None,
    )


def _conversion_cost(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    exposed: Mapping[str, date],
    control: tuple[str, ...],
    as_of: date,
) -> GuardrailVerdict:
    """Spend per incremental conversion: a cost at most (1 + m) times as high means that spend buys
    at least 1 / (1 + m) times as many conversions."""
    margin = settings.guardrails.conversion_cost_margin
    change, price = conversions_per_spend_change(
        facts["holdout"],
        facts["performance"],
        exposed=exposed,
        control=control,
        as_of=as_of,
        wait_days=settings.rollout.wait_days,
    )
    return judge_change(
        change,
        name=COST,
        what=f"Incremental conversions per spend (one cost {price:,.2f} before)",
        now=as_of,
        rule=_change_rule(settings, COST, margin / (1 + margin)),
        prior=None,
    )


def _judged(wanted: str, ever: bool) -> bool:
    """Whether a guardrail applies: a feed that was never delivered has no metric to watch, unless
    the settings require it; one that was delivered and stops is a metric that is missing."""
    return wanted == "required" or (wanted == "if_reported" and ever)


def _spending(
    rules: Guardrails,
    facts: Mapping[str, pd.DataFrame],
    running: Running,
    exposed: Mapping[str, date],
    as_of: date,
) -> tuple[GuardrailVerdict, ...]:
    """Pacing and channel share, on what is spent since the budgets in force took effect."""
    if facts["performance"].empty:
        cells: tuple[Paced, ...] = ()
    else:
        cells = realized(
            facts["performance"],
            policy=running.current,
            since=max(exposed.values()),
            as_of=as_of,
        )
    rule = SpendRule(
        under=rules.underspend, over=rules.overspend, channel_share=rules.channel_share
    )
    return (
        judge_pacing(cells, exposed=exposed, rule=rule),
        judge_channel_share(
            cells, exposed=running.segments, incumbent=running.reference, rule=rule
        ),
    )


def _arms(
    rules: Guardrails, facts: Mapping[str, pd.DataFrame], running: Running, as_of: date
) -> GuardrailVerdict:
    """Whether the holdouts' arms keep their ratio."""
    counts = arm_counts(
        facts["holdout"],
        segments=running.segments,
        started_on=running.state.started_on,
        as_of=as_of,
    )
    return judge_sample_ratio(counts, alpha=rules.sample_ratio_alpha)


@dataclass(frozen=True, slots=True, eq=False)
class PlanEvidence:
    """What a plan rests on.

    Attributes
    ----------
    facts
        Feeds as known on ``as_of``: ``performance`` and ``holdout``, or ``units``.
    as_of
        The day the plan is judged.
    model_until
        Last day of the facts the model learned from; None: its age is not judged.
    """

    facts: Mapping[str, pd.DataFrame]
    as_of: date
    model_until: date | None = None


def guard_plan(
    settings: Settings,
    evidence: PlanEvidence,
    *,
    proposed: Policy,
    incumbent: Policy,
    holds: Holds,
    unknown: Collection[Cell] = (),
) -> tuple[GuardrailVerdict, ...]:
    """What the guardrails on plans say about ``proposed``, whether or not a rollout follows. It may
    take effect only where every one passes.

    Parameters
    ----------
    holds
        Cells that may not move today must not move in the plan either; and cells that do not spend
        what they have, which get no raise.
    unknown
        Cells without a curve, which keep their budgets.
    """
    facts, as_of = evidence.facts, evidence.as_of
    rules = rules_of(settings, incumbent, holds.frozen, holds.no_raise, unknown, as_of)
    rules = with_frequency_caps(settings, rules, facts=facts, as_of=as_of)
    rules = replace(rules, total=proposed.total)
    return judge_plan(
        proposed=proposed,
        incumbent=incumbent,
        slow=holds.no_raise,
        freshness=Freshness(
            last_days={feed: _last_day(facts.get(feed), as_of) for feed in DAILY},
            as_of=as_of,
            model_until=evidence.model_until,
            user_level=bool(len(facts.get("units", ()))),
            late={cell: holds.reason_of(cell) for cell in holds.held(incumbent)},
        ),
        rule=plan_rule(settings),
        limits=limits_within_reach(settings, rules, incumbent, unknown),
    )


def known_until(facts: Mapping[str, pd.DataFrame], as_of: date) -> date | None:
    """The last day before ``as_of`` that the daily feeds a model learns from tell of."""
    days = [day for feed in DAILY if (day := _last_day(facts.get(feed), as_of)) is not None]
    return max(days, default=None)


def _last_day(feed: pd.DataFrame | None, as_of: date) -> date | None:
    if feed is None or feed.empty:
        return None
    days = days_of(feed["date"])
    known = days[days < np.datetime64(as_of, "D")]
    return known.max().item() if len(known) else None
