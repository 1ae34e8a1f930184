"""What the first look at an ordinary account says of it: 18 months of exports and orders, in which
nothing happened that asks for anything. Every alarm is a false one.

    uv run python -m benchmarks.first_cycle [--accounts 100] [--first 0]

An account has a season of its own, peaks in November and December, growth, weekdays, segments from
large to a few orders a day, conversions in whole numbers, spend that follows the season, campaigns
that begin and end, and a channel that was added on the way. No holdout, no model: as at a start.
"""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.app.backtest.known import empty_feed
from liftloop.pipeline.monitor import compare_weeks, triage_config
from liftloop.settings.schema import Drift
from monitoring.causes.cause import Cause, Finding, Triage

DAYS = 548
SEGMENTS = ("UK", "DE", "FR", "NL", "SE", "IE", "BE", "AT")
CHANNELS = ("Search", "Performance Max", "Meta", "TikTok", "Display")


def ordinary_account(seed: int) -> tuple[dict[str, pd.DataFrame], date]:
    """The feeds ``performance`` and ``sales`` of an account, and the day of its first cycle."""
    rng = np.random.default_rng(seed)
    as_of = date(2025, 1, 6) + timedelta(days=int(rng.integers(0, 700)))
    days = pd.date_range(as_of - timedelta(days=DAYS), periods=DAYS)
    segments = SEGMENTS[: rng.integers(1, 9)]
    channels = CHANNELS[: rng.integers(1, 6)]
    size = np.exp(rng.normal(0, 1.0, len(segments)))
    orders = 10 ** rng.uniform(0.6, 3.2) * size / size.sum() * len(segments) / 2
    year = np.asarray(days.dayofyear, dtype=float)
    demand = (
        _season(rng, year)[:, None]
        * np.exp(rng.normal(0.3, 0.1) * np.arange(DAYS) / 365)[:, None]
        * np.exp(rng.normal(0, 0.1, len(segments))[None] * np.arange(DAYS)[:, None] / 365)
    )
    weekday = np.exp(rng.normal(0, 0.12, 7))[days.dayofweek][:, None]
    common = _ar(rng, (DAYS, 1), 0.5, 0.05)
    wander = _ar(rng, (DAYS, len(segments)), 0.97, 0.012)
    mean = orders[None] * demand * weekday * common * wander
    sold = rng.negative_binomial(30, 30 / (30 + mean))
    value = 10 ** rng.uniform(1.3, 2.2)
    revenue = sold * value * np.exp(rng.normal(0, 0.5, sold.shape) / np.sqrt(np.maximum(sold, 1)))
    sales = _long(days, segments, orders=sold, revenue=revenue.round(2))
    if rng.random() < 0.2:
        sales = sales.iloc[:0]
    parts = []
    for c, channel in enumerate(channels):
        begins = int(rng.integers(120, 400)) if c and rng.random() < 0.3 else 0
        parts.append(_channel(rng, days, segments, channel, begins, mean, orders, value))
    performance = pd.concat(parts, ignore_index=True)
    return {"performance": performance, "sales": sales}, as_of


def _season(rng: np.random.Generator, year: np.ndarray) -> np.ndarray:
    wave = rng.uniform(0.05, 0.35) * np.sin(2 * np.pi * (year - rng.uniform(0, 365)) / 365.25)
    sale = rng.uniform(0, 0.8) * np.exp(-0.5 * ((year - 331) / 3.5) ** 2)
    gifts = rng.uniform(0, 0.5) * np.exp(-0.5 * ((year - 345) / 9) ** 2)
    return np.exp(wave + sale + gifts)


def _ar(rng: np.random.Generator, shape: tuple[int, ...], keep: float, sd: float) -> np.ndarray:
    """A positive factor that wanders around 1."""
    level, made = np.zeros(shape[1:]), np.empty(shape)
    for day in range(shape[0]):
        level = keep * level + rng.normal(0, sd, shape[1:])
        made[day] = np.exp(level)
    return made


