"""A season is what a date sells against a usual day: weekdays, the year, what is known ahead."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from liftloop.core.errors import InsufficientEvidence
from models.season.demand import Moments, Shrinkage, against_evidence, fit_pooled, season_index

FIRST = date(2024, 1, 1)  # a Monday
AHEAD = 91


def sold(
    *,
    days: int,
    segments: int = 6,
    yearly: float = 0.2,
    growth: float = 0.0,
    noise: float = 0.06,
    seed: int = 0,
    own: float = 0.03,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sales of ``days`` days, and the true index of those and of the days ahead, by segment; it
    is 1 on average over the 364 days before the end."""
    rng = np.random.default_rng(seed)
    day = np.arange(days + AHEAD)
    angle = 2 * np.pi * day / 365.25
    weekday = np.array([0.0, 0.05, 0.1, 0.0, 0.15, -0.2, -0.1])
    shift = rng.uniform(0, 2 * np.pi, 2)
    rows, truth = [], {}
    for number in range(segments):
        height = yearly + (own * rng.normal() if yearly else 0.0)
        year = height * (np.sin(angle + shift[0]) + 0.3 * np.sin(2 * angle + shift[1]))
        season = np.exp(year + weekday[day % 7])
        season /= season[max(days - 364, 0) : days].mean()
        level = np.exp(rng.normal(10, 1) + growth * day / 365)
        revenue = level * season * np.exp(noise * rng.normal(size=len(day)))
        name = f"s{number}"
        truth[name] = season
        rows.append(
            pd.DataFrame(
                {
                    "date": pd.date_range(FIRST, periods=len(day)),
                    "segment": name,
                    "orders": 1,
                    "revenue": revenue,
                }
            ).iloc[:days]
        )
    return pd.concat(rows, ignore_index=True), pd.DataFrame(
        truth, index=pd.date_range(FIRST, periods=len(day))
    )


def wide(season: pd.DataFrame, column: str = "index") -> pd.DataFrame:
    return season.pivot(index="date", columns="segment", values=column)


def test_two_years_of_sales_tell_the_next_quarter() -> None:
    sales, truth = sold(days=730, growth=0.3)
    found = season_index(sales=sales, as_of=FIRST + timedelta(days=730), days_ahead=AHEAD)
    error = np.log((wide(found.index) / truth).iloc[730:].to_numpy())
    # 730 days x 6 segments at 6 % noise know some 25 shared coefficients: 0.06 sqrt(25 / 4380) is
    # 0.005; what each segment has for itself and the shape between weeks bring it to under 0.02
    assert np.sqrt((error**2).mean()) < 0.02
    assert np.log(truth.iloc[730:].to_numpy()).std() > 0.1  # against saying 1 every day
    assert found.yearly


def test_growth_is_not_season() -> None:
    # sales double within a year and have no yearly pattern: the index has no trend
    sales, truth = sold(days=730, growth=0.7, yearly=0.0)
    found = season_index(sales=sales, as_of=FIRST + timedelta(days=730), days_ahead=AHEAD)
    index = wide(found.index).rolling(7).mean().dropna()
    assert np.abs(index.iloc[730 - 7 :].to_numpy() - 1).max() < 0.04
    assert np.abs(np.log((wide(found.index) / truth).iloc[730:].to_numpy())).max() < 0.06


def test_the_index_is_one_on_average_over_the_52_weeks_before() -> None:
    sales, _ = sold(days=730)
    found = season_index(sales=sales, as_of=FIRST + timedelta(days=730), days_ahead=AHEAD)
    assert wide(found.index).iloc[730 - 364 : 730].mean().to_numpy() == pytest.approx(1.0, abs=1e-9)
    dates = wide(found.index).index
    assert (dates[0].date(), dates[-1].date()) == (FIRST, FIRST + timedelta(days=730 + AHEAD - 1))


def test_intervals_hold_what_they_promise_over_markets() -> None:
    inside = []
    for seed in range(8):
        sales, truth = sold(days=730, growth=0.2, seed=seed)
        found = season_index(sales=sales, as_of=FIRST + timedelta(days=730), days_ahead=AHEAD)
        miss = (wide(found.index) - truth) / wide(found.index, "standard_error")
        inside.append((miss.iloc[730:].abs() < 1.645).to_numpy().mean())
    # days of a market err together, so a market's share swings by some 0.1: 8 of them by 0.04
    assert 0.90 - 3 * 0.04 < np.mean(inside) <= 1


def test_with_less_than_a_year_only_weekdays_are_told_and_it_says_so() -> None:
    sales, _ = sold(days=200)
    found = season_index(sales=sales, as_of=FIRST + timedelta(days=200), days_ahead=14)
    index = wide(found.index)
    assert not found.yearly
    assert "weekdays only" in found.note
    late = season_index(sales=sales, as_of=FIRST + timedelta(days=207), days_ahead=14)
    assert "Season from 200 days of sales" in late.note  # what was delivered, not what has passed
    assert np.allclose(index.iloc[:7], index.iloc[7:14])
    # Friday over Saturday: exp(0.15 + 0.2) = 1.42
    assert (index.iloc[4] / index.iloc[5]).to_numpy() == pytest.approx(1.42, rel=0.06)


