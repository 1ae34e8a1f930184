"""What budget changes did to sales, as evidence beside the randomized kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from liftloop.core.curves.saturating import bent_shape
from liftloop.core.errors import InsufficientEvidence
from models.lift.evidence import Evidence, effective, gather
from models.lift.evidence import Test as LiftTest
from models.lift.sales_experiments import (
    CONFIG,
    _relative_error,
    _without_followers,
    sales_contrasts,
    without_covariates,
)
from models.response.ensemble import fit_ensemble
from models.response.fit import FitFeeds, ResponseConfig, ResponseFit, fit_response
from models.response.hierarchy import Hierarchy
from models.response.prior import Prior

Array = NDArray[np.float64]
RESPONSE = ResponseConfig(carryover_grid=(0.3,), breaks=None, draws=200, holdout_days=0)
SIZE = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """26 weeks in which each segment's mix of channels wandered steadily away."""

    daily: pd.DataFrame
    lifts: pd.DataFrame
    sales: pd.DataFrame
    m: Array
    k: Array
    usual: Array  # spend of the last four weeks

    def fit(self, *, sales: pd.DataFrame | None = None) -> ResponseFit:
        return fit_response(self.feeds(sales), RESPONSE)

    def feeds(self, sales: pd.DataFrame | None = None) -> FitFeeds:
        return FitFeeds(self.lifts, self.daily, sales=sales)

    def contrasts(self, sales: pd.DataFrame) -> tuple[LiftTest, ...]:
        return sales_contrasts(
            sales=sales,
            evidence=self.evidence(),
            days=pd.DatetimeIndex(self.daily.index),
            fade_per_day=0.0,
        )

    def evidence(self) -> Evidence:
        return gather(lifts=self.lifts, daily=self.daily, experiments=None, fade_per_day=0.0)

    def earned(self, spend: Array) -> Array:
        return np.asarray(self.m * self.k * bent_shape(spend / self.k, np.full(len(self.k), 2.0)))


def moved(
    *,
    seed: int = 0,
    noise: float = 0.03,
    lift_error: float = 1.5,
    follow: float = 0.0,
    covariate: float = 0.0,
    segments: int = 10,
    channels: int = 4,
) -> Moved:
    """``noise`` of a segment's day, with a lag-one correlation of .3. Where sales ``follow``, the
    total of a segment trends with its organic demand, to that power."""
    rng = np.random.default_rng(seed)
    n, weeks, days = segments * channels, 26, 7 * 26
    m = np.tile([3.0, 2.0, 1.2, 0.8], segments)[:n] * np.exp(rng.normal(0, 0.3, n))
    k, usual = SIZE * np.exp(rng.normal(0, 0.3, n)), SIZE * np.exp(rng.normal(0, 0.3, n))
    line = np.linspace(-0.5, 0.5, weeks)[:, None]
    mix = usual * np.exp(1.4 * line * rng.normal(size=n) + 0.1 * rng.normal(size=(weeks, n)))
    mix = mix.reshape(weeks, segments, channels)
    mix = mix * (mix.sum(axis=2).mean(axis=0) / mix.sum(axis=2))[:, :, None]
    trend = line * (0.4 * rng.normal(size=segments) if follow else np.zeros(segments))
    spend = np.repeat((mix * np.exp(trend)[:, :, None]).reshape(weeks, n), 7, axis=0)
    level = effective(spend, np.full(n, 0.3))
    earned = m * k * bent_shape(level / k, np.full(n, 2.0))
    error = lift_error * SIZE
    seen = earned.reshape(weeks, 7, n).mean(axis=1) + error * rng.standard_normal((weeks, n))
    wander, shock = np.zeros((days, segments)), rng.standard_normal((days, segments))
    for day in range(days):
        wander[day] = 0.3 * wander[day - 1] + np.sqrt(1 - 0.09) * shock[day]
    common = np.cumsum(0.01 * rng.standard_normal(days))[:, None]
    price = np.repeat(rng.standard_normal((7, segments)), 28, axis=0)[:days]
    organic = np.log(15 * SIZE * channels) + rng.normal(0, 0.4, segments) + common + noise * wander
    organic = np.exp(organic + covariate * price + follow * np.repeat(trend, 7, axis=0))
    sold = organic + earned.reshape(days, segments, channels).sum(axis=2)
    pairs = pd.MultiIndex.from_product(
        [[f"s{i}" for i in range(segments)], [f"c{j}" for j in range(channels)]],
        names=["segment", "channel"],
    )
    daily = pd.DataFrame(spend, pd.date_range("2026-01-05", periods=days, name="date"), pairs)
    start = np.repeat(daily.index[::7], n)
    lifts = pd.DataFrame(
        {
            "segment": np.tile(pairs.get_level_values(0), weeks),
            "channel": np.tile(pairs.get_level_values(1), weeks),
            "period_start": start,
            "period_end": start + pd.Timedelta(days=6),
            "spend": spend[::7].ravel(),
            "lift": seen.ravel(),
            "standard_error": error,
        }
    )
    sales = pd.DataFrame(
        {
            "date": np.repeat(daily.index, segments),
            "segment": np.tile([f"s{i}" for i in range(segments)], days),
            "orders": 1,
            "revenue": sold.ravel(),
        }
    )
    if covariate:
        sales["x_price"] = price.ravel()
    return Moved(daily, lifts, sales, m, k, spend[-28:].mean(axis=0))


