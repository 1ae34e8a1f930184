"""A horizon's plan earns the most over all its periods, to the cent, under the same rules."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog, minimize

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import Rules, book, broken_rules, resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.arrays import Array
from liftloop.core.curves.piecewise_linear import UnitCurves
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import FAMILIES, SaturatingCurves
from liftloop.core.errors import ConfigurationError, InfeasibleBudget
from liftloop.core.horizon.optimize import Horizon, HorizonLimits, HorizonOutlook
from liftloop.core.horizon.plan import HorizonPlan, plan_horizon
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

D = Decimal
MONDAY = date(2026, 3, 2)


def curves_of(
    returns: Sequence[float] | Array,
    scales: Sequence[float] | Array,
    carryover: Sequence[float] | Array | float = 0.0,
    family: str = "michaelis-menten",
) -> SaturatingCurves:
    """Curves known for certain, of cells s0 x c, s1 x c, ..."""
    n = len(returns)
    return SaturatingCurves(
        cells=tuple(Cell(f"s{number}", "c") for number in range(n)),
        marginal_at_zero=np.array([returns], dtype=float),
        half_saturation=np.array([scales], dtype=float),
        carryover=np.broadcast_to(np.asarray(carryover, dtype=float), n).copy(),
        family=family,
    )


def uncertain(cells: int, seed: int, *, unit: float = 1.0, draws: int = 50) -> SaturatingCurves:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, draws, cells))
    return SaturatingCurves(
        cells=tuple(Cell(f"s{i // 5:03d}", f"c{i % 5}") for i in range(cells)),
        marginal_at_zero=2 * np.exp(rng.normal(0, 0.6, cells) + 0.3 * noise[0]),
        half_saturation=unit * 1000 * np.exp(rng.normal(0, 0.5, cells) + 0.4 * noise[1]),
        carryover=np.tile([0.0, 0.15, 0.3, 0.45, 0.6], cells // 5 + 1)[:cells],
    )


def policy(curves: ResponseCurves, amounts: Sequence[float] | Array) -> Policy:
    pairs = zip(curves.cells, amounts, strict=True)
    return Policy.of({cell: from_cents(round(float(a) * 100)) for cell, a in pairs})


def rules_for(curves: ResponseCurves, total: Decimal, **more: Any) -> Rules:
    return resolve_rules(cells=curves.cells, total=total, **({"max_step": None} | more))


def budgets(plan: HorizonPlan) -> Array:
    """Daily budgets (n_cells, n_periods)."""
    return np.array([[float(a) for _, a in p.policy.budgets] for p in plan.periods]).T


def seasonal(index: Sequence[Sequence[float]], *, days: int = 7) -> pd.DataFrame:
    """An index for each period of segments s0, s1, ...: the same on all its days."""
    rows = [
        (pd.Timestamp(MONDAY) + pd.Timedelta(days=p * days + day), f"s{s}", value, 0.0)
        for s, values in enumerate(index)
        for p, value in enumerate(values)
        for day in range(days)
    ]
    return pd.DataFrame(rows, columns=["date", "segment", "index", "standard_error"])


def earned(
    curves: SaturatingCurves,
    spend: Array,
    *,
    days: int,
    before: Array,
    after: Array,
    demand: Array | None = None,
) -> float:
    """Revenue of a horizon, and of what it leaves while ``after`` goes on: day by day, plainly.

    ``spend`` (n_cells, n_periods), ``demand`` of the same shape.
    """
    periods = spend.shape[1]
    demand = np.ones_like(spend) if demand is None else demand
    g, level = curves.carryover, before.copy()
    m, k = curves.marginal_at_zero[:, None], curves.half_saturation[:, None]
    levels, weights = [], []
    for period in range(periods):
        for _ in range(days):
            level = (1 - g) * spend[:, period] + g * level
            levels.append(level)
            weights.append(demand[:, period])
    alone = np.zeros_like(level)
    while g.max() > 0 and np.abs(level - alone).max() > 1e-7 * spend.max():
        level, alone = (1 - g) * after + g * level, (1 - g) * after + g * alone
        levels += [level, alone]
        weights += [demand[:, -1], -demand[:, -1]]
    revenue = m * k * FAMILIES[curves.family].shape(np.array(levels) / k)
    return float((revenue.mean(axis=0) * np.array(weights)).sum())


def steady(curves: ResponseCurves, rules: Rules, held: Policy) -> Array:
    flat = allocate(curves=curves, rules=replace(rules, max_step=None), incumbent=held).policy
    return np.array([float(amount) for _, amount in flat.budgets])


# -- the flat plan -----------------------------------------------------------------------------


@pytest.mark.parametrize("carryover", [0.0, 0.6])
def test_a_market_at_rest_keeps_the_flat_plan_in_every_week(carryover: float) -> None:
    curves = curves_of([2, 3, 4], [700, 900, 400], carryover)
    rules = rules_for(curves, D("3000.00"), max_step=0.25)
    loose = replace(rules, max_step=None)
    flat = allocate(curves=curves, rules=loose, incumbent=policy(curves, [1000] * 3)).policy
    plan = plan_horizon(
        HorizonOutlook(curves), HorizonLimits(rules), Horizon(MONDAY), incumbent=flat
    )
    for period in plan.periods:
        for (_, amount), (_, expected) in zip(period.policy.budgets, flat.budgets, strict=True):
            assert abs(amount - expected) <= D("0.01")
    assert abs(plan.gain.mean) < 0.01


def test_unequal_carryover_leaves_the_flat_plan_too_because_the_end_is_valued_fairly() -> None:
    curves = curves_of([2, 3, 4], [700, 900, 400], [0.0, 0.5, 0.85])
    rules = rules_for(curves, D("3000.00"))
    flat = allocate(curves=curves, rules=rules, incumbent=policy(curves, [1000] * 3)).policy
    plan = plan_horizon(
        HorizonOutlook(curves), HorizonLimits(rules), Horizon(MONDAY, 3), incumbent=flat
    )
    expected = np.array([float(amount) for _, amount in flat.budgets])[:, None]
    # the end's geometric rest is a straight line's: worth 1e-4 of a budget at most
    assert np.abs(budgets(plan) - expected).max() < 1e-4 * 1000


def test_a_season_that_all_segments_share_moves_nothing_under_fixed_totals() -> None:
    curves = curves_of([2, 3, 4], [700, 900, 400], 0.4)
    rules = rules_for(curves, D("3000.00"))
    flat = allocate(curves=curves, rules=rules, incumbent=policy(curves, [1000] * 3)).policy
    plan = plan_horizon(
        HorizonOutlook(curves, seasonal([[1.0, 1.5, 0.7, 1.1]] * 3)),
        HorizonLimits(rules),
        Horizon(MONDAY, 4),
        incumbent=flat,
    )
    expected = np.array([float(amount) for _, amount in flat.budgets])[:, None]
    assert np.abs(budgets(plan) - expected).max() < 1e-4 * 1000
    assert [round(period.demand, 6) for period in plan.periods] == [1.0, 1.5, 0.7, 1.1]


def test_without_carryover_each_week_is_the_one_week_plan_of_its_own_total() -> None:
    curves = curves_of([2, 3, 4], [700, 900, 400])
    held = policy(curves, [1000] * 3)
    totals = [D("2000.00"), D("3500.00"), D("3000.00")]
    rules = rules_for(curves, D("3000.00"))
    plan = plan_horizon(
        HorizonOutlook(curves),
        HorizonLimits(rules, totals=totals),
        Horizon(MONDAY, 3),
        incumbent=held,
    )
    for period, total in zip(plan.periods, totals, strict=True):
        alone = allocate(curves=curves, rules=replace(rules, total=total), incumbent=held).policy
        assert period.policy.total == total
        for (_, amount), (_, expected) in zip(period.policy.budgets, alone.budgets, strict=True):
            assert abs(amount - expected) <= D("0.01")


# -- season and carry-over ---------------------------------------------------------------------


def test_a_flexible_total_goes_to_the_strong_weeks_as_the_closed_form_says() -> None:
    # f = m K log(1 + x / K): s_p / (K + x_p) is equal, so K + x_p is proportional to s_p.
    # K = 100, 3 weeks of 500 on average, s = 0.8, 1.0, 1.2: K + x_p = 1800 s_p / 3
    curves = curves_of([2.0], [100.0], family="logarithmic")
    plan = plan_horizon(
        HorizonOutlook(curves, seasonal([[0.8, 1.0, 1.2]])),
        HorizonLimits(rules_for(curves, D("500.00")), shift=1.0),
        Horizon(MONDAY, 3),
        incumbent=policy(curves, [500]),
    )
    assert budgets(plan)[0] == pytest.approx([380.0, 500.0, 620.0], abs=0.011)
    assert sum(p.policy.total for p in plan.periods) == D("1500.00")
    assert plan.spend == D("10500.00")


def test_the_shift_bounds_how_far_a_week_departs_from_its_total() -> None:
    curves = curves_of([2.0], [100.0], family="logarithmic")
    plan = plan_horizon(
        HorizonOutlook(curves, seasonal([[0.8, 1.0, 1.2]])),
        HorizonLimits(rules_for(curves, D("500.00")), shift=0.1),
        Horizon(MONDAY, 3),
        incumbent=policy(curves, [500]),
    )
    assert budgets(plan)[0] == pytest.approx([450.0, 500.0, 550.0], abs=0.011)


def test_elasticity_says_how_much_the_response_follows_demand() -> None:
    # with elasticity 0.5: K + x_p is proportional to sqrt(s_p); s = 1, 4: 1, 2 of 1200
    curves = curves_of([2.0], [100.0], family="logarithmic")
    plan = plan_horizon(
        HorizonOutlook(curves, seasonal([[1.0, 4.0]]), elasticity=0.5),
        HorizonLimits(rules_for(curves, D("500.00")), shift=1.0),
        Horizon(MONDAY, 2),
        incumbent=policy(curves, [500]),
    )
    assert budgets(plan)[0] == pytest.approx([300.0, 700.0], abs=0.011)


def test_curves_of_another_demand_are_multiplied_by_the_index_over_theirs() -> None:
    # the curve was learned at demand 2: in a week of demand 1 it earns half; demand is told as 1
    curves = curves_of([2.0], [100.0])
    season = seasonal([[1.0]]).assign(reference=2.0)
    plan = plan_horizon(
        HorizonOutlook(curves, season),
        HorizonLimits(rules_for(curves, D("100.00"))),
        Horizon(MONDAY, 1),
        incumbent=policy(curves, [100]),
    )
    assert plan.periods[0].revenue.mean == pytest.approx(100 / 2)
    assert plan.periods[0].demand == 1.0


def test_a_season_of_one_segment_draws_money_there_in_that_week() -> None:
    curves = curves_of([2.0, 2.0], [100.0, 100.0], family="logarithmic")
    plan = plan_horizon(
        HorizonOutlook(curves, seasonal([[1.0, 2.0], [1.0, 1.0]])),
        HorizonLimits(rules_for(curves, D("1000.00"))),
        Horizon(MONDAY, 2),
        incumbent=policy(curves, [500, 500]),
    )
    # (100 + x0) = 2 (100 + x1), x0 + x1 = 1000: 700 and 300
    assert budgets(plan) == pytest.approx(np.array([[500, 700], [500, 300]]), abs=0.011)


def test_from_a_cold_start_carryover_makes_the_plan_front_loaded() -> None:
    # days of a period = 1, so that a_1 = (1 - g) x_1 and a_2 = (1 - g) x_2 + g a_1
    curves = curves_of([2.0], [100.0], 0.8)
    plan = plan_horizon(
        HorizonOutlook(curves, effective=np.array([0.0])),
        HorizonLimits(rules_for(curves, D("500.00")), shift=1.0),
        Horizon(MONDAY, 2, 1),
        incumbent=policy(curves, [500]),
    )

    def loss(first: float) -> float:
        spend = np.array([[first, 1000 - first]])
        return -earned(curves, spend, days=1, before=np.zeros(1), after=np.array([500.0]))

    grid = np.arange(0.0, 1001.0)
    best = grid[np.argmin([loss(first) for first in grid])]
    first = budgets(plan)[0][0]
    assert first > 600
    assert abs(first - best) <= 2  # the grid's step, and the geometric rest past the end


# -- the optimum -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_plan_is_the_optimum_of_an_independent_solver(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, periods, days = 3, 4, 3
    curves = curves_of(
        np.exp(rng.normal(0.7, 0.5, n)),
        1000 * np.exp(rng.normal(0, 0.5, n)),
        rng.uniform(0, 0.8, n),
    )
    held = policy(curves, [1000.0] * n)
    demand = np.exp(rng.normal(0, 0.2, (n, periods)))
    rules = rules_for(
        curves,
        held.total,
        max_step=0.25,
        limits=[("s0", "*", D("700.00"), D("1400.00"))],
        groups=[
            Group(
                "pair",
                (
                    "s0",
                    "s1",
                ),
                ("*",),
                D("1500.00"),
                D("2300.00"),
            )
        ],
    )
    plan = plan_horizon(
        HorizonOutlook(curves, seasonal(demand.tolist(), days=days)),
        HorizonLimits(rules, shift=0.2),
        Horizon(MONDAY, periods, days),
        incumbent=held,
    )
    before = np.full(n, 1000.0)
    # what goes on after the end is the best steady plan under the last period's demand
    last = replace(curves, marginal_at_zero=curves.marginal_at_zero * demand[:, -1])
    after = steady(last, rules, held)

    def lost(flat: Array) -> float:
        spend = flat.reshape(n, periods)
        return -earned(curves, spend, days=days, before=before, after=after, demand=demand) / 1e4

    def steps(flat: Array) -> Array:
        spend = np.column_stack([before, flat.reshape(n, periods)])
        room = 0.25 * spend[:, :-1] - np.abs(np.diff(spend, axis=1))
        pair = spend[:2, 1:].sum(axis=0)
        sums = spend[:, 1:].sum(axis=0)
        shifts = 0.2 * 3000 - np.abs(sums - 3000)
        return np.concatenate([room.ravel(), pair - 1500, 2300 - pair, shifts])

    low = np.zeros((n, periods))
    high = np.full((n, periods), 5000.0)
    low[0], high[0] = 700, 1400
    constraints: list[Any] = [
        {"type": "ineq", "fun": lambda flat: steps(flat) / 1000},
        {"type": "eq", "fun": lambda flat: (flat.sum() - 3000 * periods) / 1000},
    ]
    found = minimize(
        lost,
        np.full(n * periods, 1000.0),
        method="SLSQP",
        bounds=list(zip(low.ravel(), high.ravel(), strict=True)),
        constraints=constraints,
        options={"maxiter": 300, "ftol": 1e-12},
    )
    assert (steps(budgets(plan).ravel()) > -0.011).all()
    assert lost(budgets(plan).ravel()) <= found.fun * (1 - 1e-5)


def bound_above(
    curves: SaturatingCurves,
    spend: Array,
    *,
    days: int,
    before: Array,
    after: Array,
    step: float,
    total: float,
    group: tuple[Array, float],
    held: Array,
) -> tuple[float, float]:
    """Revenue of ``spend``, and a bound no plan exceeds: the revenue is concave, so it lies below
    its tangent, whose maximum under the rules is a linear program (Frank and Wolfe 1956)."""
    n, periods = spend.shape
    nudge = 1e-4 * total / n
    gradient = np.zeros((n, periods))
    for c in range(n):
        for p in range(periods):
            moved = [spend.copy(), spend.copy()]
            for sign, one in zip((1, -1), moved, strict=True):
                one[c, p] += sign * nudge
            ups, downs = (earned(curves, m, days=days, before=before, after=after) for m in moved)
            gradient[c, p] = (ups - downs) / (2 * nudge)
    here = earned(curves, spend, days=days, before=before, after=after)
    rows, right = [], []
    for c in range(n):
        for p in range(periods):
            for sign in (1, -1):
                row = np.zeros((n, periods))
                row[c, p] = sign
                if p:
                    row[c, p - 1] = -sign * (1 + sign * step)
                rows.append(row.ravel())
                right.append(0.0 if p else sign * (1 + sign * step) * held[c])
    for p in range(periods):
        row = np.zeros((n, periods))
        row[:, p] = group[0]
        rows.append(row.ravel())
        right.append(group[1])
    equal = np.kron(np.ones((1, n)), np.eye(periods))
    found = linprog(
        -gradient.ravel(),
        A_ub=np.array(rows),
        b_ub=right,
        A_eq=equal,
        b_eq=np.full(periods, total),
        bounds=(0, total),
        method="highs",
    )
    assert found.x is not None
    return here, here + float(gradient.ravel() @ (found.x - spend.ravel()))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit", [1.0, 1e4])
def test_no_plan_under_the_rules_can_earn_a_ten_thousandth_more(seed: int, unit: float) -> None:
    curves = uncertain(6, seed, unit=unit)
    amounts = unit * np.random.default_rng(seed).uniform(600, 1500, 6)
    held = policy(curves, amounts)
    video = sum(amount for cell, amount in held.budgets if cell.channel in ("c0", "c1"))
    most = (video * D("1.02")).quantize(D("0.01"))
    rules = rules_for(
        curves,
        held.total,
        max_step=0.1,
        groups=[
            Group(
                "video",
                ("*",),
                (
                    "c0",
                    "c1",
                ),
                D(0),
                most,
            )
        ],
    )
    plan = plan_horizon(
        HorizonOutlook(curves), HorizonLimits(rules), Horizon(MONDAY, 4, 7), incumbent=held
    )
    member = np.array([float(cell.channel in ("c0", "c1")) for cell in curves.cells])
    now = np.array([float(amount) for _, amount in held.budgets])
    here, most_possible = bound_above(
        curves,
        budgets(plan),
        days=7,
        before=now,
        after=steady(curves, rules, held),
        step=0.1,
        total=float(held.total),
        group=(member, float(most)),
        held=now,
    )
    assert plan.gap < 1e-6
    assert here >= most_possible * (1 - 1e-4)


def test_piecewise_linear_curves_of_user_tests_are_planned_too() -> None:
    # the next unit earns 3 up to 100, 1 up to 300 in a; 2 up to 200, 0.5 up to 400 in b
    curves = UnitCurves(
        cells=(Cell("a", "mail"), Cell("b", "mail")),
        knots=np.array([[0.0, 100.0, 300.0], [0.0, 200.0, 400.0]]),
        mean=np.array([[3.0, 1.0], [2.0, 0.5]]),
        draws=np.array([[[3.0, 1.0], [2.0, 0.5]]]),
    )
    plan = plan_horizon(
        HorizonOutlook(curves),
        HorizonLimits(rules_for(curves, D("350.00"))),
        Horizon(MONDAY, 2, 1),
        incumbent=policy(curves, [175, 175]),
    )
    # 100 in a and 200 in b come first, the last 50 go to a
    assert plan.periods[0].revenue.mean == pytest.approx(3 * 100 + 2 * 200 + 50, rel=0.005)


@pytest.mark.parametrize("seed", range(6))
def test_kinked_curves_come_within_half_a_percent_of_the_best_pieces_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells, pieces = 8, 5
    lengths = rng.uniform(50, 400, (cells, pieces))
    slopes = -np.sort(-rng.uniform(0, 4, (cells, pieces)), axis=1)
    knots = np.concatenate([np.zeros((cells, 1)), np.cumsum(lengths, axis=1)], axis=1)
    names = tuple(Cell(f"s{number}", "mail") for number in range(cells))
    curves = UnitCurves(names, knots, slopes, slopes[None])
    held = policy(curves, rng.uniform(100, 600, cells))
    plan = plan_horizon(
        HorizonOutlook(curves),
        HorizonLimits(rules_for(curves, held.total)),
        Horizon(MONDAY, 2, 1),
        incumbent=held,
    )
    best, left = 0.0, float(held.total)
    for piece in np.argsort(-slopes.ravel()):
        part = min(left, lengths.ravel()[piece])
        best, left = best + part * slopes.ravel()[piece], left - part
    for period in plan.periods:
        assert best * 0.995 <= period.revenue.mean <= best * (1 + 1e-9)


def test_the_unit_of_money_changes_nothing() -> None:
    small, large = uncertain(10, 3), uncertain(10, 3, unit=1e4)
    amounts = np.random.default_rng(1).uniform(500, 1500, 10)
    plans = [
        plan_horizon(
            HorizonOutlook(curves),
            HorizonLimits(rules_for(curves, held.total, max_step=0.25), shift=0.2),
            Horizon(MONDAY, 6),
            incumbent=held,
        )
        for curves, held in (
            (small, policy(small, amounts)),
            (large, policy(large, 1e4 * amounts)),
        )
    ]
    assert budgets(plans[1]) / 1e4 == pytest.approx(budgets(plans[0]), abs=0.03)


# -- the rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_every_period_keeps_every_rule_to_the_cent_against_the_one_before(shift: float) -> None:
    curves = uncertain(20, 5)
    amounts = np.random.default_rng(2).uniform(1, 2000, 20)  # some below a tenth of the average
    held = policy(curves, amounts)
    rules = rules_for(
        curves,
        held.total,
        max_step=0.25,
        frozen=[("s000", "c1")],
        limits=[("*", "c2", D("120.00"), D("2500.00"))] if amounts[2::5].min() > 160 else [],
        groups=[
            Group(
                "first",
                (
                    "s000",
                    "s001",
                ),
                ("*",),
                D("1000.00"),
            ),
            Group("video", ("*",), ("c3",), D(0), (held.total * D("0.4")).quantize(D("0.01"))),
        ],
    )
    plan = plan_horizon(
        HorizonOutlook(curves), HorizonLimits(rules, shift=shift), Horizon(MONDAY), incumbent=held
    )
    before = held
    for period in plan.periods:
        now = replace(rules, total=period.policy.total)
        cents = np.array([to_cents(amount) for _, amount in period.policy.budgets])
        assert broken_rules(cents, book(now, incumbent=before)) == []
        assert abs(period.policy.total - held.total) <= held.total * D(str(shift))
        before = period.policy
    frozen = Cell("s000", "c1")
    assert {p.policy.as_dict()[frozen] for p in plan.periods} == {held.as_dict()[frozen]}
    assert sum(p.policy.total for p in plan.periods) == 13 * held.total


def test_a_cell_without_a_curve_keeps_its_budget() -> None:
    curves = curves_of([2, 3], [100, 100])
    stranger = Cell("s9", "c")
    held = Policy.of({**policy(curves, [100, 100]).as_dict(), stranger: D("50.00")})
    rules = resolve_rules(cells=held.cells, total=held.total, max_step=0.25)
    plan = plan_horizon(
        HorizonOutlook(curves), HorizonLimits(rules), Horizon(MONDAY, 3), incumbent=held
    )
    assert {period.policy.as_dict()[stranger] for period in plan.periods} == {D("50.00")}


def test_totals_that_grow_faster_than_the_steps_are_refused_by_name() -> None:
    curves = curves_of([2, 3], [100, 100])
    held = policy(curves, [100, 100])
    rules = rules_for(curves, held.total, max_step=0.1)
    with pytest.raises(InfeasibleBudget) as refused:
        plan_horizon(
            HorizonOutlook(curves),
            HorizonLimits(rules, totals=[D("200.00"), D("210.00"), D("260.00")]),
            Horizon(MONDAY, 3),
            incumbent=held,
        )
    assert "steps of at most 10%" in str(refused.value)
    assert "totals of all periods" in str(refused.value)


def test_a_rule_that_no_period_can_keep_is_refused_with_its_period() -> None:
    curves = curves_of([2, 3], [100, 100])
    held = policy(curves, [100, 100])
    rules = rules_for(curves, held.total, limits=[("*", "*", D(0), D("90.00"))])
    with pytest.raises(InfeasibleBudget, match=r"period 1: cap of every cell \(90.00"):
        plan_horizon(
            HorizonOutlook(curves), HorizonLimits(rules), Horizon(MONDAY, 2), incumbent=held
        )


@pytest.mark.parametrize(
    ("periods", "wrong"),
    [
        (0, {}),
        (2, {"shift": 1.5}),
        (2, {"totals": [D("1.00")]}),
        (2, {"shift": float("nan")}),
    ],
)
def test_a_horizon_that_makes_no_sense_is_refused(periods: int, wrong: dict[str, Any]) -> None:
    curves = curves_of([2], [100])
    with pytest.raises(ConfigurationError, match="Fix: "):
        plan_horizon(
            HorizonOutlook(curves),
            HorizonLimits(rules_for(curves, D("100.00")), **wrong),
            Horizon(MONDAY, periods),
            incumbent=policy(curves, [100]),
        )


# -- what it says ------------------------------------------------------------------------------


def test_expectations_are_those_of_the_days_and_of_what_is_left_at_the_end() -> None:
    curves = curves_of([2.0], [100.0], 0.5)
    plan = plan_horizon(
        HorizonOutlook(curves, effective=np.array([0.0])),
        HorizonLimits(rules_for(curves, D("100.00"))),
        Horizon(MONDAY, 1, 2),
        incumbent=policy(curves, [100]),
    )
    # levels 50 and 75; f = 200 x / (100 + x): 66.667 and 85.714
    assert plan.periods[0].revenue.mean == pytest.approx((200 / 3 + 600 / 7) / 2, rel=1e-9)
    assert plan.revenue.mean == pytest.approx(200 / 3 + 600 / 7, rel=1e-9)
    left = sum(
        200 * a / (100 + a) - 200 * b / (100 + b)
        for k in range(1, 60)
        for a, b in [(100 - 25 * 0.5**k, 100 - 100 * 0.5**k)]
    )
    assert plan.beyond.mean == pytest.approx(left, rel=0.005)  # the rest of a geometric sum
    assert plan.gain.mean == pytest.approx(0, abs=1e-9)


def test_the_seasons_standard_error_widens_the_interval() -> None:
    curves = uncertain(5, 1, draws=400)
    held = policy(curves, [1000] * 5)
    sure = seasonal([[1.0, 1.0]])
    unsure = sure.assign(segment="s000", standard_error=0.3)
    plans = [
        plan_horizon(
            HorizonOutlook(curves, season),
            HorizonLimits(rules_for(curves, held.total)),
            Horizon(MONDAY, 2),
            incumbent=held,
        )
        for season in (sure.assign(segment="s000"), unsure)
    ]
    widths = [plan.revenue.high - plan.revenue.low for plan in plans]
    assert widths[1] > 1.5 * widths[0]
    assert plans[1].revenue.mean == pytest.approx(plans[0].revenue.mean, rel=0.05)


def test_each_period_says_its_demand_its_total_and_its_largest_moves() -> None:
    curves = curves_of([2.0, 2.0], [100.0, 100.0], family="logarithmic")
    plan = plan_horizon(
        HorizonOutlook(curves, seasonal([[1.0, 2.0], [1.0, 1.0]])),
        HorizonLimits(rules_for(curves, D("1000.00"))),
        Horizon(MONDAY, 2),
        incumbent=policy(curves, [500, 500]),
    )
    assert plan.periods[0].sentence == (
        "Demand as on the year's mean; 1,000.00 a day, all budgets as before."
    )
    assert plan.periods[1].start == date(2026, 3, 9)
    assert "70% above the year's mean" in plan.periods[1].sentence  # 0.7 x 2 + 0.3 x 1
    assert "20.0% of it moves, most at s0 x c (+200.00)" in plan.periods[1].sentence


def test_fifty_cells_over_a_quarter_take_no_more_than_two_seconds() -> None:
    curves = uncertain(50, 3, draws=200)
    amounts = np.random.default_rng(1).dirichlet(np.ones(50)) * 50000
    held = policy(curves, amounts)
    began = time.process_time()
    plan = plan_horizon(
        HorizonOutlook(curves),
        HorizonLimits(rules_for(curves, held.total, max_step=0.25), shift=0.3),
        Horizon(MONDAY),
        incumbent=held,
    )
    assert time.process_time() - began < 2
    assert plan.gap < 1e-6
    assert plan.gain.mean > 0
