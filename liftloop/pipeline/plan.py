"""From the configuration and what was learned to a plan: settings become the core's small rules,
the core decides, and its answer gets words. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.allocation import Allocation
from liftloop.core.currencies import budget_unit
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import Estimate, gain, share_moved, spends
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.explain import explain_moves
from liftloop.core.exploration import Exploration
from liftloop.core.interacting import separable_at
from liftloop.core.objectives import (
    Aim,
    CvarProfit,
    ExpectedProfit,
    Objective,
    Planned,
    StrategicAims,
    TargetIroas,
)
from liftloop.core.policy import Cell, Policy
from liftloop.core.reachable_total import total_sentence, total_within_reach
from liftloop.core.rollout.staged_budgets import rescaled
from liftloop.core.rules import Freeze, ReachCap, Rules, book, covered, resolve_rules
from liftloop.core.shadow import rule_costs
from liftloop.core.stability import Patience, Steadied, steady
from liftloop.core.whole_units import in_whole_units
from liftloop.pipeline.explore import explore_plan
from liftloop.pipeline.reach import caps_by_frequency
from liftloop.pipeline.total import (
    TotalProposal,
    parked_note,
    parks,
    propose_total,
    up_to,
    what_pays,
)

Frozen = tuple[tuple[str, str, str], ...]
Slow = Mapping[Cell, float | str]
NONE_SLOW: Slow = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Plan:
    """What is proposed: the budgets, their expected gain in profit a day over those in force, one
    sentence a cell, the sentence of the whole, notes on the objective and rules' costs, and another
    total where one is to be proposed."""

    policy: Policy
    gain: Estimate
    words: Mapping[Cell, str]
    reason: str
    notes: tuple[str, ...] = ()
    total: TotalProposal | None = None


def plan_budgets(
    settings: Settings,
    *,
    curves: ResponseCurves | None,
    incumbent: Policy,
    frozen: Frozen,
    as_of: date,
    facts: Mapping[str, pd.DataFrame],
    slow: Slow = NONE_SLOW,
) -> Plan:
    """The plan for ``as_of``.

    Parameters
    ----------
    curves
        The champion's; None keeps the budgets in force.
    incumbent
        The budgets in force before ``as_of``.
    frozen
        (segment, channel, why) of what may not move today, beside what the settings freeze.
    facts
        The feeds ``performance`` and ``holdout`` as known on ``as_of``: what cells reach, and how
        well their holdouts hear.
    slow
        Cells that get no raise: with spend over budget where they do not spend what they have, or
        why else.

    Raises
    ------
    InfeasibleBudget
        With a smallest set of rules that cannot hold together.
    """
    if curves is None:
        reason = "No response is known yet: the budgets stay until there is randomized evidence."
        gap = _total_words(settings, incumbent, incumbent.total)
        return Plan(incumbent, Estimate(0.0, 0.0, 0.0), {}, " ".join(filter(None, (reason, gap))))
    margin = settings.budget.margin
    unknown = set(incumbent.cells) - set(curves.cells)
    rules = rules_of(settings, incumbent, frozen, slow, unknown)
    notes: list[str] = []
    if settings.budget.frequency_per_week is not None:
        caps = caps_by_frequency(settings, cells=rules.cells, facts=facts, as_of=as_of)
        rules = replace(rules, reach=tuple(ReachCap(cell, caps[cell]) for cell in sorted(caps)))
        lost = len(rules.cells) - len(caps)
        if lost:
            notes.append(
                f"{lost} of {len(rules.cells)} cells have no frequency cap: their reach "
                "is not known."
            )
    alone = separable_at(curves, incumbent)  # what a planner may take cell by cell
    planned, allowed = _planned(settings, alone, rules, incumbent)
    found, rules = planned.allocation, planned.rules
    notes.extend(planned.notes)
    if settings.budget.objective == "expected_profit":
        costs = rule_costs(
            curves=alone, rules=rules, incumbent=incumbent, allocation=found, margin=margin
        )
        notes.extend(cost.words for cost in costs)
    taken = _taken(settings, curves, found.policy, incumbent, rules, allowed.total)
    if parks(settings):
        rules = replace(rules, total=taken.policy.total)
    unit = budget_unit(settings.account.currency)
    written = book(rules, incumbent=incumbent, unknown=unknown)
    exact = rules.total == (settings.budget.total or incumbent.total)
    taken = replace(
        taken, policy=in_whole_units(taken.policy, unit, written=written, exact_total=exact)
    )
    explored = _explored(settings, alone, taken.policy, incumbent, rules, facts, as_of)
    words = explain_moves(
        allocation=replace(found, policy=taken.policy),
        curves=alone,
        incumbent=incumbent,
        margin=margin,
    )
    policy = in_whole_units(explored.policy, unit, written=written, exact_total=exact)
    expected = gain(curves, policy=policy, incumbent=incumbent, margin=margin)
    currency = settings.account.currency
    reason = _all_held(rules) or _reason(taken, found.policy, incumbent, expected, policy, currency)
    if explored.learned:
        reason += f" {explored.reason}"
    if settings.budget.total is not None and found.policy.total == allowed.total:
        notes.insert(0, _total_words(settings, incumbent, rules.total if exact else policy.total))
    notes.insert(
        0,
        parked_note(settings, curves=alone, rules=allowed, incumbent=incumbent, policy=policy),
    )
    told = {cell: f"{text}{_slow_words(slow.get(cell))}" for cell, text in words.items()}
    other = propose_total(
        settings,
        curves=alone,
        rules=rules,
        incumbent=incumbent,
        best=found.policy,
    )
    return Plan(policy, expected, told | explored.words, reason, tuple(filter(None, notes)), other)


def _planned(
    settings: Settings, curves: ResponseCurves, allowed: Rules, incumbent: Policy
) -> tuple[Planned, Rules]:
    """The best plan that switches no cell on that is not likely enough to pay, and the rules it was
    allowed. Where the other rules cannot hold without such a start, it is theirs."""
    last: tuple[Planned, Rules] | None = None
    while True:
        try:
            rules = what_pays(settings, curves=curves, rules=allowed, incumbent=incumbent)
            planned = objective_of(settings).plan(
                curves=curves, rules=rules, incumbent=incumbent, margin=settings.budget.margin
            )
        except InfeasibleBudget:
            if last is None:
                raise
            return last
        doubtful = _doubtful_starts(settings, curves, planned.allocation, incumbent)
        if not doubtful:
            return planned, allowed
        # money that does not go there may go to another cell that is off: look again
        last = planned, allowed
        allowed = replace(allowed, frozen=(*allowed.frozen, *doubtful))


def _doubtful_starts(
    settings: Settings, curves: ResponseCurves, plan: Allocation, incumbent: Policy
) -> tuple[Freeze, ...]:
    """The cells without money that the plan would switch on though it is not likely enough that
    they would earn what they cost. The mean may say so for the few draws in which a curve's first
    units earn very much: that is the prior's shape, and no evidence."""
    sureness, margin = settings.budget.sureness, settings.budget.margin
    spend, before = spends(plan.policy, curves), incumbent.as_dict()
    started = [i for i, cell in enumerate(curves.cells) if spend[i] > 0 and before.get(cell) == 0]
    if not started:
        return ()
    earned = margin * curves.draw_revenue(spend)
    held = []
    for i in started:
        likely = float((earned[:, i] > spend[i]).mean())
        if likely < sureness:
            cell = curves.cells[i]
            reason = f"stays off: that it would pay is likely by {likely:.0%} only"
            held.append(Freeze(cell.segment, cell.channel, reason))
    return tuple(held)


