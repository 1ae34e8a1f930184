"""Guardrails of rollouts and plans: facts become small pieces of evidence, the core judges them.

Pure: frames and settings in, verdicts out. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.adapters.settings import Guardrails, Rollout, Settings
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.grouping import days_of
from liftloop.core.guardrails import ALPHA_SHARES, GuardrailVerdict, judge_health
from liftloop.core.loss_budget import judge_loss
from liftloop.core.noninferiority import ChangeRule, judge_change
from liftloop.core.plan_guardrails import PlanRule, judge_plan, underspenders
from liftloop.core.policy import Cell, Policy
from liftloop.core.profit import Prediction, ProfitRule, judge_profit
from liftloop.core.sample_ratio import arm_counts, judge_sample_ratio
from liftloop.core.settlement import Running
from liftloop.core.spend_guardrails import SpendRule, judge_channel_share, judge_pacing, realized
from liftloop.core.weekly_change import conversions_per_spend_change, sales_change
from monitoring.verdicts import HealthVerdict

BEFORE = timedelta(days=26 * 7)
DAILY = ("performance", "holdout")
REVENUE, COST = "revenue", "cost per incremental conversion"


def profit_rule(settings: Rollout) -> ProfitRule:
    """The guardrail on incremental profit, with its part of the error probability; to let a harmful
    policy pass is another error, which profit alone can make."""
    share = ALPHA_SHARES["incremental profit"]
    return ProfitRule(
        alpha=share * settings.alpha,
        alpha_pass=settings.alpha,
        margin=settings.margin,
        grave_loss=settings.grave_loss,
    )


def guard_rollout(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    running: Running,
    as_of: date,
    evidence: CanaryEvidence,
    prediction: Prediction | None,
    facts_health: HealthVerdict,
) -> tuple[GuardrailVerdict, ...]:
    """What every guardrail says about a running rollout on ``as_of``.

    While nobody is exposed (shadow) there is nothing to measure but the health of the data.

    Parameters
    ----------
    facts
        ``holdout``, ``performance`` and ``sales`` as known on ``as_of``.
    evidence, prediction
        What the exposed segments show in incremental profit, and what the model foretold.
    """
    exposed = running.exposed
    health = judge_health(
        facts_health.paused_segments, canary=exposed or running.canary, control=running.control
    )
    if not exposed:
        return (health,)
    known = _window(facts, since=min(exposed.values()) - BEFORE, as_of=as_of)
    ever = {feed for feed, frame in facts.items() if len(frame)}
    rule = profit_rule(settings.rollout)
    return (
        judge_profit(evidence, now=as_of, rule=rule, prediction=prediction),
        judge_loss(
            evidence,
            now=as_of,
            days_live=running.state.days_live(as_of),
            budget=settings.rollout.loss_budget,
            # what may be lost is bounded at the whole error probability: the 95 % bound
            rule=replace(rule, alpha=settings.rollout.alpha),
        ),
        *(
            (_revenue(settings, known, running, as_of, evidence, prediction),)
            if _judged(settings.guardrails.revenue, "sales" in ever)
            else ()
        ),
        *(
            (_conversion_cost(settings, known, running, as_of, prediction),)
            if _judged(settings.guardrails.conversion_cost, "holdout" in ever)
            else ()
        ),
        *_spending(settings.guardrails, known, running, as_of),
        *((_arms(settings.guardrails, known, running, as_of),) if "holdout" in ever else ()),
        *_spillover(evidence),
        health,
    )


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
    running: Running,
    as_of: date,
    evidence: CanaryEvidence,
    prediction: Prediction | None,
) -> GuardrailVerdict:
    """First-party sales of exposed against control segments."""
    rules = settings.guardrails
    change = sales_change(
        facts["sales"],
        exposed=running.exposed,
        control=running.control,
        as_of=as_of,
        wait_days=settings.rollout.wait_days,
    )
    # The prediction is a share of what the ads earn; here it counts as a share of all sales.
    part = evidence.baseline / settings.budget.margin / (change.level or math.nan)
    prior = (prediction.gain * part, prediction.sd * part) if prediction else None
    return judge_change(
        change,
        name=REVENUE,
        what="Sales of the exposed segments",
        now=as_of,
        rule=_change_rule(settings, REVENUE, rules.revenue_margin),
        prior=prior if math.isfinite(part) else None,
    )


def _conversion_cost(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    running: Running,
    as_of: date,
    prediction: Prediction | None,
) -> GuardrailVerdict:
    """Spend per incremental conversion: a cost at most (1 + m) times as high means that spend buys
    at least 1 / (1 + m) times as many conversions."""
    rules = settings.guardrails
    change, price = conversions_per_spend_change(
        facts["holdout"],
        facts["performance"],
        exposed=running.exposed,
        control=running.control,
        as_of=as_of,
        wait_days=settings.rollout.wait_days,
    )
    tolerated = rules.conversion_cost_margin / (1 + rules.conversion_cost_margin)
    return judge_change(
        change,
        name=COST,
        what=f"Incremental conversions per spend (one cost {price:,.2f} before)",
        now=as_of,
        rule=_change_rule(settings, COST, tolerated),
        prior=(prediction.gain, prediction.sd) if prediction else None,
    )


def _spillover(evidence: CanaryEvidence) -> tuple[GuardrailVerdict, ...]:
    """Whether the rollout reaches its control. The evidence has taken it into account already (it
    leaves connected segments out, or widens its error), so it is named and blocks nothing."""
    found = evidence.spillover
    if found is None:
        return ()
    numbers: dict[str, float | str] = {
        "shift": found.shift,
        "shift_low": found.low,
        "shift_high": found.high,
        "flagged": "yes" if found.flagged else "no",
    }
    return (GuardrailVerdict("spillover", "pass", "promote", found.sentence, numbers),)


def _judged(wanted: str, ever: bool) -> bool:
    """Whether a guardrail applies: a feed that was never delivered has no metric to watch, unless
    the settings require it; one that was delivered and stops is a metric that is missing."""
    return wanted == "required" or (wanted == "if_reported" and ever)


def _spending(
    rules: Guardrails, facts: Mapping[str, pd.DataFrame], running: Running, as_of: date
) -> tuple[GuardrailVerdict, ...]:
    """Pacing and channel share, on what is spent since the budgets in force took effect."""
    if facts["performance"].empty:
        cells = ()
    else:
        cells = realized(
            facts["performance"],
            policy=running.current,
            since=max(running.exposed.values()),
            as_of=as_of,
        )
    rule = SpendRule(
        under=rules.underspend, over=rules.overspend, channel_share=rules.channel_share
    )
    return (
        judge_pacing(cells, exposed=running.exposed, rule=rule),
        judge_channel_share(cells, exposed=running.exposed, incumbent=running.incumbent, rule=rule),
    )


def _arms(
    rules: Guardrails, facts: Mapping[str, pd.DataFrame], running: Running, as_of: date
) -> GuardrailVerdict:
    """Whether the holdouts' arms keep their ratio."""
    counts = arm_counts(
        facts["holdout"],
        segments=running.segments,
        started_on=min(running.exposed.values()),
        as_of=as_of,
    )
    return judge_sample_ratio(counts, alpha=rules.sample_ratio_alpha)


