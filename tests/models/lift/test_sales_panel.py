"""Channels without a holdout: sales of all segments as a panel, claims with a prior, bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from liftloop.core.curves.saturating import SaturatingCurves, bent_shape, untested_cells
from liftloop.core.errors import InsufficientEvidence
from models.lift.attributed_revenue import weekly_claims
from models.lift.evidence import Evidence, gather
from models.lift.imputed_spend import daily_spend
from models.lift.sales_panel import PanelConfig, sales_panel
from models.response.fit import ResponseConfig
from models.response.hierarchy import Hierarchy
from models.response.prior import BEND, RETURN, SCALE, Prior
from models.response.sales_bound import within_sales
from models.response.train import HoldoutConfig, HoldoutModel, train_holdout

Array = NDArray[np.float64]
SEGMENTS = [f"s{number}" for number in range(8)]
CHANNELS = ["search", "tv", "video"]
FIRST = date(2025, 1, 6)
CONFIG = HoldoutConfig(
    response=ResponseConfig(carryover_grid=(0.0,), carryover_mean=0.0, breaks=None, draws=200),
    interactions=None,
    season=False,
    tuning_trials=0,
)


@dataclass(frozen=True, slots=True, eq=False)
class Shops:
    """Weekly budgets of 8 segments and 3 channels, and what was sold: a level, what a week brings
    to all, noise of ``noise`` a week, and what the ads earn, ``m K h(x / K)`` with bend 2."""

    performance: pd.DataFrame
    sales: pd.DataFrame
    m: Array  # (S, C)
    k: Array
    spend: Array  # (W, S, C)
    as_of: date

    @classmethod
    def of(
        cls,
        seed: int,
        *,
        weeks: int = 40,
        swing: float = 0.4,
        follows: float = 0.0,
        noise: float = 0.01,
        overclaims: float = 1.3,
    ) -> Shops:
        """``swing``: standard deviation of the log of randomized budgets; ``follows``: of how many
        percent spend rises with one percent of a segment's own demand."""
        rng = np.random.default_rng(seed)
        shape = (weeks, len(SEGMENTS), len(CHANNELS))
        m = np.array([2.0, 1.0, 0.3]) * np.exp(rng.normal(0, 0.1, shape[1:]))
        k = np.full(shape[1:], 1000.0)
        demand = np.exp(rng.normal(0, noise, shape[:2]))
        week = np.exp(rng.normal(0, 0.05, weeks))
        spend = 800.0 * np.exp(rng.normal(0, swing, shape)) * demand[:, :, None] ** follows
        level = rng.uniform(10_000, 30_000, len(SEGMENTS))
        earned = m * k * bent_shape(spend / k, np.full(shape, 2.0))
        sold = level * week[:, None] * demand + earned.sum(axis=2)
        days = pd.date_range(FIRST, periods=7 * weeks)
        names = pd.MultiIndex.from_product([days, SEGMENTS, CHANNELS], names=["date", "s", "c"])
        performance = names.to_frame(index=False).set_axis(["date", "segment", "channel"], axis=1)
        performance["spend"] = np.repeat(spend, 7, axis=0).ravel()
        performance["revenue"] = overclaims * np.repeat(earned, 7, axis=0).ravel()
        performance["impressions"] = 1000
        sales = pd.MultiIndex.from_product([days, SEGMENTS]).to_frame(index=False)
        sales = sales.set_axis(["date", "segment"], axis=1)
        sales["revenue"] = np.repeat(sold, 7, axis=0).ravel()
        return cls(performance, sales, m, k, spend, FIRST + timedelta(weeks=weeks))

    def evidence(self) -> tuple[Evidence, pd.DatetimeIndex]:
        daily = daily_spend(self.performance, as_of=self.as_of)
        claims = weekly_claims(
            performance=self.performance, sales=self.sales, holdout=None, as_of=self.as_of
        )
        lifts = pd.DataFrame(
            columns=[
                "segment",
                "channel",
                "period_start",
                "period_end",
                "lift",
                "standard_error",
                "spend",
            ]
        )
        found = gather(
            lifts=lifts,
            daily=daily,
            experiments=None,
            fade_per_day=0.0,
            claims=claims,
            every_claim=True,
        )
        return found, pd.DatetimeIndex(daily.index)

    def train(self, own_from: date | None = FIRST, **feeds: pd.DataFrame) -> HoldoutModel:
        names = ["date", "segment", "channel", "arm", "stratum", "users", "converters"]
        holdout = pd.DataFrame(columns=[*names, "conversions", "revenue", "revenue_sq"])
        holdout["date"] = pd.to_datetime(holdout["date"])
        frames = {"performance": self.performance, "sales": self.sales, "holdout": holdout} | feeds
        return train_holdout(
            frames, as_of=self.as_of, config=CONFIG, for_registry=False, own_from=own_from
        )

    def true_return(self, channel: int) -> float:
        """What a unit of the channel's spend earned over all weeks."""
        earned = self.m * self.k * bent_shape(self.spend / self.k, np.full(self.spend.shape, 2.0))
        return float(earned[:, :, channel].sum() / self.spend[:, :, channel].sum())

    def naive_return(self, channel: int) -> float:
        """The slope of sales on the channel's spend, levels of segments and weeks taken out."""
        sold = self.sales["revenue"].to_numpy().reshape(-1, len(SEGMENTS))[::7]
        x = self.spend.reshape(len(self.spend), -1, len(CHANNELS))

        def apart(values: Array) -> Array:
            within = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True)
            return np.asarray((within + values.mean(axis=(0, 1))).reshape(values.shape))

        features = np.stack([apart(x[:, :, c]).ravel() for c in range(len(CHANNELS))], axis=1)
        return float(np.linalg.lstsq(features, apart(sold).ravel(), rcond=None)[0][channel])


