"""What the total is: all of it is spent, or what pays, or another one is proposed.

Production and backtest plan, and word, the total here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.allocate import Allocation, allocate
from liftloop.core.allocation.constraints import Book, Rules, book
from liftloop.core.allocation.infeasibility import extreme_total
from liftloop.core.curves.gain import Estimate, gain, spends
from liftloop.core.curves.interacting import separable_at
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import untested_cells
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.money.currencies import amount_words
from liftloop.core.money.losing_spend import MATERIAL, LosingSpend, losing_spend
from liftloop.core.money.paying_total import paying_total
from liftloop.core.money.reachable_total import total_at_once
from liftloop.core.policy import Policy, from_cents, to_cents
from liftloop.settings.schema import Settings

BREAK_EVEN = 1.0
SHARES = (1.0, 0.75, 0.5, 0.25)  # of the way to the best total that are tried for a proposal
LEAST_GAIN = 0.5  # a day: less is nothing in words
LEAST_CHANGE = 0.01  # of the total: a smaller change is not proposed


@dataclass(frozen=True, slots=True)
class TotalProposal:
    """Another total, account currency a day, and the expected gain in profit a day over the best
    plan with the present one."""

    now: Decimal
    to: Decimal
    gain: Estimate


@dataclass(frozen=True, slots=True)
class JudgedTotal:
    """What the total is worth at its margin.

    Attributes
    ----------
    now, to
        The total, and the one that is expected to earn most of those that a cycle's steps reach,
        account currency a day; the same where the total is about right.
    next_unit
        What the next unit of the total returns: the margin times its revenue. It pays above
        :data:`BREAK_EVEN`.
    gain
        Expected profit a day of the other total over the present one.
    """

    now: Decimal
    to: Decimal
    next_unit: float
    gain: Estimate


def judges_profit(settings: Settings) -> bool:
    """Whether the plan is made for profit; a target or aims spend at a loss on purpose."""
    return settings.budget.objective in ("expected_profit", "cvar")


def parks(settings: Settings) -> bool:
    """Whether money that does not pay is parked."""
    return settings.budget.total_is == "ceiling" and judges_profit(settings)


def what_pays(
    settings: Settings,
    *,
    curves: ResponseCurves,
    rules: Rules,
    incumbent: Policy,
) -> Rules:
    """``rules`` with the part of their total that pays; with all of it where next to nothing would
    be parked, and where the total is no ceiling."""
    if not parks(settings):
        return rules
    total = paying_total(
        curves=curves,
        rules=rules,
        incumbent=incumbent,
        margin=settings.budget.margin,
        unknown=set(rules.cells) - set(curves.cells),
    )
    total = total_at_once(total, incumbent, settings.guardrails.total_change)
    if float(rules.total - total) < MATERIAL * float(rules.total):
        return rules
    return replace(rules, total=total)


def up_to(written: Book, most: Decimal) -> Book:
    """The rules with any total up to ``most``."""
    return replace(
        written,
        rules=tuple(
            replace(rule, low=np.array([0]), high=np.array([to_cents(most)]))
            if rule.kind == "total"
            else rule
            for rule in written.rules
        ),
    )


def parked_note(
    settings: Settings,
    *,
    curves: ResponseCurves,
    rules: Rules,
    incumbent: Policy,
    policy: Policy,
) -> str:
    """What spending more would lose, in a sentence; "" where no money is parked.

    Parameters
    ----------
    rules
        With the whole total that this cycle may spend: the ceiling, or what steps reach of it.
    """
    parked = rules.total - policy.total
    if not parks(settings) or float(parked) < MATERIAL * float(rules.total):
        return ""
    margin, currency = settings.budget.margin, settings.account.currency
    whole = allocate(curves=curves, rules=rules, incumbent=incumbent, margin=margin).policy
    more = gain(curves, policy=whole, incumbent=policy, margin=margin)
    return (
        f"Spending {amount_words(rules.total, currency)} {currency} a day instead of "
        f"{amount_words(policy.total, currency)} is expected to lose {-more.mean:,.0f} a day "
        f"(90 %: {-more.high:,.0f} to {-more.low:,.0f})."
    )


def propose_total(
    settings: Settings,
    *,
    curves: ResponseCurves,
    rules: Rules,
    incumbent: Policy,
    best: Policy,
) -> TotalProposal | None:
    """A lower or higher total that likely earns more; None where none does, or none is asked for.

    It goes no farther than the cells' steps of a cycle, and as far towards the best total as the
    gain is as probable as ``sureness`` asks.

    Parameters
    ----------
    best
        The best plan with the total of ``rules``.
    """
    if settings.budget.total_is != "proposal" or not judges_profit(settings):
        return None
    margin, now = settings.budget.margin, rules.total
    top = _best_total(curves, rules, incumbent, margin)
    base = curves.draw_revenue(spends(best, curves)).sum(axis=1)
    for share in SHARES:
        to = _rounded(now + (top - now) * Decimal(str(share)), now)
        if float(abs(to - now)) < LEAST_CHANGE * float(now):
            return None
        try:
            plan = allocate(
                curves=curves, rules=replace(rules, total=to), incumbent=incumbent, margin=margin
            ).policy
        except InfeasibleBudget:
            continue
        more = curves.draw_revenue(spends(plan, curves)).sum(axis=1) - base
        draws = margin * more - float(to - best.total)
        if draws.mean() > 0 and (draws > 0).mean() >= settings.budget.sureness:
            return TotalProposal(now, to, Estimate.of(draws))
    return None


def _best_total(curves: ResponseCurves, rules: Rules, incumbent: Policy, margin: float) -> Decimal:
    """The total that is expected to earn most of those that the cells' steps reach."""
    lost = set(rules.cells) - set(curves.cells)
    written = book(rules, incumbent=incumbent, unknown=lost)
    others = [rule for rule in written.rules if rule.kind != "total"]
    most = extreme_total(others, len(written.cells), sign=-1)
    roof = max(rules.total, from_cents(most)) if most is not None else rules.total
    return paying_total(
        curves=curves,
        rules=replace(rules, total=roof),
        incumbent=incumbent,
        margin=margin,
        unknown=lost,
    )


