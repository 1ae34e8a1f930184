"""What an observation is worth: by hand, by simulation, and from few draws."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.exploration.value_of_information import (
    Block,
    Outlook,
    Reoptimization,
    blocks,
    centred,
    cycles_of,
    option,
    outlook,
    summed,
    worth_of_moving,
    worth_of_tests,
)
from liftloop.core.policy import Cell


def one_channel(view: Outlook, noise: Array, *, cells: int | None = None) -> Block:
    """All cells in one channel, free to move, their total kept."""
    n = len(noise) if cells is None else cells
    moves = Reoptimization.of(
        curvature=view.curvature, free=np.ones(n, dtype=bool), sums=np.ones((1, n))
    )
    names = [Cell(f"s{i:03d}", "c") for i in range(n)]
    (found,) = blocks(names, considered=np.arange(n), view=view, noise=noise, moves=moves)
    return found


def worth_of_test(
    block: Block, *, effect: Array, standard_error: float, first: int, cycles: int
) -> float:
    (worth,) = worth_of_tests(
        block,
        effects=effect[None],
        standard_errors=np.array([standard_error]),
        first=first,
        cycles=cycles,
    )
    return float(worth)


def straight(slopes: Array, *, spend: float, bend: float) -> Outlook:
    """Revenue a x - bend x^2 / 2 at ``spend``, with draws of a, shape (n_draws, n_cells)."""
    a = centred(slopes)
    n = slopes.shape[1]
    return Outlook(a * spend, a, slopes.mean(axis=0) - bend * spend, np.full(n, bend))


def uncertain_and_certain(sd: float) -> Array:
    """Draws of two slopes of mean 2: exactly ``sd`` of standard deviation in the first, 0 in the
    second."""
    ranks = np.linspace(-1.0, 1.0, 201)
    ranks *= sd / ranks.std(ddof=1)
    return np.column_stack([2.0 + ranks, np.full(201, 2.0)])


def test_a_test_of_one_of_two_cells_is_worth_what_a_hand_calculation_says() -> None:
    # P = 1 / (2 x 0.002) = 250; one fifth of the variance 0.01 is learned: 250 x 0.002 / 2
    view = straight(uncertain_and_certain(0.1), spend=100.0, bend=0.002)
    block = one_channel(view, np.full(2, np.inf))
    effect = view.level * np.array([1.0, 0.0])
    worth = worth_of_test(block, effect=effect, standard_error=20.0, first=1, cycles=1)
    assert worth == pytest.approx(0.25, rel=1e-12)
    three = worth_of_test(block, effect=effect, standard_error=20.0, first=2, cycles=4)
    assert three == pytest.approx(0.75, rel=1e-12)


def test_moving_is_worth_the_difference_of_two_closed_forms() -> None:
    sd, bend, spend, noise, moved = 0.1, 0.002, 100.0, 20.0, 125.0
    view = straight(uncertain_and_certain(sd), spend=spend, bend=bend)
    block = one_channel(view, np.array([noise, np.inf]))
    tried = np.array([view.level * moved / spend, view.level])
    worth = worth_of_moving(block, first=view.level, tried=tried, cycles=5)

    def gain(information: float) -> float:  # precision from observations, in units of spend^2
        ratio = information * sd**2 / noise**2
        return 0.5 / (2 * bend) * sd**2 * ratio / (1.0 + ratio)

    by_hand = sum(gain(moved**2 + (t - 1) * spend**2) - gain(t * spend**2) for t in range(1, 6))
    assert worth[0, 0] == pytest.approx(by_hand, rel=1e-10)
    assert worth[0, 1] == 0.0  # nothing is measured there
    assert worth[1, 0] == pytest.approx(0.0, abs=1e-12)  # not moved at all


def test_cells_of_another_channel_teach_nothing() -> None:
    slopes = np.repeat(uncertain_and_certain(0.1)[:, :1], 2, axis=1)
    view = straight(slopes, spend=100.0, bend=0.002)
    moves = Reoptimization.of(
        curvature=view.curvature, free=np.ones(2, dtype=bool), sums=np.ones((1, 2))
    )
    apart = blocks(
        [Cell("s", "a"), Cell("s", "b")],
        considered=np.arange(2),
        view=view,
        noise=np.full(2, 20.0),
        moves=moves,
    )
    worth = [
        worth_of_test(b, effect=b.level, standard_error=20.0, first=1, cycles=1) for b in apart
    ]
    assert [len(b.cells) for b in apart] == [1, 1]
    assert min(worth) > 0
    # in one channel the two are the same cell twice: no move between them can pay
    together = one_channel(view, np.full(2, 20.0))
    tested = worth_of_test(together, effect=view.level, standard_error=20.0, first=1, cycles=1)
    assert tested == pytest.approx(0.0, abs=1e-12)


def two_saturating_cells(draws: int, spread: float) -> SaturatingCurves:
    rng = np.random.default_rng(11)
    z = rng.normal(size=(2, draws))
    return SaturatingCurves(
        cells=(Cell("north", "video"), Cell("south", "video")),
        marginal_at_zero=np.column_stack(
            [2.0 * np.exp(spread * z[0] - spread**2 / 2), np.full(draws, 2.0)]
        ),
        half_saturation=np.column_stack([1000.0 * np.exp(0.2 * z[1]), np.full(draws, 1000.0)]),
        carryover=np.zeros(2),
    )


@pytest.mark.parametrize("noise", [60.0, 200.0, 600.0])
def test_the_second_order_agrees_with_a_simulation_of_all_that_may_be_observed(
    noise: float,
) -> None:
    """Preposterior simulation: draw a world, observe its lift, weigh every draw by how well it
    explains that, choose the best split, and see what it is expected to earn."""
    curves = two_saturating_cells(4000, 0.2)
    total, grid = 2000.0, np.linspace(600.0, 1400.0, 161)
    spend = np.array([1000.0, 1000.0])
    revenue = np.column_stack(
        [curves.draw_revenue(np.array([x, total - x])).sum(axis=1) for x in grid]
    )
    start = int(np.argmax(revenue.mean(axis=0)))
    spend = np.array([grid[start], total - grid[start]])
    lift = curves.draw_revenue(spend)[:, 0]
    rng = np.random.default_rng(5)
    world = rng.integers(0, len(lift), 3000)
    observed = lift[world] + noise * rng.normal(size=len(world))
    weight = np.exp(-0.5 * ((observed[:, None] - lift) / noise) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    gains = (weight @ revenue).max(axis=1) - (weight @ revenue)[:, start]
    simulated, error = gains.mean(), gains.std(ddof=1) / np.sqrt(len(gains))

    view = outlook(curves, spend)
    block = one_channel(view, np.full(2, np.inf))
    worth = worth_of_test(
        block, effect=view.level * np.array([1.0, 0.0]), standard_error=noise, first=1, cycles=1
    )
    # the second order leaves out the curves' third derivatives: about a tenth here
    assert abs(worth - simulated) < 4 * error + 0.12 * simulated
    assert simulated > 4 * error


def test_two_hundred_draws_tell_nearly_what_six_thousand_tell() -> None:
    """Chance correlations between 40 cells would more than double the value if nothing was done."""

    def worth(draws: int, seed: int) -> Array:
        rng = np.random.default_rng(seed)
        common, own = rng.normal(size=(draws, 1)), rng.normal(size=(2, draws, 40))
        curves = SaturatingCurves(
            cells=tuple(Cell(f"s{i:03d}", "c") for i in range(40)),
            marginal_at_zero=2.0 * np.exp(0.2 * common + 0.2 * own[0]),
            half_saturation=1000.0 * np.exp(0.3 * own[1]),
            carryover=np.zeros(40),
        )
        spend = np.full(40, 1000.0)
        view = outlook(curves, spend)
        block = one_channel(view, np.full(40, 300.0))
        tried = centred(curves.draw_revenue(1.25 * spend))[None]
        return np.asarray(worth_of_moving(block, first=view.level, tried=tried, cycles=12)[0])

    few = np.array([worth(200, seed).sum() for seed in range(8)])
    many = worth(6000, 100).sum()
    assert few.mean() == pytest.approx(many, rel=0.12)
    assert few.std(ddof=1) < 0.12 * many


def test_a_group_at_its_bound_keeps_its_sum_when_plans_are_made_anew() -> None:
    curvature = np.array([1.0, 2.0, 4.0, 8.0])
    sums = np.array([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    moves = Reoptimization.of(curvature=curvature, free=np.ones(4, dtype=bool), sums=sums)
    p = moves.block(np.arange(4))
    assert np.abs(sums @ p).max() < 1e-12
    # inside the group only the difference of two marginal returns moves money: 1 / (1 + 2)
    assert p[0, 0] == pytest.approx(1 / 3)
    held = Reoptimization.of(
        curvature=curvature, free=np.array([True, True, False, True]), sums=sums[:1]
    )
    assert np.abs(held.block(np.arange(4))[2]).max() == 0.0


def test_sums_over_cycles_are_exact_for_what_fades_as_one_over_their_number() -> None:
    nodes = cycles_of(51)
    assert nodes[0] == 1 and nodes[-1] == 51 and len(nodes) <= 6
    harmonic = sum(1 / cycle for cycle in range(1, 52))
    assert summed(3.0 / nodes + 1.0, nodes) == pytest.approx(3 * harmonic + 51, rel=1e-12)
    assert list(cycles_of(3)) == [1, 2, 3]
    assert list(cycles_of(4, first=4)) == [4]
    assert len(cycles_of(2, first=3)) == 0


def test_good_news_beyond_a_gap_is_worth_what_a_simulation_says() -> None:
    news = np.random.default_rng(1).normal(0.0, 0.3, 400_000)
    for gap in (0.0, 0.2, 0.9):
        used = 0.5 * np.maximum(news - gap, 0.0) ** 2
        error = used.std(ddof=1) / np.sqrt(len(used))
        assert abs(float(option(np.array(0.09), np.array(gap))) - used.mean()) < 4 * error
    # without a gap good news is half of all news
    assert float(option(np.array(0.09), np.array(0.0))) == pytest.approx(0.09 / 4)
    assert float(option(np.array(0.0), np.array(0.2))) == pytest.approx(0.0, abs=1e-200)
