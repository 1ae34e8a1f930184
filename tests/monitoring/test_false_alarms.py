"""How often a stationary market alarms, and what a changed one shows: why the thresholds are so."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from monitoring.drift.evidently_drift import drift
from monitoring.drift.windows import windows

FIRST = date(2026, 1, 5)


def market(
    seed: int, *, weeks: int, fall: float = 0.0, fall_channels: int = 5, fall_week: int = 10_000
) -> pd.DataFrame:
    """A feed of 6 segments x 5 channels. Clicks cost more the more is spent; conversions
    have AR(1) and common noise and a weekday pattern; budgets move by up to 25 % a week. From
    `fall_week` on, the first channels convert `fall` less."""
    rng = np.random.default_rng(seed)
    days, segments, channels = 7 * weeks, 6, 5
    shape = (days, segments, channels)
    spend = (
        rng.lognormal(6, 0.7, (segments, channels))
        * np.exp(
            np.repeat(
                np.cumsum(rng.uniform(-0.25, 0.25, (weeks, segments, channels)), axis=0), 7, axis=0
            )
        )
        * rng.uniform(0.97, 1.03, shape)
    )
    weekday = (1 + 0.2 * np.sin(2 * np.pi * np.arange(days) / 7))[:, None, None]
    common = np.exp(rng.normal(0, 0.05, (days, 1, 1)))
    own = np.zeros(shape)
    for day in range(days):
        own[day] = 0.5 * own[day - 1] + rng.normal(0, 0.06, (segments, channels))
    usual = spend.mean(axis=0)
    impressions = spend * 100 * (spend / usual) ** -0.1 * np.exp(rng.normal(0, 0.05, shape))
    clicks = impressions * 0.02 * np.exp(rng.normal(0, 0.05, shape))
    rate = 0.04 * weekday * common * np.exp(own) * (spend / usual) ** -0.2
    rate[7 * fall_week :, :, :fall_channels] *= 1 - fall
    conversions = rng.poisson(clicks * rate)
    revenue = conversions * 60 * np.exp(rng.normal(0, 0.1, shape))
    index = pd.MultiIndex.from_product(
        [
            [FIRST + timedelta(days=d) for d in range(days)],
            [f"s{i}" for i in range(segments)],
            [f"c{j}" for j in range(channels)],
        ],
        names=["date", "segment", "channel"],
    )
    return pd.DataFrame(
        {
            "spend": spend.ravel(),
            "impressions": impressions.round().ravel(),
            "clicks": clicks.round().ravel(),
            "conversions": conversions.ravel().astype(float),
            "revenue": revenue.ravel(),
        },
        index=index,
    ).reset_index()


def alarms(feed: pd.DataFrame, *, weeks: int) -> bool:
    pair = windows(feed, as_of=FIRST + timedelta(days=7 * weeks))
    return drift(pair.current, pair.reference, report=False).drifted


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_stationary_market_alarms_in_at_most_five_percent_of_the_months() -> None:
    months = 60
    wrong = sum(
        any(alarms(market(seed, weeks=16), weeks=13 + week) for week in range(4))
        for seed in range(months)
    )
    assert wrong <= 0.05 * months


@pytest.mark.slow
def test_a_fall_of_forty_percent_everywhere_alarms_within_three_weeks() -> None:
    runs = 20
    found = sum(
        alarms(market(seed, weeks=15, fall=0.4, fall_week=12), weeks=15) for seed in range(runs)
    )
    assert found >= 0.9 * runs
