"""What coins alone say of a channel: unbiased, its interval covers, nothing is found where nothing
is, whatever sales do beside."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from models.lift.variation_effects import (
    LEAST_PAIRS,
    VariationEffect,
    VariedPair,
    variation_effects,
)

SEGMENTS = [f"region {i}" for i in range(8)]
START = date(2026, 1, 5)
BEFORE, WEEKS = 8, 16


def account(
    seed: int, returns: float, *, amount: float = 60.0
) -> tuple[list[VariedPair], pd.DataFrame]:
    """16 varied weeks of four pairs in two channels: sales with weekdays, common shocks, a level of
    each segment that wanders, and noise; what a coin moved returns ``returns`` a unit."""
    rng = np.random.default_rng(seed)
    count = 7 * (BEFORE + WEEKS)
    level = 2000.0 * np.exp(rng.normal(scale=0.5, size=len(SEGMENTS)))
    wander = np.cumsum(rng.normal(scale=0.01, size=(count, len(SEGMENTS))), axis=0)
    common = np.exp(np.cumsum(rng.normal(scale=0.02, size=(count, 1)), axis=0))
    weekday = 1 + 0.2 * np.sin(2 * np.pi * np.arange(count) / 7)[:, None]
    noise = rng.normal(scale=0.05, size=(count, len(SEGMENTS)))
    revenue = level * common * weekday * np.exp(wander + noise)
    pairs = []
    for week in range(BEFORE, BEFORE + WEEKS):
        for channel in ("search", "video"):
            order = rng.permutation(len(SEGMENTS))
            for one, other in zip(order[::2], order[1::2], strict=True):
                up, down = (one, other) if rng.random() < 0.5 else (other, one)
                rows = slice(7 * week, 7 * week + 7)
                revenue[rows, up] += returns * amount
                revenue[rows, down] -= returns * amount
                begin = START + timedelta(weeks=week)
                pairs.append(VariedPair(begin, 7, channel, SEGMENTS[up], SEGMENTS[down], amount))
    days = pd.date_range(START, periods=count)
    frame = pd.DataFrame(revenue, index=days, columns=SEGMENTS).rename_axis("date")
    sales = frame.reset_index().melt("date", var_name="segment", value_name="revenue")
    return pairs, sales


def effect_of(seed: int, returns: float) -> VariationEffect:
    found = variation_effects(*account(seed, returns))
    assert [each.channel for each in found] == ["search", "video"]
    return found[1]


def test_intervals_cover_and_estimates_are_unbiased() -> None:
    draws = 120
    effects = [effect_of(seed, 1.5) for seed in range(draws)]
    covered = np.mean([e.interval[0] <= 1.5 <= e.interval[1] for e in effects])
    assert abs(covered - 0.9) <= 3 * np.sqrt(0.9 * 0.1 / draws)
    off = np.array([(e.effect - 1.5) / e.standard_error for e in effects])
    assert abs(off.mean()) <= 4 / np.sqrt(draws)


def test_a_channel_that_does_nothing_is_found_out_as_rarely_as_promised() -> None:
    draws = 120
    wrong = np.mean(
        [abs(e.effect) > 1.96 * e.standard_error for e in (effect_of(s, 0.0) for s in range(draws))]
    )
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


def test_too_few_weeks_and_missing_days_say_nothing() -> None:
    pairs, sales = account(1, 1.0)
    assert variation_effects(pairs[: LEAST_PAIRS // 2], sales) == ()
    assert variation_effects(pairs, sales.iloc[:0]) == ()
    holed = sales[sales["date"] != pd.Timestamp(pairs[0].start)]
    whole, partly = variation_effects(pairs, sales)[0], variation_effects(pairs, holed)[0]
    assert partly.pairs == whole.pairs - 4
    later = [p for p in pairs if p.start > sales["date"].max().date()]
    assert variation_effects(later, sales) == ()


def test_order_of_rows_does_not_matter() -> None:
    pairs, sales = account(2, 1.0)
    mixed = sales.sample(frac=1.0, random_state=1)
    for one, other in zip(
        variation_effects(pairs, sales), variation_effects(pairs[::-1], mixed), strict=True
    ):
        assert one.effect == pytest.approx(other.effect)
        assert one.standard_error == pytest.approx(other.standard_error)