def _channel(
    rng: np.random.Generator,
    days: pd.DatetimeIndex,
    segments: tuple[str, ...],
    channel: str,
    begins: int,
    mean: np.ndarray,
    orders: np.ndarray,
    value: float,
) -> pd.DataFrame:
    """One channel's campaigns: spend follows demand with the advertiser's own corrections once in
    some weeks; what is claimed is a share of orders and what clicks bring."""
    count, share = len(days), rng.uniform(0.03, 0.2)
    cpm, ctr, rate = 10 ** rng.uniform(0.4, 1.2), 10 ** rng.uniform(-2.2, -1.4), 0.03
    corrections = np.repeat(rng.normal(0, 0.1, (count // 28 + 1, len(segments))), 28, axis=0)
    follows = (mean / orders) ** rng.uniform(0.2, 0.9)
    spend = orders * value * share * follows * np.exp(corrections[:count])
    spend *= rng.uniform(0.94, 1.06, spend.shape)
    price = cpm * (mean.mean(1) / mean.mean()) ** 0.3
    parts = []
    for s, segment in enumerate(segments):
        weights = rng.dirichlet(np.full(rng.integers(1, 6), 3.0))
        for k, weight in enumerate(weights):
            first, last = begins, count
            if k and rng.random() < 0.35:
                first = max(first, int(rng.integers(0, count)))
            if k and rng.random() < 0.2:
                last = int(rng.integers(0, count))
            if last <= first:
                continue
            here = slice(first, last)
            spent = (spend[here, s] * weight).round(2)
            shown = rng.poisson(
                spent / price[here] * 1000 * np.exp(rng.normal(0, 0.08, len(spent)))
            )
            clicks = rng.binomial(shown, min(ctr * np.exp(rng.normal(0, 0.1)), 1.0))
            own = rate * (mean[here, s] / orders[s]) ** 0.5
            bought = rng.poisson(clicks * np.minimum(own, 0.9))
            earned = (
                bought
                * value
                * np.exp(rng.normal(0, 0.4, len(spent)) / np.sqrt(np.maximum(bought, 1)))
            )
            parts.append(
                pd.DataFrame(
                    {
                        "date": days[here],
                        "segment": segment,
                        "channel": channel,
                        "campaign": f"{channel} {segment} {k}",
                        "spend": spent,
                        "impressions": shown,
                        "clicks": clicks,
                        "conversions": bought.astype(float),
                        "revenue": earned.round(2),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _long(days: pd.DatetimeIndex, segments: tuple[str, ...], **columns: np.ndarray) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([days, segments], names=["date", "segment"])
    return pd.DataFrame({name: v.ravel() for name, v in columns.items()}, index=index).reset_index()


def first_look(feeds: dict[str, pd.DataFrame], as_of: date) -> Triage:
    """What the triage of the first cycle says of an account."""
    frames = {**feeds, "holdout": empty_feed("holdout")}
    config = triage_config(Drift())
    return compare_weeks(frames, curves=None, as_of=as_of, config=config, learns=False).triage


def false_findings(found: Triage) -> list[Finding]:
    """Findings that say something happened where nothing did. A season is one, and told as one."""
    return [one for one in found.findings if one.cause not in (Cause.SEASON, Cause.NOISE)]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--accounts", type=int, default=100)
    asked.add_argument("--first", type=int, default=0)
    asked.add_argument("--say", action="store_true", help="print each alarm's sentence")
    given = asked.parse_args()
    told: Counter[str] = Counter()
    for seed in range(given.first, given.first + given.accounts):
        found = first_look(*ordinary_account(seed))
        told["none" if found.main is None else found.main.cause.value] += 1
        told["FALSE"] += bool(false_findings(found))
        for one in found.findings:
            told[f"  {one.cause}: {one.name}"] += 1
            if given.say and found.alarm:
                print(seed, found.as_of, one.cause, one.name, one.sentence)
    for what, count in told.most_common():
        print(f"{what:40} {count / given.accounts:7.1%}")


if __name__ == "__main__":
    main()