def _total_words(settings: Settings, incumbent: Policy, reached: Decimal) -> str:
    """How the set total differs from the budgets in force, in a sentence; "" where it does not."""
    budget = settings.budget
    if budget.total is None:
        return ""
    return total_sentence(
        wanted=budget.total,
        spent=incumbent.total,
        reached=reached,
        max_step=budget.max_step,
        currency=settings.account.currency,
    )


def _slow_words(pace: float | str | None) -> str:
    if pace is None:
        return ""
    if isinstance(pace, str):
        return f" {pace}: it gets no raise."
    return f" It spends {pace:.0%} of its budget: it gets no raise until it spends what it has."


def _taken(
    settings: Settings,
    curves: ResponseCurves,
    plan: Policy,
    incumbent: Policy,
    rules: Rules,
    most: Decimal,
) -> Steadied:
    """How much of the plan is sure enough. Patience asks for profit in expectation, so it judges
    no plan that was made for something else. ``most``: the total that may be spent, where not all
    of it has to be."""
    budget = settings.budget
    if budget.objective != "expected_profit":
        moves = plan.version != incumbent.version
        return Steadied(plan, 1.0 if moves else 0.0, 1.0)
    written = book(rules, incumbent=incumbent)
    if parks(settings):  # what is parked is part of the move
        if incumbent.total > most:
            incumbent = rescaled(incumbent, book(replace(rules, total=most), incumbent=incumbent))
        written = up_to(written, most)
    elif plan.total != incumbent.total:  # what a move beyond the change of the total is worth
        incumbent = rescaled(incumbent, written)
    return steady(
        curves=curves,
        plan=plan,
        incumbent=incumbent,
        written=written,
        patience=Patience(
            sureness=budget.sureness,
            switching_cost=budget.switching_cost,
            days=settings.cycle_days,
        ),
        margin=budget.margin,
    )


