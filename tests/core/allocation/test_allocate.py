"""The plan is the best one, exact to the cent, and says what holds it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import Book, Rules, book, broken_rules, resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.allocation.solver_concave import Problem, solve
from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy, from_cents
from liftloop.reporting.explain_moves import explain_moves, explain_stage

D = Decimal


def one_draw(returns: list[float], scales: list[float], channels: int = 1) -> SaturatingCurves:
    """Curves known for certain; cells s0 x c0, s0 x c1, ... in ``channels`` channels."""
    cells = tuple(Cell(f"s{i // channels}", f"c{i % channels}") for i in range(len(returns)))
    return SaturatingCurves(
        cells=cells,
        marginal_at_zero=np.array([returns], dtype=float),
        half_saturation=np.array([scales], dtype=float),
        carryover=np.zeros(len(cells)),
    )


def many_draws(cells: int, seed: int, *, channels: int = 3, unit: float = 1.0) -> SaturatingCurves:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, 50, cells))
    return SaturatingCurves(
        cells=tuple(Cell(f"s{i // channels:05d}", f"c{i % channels}") for i in range(cells)),
        marginal_at_zero=2 * np.exp(rng.normal(0, 0.6, cells) + 0.3 * noise[0]),
        half_saturation=unit * 1000 * np.exp(rng.normal(0, 0.5, cells) + 0.4 * noise[1]),
        carryover=np.zeros(cells),
    )


def policy(curves: SaturatingCurves, amounts: list[str] | Array) -> Policy:
    return Policy.of(
        {c: from_cents(round(float(a) * 100)) for c, a in zip(curves.cells, amounts, strict=True)}
    )


def spends(plan: Policy) -> Array:
    return np.array([float(amount) for _, amount in plan.budgets])


def test_two_equal_cells_share_the_total_evenly() -> None:
    curves = one_draw([2, 2], [100, 100])
    rules = resolve_rules(cells=curves.cells, total=D("100.00"), max_step=None)
    plan = allocate(curves=curves, rules=rules, incumbent=policy(curves, ["90", "10"]))
    assert [amount for _, amount in plan.policy.budgets] == [D("50.00"), D("50.00")]
    # at 50 the next unit earns 2 / (1 + 0.5)^2 = 0.889: a loss of 0.111 on a unit more
    assert plan.shadow_price == pytest.approx(2 / 1.5**2 - 1)
    assert plan.binding == {}


def test_the_optimum_that_can_be_worked_out_by_hand() -> None:
    # sqrt(m) / (1 + x/K) is equal at the best plan: (1 + x1) / (1 + x2) = 2 with x1 + x2 = 4
    curves = one_draw([4, 1], [1, 1])
    rules = resolve_rules(cells=curves.cells, total=D("4.00"), max_step=None)
    plan = allocate(curves=curves, rules=rules, incumbent=policy(curves, ["2", "2"]))
    assert [amount for _, amount in plan.policy.budgets] == [D("3.00"), D("1.00")]


def test_the_plan_is_as_good_as_trying_every_plan() -> None:
    curves = many_draws(3, seed=5, channels=1, unit=1e-4)
    total = 30  # cents
    rules = resolve_rules(cells=curves.cells, total=D("0.30"), max_step=None)
    plan = allocate(curves=curves, rules=rules, incumbent=policy(curves, ["0.1", "0.1", "0.1"]))
    best = max(
        curves.mean_revenue(np.array([a, b, total - a - b]) / 100).sum()
        for a, b in product(range(total + 1), repeat=2)
        if a + b <= total
    )
    assert curves.mean_revenue(spends(plan.policy)).sum() == pytest.approx(best, rel=1e-4)


def reference(curves: SaturatingCurves, written: Book) -> float:
    """The best revenue SLSQP finds under the same bounds, from the middle of the bounds."""
    b = written
    low, high, total = b.low / 100, b.high / 100, b.total / 100
    middle: Array = low + (high - low) * (total - low.sum()) / (high - low).sum()
    rows = b.membership.astype(float)
    most = np.minimum(b.group_high, b.total) / 100
    least = b.group_low / 100
    constraints: list[Any] = [{"type": "eq", "fun": lambda x: (x.sum() - total) / total}]
    for row, lo, hi in zip(rows, least, most, strict=True):
        constraints.append({"type": "ineq", "fun": lambda x, r=row, h=hi: (h - r @ x) / total})
        constraints.append({"type": "ineq", "fun": lambda x, r=row, v=lo: (r @ x - v) / total})

    def lost(x: Array) -> float:
        return float(-curves.mean_revenue(x).sum() / total)

    def slope(x: Array) -> Array:
        return -curves.mean_marginal(x) / total

    found = minimize(
        lost,
        middle,
        jac=slope,
        bounds=list(zip(low, high, strict=True)),
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    return float(-found.fun * total)


GROUPS = {
    "none": [],
    "apart": [
        Group(
            "a",
            (
                "s00000",
                "s00001",
            ),
            ("*",),
            D(0),
            D(1500),
        ),
        Group("b", ("s00002",), ("*",), D(4000), None),
    ],
    "overlapping": [
        Group(
            "segments",
            (
                "s00000",
                "s00001",
            ),
            ("*",),
            D(0),
            D(1500),
        ),
        Group("channel", ("*",), ("c1",), D(6000), None),
        Group(
            "corner",
            (
                "s00001",
                "s00002",
            ),
            (
                "c1",
                "c2",
            ),
            D(0),
            D(3500),
        ),
    ],
}


@pytest.mark.parametrize("groups", list(GROUPS))
@pytest.mark.parametrize("step", [None, 0.25])
def test_the_plan_earns_what_an_independent_solver_finds(groups: str, step: float | None) -> None:
    curves = many_draws(15, seed=3)
    budgets = np.random.default_rng(1).lognormal(7, 0.5, 15).round(2)
    incumbent = policy(curves, budgets)
    wanted = GROUPS[groups]
    if step is not None:  # within reach of a quarter
        held = {cell: float(amount) for cell, amount in incumbent.budgets}
        inside = sum(v for c, v in held.items() if c.channel == "c1")
        wanted = (
            [Group("channel", ("*",), ("c1",), D(str(round(inside * 1.1, 2))), None)]
            if groups in ("apart", "overlapping")
            else []
        )
        if groups == "overlapping":
            first = sum(v for c, v in held.items() if c.segment in ("s00000", "s00001"))
            wanted.append(
                Group(
                    "seg",
                    (
                        "s00000",
                        "s00001",
                    ),
                    ("*",),
                    D(0),
                    D(str(round(first * 0.95, 2))),
                )
            )
    rules = resolve_rules(cells=curves.cells, total=incumbent.total, groups=wanted, max_step=step)
    plan = allocate(curves=curves, rules=rules, incumbent=incumbent)
    written = book(rules, incumbent=incumbent)
    cents = np.array([int(amount * 100) for _, amount in plan.policy.budgets])
    assert broken_rules(cents, written) == []
    assert plan.policy.total == incumbent.total
    best = reference(curves, written)
    assert curves.mean_revenue(spends(plan.policy)).sum() >= best * (1 - 1e-7)
    if wanted:
        assert plan.group_prices  # a group holds


def test_both_paths_agree_where_both_can_go() -> None:
    curves = many_draws(15, seed=8)
    incumbent = policy(curves, np.full(15, 900.0))
    apart = [*GROUPS["apart"]]
    idle = Group("everything", ("*",), ("c0",), D(0), D(1_000_000))
    plans = [
        allocate(
            curves=curves,
            rules=resolve_rules(
                cells=curves.cells, total=incumbent.total, groups=groups, max_step=None
            ),
            incumbent=incumbent,
        )
        for groups in (apart, [*apart, idle])
    ]
    np.testing.assert_allclose(spends(plans[0].policy), spends(plans[1].policy), rtol=2e-3)
    revenue = [curves.mean_revenue(spends(plan.policy)).sum() for plan in plans]
    assert revenue[0] == pytest.approx(revenue[1], rel=1e-9)
    assert plans[0].shadow_price == pytest.approx(plans[1].shadow_price, abs=1e-3)
    assert plans[0].group_prices.keys() == plans[1].group_prices.keys()
    for name, price in plans[0].group_prices.items():
        assert price == pytest.approx(plans[1].group_prices[name], abs=2e-3)


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e3, 1e6])
def test_the_shares_do_not_depend_on_the_currency(unit: float) -> None:
    curves = many_draws(40, seed=2)
    scaled = replace(curves, half_saturation=curves.half_saturation * unit)
    rng = np.random.default_rng(0)
    budgets = rng.lognormal(7, 0.8, 40)
    step = 0.25 * budgets

    def plan(which: SaturatingCurves, scale: float) -> Array:
        problem = Problem(
            low=(budgets - step) * scale,
            high=(budgets + step) * scale,
            total=float(budgets.sum() * scale),
            part=np.zeros(40, dtype=np.intp),
            part_low=np.array([(budgets - step).sum() * scale]),
            part_high=np.array([(budgets + step).sum() * scale]),
        )
        return solve(problem, which.mean_marginal).spend / scale

    np.testing.assert_allclose(plan(scaled, unit), plan(curves, 1.0), rtol=1e-6)


def test_a_frozen_cell_and_a_cell_without_a_curve_do_not_move_by_a_cent_and_say_why() -> None:
    curves = one_draw([5, 1, 2], [100, 100, 100], channels=1)
    stranger = Cell("zz", "c0")
    incumbent = Policy.of(
        {
            **dict(zip(curves.cells, [D("33.33"), D("33.33"), D("33.34")], strict=True)),
            stranger: D("12.34"),
        }
    )
    rules = resolve_rules(
        cells=incumbent.cells, total=incumbent.total, frozen=[("s0", "*", "paused by hand")]
    )
    plan = allocate(curves=curves, rules=rules, incumbent=incumbent)
    after = plan.policy.as_dict()
    assert after[stranger] == D("12.34")
    assert after[Cell("s0", "c0")] == D("33.33")
    assert plan.binding[stranger] == "no evidence yet: keeps its budget"
    assert plan.binding[Cell("s0", "c0")] == "paused by hand"
    assert plan.binding[Cell("s2", "c0")] == "held to +25% a cycle"
    words = explain_moves(allocation=plan, curves=curves, incumbent=incumbent)
    assert words[stranger] == "Unchanged: no evidence yet: keeps its budget."
    assert words[Cell("s2", "c0")].startswith("Up 25%: the next 1.00 here earns about 1.12 against")
    assert words[Cell("s2", "c0")].endswith("held to +25% a cycle.")
    assert words.keys() == after.keys()


def test_a_stage_is_explained_by_its_own_cells_alone() -> None:
    curves = one_draw([5, 1, 2], [100, 100, 100], channels=1)
    a, b, c = curves.cells
    before = policy(curves, ["30", "30", "30"])
    after = policy(curves, ["30", "33", "27"])
    words = explain_stage(cells=(b, c), policy=after, incumbent=before, curves=curves)
    earns = curves.mean_marginal(spends(before))
    assert words[b] == (
        f"Up 10%: the next 1.00 here earns about {earns[1]:.2f} against {earns[2]:.2f} where it "
        "comes from."
    )
    assert words[c].endswith(f"against {earns[1]:.2f} where it goes.")
    assert words.keys() == {b, c} and a not in words


def test_a_cell_held_by_a_bound_says_which_and_what_a_unit_more_room_would_earn() -> None:
    curves = one_draw([5, 1, 2], [100, 100, 100])
    rules = resolve_rules(
        cells=curves.cells,
        total=D(90),
        limits=[("s0", "*", D(0), D(40)), ("s1", "*", D(10), None)],
        max_step=None,
    )
    plan = allocate(curves=curves, rules=rules, incumbent=policy(curves, ["30", "30", "30"]))
    assert spends(plan.policy).tolist() == [40, 10, 40]
    price = 2 / 1.4**2
    assert plan.shadow_price == pytest.approx(price - 1)
    assert plan.binding == {curves.cells[0]: "at its cap", curves.cells[1]: "at its floor"}
    assert plan.cell_prices[curves.cells[0]] == pytest.approx(5 / 1.4**2 - price)
    assert plan.cell_prices[curves.cells[1]] == pytest.approx(price - 1 / 1.1**2)


def test_the_expected_gain_counts_what_cells_have_in_common() -> None:
    shared = np.linspace(0.5, 1.5, 101)[:, None]
    curves = SaturatingCurves(
        cells=(Cell("a", "c"), Cell("b", "c")),
        marginal_at_zero=shared * np.array([[4.0, 1.0]]),
        half_saturation=np.full((101, 2), 100.0),
        carryover=np.zeros(2),
    )
    incumbent = Policy.of({Cell("a", "c"): D(50), Cell("b", "c"): D(50)})
    rules = resolve_rules(cells=curves.cells, total=D(100), max_step=0.2)
    plan = allocate(curves=curves, rules=rules, incumbent=incumbent, margin=0.5)

    def earned(m: float, x: float) -> float:
        return m * x / (1 + x / 100)

    gain = 0.5 * (earned(4, 60) + earned(1, 40) - earned(4, 50) - earned(1, 50))
    assert plan.expected_gain.mean == pytest.approx(gain)
    assert plan.expected_gain.low == pytest.approx(0.55 * gain)
    assert plan.expected_gain.high == pytest.approx(1.45 * gain)


def test_more_than_all_cells_may_take_is_infeasible_and_names_the_rules() -> None:
    curves = one_draw([2, 2], [100, 100])
    rules = resolve_rules(cells=curves.cells, total=D(200))
    with pytest.raises(InfeasibleBudget) as caught:
        allocate(curves=curves, rules=rules, incumbent=policy(curves, ["50", "50"]))
    assert caught.value.conflicts == (
        "steps of at most 25% a cycle (all cells together 75.00 to 125.00)",
        "the total of 200.00 (the other rules allow at most 125.00)",
    )


def test_useless_cells_and_flat_curves_still_get_exact_plans() -> None:
    curves = one_draw([0, 0, 0], [1, 1, 1])
    rules = resolve_rules(cells=curves.cells, total=D("100.01"))
    plan = allocate(
        curves=curves, rules=rules, incumbent=policy(curves, ["33.33", "33.34", "33.34"])
    )
    assert plan.policy.total == D("100.01")
    assert plan.shadow_price == pytest.approx(-1.0)


def test_a_plan_without_money_is_a_plan() -> None:
    curves = one_draw([2, 2], [1, 1])
    rules = resolve_rules(cells=curves.cells, total=D(0), max_step=None)
    plan = allocate(curves=curves, rules=rules, incumbent=policy(curves, ["0", "0"]))
    assert plan.policy.total == 0


names = st.sampled_from(["s00000", "s00001", "*"])
channel_names = st.sampled_from(["c0", "c1", "*"])


@st.composite
def problems(draw: st.DrawFn) -> tuple[SaturatingCurves, Rules, Policy]:
    cells = draw(st.integers(1, 9))
    curves = many_draws(cells, seed=draw(st.integers(0, 10_000)), channels=3)
    share = st.floats(0.0, 3000.0).map(lambda v: round(v, 2))
    budgets = [draw(share) for _ in range(cells)]
    incumbent = policy(curves, np.array(budgets))
    limit = st.tuples(
        names,
        channel_names,
        st.integers(0, 30_000).map(lambda c: D(c) / 100),
        st.none() | st.integers(50_000, 900_000).map(lambda c: D(c) / 100),
    )
    group = st.builds(
        Group,
        st.sampled_from(["g", "h"]),
        st.tuples(names),
        st.tuples(channel_names),
        st.integers(0, 50_000).map(lambda c: D(c) / 100),
        st.none() | st.integers(60_000, 900_000).map(lambda c: D(c) / 100),
    )
    rules = resolve_rules(
        cells=curves.cells,
        total=incumbent.total + D(draw(st.sampled_from([0, 0, 1, -1, 777]))) / 100
        if incumbent.total > 1
        else incumbent.total,
        limits=draw(st.lists(limit, max_size=2)),
        groups=draw(st.lists(group, max_size=3)),
        frozen=draw(st.lists(st.tuples(names, channel_names), max_size=1)),
        max_step=draw(st.sampled_from([None, 0.25, 0.1, 1.0])),
    )
    return curves, rules, incumbent


@settings(max_examples=60, deadline=None)
@given(problems())
def test_every_plan_keeps_every_rule_and_no_exchange_of_money_earns_more(
    made: tuple[SaturatingCurves, Rules, Policy],
) -> None:
    curves, rules, incumbent = made
    written = book(rules, incumbent=incumbent)
    try:
        plan = allocate(curves=curves, rules=rules, incumbent=incumbent)
    except InfeasibleBudget as refusal:
        assert refusal.conflicts
        return
    assert plan.policy.total == rules.total
    cents = np.array([int(amount * 100) for _, amount in plan.policy.budgets])
    assert broken_rules(cents, written) == []
    revenue = curves.mean_revenue(cents / 100)
    amount = max(100, written.total // 200)  # a transfer that rounding cannot hide
    up, down = (
        curves.mean_revenue((cents + amount) / 100),
        curves.mean_revenue(np.maximum(cents - amount, 0) / 100),
    )
    for giver, taker in product(range(len(cents)), repeat=2):
        moved = cents.copy()
        moved[giver] -= amount
        moved[taker] += amount
        if giver == taker or (moved < 0).any() or broken_rules(moved, written):
            continue
        gain = up[taker] - revenue[taker] + down[giver] - revenue[giver]
        assert gain <= 1e-6 * revenue.sum() + 1e-2
