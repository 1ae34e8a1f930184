"""When a refresh pays and what a cap on impressions costs, checked by hand-made cells."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from liftloop.core.variant_tests.fatigue import CreativeFacts, CreativeFatigue, Finding
from liftloop.core.variant_tests.fatigue_costs import (
    FatigueMoney,
    frequency_cap,
    when_to_refresh,
)
from liftloop.core.variant_tests.observations import VariantDays

DAYS = 50
SLOPE = 0.002  # of the log response per thousand impressions
PACE = 10.0  # thousand impressions a day
FRESH = 20.0  # value of a thousand impressions that nobody had seen
SPEND = 50.0  # a day
MONEY = FatigueMoney(refresh_cost=1000.0, elsewhere=1.0)


def cell() -> CreativeFacts:
    """One creative without noise, and a sibling that earns 2 a unit of spend."""
    exposure = PACE * (np.arange(DAYS) + 0.5)
    value = np.stack([PACE * FRESH * np.exp(-SLOPE * exposure), np.full(DAYS, 3 * SPEND)])
    units = np.full((2, DAYS), 1000 * PACE)
    when = np.datetime64("2026-03-02") + np.arange(DAYS)
    days = VariantDays(("a", "b"), when, units, np.full((2, DAYS), SPEND), value)
    return CreativeFacts({"all": days}, audience=100_000.0)


def known(slope: float = SLOPE, error: float = 0.0) -> CreativeFatigue:
    fall = 1 - math.exp(-slope)
    return CreativeFatigue("a", Finding.FALLING, fall, fall, fall, 0.6, slope, error)


def average(exposure: float) -> float:
    """Value less refreshes per thousand impressions, when refreshed each ``exposure``."""
    return (FRESH * (1 - math.exp(-SLOPE * exposure)) / SLOPE - 1000.0) / exposure


def test_the_refresh_is_where_the_average_over_a_cycle_is_largest() -> None:
    facts = cell()
    refresh = when_to_refresh(facts, known(), MONEY, seed=1)
    assert refresh is not None
    best = max(np.arange(50.0, 3000.0, 1.0), key=average)
    # the present level is the mean of 14 days, so half of them later than their middle
    assert refresh.in_days == pytest.approx(max(best - PACE * (DAYS - 0.5), 0) / PACE, abs=3)
    assert refresh.low == refresh.high == refresh.in_days and refresh.probability == 1


def test_a_dear_refresh_waits_and_a_ruinous_one_never_pays() -> None:
    facts = cell()
    cheap, dear, ruinous = (
        when_to_refresh(facts, known(), replace(MONEY, refresh_cost=c), seed=1)
        for c in (100.0, 3000.0, 1e6)
    )
    assert cheap and dear and ruinous
    assert cheap.in_days == 0 < dear.in_days
    assert math.isinf(ruinous.in_days) and ruinous.probability == 0


def test_an_uncertain_slope_widens_the_day() -> None:
    refresh = when_to_refresh(
        cell(), known(error=0.0005), replace(MONEY, refresh_cost=3000.0), seed=1
    )
    assert refresh and refresh.low < refresh.in_days < refresh.high


def test_a_steady_creative_never_needs_a_refresh() -> None:
    refresh = when_to_refresh(cell(), known(slope=-0.001), MONEY, seed=1)
    assert refresh and math.isinf(refresh.in_days)
    assert refresh.lost_a_day == pytest.approx(0.0, abs=1e-3)


def test_the_cap_is_where_the_money_earns_as_much_elsewhere() -> None:
    cap = frequency_cap(cell(), known(), MONEY, seed=1)
    assert cap
    # a thousand impressions cost 5 and must bring 10, half of the fresh value
    assert cap.thousand_impressions == pytest.approx(math.log(2) / SLOPE, abs=40)
    assert cap.per_person == pytest.approx(cap.thousand_impressions * 1000 / 100_000)
    exposure = PACE * (DAYS + np.arange(28))
    lost = (PACE * FRESH * np.exp(-SLOPE * exposure)).sum()
    assert cap.value_lost == pytest.approx(lost, rel=0.1)
    assert cap.profit_gained == pytest.approx(28 * 2 * SPEND - lost, rel=0.15) and cap.low > 0


def test_a_cap_far_ahead_costs_nothing() -> None:
    cap = frequency_cap(cell(), known(), replace(MONEY, elsewhere=-0.9), seed=1)
    assert cap and cap.value_lost == 0 and cap.profit_gained == 0


def test_elsewhere_is_what_the_siblings_earn() -> None:
    given = frequency_cap(cell(), known(), replace(MONEY, elsewhere=2.0), seed=1)
    assert frequency_cap(cell(), known(), replace(MONEY, elsewhere=None), seed=1) == given


def test_nothing_is_said_of_a_creative_without_a_slope_or_impressions() -> None:
    assert when_to_refresh(cell(), known(slope=float("nan")), MONEY, seed=1) is None
    facts = cell()
    days = facts.strata["all"]
    idle = replace(facts, strata={"all": replace(days, units=days.units * [[0.0], [1.0]])})
    assert frequency_cap(idle, known(), MONEY, seed=1) is None
