"""Curves that may be null or harmful: nothing is claimed that the evidence does not say."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy, from_cents
from models.response.fit import ResponseFit
from models.response.signed_returns import SignedConfig, with_signed_returns
from tests.models.response.test_fit import World, experiments


def signed(fit: ResponseFit) -> tuple[SaturatingCurves, dict[str, float]]:
    assert fit.mode is not None
    return with_signed_returns(fit.curves, *fit.mode)


def channel_return(curves: SaturatingCurves, world: World, channel: str) -> np.ndarray:
    """Draws of a channel's revenue per unit of its usual spend."""
    spend = world.spend[-28:].mean(axis=0)
    inside = [i for i, cell in enumerate(curves.cells) if cell.channel == channel]
    earned = curves.draw_revenue(spend)[:, inside].sum(axis=1)
    return np.asarray(earned / spend[inside].sum())


def test_where_every_channel_works_no_draw_changes() -> None:
    fit = World(8, 3, 26, noise=0.1, seed=6).fit()
    curves, likely = signed(fit)
    assert max(likely.values()) < 1e-3
    np.testing.assert_array_equal(curves.marginal_at_zero, fit.curves.marginal_at_zero)


@pytest.mark.parametrize("m", [0.0, -1.0])
def test_a_channel_that_does_nothing_or_harm_is_told_as_it_is(m: float) -> None:
    world = World(8, 3, 26, noise=0.1, seed=6, returns=np.tile([2.0, m, 1.5], 8))
    curves, likely = signed(world.fit())
    assert likely["null_c1"] > 0.8 and likely["null_c0"] < 0.001
    spend = world.spend[-28:].mean(axis=0)
    truth = world.revenue(spend)[1::3].sum() / spend[1::3].sum()
    drawn = channel_return(curves, world, "c1")
    assert drawn.mean() == pytest.approx(truth, abs=0.1)
    low, high = np.quantile(drawn, [0.05, 0.95])
    assert low <= 0 and high - low < 0.3
    assert (high < 0) == (m < 0)


@pytest.mark.parametrize("delta", [6000.0, -3000.0])
def test_a_lift_test_that_shows_nothing_leaves_0_inside_the_interval(delta: float) -> None:
    world = World(6, 2, 8, noise=0.5, seed=7)
    null = experiments(world, "c1", ["s0", "s1", "s2"], delta=delta).assign(
        incremental_revenue=0.0, standard_error=0.1 * abs(delta)
    )
    curves, likely = signed(world.fit(lifts=world.lifts.iloc[:0], experiments=null))
    spend = world.spend[-28:].mean(axis=0)
    low, high = np.quantile(curves.draw_revenue(spend), [0.05, 0.95], axis=0)
    assert (low <= 0).all() and (high >= 0).all()
    assert likely["null_c1"] > likely["null_c0"]  # nobody tested c0


def test_an_untested_channel_keeps_its_prior_odds() -> None:
    world = World(4, 2, 8, noise=0.5, seed=8)
    test = experiments(world, "c1", ["s0", "s1"], delta=3000.0)
    config = SignedConfig()
    _, likely = signed(world.fit(lifts=world.lifts.iloc[:0], experiments=test))
    prior = config.null_share + config.harm_share
    assert likely["null_c0"] == pytest.approx(prior, abs=0.01)
    assert likely["null_c1"] < 0.01


def test_a_cell_that_does_harm_in_a_channel_that_works_is_seen() -> None:
    returns = np.tile([2.0, 2.0], 8)
    returns[1] = -0.8  # s0 x c1
    world = World(8, 2, 26, noise=0.05, seed=6, returns=returns)
    curves, _ = signed(world.fit())
    place = curves.cells.index(Cell("s0", "c1"))
    spend = world.spend[-28:].mean(axis=0)
    drawn = curves.draw_revenue(spend)[:, place] / spend[place]
    truth = world.revenue(spend)[place] / spend[place]
    assert np.quantile(drawn, 0.95) < 0
    assert drawn.mean() == pytest.approx(truth, abs=0.15)
    others = [i for i, cell in enumerate(curves.cells) if cell.channel == "c1" and i != place]
    assert np.quantile(curves.draw_revenue(spend)[:, others], 0.05, axis=0).min() > 0


def test_the_mean_of_draws_of_both_signs_has_diminishing_returns() -> None:
    world = World(8, 3, 12, noise=0.6, seed=6, returns=np.tile([2.0, 0.1, 1.5], 8))
    curves, _ = signed(world.fit())
    assert (curves.marginal_at_zero < 0).any()
    top = 3 * world.spend.max()
    marginal = np.array([curves.mean_marginal(np.full(24, x)) for x in np.linspace(0, top, 60)])
    assert (np.diff(marginal, axis=0) <= 1e-9).all()


def test_with_a_fixed_total_money_leaves_the_harmful_cell_first() -> None:
    # three cells: harm, nothing, and one that works but may take only a little more
    curves = SaturatingCurves(
        cells=(Cell("s", "a"), Cell("s", "b"), Cell("s", "c")),
        marginal_at_zero=np.array([[-0.5, 0.0, 2.0]]),
        half_saturation=np.array([[1e9, 1e9, 1000.0]]),
        carryover=np.zeros(3),
    )
    before = Policy.of({cell: from_cents(100_00) for cell in curves.cells})
    rules = resolve_rules(cells=curves.cells, total=before.total, max_step=0.25)
    plan = allocate(curves=curves, rules=rules, incumbent=before)
    budgets = {cell.channel: amount for cell, amount in plan.policy.budgets}
    assert budgets["a"] == from_cents(75_00) and budgets["c"] == from_cents(125_00)
    assert plan.policy.total == before.total


def test_nothing_depends_on_the_unit_of_money() -> None:
    world = partial(World, 8, 3, 12, noise=0.4, seed=6, returns=np.tile([2.0, 0.0, 1.5], 8))
    plain, _ = signed(world().fit())
    scaled, _ = signed(world(unit=100.0).fit())
    np.testing.assert_allclose(
        plain.marginal_at_zero, scaled.marginal_at_zero, rtol=1e-5, atol=1e-7
    )


def test_frames_without_tests_or_lifts_of_a_channel_are_fine() -> None:
    world = World(3, 2, 8, noise=0.5, seed=9)
    lifts = world.lifts[world.lifts.channel == "c0"]
    curves, likely = signed(world.fit(lifts=lifts))
    assert set(likely) == {"null_c0", "null_c1"}
    assert np.isfinite(curves.marginal_at_zero).all()
