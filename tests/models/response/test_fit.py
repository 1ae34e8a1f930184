"""Pooled response curves: the right posterior, honest where there is little or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.policy import Cell, Policy, from_cents
from models.lift.evidence import effective, gather
from models.lift.imputed_spend import daily_spend
from models.response.ensemble import FIXED as MICHAELIS_MENTEN
from models.response.fit import FitFeeds, ResponseConfig, ResponseFit, fit_response
from models.response.hierarchy import Hierarchy
from models.response.prior import ParameterPrior, Prior

Array = NDArray[np.float64]
START = date(2026, 1, 5)
# worlds of Michaelis-Menten curves, fitted as such: what is right can be computed by other means
KNOWN_FAMILY = Prior(bend=MICHAELIS_MENTEN)
FIXED = ResponseConfig(
    draws=4000,
    fade_per_day=0.0,
    prior=KNOWN_FAMILY,
    carryover_grid=(0.3,),
    spread_rounds=0,
    holdout_days=0,
    breaks=None,
)


class World:
    """Cells with known Michaelis-Menten curves, weekly budgets that wander, and noisy lifts."""

    def __init__(
        self,
        segments: int,
        channels: int,
        weeks: int,
        *,
        noise: float,
        seed: int,
        returns: Array | None = None,
        unit: float = 1.0,
        carryover: float = 0.3,
    ) -> None:
        rng = np.random.default_rng(seed)
        prior = Prior()
        self.cells = [Cell(f"s{i}", f"c{j}") for i in range(segments) for j in range(channels)]
        n = len(self.cells)
        channel = np.tile(np.arange(channels), segments)
        segment = np.repeat(np.arange(segments), channels)
        size = 1000 * np.exp(rng.normal(0, 0.6, segments))[segment]
        log_m = 0.7 + rng.normal(0, prior.returns.channel, channels)[channel]
        log_m += rng.normal(0, prior.returns.segment, segments)[segment]
        log_m += rng.normal(0, prior.returns.own, n)
        log_k = rng.normal(0, prior.scale.channel, channels)[channel]
        log_k += rng.normal(0, prior.scale.own, n)
        usual = size * rng.dirichlet(np.full(channels, 2.5), segments).ravel() * channels
        jitter = np.exp(rng.normal(0, 0.3, (weeks, n)))
        self.m = np.exp(log_m) if returns is None else returns
        self.spend = np.repeat(usual * jitter, 7, axis=0)
        mean = self.spend.mean(axis=0)
        real_size = np.bincount(segment, weights=mean)[segment] / channels
        self.k = np.exp(log_k) * real_size
        level = effective(self.spend, np.full(n, carryover))
        earned = (self.m * level / (1 + level / self.k)).reshape(weeks, 7, n).mean(axis=1)
        error = noise * self.k
        observed = earned + error * rng.standard_normal(earned.shape)
        days = [START + timedelta(days=d) for d in range(7 * weeks)]
        names = {
            "segment": [c.segment for c in self.cells],
            "channel": [c.channel for c in self.cells],
        }
        self.performance = pd.DataFrame(
            {
                "date": np.repeat(np.array(days, dtype=object), n),
                **{k: np.tile(v, 7 * weeks) for k, v in names.items()},
                "spend": self.spend.ravel() * unit,
            }
        )
        starts = pd.date_range(START, periods=weeks, freq="7D")
        self.lifts = pd.DataFrame(
            {
                **{k: np.tile(v, weeks) for k, v in names.items()},
                "period_start": starts.repeat(n),
                "period_end": (starts + pd.Timedelta(days=6)).repeat(n),
                "spend": self.spend.reshape(weeks, 7, n).mean(axis=1).ravel() * unit,
                "lift": observed.ravel() * unit,
                "standard_error": np.tile(error, weeks) * unit,
            }
        )
        self.usual = usual

    @property
    def daily(self) -> pd.DataFrame:
        return daily_spend(self.performance, as_of=date(2030, 1, 1))

    def fit(self, config: ResponseConfig = FIXED, **more: Any) -> ResponseFit:
        feeds = FitFeeds(self.lifts, self.daily)
        return fit_response(replace(feeds, **more), config)

    def of(self, cell: Cell) -> pd.DataFrame:
        own = (self.lifts.segment == cell.segment) & (self.lifts.channel == cell.channel)
        return self.lifts[own]

    def revenue(self, spend: Array) -> Array:
        return self.m * spend / (1 + spend / self.k)


# -- the posterior, against an independent sampler


def log_posterior(
    world: World, prior: Prior, walkers: Array, sizes: Array, seen: list[tuple[Array, ...]]
) -> Array:
    """Of many parameter vectors (n_walkers, n), written from the model's definition alone, one
    parameter after the other."""
    channels = sorted({c.channel for c in world.cells})
    segments = sorted({c.segment for c in world.cells})
    values = iter(walkers.T)
    mu, kappa = next(values), next(values)
    alpha = {c: next(values) for c in channels}
    scale = {c: next(values) for c in channels}
    beta = {s: next(values) for s in segments}
    total = -0.5 * (mu / prior.returns.sd_mean) ** 2 - 0.5 * (kappa / prior.scale.sd_mean) ** 2
    for c in channels:
        tail = prior.tail * prior.returns.channel**2
        total = total - 0.5 * (prior.tail + 1) * np.log(1 + alpha[c] ** 2 / tail)
        total = total - 0.5 * (scale[c] / prior.scale.channel) ** 2
    for s in segments:
        total = total - 0.5 * (beta[s] / prior.returns.segment) ** 2
    for i, cell in enumerate(world.cells):
        m, k = next(values), next(values)
        own = m - mu - alpha[cell.channel] - beta[cell.segment]
        total = total - 0.5 * (own / prior.returns.own) ** 2
        total = total - 0.5 * ((k - kappa - scale[cell.channel]) / prior.scale.own) ** 2
        half = np.exp(k) * sizes[i]
        x, lift, error = seen[i]
        earned = (np.exp(m) * x / (1 + x / half)).reshape(-1, 7, len(m)).mean(axis=1)
        total = total - 0.5 * (((lift - earned) / error) ** 2).sum(axis=0)
    return np.asarray(total)


def what_was_seen(world: World) -> list[tuple[Array, ...]]:
    """Each cell's effective spend by day, lifts and standard errors by week, as columns."""
    found = []
    for i, cell in enumerate(world.cells):
        held, level = world.spend[:7, i].mean(), []
        for spent in world.spend[:, i]:
            held = 0.7 * spent + 0.3 * held
            level.append(held)
        rows = world.of(cell)
        columns = np.array(level), rows.lift.to_numpy(), rows.standard_error.to_numpy()
        found.append(tuple(column[:, None] for column in columns))
    return found