def _explored(
    settings: Settings,
    curves: ResponseCurves,
    plan: Policy,
    incumbent: Policy,
    rules: Rules,
    facts: Mapping[str, pd.DataFrame],
    as_of: date,
) -> Exploration:
    """The plan with its excursions. They are weighed by expected profit, so a plan that was made
    for something else has none."""
    if settings.budget.objective != "expected_profit":
        return Exploration(plan, (), (), "Nothing is explored under this objective.")
    return explore_plan(
        settings,
        curves=curves,
        plan=plan,
        incumbent=incumbent,
        rules=rules,
        facts=facts,
        as_of=as_of,
    )


def objective_of(settings: Settings) -> Objective:
    """The configured objective."""
    budget = settings.budget
    if budget.objective == "cvar":
        return CvarProfit(budget.risk_level)
    if budget.objective == "target_iroas" and budget.target_iroas is not None:
        return TargetIroas(budget.target_iroas, budget.target_of)
    if budget.objective == "aims":
        return StrategicAims(
            tuple(
                Aim(a.name, a.segments, a.channels, a.weight, a.minimum_share) for a in budget.aims
            )
        )
    return ExpectedProfit()


def rules_of(
    settings: Settings,
    incumbent: Policy,
    frozen: Frozen,
    slow: Slow = NONE_SLOW,
    unknown: Iterable[Cell] = (),
) -> Rules:
    """The configured rules for the cells of the policy in force, what is frozen today, and which
    cells get no raise because they do not spend what they have. Their total is the set one, or what
    a cycle reaches of it (:func:`liftloop.core.reachable_total.total_within_reach`)."""
    budget = settings.budget
    rules = resolve_rules(
        cells=incumbent.cells,
        total=budget.total or incumbent.total,
        limits=[(x.segment, x.channel, x.floor, x.cap) for x in budget.limits],
        groups=[
            *((g.name, g.segments, g.channels, g.minimum, g.maximum) for g in budget.groups),
            *(
                (f"segment {m.segment}", (m.segment,), ("*",), m.amount, None)
                for m in budget.geo_minima
            ),
        ],
        frozen=[*((f.segment, f.channel, "frozen") for f in budget.frozen), *frozen],
        max_step=budget.max_step,
        shares=[
            *(
                (g.name, g.segments, g.channels, g.minimum_share, g.maximum_share)
                for g in budget.groups
                if g.minimum_share > 0 or g.maximum_share is not None
            ),
            *(
                (f"segment {m.segment}", (m.segment,), ("*",), m.share, None)
                for m in budget.geo_minima
                if m.share > 0
            ),
            *(
                [("the risky channels", ("*",), budget.risky, 0.0, budget.risky_share)]
                if budget.risky
                else []
            ),
        ],
        no_raise=[(cell, slow[cell]) for cell in sorted(slow)],
    )
    return total_within_reach(rules, incumbent=incumbent, unknown=unknown)


def _all_held(rules: Rules) -> str:
    """Why nothing may move, where every cell is frozen; else ""."""
    named = {(f.segment, f.channel) for f in rules.frozen}
    wide = {name for name in named if "*" in name}
    left = [cell for cell in rules.cells if (cell.segment, cell.channel) not in named]
    for segment, channel in wide:
        inside = covered(left, [segment], [channel])
        left = [cell for cell, held in zip(left, inside, strict=True) if not held]
    if left or not named:
        return ""
    first, *others = dict.fromkeys(f.reason for f in rules.frozen)
    more = f", and {len(others)} more {'reason' if len(others) == 1 else 'reasons'}"
    return (
        f"Nothing may move: every cell is held ({first}{more if others else ''}). The budgets stay."
    )


def _reason(
    taken: Steadied,
    best: Policy,
    incumbent: Policy,
    expected: Estimate,
    policy: Policy,
    currency: str,
) -> str:
    if best.version == incumbent.version:
        return "No move pays under the rules: the budgets stay."
    if taken.share == 0 and policy.total != incumbent.total:
        return (
            "The budgets follow the total in their present proportions: that a move beyond that "
            f"gains more than it costs is likely by {taken.probability:.0%} only."
        )
    if taken.share == 0:
        return (
            f"The budgets stay: the best plan would move {share_moved(best, incumbent):.1%} of the "
            f"money, and that even its first part gains more than moving costs is likely by "
            f"{taken.probability:.0%} only."
        )
    part = "" if taken.share == 1 else f" ({taken.share:.0%} of the way to the best plan)"
    return (
        f"Moving {share_moved(policy, incumbent):.1%} of the money{part} is expected to earn "
        f"{expected.mean:+z,.0f} {currency} profit a day (9 times in 10 between "
        f"{expected.low:+z,.0f} and {expected.high:+z,.0f})."
    )
