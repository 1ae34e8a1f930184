"""The settings' rules of a plan, as the core's small ones: what may be spent where, how far a cycle
may go, and the guardrails' limits on plans."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType

import pandas as pd

from liftloop.core.allocation.constraints import Group, NoRaise, ReachCap, Rules, resolve_rules
from liftloop.core.curves.gain import share_moved
from liftloop.core.guardrails.plan import ROUNDING, PlanRule, channel_limits, channels_beyond
from liftloop.core.horizon.constraints import DatedGroup
from liftloop.core.horizon.optimize import Horizon
from liftloop.core.money.reachable_total import (
    shares_within_reach,
    total_at_once,
    total_within_reach,
)
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.plan.reach import caps_by_frequency
from liftloop.settings.budget import CommitmentSettings
from liftloop.settings.schema import Settings

Frozen = tuple[tuple[str, str, str], ...]
Slow = Mapping[Cell, float | str]
NONE_SLOW: Slow = MappingProxyType({})


def rules_of(
    settings: Settings,
    incumbent: Policy,
    frozen: Frozen,
    slow: Slow = NONE_SLOW,
    unknown: Iterable[Cell] = (),
    as_of: date | None = None,
) -> Rules:
    """The configured rules as a cycle can reach them: their total is the set one, or what steps
    reach of it, and so are shares of the total (:mod:`liftloop.core.money.reachable_total`).

    Parameters
    ----------
    incumbent
        The budgets in force; the rules are for its cells.
    frozen, slow
        What may not move today, and which cells get no raise.
    unknown
        Cells without a curve: they keep their budgets.
    as_of
        The plan's day, for commitments that hold in its cycle; None: none holds.
    """
    lost = tuple(unknown)
    rules = configured_rules(settings, incumbent, frozen, slow, as_of)
    rules = total_within_reach(rules, incumbent=incumbent, unknown=lost)
    most = settings.guardrails.total_change
    rules = replace(
        rules,
        total=total_at_once(rules.total, incumbent, most),
        least_total=total_at_once(Decimal(0), incumbent, most),
    )
    return shares_within_reach(rules, incumbent=incumbent, unknown=lost)


def configured_rules(
    settings: Settings,
    incumbent: Policy,
    frozen: Frozen,
    slow: Slow = NONE_SLOW,
    as_of: date | None = None,
) -> Rules:
    """The rules of the settings as they are written, for the cells of the policy in force, with
    what is frozen today, which cells get no raise, and the commitments of the cycle of ``as_of``.
    """
    budget, geo = settings.budget, settings.budget.geo_minima
    amounts = [Group(g.name, g.segments, g.channels, g.minimum, g.maximum) for g in budget.groups]
    amounts += [Group(f"segment {m.segment}", (m.segment,), minimum=m.amount) for m in geo]
    shares = [
        Group(
            g.name,
            g.segments,
            g.channels,
            minimum_share=g.minimum_share,
            maximum_share=g.maximum_share,
        )
        for g in budget.groups
        if g.minimum_share > 0 or g.maximum_share is not None
    ]
    shares += [
        Group(f"segment {m.segment}", (m.segment,), minimum_share=m.share)
        for m in geo
        if m.share > 0
    ]
    if budget.risky:
        risky = tuple(budget.risky)
        shares.append(Group("the risky channels", channels=risky, maximum_share=budget.risky_share))
    rules = resolve_rules(
        cells=incumbent.cells,
        total=budget.total or incumbent.total,
        limits=[(x.segment, x.channel, x.floor, x.cap) for x in budget.limits],
        groups=[*amounts, *shares, *commitments(settings, as_of)],
        frozen=[*((f.segment, f.channel, "frozen") for f in budget.frozen), *frozen],
        max_step=budget.max_step,
    )
    return replace(rules, no_raise=tuple(NoRaise(cell, slow[cell]) for cell in sorted(slow)))


def commitments(settings: Settings, as_of: date | None) -> list[Group]:
    """The least amounts a day that were promised for days of the cycle that begins on ``as_of``."""
    return [
        _promised(one)
        for one in settings.budget.commitments
        if as_of is not None and one.touches(as_of, settings.cycle_days)
    ]


def dated_commitments(settings: Settings, horizon: Horizon) -> tuple[DatedGroup, ...]:
    """The commitments that hold in some period of a horizon, with these periods."""
    starts = [
        horizon.start + timedelta(days=number * horizon.days) for number in range(horizon.periods)
    ]
    found = (
        DatedGroup(
            _promised(one),
            frozenset(n for n, day in enumerate(starts) if one.touches(day, horizon.days)),
        )
        for one in settings.budget.commitments
    )
    return tuple(one for one in found if one.periods)


def _promised(one: CommitmentSettings) -> Group:
    return Group(
        f"the commitment {one.name} (until {one.end})",
        one.segments,
        one.channels,
        minimum=one.daily,
        approached=True,
    )


def with_frequency_caps(
    settings: Settings, rules: Rules, *, facts: Mapping[str, pd.DataFrame], as_of: date
) -> Rules:
    """``rules`` with the frequency caps of the settings, by the facts known on ``as_of``."""
    caps = caps_by_frequency(settings, cells=rules.cells, facts=facts, as_of=as_of)
    return replace(rules, reach=tuple(ReachCap(cell, caps[cell]) for cell in sorted(caps)))


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """The limits of the guardrails on plans that a plan has to be told of: all others hold by
    themselves.

    Attributes
    ----------
    channels
        Those whose share of the total is limited.
    moved
        Whether the money that moves at once is limited.
    """

    channels: frozenset[str] = frozenset()
    moved: bool = False

    def beside(
        self,
        settings: Settings,
        policy: Policy,
        *,
        rules: Rules,
        incumbent: Policy,
        unknown: Collection[Cell] = (),
    ) -> PlanLimits:
        """These limits and those that ``policy``, a plan under ``rules``, breaks."""
        at_once, most = share_moved(policy, incumbent), settings.guardrails.total_change
        return PlanLimits(
            self.channels | set(broken_limits(settings, policy, rules, incumbent, unknown)),
            self.moved or at_once > most + ROUNDING,
        )

    def in_rules(
        self, settings: Settings, rules: Rules, incumbent: Policy, unknown: Collection[Cell]
    ) -> Rules:
        """``rules`` with these limits."""
        limits = limits_within_reach(settings, rules, incumbent, unknown) if self.channels else ()
        return replace(
            rules,
            groups=(*rules.groups, *(limit for limit in limits if limit.name in self.channels)),
            max_moved=settings.guardrails.total_change if self.moved else None,
        )


def broken_limits(
    settings: Settings,
    policy: Policy,
    rules: Rules,
    incumbent: Policy,
    unknown: Collection[Cell] = (),
) -> tuple[str, ...]:
    """The channels that get more in ``policy`` than their limits, as far as a cycle reaches
    them."""
    limits = channel_limits(rules.cells, plan_rule(settings))
    if not channels_beyond(policy, incumbent, limits):
        return ()
    rules = replace(rules, total=policy.total)
    limits = limits_within_reach(settings, rules, incumbent, unknown)
    return channels_beyond(policy, incumbent, limits)


def limits_within_reach(
    settings: Settings, rules: Rules, incumbent: Policy, unknown: Collection[Cell] = ()
) -> tuple[Group, ...]:
    """The limits on channels' shares beside ``rules``, no tighter than a cycle can reach.
    ``unknown``: cells without a curve."""
    limits = channel_limits(rules.cells, plan_rule(settings))
    whole = replace(rules, groups=(*rules.groups, *limits))
    found = shares_within_reach(whole, incumbent=incumbent, unknown=unknown).groups
    return found[len(rules.groups) :]


def plan_rule(settings: Settings) -> PlanRule:
    """The settings of the guardrails on plans."""
    rules = settings.guardrails
    return PlanRule(
        total_change=rules.total_change,
        channel_share=rules.channel_share,
        underspend=rules.underspend,
        stale_days=rules.stale_days,
        model_days=rules.model_days,
    )