def stretch_moves(world: World, prior: Prior, *, steps: int, seed: int) -> tuple[Array, Array]:
    """Log m and log k of every cell, (n_kept, n_cells, 2), and the cells' sizes, by the affine-
    invariant ensemble sampler (Goodman and Weare 2010): it needs no gradient and no scale."""
    rng = np.random.default_rng(seed)
    n = len(world.cells)
    channels = len({c.channel for c in world.cells})
    shared = 2 + 2 * channels + len({c.segment for c in world.cells})
    money = world.spend.mean(axis=0)
    sizes = np.array(
        [
            sum(money[j] for j, d in enumerate(world.cells) if d.segment == c.segment) / channels
            for c in world.cells
        ]
    )
    half, seen = 100, what_was_seen(world)
    walkers = rng.normal(0, 0.2, (2, half, shared + 2 * n))
    here = np.array([log_posterior(world, prior, part, sizes, seen) for part in walkers])
    kept = []
    for step in range(steps):
        for side in (0, 1):
            stretch = (1 + rng.uniform(size=half)) ** 2 / 2  # density ~ z^-1/2 on [1/2, 2]
            partner = walkers[1 - side][rng.integers(half, size=half)]
            tried = partner + stretch[:, None] * (walkers[side] - partner)
            there = log_posterior(world, prior, tried, sizes, seen)
            odds = (tried.shape[1] - 1) * np.log(stretch) + there - here[side]
            taken = np.log(rng.uniform(size=half)) < odds
            walkers[side][taken], here[side][taken] = tried[taken], there[taken]
        if step >= steps // 3 and step % 10 == 0:
            kept.append(walkers[:, :, shared:].reshape(2 * half, n, 2).copy())
    return np.concatenate(kept), sizes


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
def test_the_posterior_agrees_with_an_independent_sampler(channels: int) -> None:
    world = World(3, channels, 10, noise=0.1, seed=4)
    kept, sizes = stretch_moves(world, KNOWN_FAMILY, steps=3000 * channels, seed=1)
    fit = world.fit()
    ours = np.log(fit.curves.marginal_at_zero), np.log(fit.curves.half_saturation / sizes)
    for number in range(len(world.cells)):
        for which in (0, 1):
            theirs = kept[:, number, which]
            sd = theirs.std()
            assert ours[which][:, number].mean() == pytest.approx(theirs.mean(), abs=0.35 * sd)
            assert ours[which][:, number].std() == pytest.approx(sd, rel=0.25)
    # and what matters: revenue at the usual spend, of each cell and of their sum
    spend = world.spend.mean(axis=0)
    m, k = np.exp(kept[:, :, 0]), np.exp(kept[:, :, 1]) * sizes
    theirs = m * spend / (1 + spend / k)
    mine = fit.curves.draw_revenue(spend)
    for a, b in [*zip(mine.T, theirs.T, strict=True), (mine.sum(axis=1), theirs.sum(axis=1))]:
        width = np.quantile(b, 0.95) - np.quantile(b, 0.05)
        assert a.mean() == pytest.approx(b.mean(), abs=0.12 * width)
        for q in (0.05, 0.95):
            assert np.quantile(a, q) == pytest.approx(np.quantile(b, q), abs=0.15 * width)


