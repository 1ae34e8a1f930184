"""Each objective's plan against an answer that is known or found otherwise."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pytest

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import Rules, book, broken_rules, resolve_rules
from liftloop.core.allocation.objectives import (
    Aim,
    CvarProfit,
    ExpectedProfit,
    StrategicAims,
    TargetIroas,
    cvar,
)
from liftloop.core.allocation.rule_costs import rule_costs
from liftloop.core.allocation.rule_patterns import Group, ReachCap
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy

D = Decimal


def curves_of(returns: list[list[float]], scale: float = 100.0) -> SaturatingCurves:
    marginal = np.array(returns, dtype=float)
    cells = marginal.shape[1]
    return SaturatingCurves(
        cells=tuple(Cell(f"s{i}", f"c{i}") for i in range(cells)),
        marginal_at_zero=marginal,
        half_saturation=np.full(marginal.shape, scale),
        carryover=np.zeros(cells),
    )


def even(curves: SaturatingCurves, each: str) -> Policy:
    return Policy.of(dict.fromkeys(curves.cells, D(each)))


def free(curves: SaturatingCurves, total: str, **more: Any) -> Rules:
    return resolve_rules(cells=curves.cells, total=D(total), max_step=None, **more)


def amounts(policy: Policy) -> list[Decimal]:
    return [amount for _, amount in policy.budgets]


def test_the_mean_of_the_worst_draws_counts_the_last_one_in_part() -> None:
    # the worst 1.5 of 5 draws: 1 whole and half of 2, over 1.5
    assert cvar(np.array([5.0, 2.0, 4.0, 1.0, 3.0]), 0.3) == pytest.approx((1 + 0.5 * 2) / 1.5)
    assert cvar(np.array([5.0, 2.0, 4.0, 1.0, 3.0]), 1.0) == pytest.approx(3.0)


def test_expected_profit_is_the_plain_allocation() -> None:
    curves = curves_of([[4, 1]])
    rules, held = free(curves, "100"), even(curves, "50")
    plain = allocate(curves=curves, rules=rules, incumbent=held)
    planned = ExpectedProfit().plan(curves=curves, rules=rules, incumbent=held, margin=1.0)
    assert planned.allocation.policy == plain.policy


def test_a_careful_plan_is_as_good_as_trying_every_plan() -> None:
    rng = np.random.default_rng(4)
    draws = np.exp(rng.normal([1.0, 0.8, 0.4], [0.9, 0.3, 0.1], (60, 3)))
    curves = curves_of(draws.tolist())
    rules, held = free(curves, "150"), even(curves, "50")
    planned = CvarProfit(0.2).plan(curves=curves, rules=rules, incumbent=held, margin=1.0)

    def worth(spend: list[float]) -> float:
        return cvar(curves.draw_revenue(np.array(spend)).sum(axis=1), 0.2)

    found = worth([float(amount) for amount in amounts(planned.allocation.policy)])
    grid = range(151)
    best = max(worth([a, b, 150 - a - b]) for a, b in product(grid, grid) if a + b <= 150)
    assert found >= best * (1 - 1e-6)
    plain = allocate(curves=curves, rules=rules, incumbent=held).policy
    assert found > 1.01 * worth([float(amount) for amount in amounts(plain)])


def test_a_careful_plan_that_may_move_so_much_is_the_best_of_those_that_do() -> None:
    rng = np.random.default_rng(4)
    draws = np.exp(rng.normal([1.0, 0.8, 0.4], [0.9, 0.3, 0.1], (60, 3)))
    curves = curves_of(draws.tolist())
    held = even(curves, "50")
    rules = replace(free(curves, "150"), max_moved=0.1)  # 15 of 150
    planned = CvarProfit(0.2).plan(curves=curves, rules=rules, incumbent=held, margin=1.0)

    def worth(spend: list[float]) -> float:
        return cvar(curves.draw_revenue(np.array(spend)).sum(axis=1), 0.2)

    found = [float(amount) for amount in amounts(planned.allocation.policy)]
    assert sum(abs(x - 50) for x in found) / 2 <= 15.0 + 1e-9
    best = max(
        worth([a, b, 150 - a - b])
        for a, b in product(range(35, 66), repeat=2)
        if abs(a - 50) + abs(b - 50) + abs(100 - a - b) <= 30
    )
    assert worth(found) >= best * (1 - 1e-6)
    plain = allocate(curves=curves, rules=rules, incumbent=held).policy
    assert worth(found) > 1.001 * worth([float(amount) for amount in amounts(plain)])
    unbound = replace(rules, max_moved=None)
    careful = CvarProfit(0.2).plan(curves=curves, rules=unbound, incumbent=held, margin=1.0)
    far = [float(amount) for amount in amounts(careful.allocation.policy)]
    share = 15 / (sum(abs(x - 50) for x in far) / 2)
    scaled = [50 + share * (x - 50) for x in far]
    assert worth(found) >= worth(scaled)


def test_the_worst_of_all_draws_is_their_mean_and_the_plan_is_the_plain_one() -> None:
    rng = np.random.default_rng(1)
    curves = curves_of(np.exp(rng.normal(1, 0.4, (50, 4))).tolist())
    rules, held = free(curves, "400"), even(curves, "100")
    careful = CvarProfit(1.0).plan(curves=curves, rules=rules, incumbent=held, margin=1.0)
    plain = allocate(curves=curves, rules=rules, incumbent=held)
    assert amounts(careful.allocation.policy) == amounts(plain.policy)


def test_a_target_iroas_spends_what_keeps_it_to_the_cent() -> None:
    # one cell: iROAS 4 / (1 + x/100) is 2 at x = 100
    curves = curves_of([[4]])
    rules, held = free(curves, "500"), even(curves, "500")
    planned = TargetIroas(2.0).plan(curves=curves, rules=rules, incumbent=held, margin=1.0)
    assert planned.allocation.policy.total == planned.rules.total == D("100.00")
    assert "100.00 of the total of 500.00 is spent" in planned.notes[0]


def test_a_target_for_the_last_unit_spends_less() -> None:
    # mROAS 4 / (1 + x/100)^2 is 1 at x = 100
    curves = curves_of([[4]])
    rules, held = free(curves, "500"), even(curves, "500")
    planned = TargetIroas(1.0, "last_unit").plan(
        curves=curves, rules=rules, incumbent=held, margin=0.5
    )
    assert abs(planned.allocation.policy.total - D("100.00")) <= D("0.01")


def test_a_target_out_of_reach_spends_the_least_the_rules_allow_and_says_so() -> None:
    curves = curves_of([[1, 1]])
    held = even(curves, "100")
    rules = resolve_rules(cells=curves.cells, total=D(200), max_step=0.25)
    planned = TargetIroas(3.0).plan(curves=curves, rules=rules, incumbent=held, margin=1.0)
    assert amounts(planned.allocation.policy) == [D("75.00"), D("75.00")]
    assert "150.00 is the least the other rules allow" in planned.notes[0]


def test_an_easy_target_spends_the_whole_total() -> None:
    curves = curves_of([[4, 4]])
    planned = TargetIroas(1.5).plan(
        curves=curves, rules=free(curves, "200"), incumbent=even(curves, "100"), margin=1.0
    )
    assert planned.allocation.policy.total == D(200)


def test_an_aim_s_weight_moves_money_as_a_better_return_would() -> None:
    # weight 4 on equal curves is the hand-checked case of returns 4 and 1
    curves = curves_of([[1, 1]], scale=1.0)
    planned = StrategicAims((Aim("brand", channels=("c0",), weight=4.0),)).plan(
        curves=curves, rules=free(curves, "4"), incumbent=even(curves, "2"), margin=1.0
    )
    assert amounts(planned.allocation.policy) == [D("3.00"), D("1.00")]
    assert planned.notes == ("Aim brand (weight 4) gets 75.0% of the total.",)
    # 3/4 + 1/2 - 2 * 2/3 of unweighted revenue: what it costs in money
    assert planned.allocation.expected_gain.mean == pytest.approx(0.75 + 0.5 - 4 / 3)


def test_an_aim_gets_its_least_share_even_if_it_earns_nothing() -> None:
    curves = curves_of([[0, 2, 2]])
    planned = StrategicAims((Aim("brand", channels=("c0",), minimum_share=0.2),)).plan(
        curves=curves, rules=free(curves, "100"), incumbent=even(curves, "33"), margin=1.0
    )
    assert amounts(planned.allocation.policy) == [D("20.00"), D("40.00"), D("40.00")]


def test_a_frozen_cell_does_not_move_by_a_cent_with_every_other_rule_present() -> None:
    rng = np.random.default_rng(2)
    curves = curves_of(np.exp(rng.normal(1, 0.5, (50, 6))).tolist())
    held = even(curves, "100.01")
    rules = resolve_rules(
        cells=curves.cells,
        total=held.total,
        limits=[("*", "c1", D(90), D(110)), ("*", "*", D(10), None)],
        groups=[
            Group(
                "g",
                (
                    "s1",
                    "s2",
                ),
                ("*",),
                D(0),
                D(205),
            ),
            Group("geo", ("s3",), ("*",), minimum_share=0.15),
            Group(
                "risky",
                ("*",),
                (
                    "c4",
                    "c0",
                ),
                maximum_share=0.34,
            ),
        ],
        frozen=[("s0", "*")],
        max_step=0.25,
    )
    caps = (ReachCap(curves.cells[0], D("50")), ReachCap(curves.cells[5], D("90")))
    rules = replace(rules, reach=caps)
    objectives = (
        ExpectedProfit(),
        CvarProfit(0.2),
        TargetIroas(2.0),
        StrategicAims((Aim("a", channels=("c0", "c2"), weight=5, minimum_share=0.3),)),
    )
    for objective in objectives:
        planned = objective.plan(curves=curves, rules=rules, incumbent=held, margin=1.0)
        found = planned.allocation.policy
        assert found.as_dict()[curves.cells[0]] == D("100.01")
        assert found.as_dict()[curves.cells[5]] <= D("90")
        cents = np.array([int(amount * 100) for amount in amounts(found)])
        assert broken_rules(cents, book(planned.rules, incumbent=held)) == []


def test_a_cell_above_its_frequency_cap_goes_down_by_a_full_step() -> None:
    curves = curves_of([[5, 1]])
    held = even(curves, "100")
    rules = resolve_rules(cells=curves.cells, total=D(200), max_step=0.25)
    rules = replace(rules, reach=(ReachCap(curves.cells[0], D(40)),))
    plan = allocate(curves=curves, rules=rules, incumbent=held)
    assert amounts(plan.policy) == [D("75.00"), D("125.00")]


def test_a_cap_costs_what_the_plan_without_it_would_earn_more() -> None:
    # 4x/(1+x/100) and x/(1+x/100): free 300/100, capped at 200 each
    curves = curves_of([[4, 1]])
    held = even(curves, "200")
    rules = free(curves, "400", limits=[("*", "c0", D(0), D(200))])
    plan = allocate(curves=curves, rules=rules, incumbent=held)
    best = allocate(curves=curves, rules=free(curves, "400"), incumbent=held)

    def earned(a: float, b: float) -> float:
        return 4 * a / (1 + a / 100) + b / (1 + b / 100)

    assert amounts(plan.policy) == [D(200), D(200)]
    x, y = (float(amount) for amount in amounts(best.policy))
    (cost,) = rule_costs(curves=curves, rules=rules, incumbent=held, allocation=plan)
    assert cost.amount == pytest.approx(earned(x, y) - earned(200, 200))
    assert cost.words == "The cap on c0 costs about 17 a day."


def test_a_rule_that_holds_nothing_costs_nothing() -> None:
    curves = curves_of([[4, 1]])
    rules = free(curves, "400", limits=[("*", "c1", D(0), D(399))])
    held = even(curves, "200")
    plan = allocate(curves=curves, rules=rules, incumbent=held)
    assert rule_costs(curves=curves, rules=rules, incumbent=held, allocation=plan) == ()