def interval(model: HoldoutModel, shops: Shops, channel: int) -> tuple[float, float, float]:
    """The channel's average return at its mean spend: its 90 % interval around the mean."""
    curves = model.curves
    mine = np.array([cell.channel == CHANNELS[channel] for cell in curves.cells])
    spend = np.where(mine, 800.0, 0.0)
    drawn = curves.draw_revenue(spend)[:, mine].sum(axis=1) / spend.sum()
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(low), float(drawn.mean()), float(high)


def test_at_the_truth_what_is_left_of_the_rows_is_noise_of_size_one() -> None:
    shops = Shops.of(1)
    evidence, days = shops.evidence()
    panel = sales_panel(
        shops.sales,
        evidence,
        days=days,
        fade_per_day=0.0,
        own_from=pd.Timestamp(FIRST),
        config=PanelConfig(own_bias=1e-6),
    )
    assert panel is not None
    model = Hierarchy(replace(evidence, panel=panel), Prior())
    state = model.start(np.zeros(len(CHANNELS)))
    place = {name: number for number, name in enumerate(evidence.channels)}
    at = [(SEGMENTS.index(cell.segment), CHANNELS.index(cell.channel)) for cell in evidence.cells]
    cells = state.cells.copy()
    cells[:, RETURN] = [np.log(shops.m[where]) for where in at]
    cells[:, SCALE] = np.log([shops.k[w] / size for w, size in zip(at, evidence.size, strict=True)])
    cells[:, BEND] = np.log(2.0)
    predicted = model.predict(cells, np.zeros(len(place)))
    squares = (panel.observed - predicted.test) ** 2
    rows = len(squares)
    assert rows >= 2 * len(evidence.cells) - 4
    # a chi-square over its rows, 4 standard deviations; the noise's own size is estimated as well
    assert squares.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / rows))
    nothing = cells.copy()
    nothing[:, RETURN] = -9.0
    assert ((panel.observed - model.predict(nothing, np.zeros(3)).test) ** 2).mean() > 2


def test_the_derivatives_of_the_rows_are_their_slopes() -> None:
    shops = Shops.of(2, weeks=12)
    evidence, days = shops.evidence()
    panel = sales_panel(shops.sales, evidence, days=days, fade_per_day=0.007)
    model = Hierarchy(replace(evidence, panel=panel), Prior())
    state, g = model.start(np.full(3, 0.3)), np.full(3, 0.3)
    slopes = model.predict(state.cells, g).test_slope.reshape(-1, *state.cells.shape)
    for cell, parameter in ((0, RETURN), (5, SCALE), (23, BEND)):
        up, down = state.cells.copy(), state.cells.copy()
        up[cell, parameter] += 1e-4
        down[cell, parameter] -= 1e-4
        numeric = (model.predict(up, g).test - model.predict(down, g).test) / 2e-4
        assert slopes[:, cell, parameter] == pytest.approx(numeric, abs=2e-4)