def test_the_posterior_agrees_with_importance_sampling_in_one_cell() -> None:
    """With one cell whose shared effects are known, the exact posterior is a plain integral."""
    world = World(1, 1, 12, noise=0.15, seed=1)
    tight = 1e-4
    prior = replace(
        KNOWN_FAMILY,
        returns=ParameterPrior(0.7, tight, tight, 0.35, -9.0, 7.0, segment=tight),
        scale=ParameterPrior(0.0, tight, tight, 0.2, -5.0, 5.0),
    )
    fit = world.fit(replace(FIXED, prior=prior))
    sizes = world.spend.mean(axis=0)
    grid_m, grid_k = np.meshgrid(np.linspace(-1, 2.5, 201), np.linspace(-1, 1, 161), indexing="ij")
    level = effective(world.spend, np.array([0.3]))[:, 0]
    logs = -0.5 * ((grid_m - 0.7) / 0.35) ** 2 - 0.5 * (grid_k / 0.2) ** 2
    for week in range(12):
        x = level[7 * week : 7 * week + 7, None, None]
        half = np.exp(grid_k) * sizes[0]
        earned = (np.exp(grid_m) * x / (1 + x / half)).mean(axis=0)
        row = world.lifts.iloc[week]
        logs -= 0.5 * ((row.lift - earned) / row.standard_error) ** 2
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    at = world.usual[0]
    revenue = np.exp(grid_m) * at / (1 + at / (np.exp(grid_k) * sizes[0]))
    mean = float((weight * revenue).sum())
    sd = float(np.sqrt((weight * (revenue - mean) ** 2).sum()))
    mine = fit.curves.draw_revenue(world.usual)[:, 0]
    assert mine.mean() == pytest.approx(mean, abs=0.15 * sd)
    assert mine.std() == pytest.approx(sd, rel=0.1)
    order = np.argsort(revenue.ravel())
    cumulated = np.cumsum(weight.ravel()[order])
    for q in (0.05, 0.95):
        exact = revenue.ravel()[order][np.searchsorted(cumulated, q)]
        assert np.quantile(mine, q) == pytest.approx(exact, abs=0.2 * sd)


