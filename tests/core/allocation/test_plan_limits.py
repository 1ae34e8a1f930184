"""Limits on channels' shares and on what moves at once: the plan is the best one inside them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import Group, Rules, book, broken_rules, resolve_rules
from liftloop.core.allocation.infeasibility import possible
from liftloop.core.allocation.rule_costs import rule_costs
from liftloop.core.curves.gain import share_moved
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.guardrails.plan import PlanRule, channel_limits, channels_beyond
from liftloop.core.money.reachable_total import shares_within_reach
from liftloop.core.policy import Cell, Policy, to_cents

D = Decimal
CELLS = tuple(Cell(segment, channel) for segment in "ab" for channel in ("search", "video"))
GRID = 40  # the brute force tries every policy in whole units of a total of so many


def curves(first: list[float]) -> SaturatingCurves:
    """The next unit of the first spend earns ``first`` (n_cells,), and half of it at 20."""
    n = len(first)
    return SaturatingCurves(
        cells=CELLS[:n],
        marginal_at_zero=np.array([first, first]),
        half_saturation=np.full((2, n), 20.0),
        carryover=np.zeros(n),
    )


def policy(*amounts: float) -> Policy:
    return Policy.of({c: D(str(x)) for c, x in zip(CELLS, amounts, strict=False)})


def limited(share: float, incumbent: Policy, **more: object) -> Rules:
    rules = resolve_rules(cells=incumbent.cells, total=incumbent.total, **more)  # type: ignore[arg-type] # a dict of options
    limits = channel_limits(incumbent.cells, PlanRule(channel_share=share))
    return replace(rules, groups=(*rules.groups, *limits))


def grid() -> list[Policy]:
    """Every policy of four cells in whole units that spends the whole total."""
    parts = product(range(0, GRID + 1, 2), repeat=3)
    return [policy(*part, GRID - sum(part)) for part in parts if sum(part) <= GRID]


EVERY = grid()


def cents(of: Policy) -> np.ndarray:
    return np.array([to_cents(amount) for _, amount in of.budgets], dtype=np.int64)


def best_on_grid(known: SaturatingCurves, rules: Rules, incumbent: Policy) -> float:
    written = book(rules, incumbent=incumbent)
    kept = [one for one in EVERY if not broken_rules(cents(one), written)]
    return max((float(known.mean_revenue(cents(x) / 100).sum()) for x in kept), default=-np.inf)


returns = st.lists(st.sampled_from([0.2, 0.5, 1.0, 2.0, 4.0]), min_size=4, max_size=4)
before = st.sampled_from(EVERY)


@settings(max_examples=40, deadline=None)
@given(returns, before, st.sampled_from([0.3, 0.5, 0.8]), st.sampled_from([None, 0.25, 1.0]))
def test_no_policy_inside_a_share_limit_earns_more_than_the_plan(
    first: list[float], incumbent: Policy, share: float, step: float | None
) -> None:
    known, rules = curves(first), limited(share, incumbent, max_step=step)
    plan = allocate(curves=known, rules=rules, incumbent=incumbent).policy
    assert not broken_rules(cents(plan), book(rules, incumbent=incumbent))
    assert not channels_beyond(plan, incumbent, rules.groups)
    earned = float(known.mean_revenue(cents(plan) / 100).sum())
    assert earned >= best_on_grid(known, rules, incumbent) - 0.05  # the cents of rounding


@settings(max_examples=40, deadline=None)
@given(returns, before, st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([None, 0.5]))
def test_no_policy_that_moves_as_little_earns_more_than_the_plan(
    first: list[float], incumbent: Policy, moved: float, share: float | None
) -> None:
    known = curves(first)
    rules = limited(share or 1.0, incumbent, max_step=None)
    rules = replace(rules, max_moved=moved)
    plan = allocate(curves=known, rules=rules, incumbent=incumbent).policy
    assert share_moved(plan, incumbent) <= moved + 1e-12
    earned = float(known.mean_revenue(cents(plan) / 100).sum())
    assert earned >= best_on_grid(known, rules, incumbent) - 0.05


@settings(max_examples=60, deadline=None)
@given(
    before,
    st.sampled_from([0.1, 0.3, 0.5]),
    st.sampled_from([0.0, 0.1, 0.25]),
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["search", "video"])), max_size=2),
)
def test_a_share_out_of_reach_is_approached_as_far_as_steps_go(
    incumbent: Policy, share: float, step: float, frozen: list[tuple[str, str]]
) -> None:
    held = [(segment, channel, "late") for segment, channel in frozen]
    rules = resolve_rules(
        cells=incumbent.cells,
        total=incumbent.total,
        max_step=step,
        frozen=held,
        groups=[Group("risky", ("*",), ("video",), maximum_share=share)],
    )
    written = book(rules, incumbent=incumbent)
    inside = np.array([cell.channel == "video" for cell in incumbent.cells])
    found = linprog(  # type: ignore[call-overload] # bounds may be an array
        inside.astype(float),
        A_eq=np.ones((1, 4)),
        b_eq=[written.total],
        bounds=np.column_stack([written.low, written.high]),
    )
    reached = shares_within_reach(rules, incumbent=incumbent)
    after = book(reached, incumbent=incumbent)
    assert possible(after.rules, 4)
    wanted = floor(D(str(share)) * written.total)
    assert int(after.group_high[0]) == max(wanted, round(found.fun))
    now = int(cents(incumbent)[inside].sum())
    assert int(after.group_high[0]) <= max(now, wanted)  # never further away


def test_a_share_that_only_steps_keep_away_is_reached_cycle_by_cycle() -> None:
    known, now, shares = curves([1.0, 4.0, 1.0, 4.0]), policy(2, 18, 2, 18), []
    for _ in range(20):
        rules = resolve_rules(
            cells=now.cells,
            total=now.total,
            groups=[Group("risky", ("*",), ("video",), maximum_share=0.5)],
        )
        rules = shares_within_reach(rules, incumbent=now)
        now = allocate(curves=known, rules=rules, incumbent=now).policy
        shares.append(sum(float(x) for c, x in now.budgets if c.channel == "video") / 40)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] < 0.9 and shares[-1] == pytest.approx(0.5)


def test_a_share_that_contradicts_a_floor_stays_and_both_are_named() -> None:
    incumbent = policy(10, 10, 10, 10)
    rules = resolve_rules(
        cells=incumbent.cells,
        total=D(40),
        max_step=None,
        limits=[("*", "video", D(15), None)],
        groups=[Group("risky", ("*",), ("video",), maximum_share=0.5)],
    )
    assert shares_within_reach(rules, incumbent=incumbent) == rules
    with pytest.raises(InfeasibleBudget, match=r"floor of \* x video.*maximum of group risky"):
        allocate(curves=curves([1.0] * 4), rules=rules, incumbent=incumbent)


def test_two_shares_out_of_reach_are_approached_together() -> None:
    incumbent = policy(30, 0, 10, 0)
    rules = replace(
        resolve_rules(cells=incumbent.cells, total=D(40), max_step=0.25),
        groups=(
            Group("search", ("*",), ("search",), maximum_share=0.5),
            Group("b", ("b",), ("*",), minimum_share=0.9),
        ),
    )
    reached = shares_within_reach(rules, incumbent=incumbent)
    assert possible(book(reached, incumbent=incumbent).rules, 4)


def test_moving_too_little_for_the_other_rules_is_a_conflict_that_names_both() -> None:
    incumbent = policy(40, 0, 0, 0)
    rules = resolve_rules(
        cells=incumbent.cells, total=D(40), max_step=None, limits=[("b", "video", D(30), None)]
    )
    with pytest.raises(InfeasibleBudget) as conflict:
        allocate(curves=curves([1.0] * 4), rules=replace(rules, max_moved=0.5), incumbent=incumbent)
    assert "at most 50% of the money moves at once (20.00)" in str(conflict.value)
    assert "floor of b x video (30.00)" in str(conflict.value)


def test_what_a_limit_costs_is_named_with_the_price_of_one_unit() -> None:
    incumbent, known = policy(10, 10, 10, 10), curves([1.0, 8.0, 1.0, 8.0])
    rules = limited(0.6, incumbent, max_step=None)
    plan = allocate(curves=known, rules=rules, incumbent=incumbent)
    assert sum(x for c, x in plan.policy.budgets if c.channel == "video") == D(24)
    assert plan.group_prices["limit of 60% for video (24.00)"] > 0
    (cost,) = rule_costs(curves=known, rules=rules, incumbent=incumbent, allocation=plan)
    assert cost.rule == "The limit of 60% for video"
    free = replace(rules, groups=())
    best = allocate(curves=known, rules=free, incumbent=incumbent).expected_gain.mean
    assert cost.amount == pytest.approx(best - plan.expected_gain.mean)
