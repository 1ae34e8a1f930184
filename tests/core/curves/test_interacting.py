"""Interacting curves: exact together, and separable enough within a step to plan with."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.curves.gain import spends
from liftloop.core.curves.interacting import InteractingCurves, SeparableCurves, separable_at
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy

Array = NDArray[np.float64]
A, B = Cell("s", "a"), Cell("s", "b")
TOTAL = 200.0
USUAL = np.array([100.0, 100.0])


def saturating(returns: list[float], scales: list[float]) -> SaturatingCurves:
    """One draw of Michaelis-Menten curves of the cells a and b."""
    return SaturatingCurves(
        cells=(A, B),
        marginal_at_zero=np.array([returns]),
        half_saturation=np.array([scales]),
        carryover=np.zeros(2),
    )


def toy(a_to_b: float, *, inclusive: bool = False, first: float = 0.6) -> InteractingCurves:
    return InteractingCurves(
        base=saturating([first, 3.0], [100.0, 200.0]),
        reference=USUAL,
        channels=("a", "b"),
        elasticity=np.array([[[0.0, a_to_b], [0.0, 0.0]]]),
        inclusive=inclusive,
    )


def random_curves(inclusive: bool, *, draws: int = 6) -> InteractingCurves:
    """Three segments, three channels, one cell missing and one that usually spends nothing."""
    rng = np.random.default_rng(3)
    cells = tuple(Cell(s, c) for s in "xyz" for c in "abc")[:-1]
    n = len(cells)
    elasticity = rng.normal(0, 0.3, (draws, 3, 3)) * (1 - np.eye(3))
    return InteractingCurves(
        base=SaturatingCurves(
            cells=cells,
            marginal_at_zero=rng.uniform(0.5, 3.0, (draws, n)),
            half_saturation=rng.uniform(50, 150, (draws, n)),
            carryover=np.full(n, 0.3),
            family="bent",
            bend=rng.uniform(0.5, 3.0, (draws, n)),
        ),
        reference=np.append(rng.uniform(50, 150, n - 1), 0.0),
        channels=("a", "b", "c"),
        elasticity=elasticity,
        inclusive=inclusive,
    )


def test_a_tenth_more_of_one_lifts_the_other_by_its_elasticity() -> None:
    curves = toy(0.5)
    before = curves.mean_revenue(USUAL)
    after = curves.mean_revenue(np.array([110.0, 100.0]))
    # 0.6 x 100 x 1/2 = 30 and 3 x 200 x 1/3 = 200 at the reference
    np.testing.assert_allclose(before, [30.0, 200.0])
    assert after[1] == pytest.approx(200.0 * 1.1**0.5)
    assert after[0] == pytest.approx(0.6 * 110 / 2.1)


def test_inclusive_curves_are_additive_at_the_reference_and_to_first_order() -> None:
    curves, alone = toy(0.5, inclusive=True), toy(0.0)
    np.testing.assert_allclose(curves.mean_revenue(USUAL), alone.mean_revenue(USUAL))
    np.testing.assert_allclose(curves.mean_marginal(USUAL), alone.mean_marginal(USUAL))
    more = np.array([110.0, 100.0])
    gained = curves.mean_revenue(more).sum() - alone.mean_revenue(more).sum()
    assert gained == pytest.approx(200 * (1.1**0.5 - 1 - 0.5 * np.log(1.1)))
    # ... but where a spends more, the next unit in b earns more
    assert curves.mean_marginal(more)[1] == pytest.approx(1.1**0.5 * 3 / 1.5**2)


@pytest.mark.parametrize("inclusive", [False, True])
def test_marginals_are_the_derivative_of_all_cells_revenue(inclusive: bool) -> None:
    curves = random_curves(inclusive)
    spend = np.random.default_rng(5).uniform(60, 140, len(curves.cells))
    nudge = 1e-4
    for number, marginal in enumerate(curves.mean_marginal(spend)):
        step = nudge * np.eye(len(spend))[number]
        gained = curves.mean_revenue(spend + step).sum() - curves.mean_revenue(spend - step).sum()
        assert marginal == pytest.approx(gained / (2 * nudge), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("inclusive", [False, True])
def test_the_expansion_agrees_in_value_and_slope_and_errs_by_the_square_of_a_step(
    inclusive: bool,
) -> None:
    curves = random_curves(inclusive)
    rng = np.random.default_rng(6)
    spend = rng.uniform(60, 140, len(curves.cells))
    near = curves.at(spend)
    np.testing.assert_allclose(near.draw_revenue(spend), curves.draw_revenue(spend))
    np.testing.assert_allclose(near.mean_marginal(spend), curves.mean_marginal(spend))
    way = rng.uniform(-1, 1, len(spend))

    def missed(step: float) -> float:
        moved = spend * (1 + step * way)
        return abs(float((near.mean_revenue(moved) - curves.mean_revenue(moved)).sum()))

    assert missed(0.25) < 0.01 * float(np.abs(curves.mean_revenue(spend)).sum())
    assert missed(0.05) < missed(0.25) / 12  # 1/25 were it the square alone


@pytest.mark.parametrize("inclusive", [False, True])
def test_the_expansion_has_diminishing_returns_everywhere(inclusive: bool) -> None:
    curves = random_curves(inclusive)
    spend = np.random.default_rng(7).uniform(40, 200, len(curves.cells))
    near = curves.at(spend)
    levels = np.linspace(0.0, 8.0, 200)
    slopes = np.array([near.mean_marginal(level * spend) for level in levels])
    assert (np.diff(slopes, axis=0) <= 1e-12).all()
    values = np.array([near.mean_revenue(level * spend) for level in levels])
    middle = np.array(
        [near.mean_marginal(level * spend) for level in (levels[1:] + levels[:-1]) / 2]
    )
    steps = np.diff(values, axis=0) / (levels[1] * spend)
    np.testing.assert_allclose(steps[40:], middle[40:], rtol=2e-2, atol=2e-3)


def cycles(curves_at: Callable[[Policy], ResponseCurves], count: int = 40) -> Array:
    """Budgets after ``count`` cycles of steps of at most 25 %, from an even split on."""
    policy = Policy.of({A: Decimal("100.00"), B: Decimal("100.00")})
    for _ in range(count):
        rules = resolve_rules(cells=policy.cells, total=policy.total, max_step=0.25)
        policy = allocate(curves=curves_at(policy), rules=rules, incumbent=policy).policy
    return np.array([float(amount) for _, amount in policy.budgets])


def best_on_a_grid(revenue: Callable[[Array], float]) -> float:
    return max(revenue(np.array([x, TOTAL - x])) for x in np.linspace(0.0, TOTAL, 4001))


@pytest.mark.parametrize(("elasticity", "first"), [(0.6, 0.6), (-0.35, 3.0)])
def test_cycles_of_planning_reach_the_joint_optimum_and_the_additive_plan_does_not(
    elasticity: float, first: float
) -> None:
    curves = toy(elasticity, first=first)

    def revenue(spend: Array) -> float:
        return float(curves.mean_revenue(spend).sum())

    optimum = best_on_a_grid(revenue)
    joint = revenue(cycles(lambda policy: separable_at(curves, policy)))
    additive = revenue(cycles(lambda policy: curves.base))
    assert joint > 0.99 * optimum
    assert additive < 0.99 * optimum


def test_planning_from_what_holdouts_show_reaches_the_optimum_and_counting_twice_does_not() -> None:
    """Two channels earn f_a + f_b + J together; a holdout of either loses its own and all of J."""
    alone = saturating([0.2, 2.0], [100.0, 1500.0])

    def joint(spend: Array) -> float:
        first, second = np.maximum(spend, 0.0)
        return 3.0 * float(first**0.8 * second**0.1)

    def revenue(spend: Array) -> float:
        return float(alone.mean_revenue(spend).sum()) + joint(spend)

    # lifts as of the usual spend: value, slope and the elasticity of one by the other's spend
    nudge = 1e-3
    found = {}
    for number, cell in enumerate((A, B)):
        other = 1 - number

        def lift(spend: Array, number: int = number) -> float:
            return float(alone.mean_revenue(spend)[number]) + joint(spend)

        unit = np.eye(2)
        value = lift(USUAL)
        slope = (lift(USUAL + nudge * unit[number]) - value) / nudge
        across = (lift(USUAL + nudge * unit[other]) - value) / nudge * USUAL[other] / value
        found[cell] = (value, slope, across)
    # the Michaelis-Menten curve with that value and slope: f = m x k / (k + x), f' = m (k/(k+x))^2
    level = {c: USUAL[0] * v[1] / v[0] for c, v in found.items()}  # k / (k + x)
    scales = [level[c] / (1 - level[c]) * USUAL[0] for c in (A, B)]
    returns = [found[c][1] / level[c] ** 2 for c in (A, B)]
    # both directions tell of one and the same J: half from each
    elasticity = np.array([[[0.0, found[B][2] / 2], [found[A][2] / 2, 0.0]]])

    def curves(inclusive: bool) -> InteractingCurves:
        own = saturating(returns, scales)
        return InteractingCurves(own, USUAL, ("a", "b"), elasticity, inclusive)

    optimum = best_on_a_grid(revenue)
    once, twice = curves(True), curves(False)
    assert revenue(cycles(lambda policy: separable_at(once, policy))) > 0.99 * optimum
    assert revenue(cycles(lambda policy: separable_at(twice, policy))) < 0.99 * optimum


def test_a_cell_that_spent_nothing_lifts_nobody_and_spends_far_out_are_held() -> None:
    curves = random_curves(False)
    spend = curves.reference.copy()
    more = spend.copy()
    more[-1] += 500.0
    np.testing.assert_allclose(
        curves.draw_revenue(more)[:, :-1], curves.draw_revenue(spend)[:, :-1]
    )
    far = toy(0.5)
    five, nine = (far.mean_revenue(np.array([x, 100.0]))[1] for x in (500.0, 900.0))
    assert five == pytest.approx(200 * 5**0.5)
    assert nine == pytest.approx(five)
    assert far.mean_revenue(np.array([0.0, 100.0]))[1] == pytest.approx(200 * 0.2**0.5)


def test_segments_do_not_meddle_with_each_other() -> None:
    curves = random_curves(False)
    spend = np.full(len(curves.cells), 100.0)
    moved = spend.copy()
    moved[:3] *= 1.5
    change = curves.mean_revenue(moved) - curves.mean_revenue(spend)
    assert (np.abs(change[:3]) > 1e-3).all()
    np.testing.assert_array_equal(change[3:], 0.0)


def test_arrays_bring_the_same_curves_back() -> None:
    curves = random_curves(True)
    back = InteractingCurves.from_arrays(curves.to_arrays())
    spend = np.full(len(curves.cells), 120.0)
    np.testing.assert_array_equal(back.draw_revenue(spend), curves.draw_revenue(spend))
    assert (back.channels, back.inclusive, back.cells) == (("a", "b", "c"), True, curves.cells)


def test_only_interacting_curves_are_expanded() -> None:
    policy = Policy.of({A: Decimal("90.00"), B: Decimal("110.00")})
    curves = toy(0.5)
    near = separable_at(curves, policy)
    assert isinstance(near, SeparableCurves)
    at = spends(policy, curves)
    np.testing.assert_allclose(near.draw_revenue(at), curves.draw_revenue(at))
    assert separable_at(curves.base, policy) is curves.base


def test_a_channel_without_elasticities_or_with_one_on_itself_is_refused() -> None:
    base = saturating([1.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="channel needs"):
        InteractingCurves(base, USUAL, ("a", "c"), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="with itself"):
        InteractingCurves(base, USUAL, ("a", "b"), np.eye(2)[None])