def test_the_gradient_and_the_mode_are_right() -> None:
    world = World(3, 2, 8, noise=0.2, seed=2)
    tests = experiments(world, "c0", ["s0", "s2"], delta=3000.0)
    evidence = gather(lifts=world.lifts, daily=world.daily, experiments=tests, fade_per_day=0.01)
    model = Hierarchy(evidence, Prior())
    state = model.start(np.full(2, 0.3))
    rng = np.random.default_rng(0)
    state = replace(state, cells=state.cells + 0.2 * rng.normal(size=state.cells.shape))
    pull = model.pull(state, model.predict(state.cells, state.carryover))
    down_cells, down_shared = model.with_prior(state, pull)

    def misfit(cells: Array, shared: Array) -> float:
        moved = replace(state, cells=cells, shared=shared)
        return model.misfit(moved, model.predict(cells, state.carryover))

    step = 1e-5
    for i, j in product(range(6), range(model.d)):
        bump = np.zeros_like(state.cells)
        bump[i, j] = step
        slope = misfit(state.cells + bump, state.shared) - misfit(state.cells - bump, state.shared)
        assert -slope / (2 * step) == pytest.approx(down_cells[i, j, 0], rel=1e-4, abs=1e-4)
    for i in range(len(state.shared)):
        bump = np.zeros_like(state.shared)
        bump[i] = step
        slope = misfit(state.cells, state.shared + bump) - misfit(state.cells, state.shared - bump)
        assert -slope / (2 * step) == pytest.approx(down_shared[i, 0], rel=1e-4, abs=1e-4)
    mode = model.climb(state, steps=60, tolerance=1e-13)
    pull = model.pull(mode, model.predict(mode.cells, mode.carryover))
    flat = model.with_prior(mode, pull)
    assert max(np.abs(flat[0]).max(), np.abs(flat[1]).max()) < 1e-3


@pytest.mark.parametrize("with_tests", [False, True])
def test_draws_have_the_covariance_of_the_whole_hessian(with_tests: bool) -> None:
    """The block elimination and the conditioning on tests equal one dense inverse."""
    world = World(3, 2, 8, noise=0.2, seed=2)
    tests = experiments(world, "c0", ["s0", "s2"], delta=3000.0) if with_tests else None
    evidence = gather(lifts=world.lifts, daily=world.daily, experiments=tests, fade_per_day=0.01)
    model = Hierarchy(evidence, Prior())
    state = model.climb(model.start(np.full(2, 0.3)))
    predicted = model.predict(state.cells, state.carryover)
    arrow = model.curvature(state, predicted)
    n, shared = model.d * len(world.cells), len(state.shared)
    unit = np.eye(n + shared)
    cells, globals_ = arrow.solve(unit[:n].reshape(-1, model.d, n + shared), unit[n:])
    inverse = np.vstack([cells.reshape(n, -1), globals_])
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-10)
    drawn = arrow.draws(np.random.default_rng(0), 40_000)
    stacked = np.vstack([drawn[0].reshape(n, -1), drawn[1]])
    sd = np.sqrt(np.diag(inverse))
    np.testing.assert_allclose(
        np.cov(stacked) / np.outer(sd, sd), inverse / np.outer(sd, sd), atol=0.04
    )
    np.testing.assert_allclose(stacked.mean(axis=1), 0, atol=1e-12)


# -- what a person expects of it


def experiments(
    world: World, channel: str, segments: list[str], *, delta: float, **more: object
) -> pd.DataFrame:
    """A test run long before the lifts, whose result is the truth."""
    where = [i for i, c in enumerate(world.cells) if c.channel == channel and c.segment in segments]
    base = world.spend.mean(axis=0)[where]
    moved = base + delta / 7 * base / base.sum()
    m, k = world.m[where], world.k[where]
    truth = 7 * float((m * moved / (1 + moved / k) - m * base / (1 + base / k)).sum())
    row = {
        "experiment": "t1",
        "segments": ";".join(segments),
        "channel": channel,
        "start": pd.Timestamp(2025, 11, 3),
        "end": pd.Timestamp(2025, 11, 9),
        "spend_delta": delta,
        "incremental_revenue": truth,
        "standard_error": abs(truth) * 0.02,
        **more,
    }
    return pd.DataFrame([row])


def test_curves_never_decrease_and_have_diminishing_returns_in_every_draw() -> None:
    fit = World(3, 2, 8, noise=1.0, seed=3).fit()
    levels = np.linspace(0, 1e5, 50)
    revenue = np.array([fit.curves.draw_revenue(np.full(6, x)) for x in levels])
    slopes = np.diff(revenue, axis=0)
    assert (slopes >= 0).all()
    assert (np.diff(slopes, axis=0) <= 1e-9 * revenue.max()).all()


