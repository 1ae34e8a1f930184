"""From the configuration and what was learned to a plan: settings become the core's small rules,
the core decides, and its answer gets words. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from liftloop.core.allocation.allocate import Allocation
from liftloop.core.allocation.constraints import (
    Freeze,
    Rules,
    book,
)
from liftloop.core.allocation.no_trade_region import NoTradeResult, TradeRule, steady
from liftloop.core.allocation.objectives import (
    Aim,
    CvarProfit,
    ExpectedProfit,
    Objective,
    Planned,
    StrategicAims,
    TargetIroas,
)
from liftloop.core.allocation.rule_costs import rule_costs
from liftloop.core.curves.gain import Estimate, gain, share_moved, spends
from liftloop.core.curves.interacting import separable_at
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import untested_cells
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.exploration.explore import Exploration
from liftloop.core.money.currencies import budget_unit
from liftloop.core.money.reachable_total import total_at_once, total_sentence
from liftloop.core.money.whole_units import in_whole_units
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.staged_budgets import rescaled
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.explore import explore_plan
from liftloop.pipeline.plan.rules import (
    NONE_SLOW,
    Frozen,
    PlanLimits,
    Slow,
    rules_of,
    with_frequency_caps,
)
from liftloop.pipeline.plan.total import (
    JudgedTotal,
    TotalProposal,
    judge_total,
    parked_note,
    parks,
    propose_total,
    up_to,
    what_pays,
)
from liftloop.reporting.explain_moves import explain_moves
from liftloop.reporting.explain_plan import (
    all_held,
    limit_words,
    limits_reached,
    plan_reason,
    slow_words,
    untested_note,
)
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.settings.schema import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What is proposed: the budgets, their expected gain in profit a day over those in force, one
    sentence a cell, the sentence of the whole, notes on the objective and rules' costs, and another
    total where one is to be proposed, and what the present one is worth at its margin."""

    policy: Policy
    gain: Estimate
    words: Mapping[Cell, str]
    reason: str
    notes: tuple[str, ...] = ()
    total: TotalProposal | None = None
    judged: JudgedTotal | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentence of the whole and the notes."""
        return tuple(filter(None, (self.reason, *self.notes)))


def plan_budgets(
    settings: Settings,
    *,
    curves: ResponseCurves | None,
    incumbent: Policy,
    frozen: Frozen,
    evidence: PlanEvidence,
    slow: Slow = NONE_SLOW,
) -> Plan:
    """The plan for the day of ``evidence``.

    Parameters
    ----------
    curves
        The champion's; None keeps the budgets in force.
    incumbent
        The budgets in force before that day.
    frozen
        (segment, channel, why) of what may not move today, beside what the settings freeze.
    evidence
        The feeds ``performance`` and ``holdout`` as known on the day: what cells reach, and how
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
        reason = (
            "No response is known yet: the budgets stay until there is a holdout, a lift test, or "
            "four weeks of sales beside spend and claimed revenue."
        )
        gap = _total_words(settings, incumbent, incumbent.total)
        return Plan(incumbent, Estimate(0.0, 0.0, 0.0), {}, " ".join(filter(None, (reason, gap))))
    unknown = set(incumbent.cells) - set(curves.cells)
    rules = rules_of(settings, incumbent, frozen, slow, unknown, evidence.as_of)
    rules = with_frequency_caps(settings, rules, facts=evidence.facts, as_of=evidence.as_of)
    limits = PlanLimits()
    while True:  # a plan that breaks no limit is the best one with all of them
        under = limits.in_rules(settings, rules, incumbent, unknown)
        plan = _best_under(settings, curves, incumbent, under, evidence, slow)
        broken = limits.beside(
            settings, plan.policy, rules=rules, incumbent=incumbent, unknown=unknown
        )
        if broken == limits:
            return plan
        limits = broken


def _best_under(
    settings: Settings,
    curves: ResponseCurves,
    incumbent: Policy,
    rules: Rules,
    evidence: PlanEvidence,
    slow: Slow,
) -> Plan:
    """The plan under ``rules``; the other parameters are as of :func:`plan_budgets`."""
    margin = settings.budget.margin
    unknown = set(incumbent.cells) - set(curves.cells)
    notes: list[str] = []
    lost = len(rules.cells) - len(rules.reach)
    if settings.budget.frequency_per_week is not None and lost:
        notes.append(
            f"{lost} of {len(rules.cells)} cells have no frequency cap: their reach is not known."
        )
    alone = separable_at(curves, incumbent)  # what a planner may take cell by cell
    planned, allowed = _planned(settings, alone, rules, incumbent)
    found, rules = planned.allocation, planned.rules
    notes.extend(planned.notes)
    reached = limits_reached(found, rules, incumbent)
    notes.extend(reached.values())
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
    explored = _explored(settings, alone, taken.policy, incumbent, rules, evidence)
    if rules.max_moved is not None and share_moved(explored.policy, incumbent) > rules.max_moved:
        explored = Exploration(taken.policy, (), (), "No more may move at once.")
    said = outcome_words(settings)
    words = explain_moves(
        allocation=replace(found, policy=taken.policy),
        curves=alone,
        incumbent=incumbent,
        margin=margin,
        words=said,
    )
    policy = in_whole_units(explored.policy, unit, written=written, exact_total=exact)
    expected = gain(curves, policy=policy, incumbent=incumbent, margin=margin)
    reason = all_held(rules) or plan_reason(taken, found.policy, incumbent, expected, policy, said)
    if explored.learned:
        reason += f" {explored.reason}"
    if settings.budget.total is not None and found.policy.total == allowed.total:
        notes.insert(0, _total_words(settings, incumbent, rules.total if exact else policy.total))
    notes.insert(
        0,
        parked_note(settings, curves=alone, rules=allowed, incumbent=incumbent, policy=policy),
    )
    notes.insert(0, untested_note(curves))
    told = {
        cell: f"{text}{slow_words(slow.get(cell))}{limit_words(cell, reached)}"
        for cell, text in words.items()
    }
    judged = judge_total(settings, curves=alone, rules=rules, incumbent=incumbent, best=found)
    other = propose_total(
        settings,
        curves=alone,
        rules=rules,
        incumbent=incumbent,
        best=found.policy,
    )
    notes = list(filter(None, notes))
    return Plan(policy, expected, told | explored.words, reason, tuple(notes), other, judged)


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
    most = settings.guardrails.total_change
    held = reached == total_at_once(budget.total, incumbent, most) != budget.total
    return total_sentence(
        wanted=budget.total,
        spent=incumbent.total,
        reached=reached,
        max_step=budget.max_step,
        currency=settings.account.currency,
        at_once=most if held else None,
    )


def _taken(
    settings: Settings,
    curves: ResponseCurves,
    plan: Policy,
    incumbent: Policy,
    rules: Rules,
    most: Decimal,
) -> NoTradeResult:
    """How much of the plan is sure enough. The trade rule asks for profit in expectation, so it
    judges no plan that was made for something else. ``most``: the total that may be spent, where
    not all of it has to be."""
    budget = settings.budget
    if budget.objective != "expected_profit":
        moves = plan.version != incumbent.version
        return NoTradeResult(plan, 1.0 if moves else 0.0, 1.0)
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
        patience=TradeRule(
            sureness=budget.untested_sureness if untested_cells(curves) else budget.sureness,
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
    evidence: PlanEvidence,
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
        evidence=evidence,
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


def outcome_words(settings: Settings) -> OutcomeWords:
    """How gains and returns are said under these settings."""
    outcome = settings.outcome
    return OutcomeWords(settings.account.currency, outcome.counted, outcome.worth)