def test_a_promotion_known_ahead_lifts_its_days() -> None:
    sales, _ = sold(days=400, yearly=0.0)
    rng = np.random.default_rng(3)
    dates = pd.date_range(FIRST, periods=400 + 14)
    promotion = pd.Series((rng.random(len(dates)) < 0.1).astype(float), index=dates)
    promotion.iloc[400:] = 0.0
    promotion.iloc[405] = 1.0
    sales["x_promotion"] = sales["date"].map(promotion)
    sales["revenue"] *= np.exp(0.3 * sales["x_promotion"])
    ahead = pd.DataFrame(
        [(day, f"s{s}", promotion[day]) for day in dates[400:] for s in range(6)],
        columns=["date", "segment", "x_promotion"],
    )
    as_of = FIRST + timedelta(days=400)
    found = season_index(sales=sales, as_of=as_of, days_ahead=14, ahead=ahead)
    index = wide(found.index)
    # the same weekday a week later has no promotion: exp(0.3) = 1.35
    assert (index.iloc[405] / index.iloc[412]).to_numpy() == pytest.approx(1.35, rel=0.03)
    blind = wide(season_index(sales=sales, as_of=as_of, days_ahead=14).index)
    assert (blind.iloc[405] / blind.iloc[412]).to_numpy() == pytest.approx(1.0, abs=0.03)


def test_a_segment_with_few_sales_takes_the_shared_season() -> None:
    sales, truth = sold(days=500)
    thin = sales[(sales.segment != "s5") | (sales.date.dt.day == 1)]
    found = season_index(sales=thin, as_of=FIRST + timedelta(days=500), days_ahead=28)
    error = np.log((wide(found.index)["s5"] / truth["s5"]).iloc[500:528].to_numpy())
    assert np.abs(error).max() < 0.15  # its own part, sd 0.03 of a wave, is not seen
    assert "1 segments with too few sales" in found.note
    assert (
        wide(found.index, "standard_error")["s5"].iloc[500:528].mean()
        > wide(found.index, "standard_error")["s0"].iloc[500:528].mean()
    )


def test_the_day_itself_and_what_follows_are_not_looked_at() -> None:
    sales, _ = sold(days=400)
    as_of = FIRST + timedelta(days=380)
    late = sales.assign(revenue=sales.revenue.where(sales.date < pd.Timestamp(as_of), 1e9))
    kept = late.copy()
    found = season_index(sales=late, as_of=as_of, days_ahead=7).index
    clean = season_index(sales=sales, as_of=as_of, days_ahead=7).index
    pd.testing.assert_frame_equal(found, clean)
    pd.testing.assert_frame_equal(late, kept)


def test_too_little_is_refused_with_a_way_out() -> None:
    sales, _ = sold(days=10)
    with pytest.raises(InsufficientEvidence, match="21 days of sales; there are 10"):
        season_index(sales=sales, as_of=FIRST + timedelta(days=10), days_ahead=7)
    with pytest.raises(InsufficientEvidence, match="there are 0"):
        season_index(sales=sales.iloc[:0], as_of=FIRST, days_ahead=7)


def test_the_reference_is_the_demand_of_the_evidence_newer_days_counting_more() -> None:
    season = pd.DataFrame(
        {
            "date": pd.date_range("2026-01-01", periods=3),
            "segment": "s",
            "index": [1.0, 2.0, 3.0],
            "standard_error": 0.3,
        }
    )
    # days 1 and 2 are evidence; with a fade of log 2 a day they weigh 1 and 2: (1 + 4) / 3
    found = against_evidence(season, as_of=date(2026, 1, 3), fade_per_day=float(np.log(2)))
    assert found["reference"].to_numpy() == pytest.approx(np.full(3, 5 / 3))
    assert found["index"].to_list() == [1.0, 2.0, 3.0]


def test_the_pooled_posterior_is_that_of_the_whole_linear_model() -> None:
    rng = np.random.default_rng(1)
    segments, level, pattern, rows = 3, 2, 2, 20
    features = rng.normal(size=(segments, rows, level + pattern))
    outcome = rng.normal(size=(segments, rows))
    shrinkage = Shrinkage(np.array([2.0, 1.0]), np.array([0.5, 0.3]), np.array([0.2, 0.4]))
    found = fit_pooled(
        Moments(
            np.einsum("sri,srj->sij", features, features),
            np.einsum("sri,sr->si", features, outcome),
        ),
        shrinkage,
    )
    # the same as one big Gaussian of (shared, all segments' coefficients)
    k = level + pattern
    size = pattern + segments * k
    precision, shift = np.zeros((size, size)), np.zeros(size)
    precision[:pattern, :pattern] = np.diag(shrinkage.shared**-2)
    for s in range(segments):
        at = slice(pattern + s * k, pattern + (s + 1) * k)
        precision[at, at] += features[s].T @ features[s]
        shift[at] += features[s].T @ outcome[s]
        apart = np.zeros((k, size))
        apart[:, at] = np.eye(k)
        apart[level:, :pattern] = -np.eye(pattern)
        tight = np.concatenate([shrinkage.level**-2, shrinkage.own**-2])
        precision += apart.T @ np.diag(tight) @ apart
    covariance = np.linalg.inv(precision)
    mean = covariance @ shift
    for s in range(segments):
        at = slice(pattern + s * k, pattern + (s + 1) * k)
        assert found.own[s] == pytest.approx(mean[at])
        assert found.spread(s, slice(0, k)) == pytest.approx(covariance[at, at])