def test_a_cell_without_data_has_a_wider_interval_around_its_channel_and_segment() -> None:
    world = World(6, 2, 16, noise=0.05, seed=5)
    blind = (world.lifts.segment == "s2") & (world.lifts.channel == "c1")
    seen, unseen = world.fit(), world.fit(lifts=world.lifts[~blind])
    place = unseen.curves.cells.index(Cell("s2", "c1"))
    logs = np.log(unseen.curves.marginal_at_zero)
    assert logs[:, place].std() > 2 * np.log(seen.curves.marginal_at_zero)[:, place].std()
    others = [i for i, c in enumerate(unseen.curves.cells) if c.channel == "c1" and i != place]
    assert logs[:, place].mean() == pytest.approx(logs[:, others].mean(), abs=0.5)
    # in size like its own segment, not like the average one
    ratio = unseen.curves.half_saturation[:, place].mean() / world.k[place]
    assert 0.5 < ratio < 2.0


def test_a_channel_that_does_nothing_gets_a_curve_near_nothing() -> None:
    returns = np.tile([2.0, 0.0, 1.5], 8)
    fit = World(8, 3, 26, noise=0.1, seed=6, returns=returns).fit()
    idle = [i for i, c in enumerate(fit.curves.cells) if c.channel == "c1"]
    busy = [i for i, c in enumerate(fit.curves.cells) if c.channel == "c0"]
    assert fit.curves.marginal_at_zero[:, idle].mean() < 0.1
    assert fit.curves.marginal_at_zero[:, busy].mean() > 1.2


def test_a_harmful_channel_is_not_worth_more_than_a_useless_one() -> None:
    returns = np.tile([2.0, -1.0, 1.5], 8)
    fit = World(8, 3, 26, noise=0.1, seed=6, returns=returns).fit()
    harmful = [i for i, c in enumerate(fit.curves.cells) if c.channel == "c1"]
    assert fit.curves.marginal_at_zero[:, harmful].mean() < 0.1


@pytest.mark.parametrize("delta", [6000.0, -3000.0])
def test_a_lift_test_of_either_sign_narrows_what_it_was_about(delta: float) -> None:
    world = World(3, 2, 6, noise=1.0, seed=7)
    test = experiments(world, "c1", ["s0", "s1"], delta=delta)
    without, with_test = world.fit(), world.fit(experiments=test)
    about = [
        i for i, c in enumerate(without.curves.cells) if c.channel == "c1" and c.segment != "s2"
    ]
    base = world.spend.mean(axis=0)

    def spread(fit: ResponseFit) -> float:
        moved = base.copy()
        moved[about] += delta / 7 * base[about] / base[about].sum()
        gain = fit.curves.draw_revenue(moved) - fit.curves.draw_revenue(base)
        return float(gain[:, about].sum(axis=1).std())

    assert spread(with_test) < 0.3 * spread(without)
    line = with_test.tests.iloc[0]
    assert line.fitted == pytest.approx(line.incremental_revenue, abs=3 * line.standard_error)
    assert with_test.diagnostics["tests"] == 1


def test_a_null_test_is_evidence_against_and_one_about_unknown_segments_is_counted_out() -> None:
    world = World(3, 2, 6, noise=1.0, seed=7)
    null = experiments(
        world, "c1", ["s0", "s1", "s2"], delta=6000.0, incremental_revenue=0.0, standard_error=300.0
    )
    before, after = world.fit(), world.fit(experiments=null)
    about = [i for i, c in enumerate(before.curves.cells) if c.channel == "c1"]
    base = world.spend.mean(axis=0)
    moved = base.copy()
    moved[about] += 6000.0 / 7 * base[about] / base[about].sum()

    def gain(fit: ResponseFit) -> float:
        return float((fit.curves.mean_revenue(moved) - fit.curves.mean_revenue(base)).sum())

    assert gain(after) < 0.4 * gain(before)
    assert after.tests.fitted.item() < 2 * 300.0
    lost = world.fit(experiments=null.assign(segments="s0;atlantis"))
    assert lost.diagnostics["tests_ignored"] == 1
    assert lost.diagnostics["tests"] == 0


def test_tests_alone_are_enough_to_learn_from() -> None:
    world = World(3, 2, 6, noise=1.0, seed=7)
    fit = world.fit(
        lifts=world.lifts.iloc[:0], experiments=experiments(world, "c1", ["s0"], delta=6000.0)
    )
    assert len(fit.curves.cells) == 6