def judge_total(
    settings: Settings,
    *,
    curves: ResponseCurves,
    rules: Rules,
    incumbent: Policy,
    best: Allocation | None = None,
) -> JudgedTotal | None:
    """Whether more or less than the total of ``rules`` would earn more; None where the plan is not
    made for profit in money, where what does not pay is parked, and where nothing may move.

    Parameters
    ----------
    best
        The best plan under ``rules``, where it is known already.
    """
    if not judges_profit(settings) or parks(settings) or settings.outcome.counted:
        return None
    margin = settings.budget.margin
    try:
        if best is None:
            best = allocate(curves=curves, rules=rules, incumbent=incumbent, margin=margin)
        unit = _next_unit(curves, rules, incumbent, best, margin)
        if unit is None:
            return None
        to = _rounded(_best_total(curves, rules, incumbent, margin), rules.total)
        near = replace(rules, total=to)
        other = allocate(curves=curves, rules=near, incumbent=incumbent, margin=margin).policy
    except InfeasibleBudget:
        return None
    more = gain(curves, policy=other, incumbent=best.policy, margin=margin)
    if float(abs(to - rules.total)) < LEAST_CHANGE * float(rules.total) or more.mean < LEAST_GAIN:
        to, more = rules.total, Estimate(0.0, 0.0, 0.0)
    return JudgedTotal(rules.total, to, unit, more)


def _next_unit(
    curves: ResponseCurves, rules: Rules, incumbent: Policy, best: Allocation, margin: float
) -> float | None:
    """What the next unit of the total returns: the price of money, or, where bounds hold every
    cell, what it earns in the best cell that may get more; None where none may."""
    if set(curves.cells) & set(rules.cells) - best.binding.keys():
        return best.shadow_price + BREAK_EVEN
    written = book(rules, incumbent=incumbent, unknown=set(rules.cells) - set(curves.cells))
    most = dict(zip(written.cells, written.high, strict=True))
    budgets = best.policy.as_dict()
    earned = zip(curves.cells, curves.mean_marginal(spends(best.policy, curves)), strict=True)
    return max(
        (
            margin * float(rate)
            for cell, rate in earned
            if cell in budgets and to_cents(budgets[cell]) < most[cell]
        ),
        default=None,
    )


