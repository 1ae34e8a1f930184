"""Season in a fit: demand multiplies what spend earns, where the randomized evidence says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves, bent_shape
from liftloop.core.policy import Cell
from models.lift.evidence import Test as LiftTest
from models.lift.evidence import gather
from models.response.fit import FitFeeds, ResponseConfig, fit_response
from models.response.hierarchy import Hierarchy
from models.response.prior import Prior
from models.response.train import HoldoutConfig, HoldoutModel, train_holdout
from models.season.elasticity import choose_elasticity
from models.season.in_the_fit import (
    FitSeason,
    at_usual_demand,
    in_coming_cycle,
    known_season,
    mean_coming,
    usual_sales,
    with_season,
)

Array = NDArray[np.float64]
START = date(2024, 1, 1)
WEEKS = 104
CONFIG = ResponseConfig(carryover_grid=(0.3,), breaks=None, draws=100, holdout_days=0)
USERS = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class SeasonMarket:
    """Two years of weeks; ``season`` (days,) multiplies sales and, to the power ``elasticity``,
    the response. Four weeks more are the coming ones."""

    performance: pd.DataFrame
    holdout: pd.DataFrame
    sales: pd.DataFrame
    lifts: pd.DataFrame
    daily: pd.DataFrame
    season: Array
    earned: Array  # by day and cell, the coming weeks included
    cells: tuple[Cell, ...]
    spend: Array

    @property
    def as_of(self) -> date:
        return START + timedelta(days=7 * WEEKS)


def market(
    *, height: float, elasticity: float, seed: int = 0, segments: int = 4, channels: int = 2
) -> SeasonMarket:
    rng = np.random.default_rng(seed)
    n, days = segments * channels, 7 * (WEEKS + 4)
    cells = tuple(Cell(f"s{i}", f"c{j}") for i in range(segments) for j in range(channels))
    # the two years end in the trough, and the coming weeks are in it
    season = np.exp(height * np.cos(2 * np.pi * (np.arange(days) - 180) / 365.25))
    season /= season[7 * WEEKS - 364 : 7 * WEEKS].mean()
    m, k = np.exp(rng.normal(0.5, 0.4, n)), 1000 * np.exp(rng.normal(0, 0.3, n))
    spend = np.repeat(1000 * np.exp(rng.normal(0, 0.3, (WEEKS + 4, n))), 7, axis=0)
    earned = m * k * bent_shape(spend / k, np.full(n, 2.0)) * season[:, None] ** elasticity
    sold = 30_000 * season[:, None] * np.exp(0.05 * rng.standard_normal((days, segments)))
    sold = sold + earned.reshape(days, segments, channels).sum(axis=2)
    dates = pd.date_range(START, periods=days)
    known = 7 * WEEKS
    names = {
        "segment": np.tile([c.segment for c in cells], known),
        "channel": np.tile([c.channel for c in cells], known),
    }
    performance = pd.DataFrame(
        {
            "date": np.repeat(dates[:known], n),
            **names,
            "spend": spend[:known].ravel(),
            "revenue": 0.0,
            "impressions": 0,
            "clicks": 0,
            "conversions": 0.0,
        }
    )
    weekly = earned[:known].reshape(WEEKS, 7, n).mean(axis=1)
    error = 400.0
    begin = np.repeat(dates[:known:7], n)
    lifts = pd.DataFrame(
        {
            "segment": np.tile([c.segment for c in cells], WEEKS),
            "channel": np.tile([c.channel for c in cells], WEEKS),
            "period_start": begin,
            "period_end": begin + pd.Timedelta(days=6),
            "spend": spend[:known].reshape(WEEKS, 7, n).mean(axis=1).ravel(),
            "lift": (weekly + error * rng.standard_normal(weekly.shape)).ravel(),
            "standard_error": error,
        }
    )
    # arms: half of the users each, revenue per user-day with a standard deviation of 1
    base = np.repeat(sold[:known], channels, axis=1) / USERS
    arms = []
    for arm, more in (("treated", earned[:known] / (USERS / 2)), ("control", 0.0)):
        mean = base + more + rng.standard_normal(base.shape) / np.sqrt(USERS / 2)
        users = USERS // 2
        arms.append(
            performance[["date", "segment", "channel"]].assign(
                arm=arm,
                stratum="all",
                users=users,
                converters=0,
                conversions=0.0,
                revenue=(mean * users).ravel(),
                revenue_sq=((1 + mean**2) * users).ravel(),
            )
        )
    sales = pd.DataFrame(
        {
            "date": np.repeat(dates[:known], segments),
            "segment": np.tile([f"s{i}" for i in range(segments)], known),
            "orders": 1,
            "revenue": sold[:known].ravel(),
        }
    )
    columns = pd.MultiIndex.from_tuples(
        [(c.segment, c.channel) for c in cells], names=["segment", "channel"]
    )
    daily = pd.DataFrame(spend[:known], index=dates[:known].rename("date"), columns=columns)
    return SeasonMarket(
        performance,
        pd.concat(arms, ignore_index=True),
        sales,
        lifts,
        daily,
        season,
        earned,
        cells,
        spend,
    )


def trained(world: SeasonMarket, *, season: bool = True, sales: bool = True) -> HoldoutModel:
    frames = {"holdout": world.holdout, "performance": world.performance, "sales": world.sales}
    settings = HoldoutConfig(
        response=CONFIG, tuning_trials=0, claims=False, season=season, sales=sales
    )
    return train_holdout(frames, as_of=world.as_of, config=settings, for_registry=False)


def coming_error(world: SeasonMarket, curves: ResponseCurves) -> float:
    """Root mean square of the relative error of what cells earn in the coming week."""
    week = slice(7 * WEEKS, 7 * WEEKS + 7)
    order = [curves.cells.index(cell) for cell in world.cells]
    spend = np.empty(len(order))
    spend[order] = world.spend[week][0]
    told = curves.mean_revenue(spend)[order]
    true = world.earned[week].mean(axis=0)
    return float(np.sqrt((np.log(told / true) ** 2).mean()))


# -- what it changes, and what it leaves


@pytest.mark.parametrize("elasticity", [0.5, 1.0])
def test_where_response_follows_demand_the_coming_week_is_foretold_better(
    elasticity: float,
) -> None:
    world = market(height=0.4, elasticity=elasticity)
    model, without = trained(world), trained(world, season=False)
    assert model.metrics["season_elasticity"] == elasticity
    # the coming week's demand, as it was made: 0.64 of the year's mean
    true = world.season[7 * WEEKS : 7 * WEEKS + 7].mean() ** elasticity
    assert model.metrics["season_next"] == pytest.approx(true, abs=0.03)
    assert coming_error(world, without.curves) > 3 * coming_error(world, model.curves)
    # a season that curves cannot follow looks like noise beyond the lifts' own
    assert without.metrics["discrepancy"] > 1.1 > model.metrics["discrepancy"]


def test_where_only_organic_sales_have_a_season_the_curves_are_as_without() -> None:
    world = market(height=0.4, elasticity=0.0)
    model, without = trained(world, sales=False), trained(world, season=False, sales=False)
    assert model.metrics["season_elasticity"] == 0.0
    assert model.metrics["season_next"] == 1.0
    usual = np.full(len(model.curves.cells), 1000.0)
    np.testing.assert_allclose(
        model.curves.mean_revenue(usual), without.curves.mean_revenue(usual), rtol=1e-6
    )


def test_a_market_without_season_is_unharmed() -> None:
    errors = []
    for seed in range(2):
        world = market(height=0.0, elasticity=1.0, seed=seed)
        errors.append(
            [coming_error(world, trained(world, season=on).curves) for on in (False, True)]
        )
    without, with_one = np.mean(errors, axis=0)
    assert with_one == pytest.approx(without, rel=0.1)


def test_less_than_a_year_of_sales_changes_nothing() -> None:
    world = market(height=0.4, elasticity=1.0)
    late = pd.Timestamp(START + timedelta(days=7 * WEEKS - 366))
    short = replace(
        world,
        **{
            name: getattr(world, name)[getattr(world, name)["date"] >= late]
            for name in ("sales", "performance", "holdout")
        },
    )
    assert known_season(short.sales, as_of=world.as_of, cycle_days=7) is None
    model, without = trained(short), trained(short, season=False)
    assert isinstance(model.curves, SaturatingCurves)
    assert isinstance(without.curves, SaturatingCurves)
    np.testing.assert_array_equal(model.curves.marginal_at_zero, without.curves.marginal_at_zero)
    assert not [name for name in model.metrics if name.startswith("season")]


# -- its parts


def season_of(index: dict[str, list[float]], **more: float) -> FitSeason:
    days = pd.date_range(START, periods=len(next(iter(index.values()))))
    return FitSeason(pd.DataFrame(index, index=days), {}, **more)


def test_each_row_has_the_mean_demand_of_its_own_days_and_segment() -> None:
    world = market(height=0.4, elasticity=1.0)
    days = pd.DatetimeIndex(world.daily.index)
    index = np.where(np.arange(len(days)) < 7, 4.0, 0.25)
    season = season_of({"s0": list(index), "s1": [9.0] * len(days)}, elasticity=0.5)
    claims = world.lifts.assign(claimed=1.0, sold=1.0)
    evidence = gather(
        lifts=world.lifts, daily=world.daily, experiments=None, fade_per_day=0.0, claims=claims
    )
    test = LiftTest("t", np.array([0, 2]), np.ones(2), np.zeros(2), 14.0, 1.0, 1.0, 1.0, last=13)
    seen = replace(test, randomized=False)
    told = with_season(replace(evidence, tests=(test, seen)), season, days=days)
    demand = pd.Series(told.demand, told.cell)
    # s0 is cells 0 and 1, s1 cells 2 and 3; of s2 and s3 nothing is known
    assert demand[0].to_list()[:3] == [2.0, 0.5, 0.5]
    assert (demand[[2, 3]] == 3.0).all()
    assert (demand[[4, 5, 6, 7]] == 1.0).all()
    assert told.claims is not None
    np.testing.assert_array_equal(told.claims.demand, told.demand)
    # a fortnight of 4 and 1/4 is 17/8 on average
    np.testing.assert_allclose(told.tests[0].portion, [np.sqrt(17 / 8), 3.0])
    assert told.tests[1] is seen
    early = told.before(7)
    assert early.demand is not None
    assert len(early.demand) == len(early.lift) == 8
    assert early.claims is not None
    assert early.claims.demand is not None
    assert len(early.claims.demand) == 8


def test_demand_multiplies_what_is_expected_and_moves_the_level_alone() -> None:
    world = market(height=0.4, elasticity=1.0)
    evidence = gather(lifts=world.lifts, daily=world.daily, experiments=None, fade_per_day=0.0)
    plain = Hierarchy(evidence, Prior())
    factor = np.linspace(0.5, 2.0, len(evidence.lift))
    told = Hierarchy(replace(evidence, demand=factor), Prior())
    state = plain.start(np.full(2, 0.3))
    one, two = (model.predict(state.cells, state.carryover) for model in (plain, told))
    np.testing.assert_allclose(two.lift, factor * one.lift)
    np.testing.assert_allclose(two.slope, factor[:, None] * one.slope)
    # seen at usual demand, the standardized misfit is the same
    usual = at_usual_demand(replace(evidence, demand=factor))
    left = (usual.lift - one.lift) / usual.noise
    np.testing.assert_allclose(left, (evidence.lift - two.lift) / evidence.noise)


def test_the_elasticity_comes_with_odds_that_are_the_prior_ones_where_nothing_is_told() -> None:
    world = market(height=0.4, elasticity=1.0)
    days = pd.DatetimeIndex(world.daily.index)
    flat = season_of({f"s{i}": [1.0] * len(days) for i in range(4)})
    evidence = gather(lifts=world.lifts, daily=world.daily, experiments=None, fade_per_day=0.0)
    chosen, odds = choose_elasticity(evidence, flat, days=days, config=CONFIG)
    assert odds == pytest.approx({0.0: 0.2, 0.5: 0.3, 1.0: 0.5}, abs=1e-3)
    assert chosen.elasticity == 1.0


def test_curves_are_handed_over_as_those_of_the_coming_cycle() -> None:
    season = FitSeason(pd.DataFrame(), {"a": 4.0}, elasticity=0.5)
    curves = SaturatingCurves(
        cells=(Cell("a", "c"), Cell("b", "c")),
        marginal_at_zero=np.full((2, 2), 3.0),
        half_saturation=np.ones((2, 2)),
        carryover=np.zeros(2),
    )
    moved = in_coming_cycle(curves, season)
    np.testing.assert_array_equal(moved.marginal_at_zero, [[6.0, 3.0], [6.0, 3.0]])
    np.testing.assert_allclose(moved.mean_revenue(np.ones(2)), [3.0, 1.5])


def test_sales_of_usual_demand_are_sales_over_the_index() -> None:
    season = season_of({"a": [2.0, 0.5]})
    sales = pd.DataFrame(
        {
            "date": pd.to_datetime([START, START + timedelta(days=1), START]),
            "segment": ["a", "a", "b"],
            "revenue": [10, 10, 10],
        }
    )
    kept = sales.copy()
    assert usual_sales(sales, season)["revenue"].to_list() == [5.0, 20.0, 10.0]
    pd.testing.assert_frame_equal(sales, kept)


def test_the_demand_of_a_cycle_is_the_mean_over_its_days() -> None:
    index = pd.DataFrame(
        {"date": pd.date_range(START, periods=4), "segment": "a", "index": [1.0, 2.0, 4.0, 9.0]}
    )
    assert mean_coming(index, start=START + timedelta(days=1), days=2).to_dict() == {"a": 3.0}
    assert mean_coming(index, start=START + timedelta(days=9), days=2).empty


def test_without_sales_and_season_a_fit_is_what_it_was() -> None:
    world = market(height=0.4, elasticity=1.0)
    plain = fit_response(FitFeeds(lifts=world.lifts, daily_spend=world.daily), config=CONFIG)
    empty = world.sales.iloc[:0]
    other = fit_response(
        FitFeeds(lifts=world.lifts, daily_spend=world.daily, sales=empty), config=CONFIG
    )
    np.testing.assert_array_equal(plain.curves.marginal_at_zero, other.curves.marginal_at_zero)
    assert plain.diagnostics == pytest.approx(other.diagnostics, rel=0, abs=0, nan_ok=True)