def test_randomized_budgets_and_sales_tell_what_channels_earn() -> None:
    shops = Shops.of(3, overclaims=3.0)  # claims far outside of what is usual
    model = shops.train()
    for channel in range(len(CHANNELS)):
        low, _, high = interval(model, shops, channel)
        assert low <= shops.true_return(channel) * 1.1  # at the mean spend a little more is earned
        assert high >= shops.true_return(channel) * 0.9
    assert interval(model, shops, 0)[1] > 2 * interval(model, shops, 2)[1]
    assert set(untested_cells(model.curves)) == set(model.curves.cells)
    assert model.metrics["untested_cells"] == 24


def test_spend_that_follows_demand_is_not_taken_for_a_cause() -> None:
    shops = Shops.of(4, swing=0.1, follows=3.0, noise=0.03)
    assert shops.naive_return(2) > 1.5 * shops.true_return(2) + 0.3  # the trap
    model = shops.train(own_from=None)  # nobody randomized these budgets
    low, mean, high = interval(model, shops, 2)
    assert low <= shops.true_return(2) <= high
    assert mean < shops.naive_return(2)


def test_cells_never_earn_more_than_was_sold() -> None:
    shops = Shops.of(5, weeks=8)
    small = shops.sales.assign(revenue=shops.sales["revenue"] / 40)
    model = shops.train(sales=small)
    daily = daily_spend(shops.performance, as_of=shops.as_of)
    at = daily[-28:].mean().to_numpy()
    earned = np.maximum(model.curves.draw_revenue(at), 0)
    sold = small.groupby("segment")["revenue"].mean()
    for name, most in sold.items():
        mine = [cell.segment == name for cell in model.curves.cells]
        assert earned[:, mine].sum(axis=1).max() <= most * 1.001


def test_the_bound_leaves_what_is_below_it_and_what_harms() -> None:
    cells = Shops.of(6, weeks=8).evidence()[0].cells[:2]
    m = np.array([[1.0, -0.5], [4.0, 1.0]])
    curves = SaturatingCurves(cells, m, np.full((2, 2), 1e6), np.zeros(2))
    bounded = within_sales(curves, {cells[0].segment: 250.0}, spend=np.array([100.0, 100.0]))
    assert bounded.marginal_at_zero[0] == pytest.approx(m[0])
    assert bounded.draw_revenue(np.full(2, 100.0))[1].sum() == pytest.approx(250.0)


def test_without_claims_the_fix_names_them() -> None:
    shops = Shops.of(7, weeks=12)
    silent = replace(shops, performance=shops.performance.assign(revenue=0.0))
    with pytest.raises(InsufficientEvidence) as told:
        silent.train()
    assert "revenue that platforms claim" in str(told.value)


def test_sales_in_a_small_currency_bound_draws_that_earn_nothing() -> None:
    cells = Shops.of(6, weeks=8).evidence()[0].cells[:2]
    m = np.array([[0.0, -0.5], [4.0, 1.0]])
    curves = SaturatingCurves(cells, m, np.full((2, 2), 1e12), np.zeros(2))
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        bounded = within_sales(curves, {cells[0].segment: 1e9}, spend=np.array([1e9, 1e9]))
    assert bounded.marginal_at_zero[0] == pytest.approx(m[0])
    assert bounded.marginal_at_zero[1].sum() < m[1].sum()


def test_below_four_weeks_of_history_nothing_is_estimated() -> None:
    shops = Shops.of(7, weeks=3)
    with pytest.raises(InsufficientEvidence, match="28 days of spend and claimed revenue"):
        shops.train()


def test_harm_is_believed_of_a_test_and_not_of_claims() -> None:
    shops = Shops.of(8, weeks=12)
    spent = 7 * 4 * 800.0 * len(SEGMENTS)
    test = pd.DataFrame(
        {
            "experiment": ["video off"],
            "segments": [";".join(SEGMENTS)],
            "channel": ["video"],
            "start": [pd.Timestamp(shops.as_of) - pd.Timedelta(days=28)],
            "end": [pd.Timestamp(shops.as_of) - pd.Timedelta(days=1)],
            "spend_delta": [spent],
            "incremental_revenue": [-1.5 * spent],
            "standard_error": [0.1 * spent],
        }
    )
    before, after = shops.train(), shops.train(experiments=test)
    assert interval(before, shops, 2)[1] > 0
    _, mean, high = interval(after, shops, 2)
    assert mean < -0.5 and high < 0
    assert {cell.channel for cell in untested_cells(after.curves)} == {"search", "tv"}
    assert interval(after, shops, 0)[1] > 0
