"""All guardrails of a rollout, as ``liftloop.pipeline.guardrails`` puts them together, in the quick worlds.

The metrics that come by whole weeks are judged anew when a week ends or segments join; nothing else
changes them. ``tests/core/test_canary_simulation.py`` holds every verdict against the product's own
from feeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_feeds import Feeds
from benchmarks.canary_world import World
from liftloop.adapters.settings import Settings
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.guardrails import ALPHA_SHARES, GuardrailVerdict, judge_health
from liftloop.core.loss_budget import judge_loss
from liftloop.core.noninferiority import Change, ChangeRule, judge_change
from liftloop.core.policy import Cell, Policy
from liftloop.core.profit import Prediction, judge_profit
from liftloop.core.sample_ratio import judge_sample_ratio
from liftloop.core.spend_guardrails import SpendRule, judge_channel_share, judge_pacing
from liftloop.core.weekly_change import change_at, conversions_contrasts, sales_contrasts
from liftloop.pipeline.guardrails import COST, REVENUE, profit_rule

SETTINGS = Settings()
WAIT = SETTINGS.rollout.wait_days
RULE = profit_rule(SETTINGS.rollout)
LOSS_RULE = replace(RULE, alpha=SETTINGS.rollout.alpha)
PREDICTION = Prediction(0.05, 0.04)
Array = NDArray[np.float64]


class Guardrails:
    """The guardrails of one rollout; :meth:`expose` says who follows the policy from now on."""

    def __init__(self, world: World, earned: Array, exposed: Mapping[str, date]) -> None:
        self.world, self.feeds = world, Feeds.of(world)
        pairs = {
            Cell(segment, channel): Decimal(f"{world.budgets[s, c]:.2f}")
            for s, segment in enumerate(world.segments)
            for c, channel in enumerate(world.constants.channels)
        }
        self.policy = Policy.of(pairs)
        self.expose(earned, exposed)

    def expose(self, earned: Array, exposed: Mapping[str, date]) -> None:
        """``earned`` (D, S, C): by all days, had nobody else joined."""
        self.exposed = dict(exposed)
        self.control = [name for name in self.world.segments if name not in exposed]
        parts = {"exposed": self.exposed, "control": self.control}
        self.sales = sales_contrasts(self.feeds.sales(earned), **parts)
        self.bought, _ = conversions_contrasts(self.feeds.conversions(earned), **parts)
        self.weekly: tuple[GuardrailVerdict, ...] = ()

    def verdicts(self, known: CanaryEvidence, *, now: date) -> tuple[GuardrailVerdict, ...]:
        """What every guardrail says on ``now``, in the product's order."""
        ended = any((now - day).days % 7 == 0 for day in self.exposed.values())
        if ended or not self.weekly:
            self.weekly = (self._revenue(known, now), self._cost(now))
        live = (now - self.world.start).days
        rules = SETTINGS.guardrails
        cells = self.feeds.paced(since=max(self.exposed.values()), as_of=now)
        spend = SpendRule(
            under=rules.underspend, over=rules.overspend, channel_share=rules.channel_share
        )
        return (
            judge_profit(known, now=now, rule=RULE, prediction=PREDICTION),
            judge_loss(known, now=now, days_live=live, rule=LOSS_RULE),
            *self.weekly,
            judge_pacing(cells, exposed=self.exposed, rule=spend),
            judge_channel_share(cells, exposed=self.exposed, incumbent=self.policy, rule=spend),
            judge_sample_ratio(self.feeds.counted(days=live), alpha=rules.sample_ratio_alpha),
            judge_health({}, canary=self.exposed, control=self.control),
        )

    def _revenue(self, known: CanaryEvidence, now: date) -> GuardrailVerdict:
        change = change_at(self.sales, as_of=now, wait_days=WAIT)
        part = known.baseline / SETTINGS.budget.margin / (change.level or math.nan)
        prior = (PREDICTION.gain * part, PREDICTION.sd * part) if math.isfinite(part) else None
        return _judged(REVENUE, change, SETTINGS.guardrails.revenue_margin, now, prior)

    def _cost(self, now: date) -> GuardrailVerdict:
        change = change_at(self.bought, as_of=now, wait_days=WAIT)
        margin = SETTINGS.guardrails.conversion_cost_margin
        prior = (PREDICTION.gain, PREDICTION.sd)
        return _judged(COST, change, margin / (1 + margin), now, prior)


def _judged(
    name: str, change: Change, margin: float, now: date, prior: tuple[float, float] | None
) -> GuardrailVerdict:
    alpha = SETTINGS.rollout.alpha
    rule = ChangeRule(alpha=ALPHA_SHARES[name] * alpha, margin=margin, alpha_pass=alpha)
    return judge_change(change, name=name, what=name, now=now, rule=rule, prior=prior)