def slow_cells(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    incumbent: Policy,
    as_of: date,
    facts_health: HealthVerdict,
) -> Mapping[Cell, float]:
    """Cells of the budgets in force that do not spend what they have, with spend over budget: a
    plan is made without a raise for them, and the guardrail on pacing makes sure."""
    return underspenders(
        facts.get("performance", pd.DataFrame()),
        incumbent=incumbent,
        pacing={c.cell: c.pacing for c in facts_health.cells},
        as_of=as_of,
        share=settings.guardrails.underspend,
    )


def guard_plan(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    proposed: Policy,
    incumbent: Policy,
    as_of: date,
    facts_health: HealthVerdict,
    model_until: date | None = None,
) -> tuple[GuardrailVerdict, ...]:
    """What the guardrails on plans say about ``proposed``, whether or not a rollout follows. It may
    take effect only where every one passes (:func:`liftloop.core.plan_guardrails.held_by`).

    Parameters
    ----------
    facts
        Feeds as known on ``as_of``: ``performance`` and ``holdout``, or ``units``.
    facts_health
        Of the budgets in force. Cells that may not move must not move in the plan either, and its
        pacing says which cells do not spend what they have.
    model_until
        Last day of the facts the model learned from; None: its age is not judged.
    """
    rules = settings.guardrails
    return judge_plan(
        proposed=proposed,
        incumbent=incumbent,
        slow=slow_cells(
            settings, facts, incumbent=incumbent, as_of=as_of, facts_health=facts_health
        ),
        late=facts_health.paused,
        last_days={feed: _last_day(facts.get(feed), as_of) for feed in DAILY},
        user_level=bool(len(facts.get("units", ()))),
        as_of=as_of,
        rule=PlanRule(
            total_change=rules.total_change,
            channel_share=rules.channel_share,
            underspend=rules.underspend,
            stale_days=rules.stale_days,
            model_days=rules.model_days,
        ),
        model_until=model_until,
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