def judged_sentence(found: JudgedTotal, currency: str) -> str:
    """What the next unit of the total returns, and what spending less, or more, would earn."""
    words = (
        f"The next unit of the total returns {found.next_unit:.2f}, break-even is "
        f"{BREAK_EVEN:.2f}: "
    )
    if found.to == found.now:
        return f"{words}within a cycle's steps no other total is expected to earn more."
    change = amount_words(abs(found.to - found.now), currency)
    return (
        f"{words}spending {change} {currency} {'more' if found.to > found.now else 'less'} a day "
        f"is expected to earn {found.gain.mean:,.0f} a day more (90 %: {found.gain.low:+z,.0f} to "
        f"{found.gain.high:+z,.0f})."
    )


def judged_clause(found: JudgedTotal, currency: str) -> str:
    """As of :func:`judged_sentence`, for a message that has little room."""
    words = f"Next unit of the total: {found.next_unit:.2f} (break-even {BREAK_EVEN:.2f})"
    if found.to == found.now:
        return f"{words}."
    change = amount_words(abs(found.to - found.now), currency)
    more = "more" if found.to > found.now else "less"
    return f"{words}; {change} {more} a day earns {found.gain.mean:,.0f} more."


def _rounded(amount: Decimal, towards: Decimal) -> Decimal:
    """An amount in round figures, three of them, on the side of ``towards``."""
    unit = Decimal(10) ** max(math.floor(math.log10(float(towards))) - 2, -2)
    steps = (amount - towards) / unit
    return (towards + int(steps) * unit).quantize(Decimal("0.01"))


def proposal_sentence(found: TotalProposal, currency: str) -> str:
    """The proposal for a person: which way, from what to what, and what it is expected to earn."""
    verb = "Raise" if found.to > found.now else "Lower"
    return (
        f"{verb} the total from {amount_words(found.now, currency)} to "
        f"{amount_words(found.to, currency)} {currency} a day: {found.gain.mean:+z,.0f} profit a "
        f"day expected (90 %: {found.gain.low:+z,.0f} to {found.gain.high:+z,.0f})."
    )


def losses_of(
    settings: Settings, curves: ResponseCurves | None, policy: Policy
) -> LosingSpend | None:
    """What of the budgets loses, where that is likely and material; else None."""
    if curves is None or not judges_profit(settings) or not policy.total:
        return None
    found = losing_spend(separable_at(curves, policy), policy, settings.budget.margin)
    untested = len(untested_cells(curves))
    if untested and (found.loss.low <= 0 or untested == len(curves.cells)):
        return None  # what was never tested is not told as a loss
    return found if found.is_named(float(policy.total)) else None


def total_first(
    settings: Settings,
    curves: ResponseCurves | None,
    policy: Policy,
    *,
    head: Policy | None = None,
) -> str:
    """What people are told of the total before anything else: what of it loses, or what is parked.

    Parameters
    ----------
    policy
        The budgets in force from now on.
    head
        The newest plan of the rollout under way, for all segments.
    """
    if parks(settings):
        return _parked(settings, policy, head or policy)
    losing = losses_of(settings, curves, policy)
    if losing is None:
        return ""
    currency, budget = settings.account.currency, settings.budget
    loss = losing.loss
    words = (
        f"Of {amount_words(policy.total, currency)} {currency} a day, {losing.spend:,.0f} earn "
        f"less than they cost: about {loss.mean:,.0f} lost a day (90 %: {loss.low:,.0f} to "
        f"{loss.high:,.0f})."
    )
    if curves is not None and untested_cells(curves):
        words += " Part of that was never tested."
    if budget.total_is != "fixed":
        return words
    total = "" if budget.total is not None else f'total = "{policy.total}" and '
    return f'{words} Set {total}total_is = "ceiling" in [budget] to park them.'


def _parked(settings: Settings, policy: Policy, head: Policy) -> str:
    ceiling, currency = settings.budget.total, settings.account.currency
    if ceiling is None or min(policy.total, head.total) >= ceiling:
        return ""
    parked, whole = max(ceiling - policy.total, Decimal(0)), amount_words(ceiling, currency)
    words = (
        f"{amount_words(parked, currency)} of {whole} {currency} a day is parked: spent in any "
        "cell that may get more, it is expected to earn less than it costs."
        if parked
        else f"Nothing of {whole} {currency} a day is parked yet."
    )
    then = max(ceiling - head.total, Decimal(0))
    if then != parked:
        words += f" Once all segments have the newest plan it is {amount_words(then, currency)}."
    return words