# -- the contrasts


def test_a_contrast_is_a_segments_change_beyond_its_share_of_all_change() -> None:
    world = moved(segments=3)
    # a sells 100, then 100; b 100, then 160; c 200, then 200: of the 60 more a should have 60 x
    # .2174 (its share of all that was sold), ...
    week = np.arange(26 * 7) // 7
    rows = {
        "s0": np.full(182, 100.0),
        "s1": np.where(week < 13, 100.0, 160.0),
        "s2": np.full(182, 200.0),
    }
    sales = pd.concat(
        pd.DataFrame({"date": world.daily.index, "segment": name, "revenue": value})
        for name, value in rows.items()
    )
    found = {test.name: test for test in world.contrasts(sales)}
    assert list(found) == ["sales of s2", "sales of s1", "sales of s0"]  # the largest first
    # no segment's total spend changes in the world, so nothing is taken out
    gains = np.array([found[f"sales of s{i}"].gain for i in range(3)])
    np.testing.assert_allclose(
        gains, 60 * (np.array([0, 1, 0]) - np.array([100, 130, 200]) / 430), atol=1e-3
    )
    portion = found["sales of s1"].portion
    np.testing.assert_allclose(
        portion, np.where(np.arange(12) // 4 == 1, 300, -130) / 430, atol=1e-5
    )
    # all rows together count for two
    assert sum(test.weight for test in found.values()) == pytest.approx(2.0)


def test_what_shocks_all_alike_and_the_season_cancel() -> None:
    world = moved(noise=0.03)
    dates = pd.to_datetime(world.sales["date"])
    wave = np.exp(0.3 * np.sin(2 * np.pi * dates.dt.dayofyear / 365.25))
    plain = world.contrasts(world.sales)
    shaken = world.contrasts(world.sales.assign(revenue=world.sales.revenue * wave))
    for one, two in zip(plain, shaken, strict=True):
        assert two.name == one.name
        assert two.gain == pytest.approx(one.gain, abs=0.35 * one.standard_error)


def test_expected_contrasts_are_differences_of_what_the_curves_earn() -> None:
    world = moved(segments=2, channels=1)
    evidence = world.evidence()
    tests = world.contrasts(world.sales)
    model = Hierarchy(replace(evidence, tests=tests), Prior())
    state = model.start(np.full(1, 0.3))
    cells = state.cells.copy()
    cells[:, 0] = np.log([3.0, 2.0])
    found = model.predict(cells, state.carryover).test
    scale, bend = np.exp(cells[:, 1]), np.exp(cells[:, 2])
    change = np.zeros(2)
    for spend, sign in ((tests[0].actual, 1), (tests[0].otherwise, -1)):
        earned = np.exp(cells[:, 0]) * scale * bent_shape(spend / scale, bend)
        change += sign * earned * evidence.size
    for row, test in enumerate(tests):
        assert found[row] == pytest.approx(float(np.sum(test.portion * change)))


def test_contrasts_miss_the_truth_by_about_their_standard_errors() -> None:
    misses = []
    for seed in range(12):
        world = moved(seed=seed, noise=0.06)
        for test in world.contrasts(world.sales):
            change = world.earned(test.actual * sizes(world)) - world.earned(
                test.otherwise * sizes(world)
            )
            misses.append((test.gain - np.sum(test.portion * change)) / test.standard_error)
    # 120 of them, 9 in 10 of them free: 1 within 4 / sqrt(2 x 108), the more as errors are shrunk
    # and widened for following each other
    assert 0.6 < float(np.std(misses)) < 1.25


def sizes(world: Moved) -> Array:
    return world.evidence().size


def test_the_error_is_that_of_a_difference_of_means_where_weeks_are_independent() -> None:
    rng = np.random.default_rng(0)
    weekly = 1000.0 * np.exp(0.02 * rng.standard_normal((26, 40)))
    found = _relative_error(weekly, 8, CONFIG)
    # .02 sqrt(2 / 8), 1 in 40 less; a little wider for a correlation of (0 + its bias of 1 / 26)
    assert found.mean() == pytest.approx(0.01, rel=0.08)
    walk = 1000.0 * np.exp(np.cumsum(0.02 * rng.standard_normal((26, 40)), axis=0))
    late, early = walk[-8:].mean(axis=0), walk[:8].mean(axis=0)
    apart = np.log(late / early) - np.log(late.sum() / early.sum())
    assert np.std(apart / _relative_error(walk, 8, CONFIG)) < 1.0


def test_budgets_that_follow_demand_tell_nothing_in_their_own_direction() -> None:
    rng = np.random.default_rng(1)
    scale, following = rng.uniform(0.5, 2, 5), rng.normal(size=5)
    gain, portion = rng.normal(size=5), rng.normal(size=(5, 7))
    y, p = _without_followers(gain=gain, portion=portion, following=following, scale=scale)
    # the same likelihood as with the covariance written out
    covariance = np.diag(scale**-2) + np.outer(following, following)
    at = rng.normal(size=7)
    whole = gain - portion @ at
    assert ((scale * (y - p @ at)) ** 2).sum() == pytest.approx(
        whole @ np.linalg.solve(covariance, whole)
    )


def test_a_segment_that_lacks_a_day_here_and_there_says_about_the_same() -> None:
    world = moved()
    rng = np.random.default_rng(3)
    kept = world.sales[rng.random(len(world.sales)) > 0.04]
    whole, holed = world.contrasts(world.sales), world.contrasts(kept)
    assert [test.name for test in holed] == [test.name for test in whole]
    for one, two in zip(whole, holed, strict=True):
        assert two.gain == pytest.approx(one.gain, abs=0.7 * one.standard_error)
        assert two.standard_error == pytest.approx(one.standard_error, rel=0.3)


def test_segments_that_lack_most_of_a_week_and_few_weeks_say_nothing() -> None:
    world = moved()
    some = world.sales["date"].isin(world.daily.index[100:108])
    gone = world.sales[~(some & (world.sales["segment"] == "s3"))]
    assert {t.name for t in world.contrasts(gone)} == {
        f"sales of s{i}" for i in range(10) if i != 3
    }
    late = world.sales[world.sales["date"] > world.daily.index[-1] - timedelta(weeks=8)]
    assert world.contrasts(late) == ()
    assert world.contrasts(world.sales[world.sales["segment"] == "s1"]) == ()
    elsewhere = world.sales.assign(segment="far " + world.sales["segment"])
    assert world.contrasts(elsewhere) == ()


def test_at_most_forty_of_the_largest_segments_are_asked() -> None:
    world = moved(segments=45, channels=1)
    found = world.contrasts(world.sales)
    sold = world.sales.groupby("segment")["revenue"].sum().nlargest(40)
    assert [test.name for test in found] == [f"sales of {name}" for name in sold.index]


def test_what_covariates_explain_is_taken_out_first() -> None:
    world = moved(covariate=0.1, noise=0.02)
    kept = world.sales.copy()
    blind = world.contrasts(world.sales.drop(columns="x_price"))
    told = world.contrasts(world.sales)
    pd.testing.assert_frame_equal(world.sales, kept)
    errors = [np.mean([test.standard_error for test in tests]) for tests in (blind, told)]
    assert errors[1] < 0.6 * errors[0]
    # a covariate of pure chance takes nothing out
    rng = np.random.default_rng(5)
    chance = world.sales.assign(x_price=rng.standard_normal(len(world.sales)))
    for one, two in zip(blind, world.contrasts(chance), strict=True):
        assert two.gain == pytest.approx(one.gain, abs=0.25 * one.standard_error)
    before = without_covariates(world.sales, as_of=(world.daily.index[-1]).date() + timedelta(1))
    assert set(before.columns) == {"date", "segment", "revenue"}
    for one, two in zip(told, world.contrasts(before), strict=True):
        assert two.gain == pytest.approx(one.gain)


# -- in a fit


def test_sales_never_make_a_fit_possible() -> None:
    world = moved()
    with pytest.raises(InsufficientEvidence, match="No response can be estimated yet"):
        fit_response(
            FitFeeds(lifts=world.lifts.iloc[:0], daily_spend=world.daily, sales=world.sales)
        )


def test_sales_that_trend_with_spend_do_not_override_lifts() -> None:
    for seed in range(3):
        world = moved(seed=seed, follow=1.0, noise=0.02)
        plain, told = world.fit(), world.fit(sales=world.sales)
        assert len(told.sales) == 10
        gone = told.curves.mean_revenue(world.usual) - plain.curves.mean_revenue(world.usual)
        drawn = plain.curves.draw_revenue(world.usual)
        assert np.abs(gone / drawn.std(axis=0)).max() < 0.3  # of a posterior sd, in every cell
        assert abs(gone.sum()) < 0.3 * drawn.sum(axis=1).std()


def test_sales_that_see_the_mix_move_make_thin_evidence_a_little_surer() -> None:
    errors, spreads = [], []
    for seed in range(8):
        world = moved(seed=seed, noise=0.02)
        fits = [world.fit(), world.fit(sales=world.sales)]
        told = np.array([fit.curves.mean_revenue(world.usual) for fit in fits])
        errors.append(np.sqrt((np.log(told / world.earned(world.usual)) ** 2).mean(axis=1)))
        spreads.append([fit.curves.draw_revenue(world.usual).std(axis=0).mean() for fit in fits])
    without, with_sales = np.mean(errors, axis=0)
    assert with_sales < without + 0.01
    assert np.mean(spreads, axis=0)[1] < 0.99 * np.mean(spreads, axis=0)[0]


def test_the_pooled_baseline_does_not_look_at_sales() -> None:
    world = moved(noise=0.02)
    tables = [
        fit_ensemble(feeds, response=RESPONSE).table.set_index("member")["revenue"]
        for feeds in (world.feeds(), world.feeds(world.sales))
    ]
    assert tables[0]["pooled"] == tables[1]["pooled"]
    assert tables[0]["curves"] != tables[1]["curves"]