def test_nothing_to_learn_from_is_said_in_words() -> None:
    world = World(2, 1, 4, noise=1.0, seed=0)
    with pytest.raises(InsufficientEvidence, match="holdout or lift test"):
        world.fit(lifts=world.lifts.iloc[:0])
    with pytest.raises(InsufficientEvidence):
        fit_response(FitFeeds(lifts=world.lifts, daily_spend=world.daily.iloc[:0]))


def test_old_evidence_counts_less() -> None:
    world = World(2, 1, 40, noise=0.3, seed=1)
    early = world.lifts.period_end < pd.Timestamp(START) + pd.Timedelta(days=140)
    changed = world.lifts.assign(lift=np.where(early, 0.2, 1.0) * world.lifts.lift)
    spend = world.spend.mean(axis=0)
    steady = world.fit(lifts=changed).curves.mean_revenue(spend).sum()
    fading = world.fit(replace(FIXED, fade_per_day=0.03), lifts=changed)
    assert steady < 0.8 * world.revenue(spend).sum()
    assert fading.curves.mean_revenue(spend).sum() > 1.2 * steady


def test_carry_over_is_told_apart_when_the_evidence_is_clear() -> None:
    config = replace(FIXED, carryover_grid=(0.0, 0.15, 0.3, 0.45, 0.6, 0.75))
    for truth in (0.0, 0.7):
        world = World(6, 1, 60, noise=0.003, seed=2, carryover=truth)
        found = world.fit(config).diagnostics["carryover_c0"]
        assert found == pytest.approx(truth, abs=0.12)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_currency_s_unit_changes_no_decision(unit: float) -> None:
    config = ResponseConfig()
    plain, scaled = (World(4, 3, 12, noise=0.3, seed=9, unit=u).fit(config) for u in (1.0, unit))
    np.testing.assert_allclose(
        plain.curves.marginal_at_zero, scaled.curves.marginal_at_zero, rtol=1e-6
    )
    np.testing.assert_allclose(
        plain.curves.half_saturation * unit, scaled.curves.half_saturation, rtol=1e-6
    )


def test_the_same_seed_gives_the_same_curves_and_inputs_are_not_changed() -> None:
    world = World(3, 2, 8, noise=0.3, seed=3)
    before = world.lifts.copy()
    first, second = world.fit(), world.fit()
    np.testing.assert_array_equal(first.curves.marginal_at_zero, second.curves.marginal_at_zero)
    pd.testing.assert_frame_equal(world.lifts, before)


def test_the_evidence_table_shows_what_each_lift_is_explained_by() -> None:
    world = World(3, 2, 20, noise=0.3, seed=3)
    fit = world.fit(ResponseConfig())
    assert len(fit.evidence) == len(world.lifts)
    z = (fit.evidence.lift - fit.evidence.fitted) / fit.evidence.standard_error
    np.testing.assert_allclose(fit.evidence.z, z)
    assert 0.7 < fit.diagnostics["misfit"] < 1.2
    assert 0.7 <= fit.diagnostics["coverage_90"] <= 1.0


def test_money_moves_to_where_it_earns_more() -> None:
    returns = np.tile([3.0, 0.3], 5)
    world = World(5, 2, 12, noise=0.1, seed=4, returns=returns)
    fit = world.fit(ResponseConfig())
    incumbent = Policy.of(
        {c: from_cents(round(100 * x)) for c, x in zip(world.cells, world.usual, strict=True)}
    )
    plan = allocate(
        curves=fit.curves,
        rules=resolve_rules(cells=incumbent.cells, total=incumbent.total),
        incumbent=incumbent,
    )
    new = np.array([float(a) for _, a in plan.policy.budgets])
    assert world.revenue(new).sum() > world.revenue(world.usual).sum()
    assert plan.expected_gain.low > 0


@pytest.mark.slow
def test_ninety_percent_intervals_of_cells_and_of_their_sum_hold_about_ninety_percent() -> None:
    inside, sums = [], []
    for seed in range(120):
        world = World(5, 3, 12, noise=0.4, seed=100 + seed)
        drawn = world.fit(replace(FIXED, draws=600)).curves.draw_revenue(world.usual)
        truth = world.revenue(world.usual)
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        inside.append(((low <= truth) & (truth <= high)).mean())
        low, high = np.quantile(drawn.sum(axis=1), [0.05, 0.95])
        sums.append(low <= truth.sum() <= high)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)
    assert np.mean(sums) == pytest.approx(0.9, abs=0.08)
