"""The sum of all contrasts of a stream of plans, on panels whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from liftloop.core.inference.panels import COMMON_RESPONSE, Daily
from liftloop.core.inference.sequential import confidence_bounds, mixture_precision
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.stream_effect import (
    BEFORE_DAYS,
    DRIFT_DAYS,
    MARGINAL,
    MARGINAL_UNLIKE,
    MeasuredStream,
    StreamEffect,
    money_moved,
    money_received,
    plan_effect,
    stream_effect,
)

FIRST = date(2026, 1, 5)
START = FIRST + timedelta(days=BEFORE_DAYS)
SEGMENTS = ("a", "b", "c", "d", "e", "f")
WAVES = (("a", "f"), ("b", "e"), ("c", "d"))
SPENT = np.array([6000.0, 5000.0, 4000.0, 2500.0, 1500.0, 1000.0])  # a day, sums to 20,000
EARNED = 1.25 * SPENT  # incremental revenue a day; the margin is 1
AVERAGE = 1.25  # what a unit of money earns
Budgets = list[tuple[date, Policy]]


def policy(
    moved: dict[str, float] | None = None, received: dict[str, float] | None = None
) -> Policy:
    """Half of a segment's money is in x, half in y; ``moved`` goes from x to y, ``received`` comes
    from other segments, in both channels alike."""
    cents = {}
    for name, spent in zip(SEGMENTS, SPENT, strict=True):
        shift, more = (moved or {}).get(name, 0.0), (received or {}).get(name, 0.0) / 2
        cents[Cell(name, "x")] = Decimal(str(round(spent / 2 - shift + more, 2)))
        cents[Cell(name, "y")] = Decimal(str(round(spent / 2 + shift + more, 2)))
    return Policy.of(cents)


REFERENCE = policy()


def stream_of(weeks: int, *, step: float = 0.05, plans: int = 6) -> Budgets:
    """Every week a plan that moves ``step`` of each segment's money further; a wave follows it one
    week after the wave before it."""
    found: Budgets = [(FIRST, REFERENCE)]
    for week in range(weeks):
        moved = {
            name: step * min(max(week + 1 - place, 0), plans) * SPENT[SEGMENTS.index(name)]
            for place, wave in enumerate(WAVES)
            for name in wave
        }
        found.append((START + timedelta(days=7 * week), policy(moved)))
    return found


@dataclass(frozen=True)
class Truth:
    """What a simulated panel is made of.

    ``effect`` of the moves and ``marginal`` return of money between segments are in multiples of
    the average return; ``common`` is the standard deviation of a change of all lifts every four
    weeks, ``error`` that of a segment's lift of one day, shares of what it earns.
    """

    effect: float = 0.0
    marginal: float = MARGINAL
    common: float = COMMON_RESPONSE
    error: float = 0.25
    sales: bool = False
    lifts: bool = True
    plan: float = 0.0  # a share of what segments earn that the plan of ``reached`` gains


def panel(
    seed: int, budgets: Budgets, days: int, truth: Truth, *, reached: dict[str, date] | None = None
) -> Daily:
    rng = np.random.default_rng(seed)
    length = BEFORE_DAYS + days
    moved = money_moved(
        budgets, REFERENCE, segments=SEGMENTS, first=FIRST, days=length, carry_over=0.3
    )
    received = money_received(budgets, REFERENCE, segments=SEGMENTS, first=FIRST, days=length)
    earned = EARNED + AVERAGE * (truth.effect * moved + truth.marginal * received)
    for name, since in (reached or {}).items():
        shown = 1 - 0.3 ** np.maximum(np.arange(length) - (since - FIRST).days + 1, 0)
        earned[:, SEGMENTS.index(name)] += truth.plan * shown * EARNED[SEGMENTS.index(name)]
    for day in range(BEFORE_DAYS, length, DRIFT_DAYS):
        earned[day:] += rng.normal(0, truth.common) * EARNED
    error = np.broadcast_to(truth.error * EARNED, (length, 6)).copy()
    lift = earned + error * rng.normal(size=(length, 6))
    sales = np.full((length, 6), np.nan)
    if truth.sales:
        noise = rng.normal(size=(length, 6))
        for t in range(1, length):
            noise[t] = 0.5 * noise[t - 1] + math.sqrt(0.75) * noise[t]
        shock = rng.normal(size=(length, 1))
        sales = 6 * EARNED * (1 + 0.03 * noise + 0.01 * shock) + earned
    if not truth.lifts:
        lift[:], error[:] = np.nan, np.nan
    return Daily(FIRST, SEGMENTS, lift, error, sales, SPENT + received)


def measured(
    daily: Daily, budgets: Sequence[tuple[date, Policy]], *, days: int, **more: Any
) -> StreamEffect:
    rest: dict[str, Any] = {
        "margin": 1.0,
        "baseline": float(EARNED.sum()),
        "wait_days": 0,
        "inside": SEGMENTS,
    }
    stream = MeasuredStream(
        budgets=budgets,
        reference=REFERENCE,
        as_of=START + timedelta(days=days),
        **{**rest, **more},
    )
    return stream_effect(daily, stream, reference_on=START)


def z_scores(truth: Truth, budgets: Budgets, *, panels: int, days: int) -> np.ndarray:
    """(estimate - truth) / claimed standard error of so many panels."""
    found = [
        measured(panel(seed, budgets, days, truth), budgets, days=days) for seed in range(panels)
    ]
    return np.array([(f.effect - truth.effect) / f.standard_error for f in found])


def until(daily: Daily, day: int) -> Daily:
    """The facts of the days before ``day`` days after the start."""
    kept = slice(0, BEFORE_DAYS + day)
    return Daily(
        daily.first,
        daily.segments,
        daily.lift[kept],
        daily.lift_error[kept],
        daily.sales[kept],
        daily.spend[kept],
    )


def most_by_chance(count: int, probability: float) -> int:
    """So many of ``count`` happen, or fewer, in 999 of 1,000 cases."""
    return int(binom.ppf(0.999, count, probability))


# -- exposure --------------------------------------------------------------------------------------


def test_the_money_moved_is_half_of_all_differences_from_the_day_they_begin() -> None:
    budgets = [(FIRST, REFERENCE), (FIRST + timedelta(days=2), policy({"a": 300.0, "c": -50.0}))]
    moved = money_moved(budgets, REFERENCE, segments=("a", "c"), first=FIRST, days=4)
    assert moved.tolist() == [[0, 0], [0, 0], [300, 50], [300, 50]]


def test_a_move_comes_into_effect_by_the_carry_over() -> None:
    budgets = [(FIRST + timedelta(days=1), policy({"a": 100.0}))]
    moved = money_moved(budgets, REFERENCE, segments=("a",), first=FIRST, days=4, carry_over=0.5)
    assert moved[:, 0] == pytest.approx([0.0, 50.0, 75.0, 87.5])


def test_money_that_crosses_is_received_in_one_segment_and_given_in_the_other() -> None:
    budgets = [(FIRST + timedelta(days=1), policy(received={"a": 80.0, "f": -80.0}))]
    received = money_received(budgets, REFERENCE, segments=("a", "f"), first=FIRST, days=3)
    assert received.tolist() == [[0, 0], [80, -80], [80, -80]]
    moved = money_moved(budgets, REFERENCE, segments=("a", "f"), first=FIRST, days=3)
    assert moved.sum(axis=1).tolist() == [0, 80, 80]


def test_what_was_gained_is_the_effect_times_the_money_moved_at_the_average_return() -> None:
    budgets = [
        (FIRST, REFERENCE),
        (START, policy({"a": 100.0})),
        (START + timedelta(days=10), policy({"a": 400.0})),
    ]
    daily = panel(0, budgets, 20, Truth(effect=0.4))
    found = measured(daily, budgets, days=20, carry_over=0.0)
    assert found.day == START + timedelta(days=19)
    assert found.baseline == pytest.approx(25_000.0)
    assert [x for _, x in found.exposure] == pytest.approx([125.0] * 10 + [500.0] * 10)
    gained, error = found.gained()
    assert gained == pytest.approx(found.effect * 6_250.0)
    assert error == pytest.approx(found.standard_error * 6_250.0)
    late, _ = found.gained(since=START + timedelta(days=15))
    assert late == pytest.approx(found.effect * 2_500.0)


def test_days_that_are_not_yet_known_do_not_count() -> None:
    budgets = stream_of(6)
    daily = panel(1, budgets, 42, Truth(effect=0.4))
    waiting = measured(daily, budgets, days=42, wait_days=5)
    early = measured(until(daily, 37), budgets, days=37)
    assert waiting.day == early.day == START + timedelta(days=36)
    assert waiting.effect == pytest.approx(early.effect)
    assert waiting.standard_error == pytest.approx(early.standard_error)


def test_the_facts_are_not_changed() -> None:
    budgets = stream_of(4)
    daily = panel(2, budgets, 28, Truth(sales=True))
    before = [x.copy() for x in (daily.lift, daily.lift_error, daily.sales, daily.spend)]
    measured(daily, budgets, days=28)
    for was, now in zip(
        before, (daily.lift, daily.lift_error, daily.sales, daily.spend), strict=True
    ):
        np.testing.assert_array_equal(was, now)


# -- what cannot be measured -----------------------------------------------------------------------


def test_what_cannot_be_measured_says_why() -> None:
    budgets = stream_of(4)
    daily = panel(3, budgets, 28, Truth(sales=True))
    nan = np.full_like(daily.lift, np.nan)
    short = Daily(
        START - timedelta(days=20),
        SEGMENTS,
        *(x[BEFORE_DAYS - 20 :] for x in (daily.lift, daily.lift_error, daily.sales, daily.spend)),
    )
    silent = replace(daily, lift=nan, lift_error=nan, sales=nan)
    broke = replace(daily, spend=np.where(np.arange(6) == 2, 0.0, daily.spend))
    cases = [
        (measured(short, budgets, days=28), "facts from 20 days before"),
        (measured(daily, budgets, days=28, wait_days=28), "delayed conversions"),
        (measured(silent, budgets, days=28), "no sales by day"),
        (measured(silent, budgets, days=28), "Holdout lifts count"),
        (measured(broke, budgets, days=28), "spent nothing"),
        (measured(daily, [(FIRST, REFERENCE)], days=28), "No segment has moved"),
    ]
    for found, why in cases:
        assert why in found.problem
        assert math.isnan(found.effect) and math.isinf(found.standard_error)
        assert found.day is None
        assert found.gained() == (0.0, math.inf)


def test_the_exposure_is_known_also_where_nothing_is_measured() -> None:
    budgets = [(FIRST, REFERENCE), (START, policy({"a": 100.0}))]
    daily = panel(4, budgets, 2, Truth())
    found = measured(daily, budgets, days=2, wait_days=3, carry_over=0.0)
    assert found.problem
    assert found.exposure == ((START, 125.0), (START + timedelta(days=1), 125.0))


# -- right on average, and as sure as it is right --------------------------------------------------
# The mean of n z-scores has a standard error of 1 / sqrt(n), their standard deviation one of
# 1 / sqrt(2 n); four of them happen by chance once in 16,000 runs.

PANELS = 200
MEAN, SPREAD = 4 / math.sqrt(PANELS), 4 / math.sqrt(2 * PANELS)


@pytest.mark.parametrize(
    ("truth", "days"),
    [
        (Truth(effect=0.3), 42),
        (Truth(effect=-0.5), 84),
        (Truth(effect=0.3, sales=True, common=0.0), 42),
    ],
    ids=["lifts", "lifts, twelve weeks", "lifts and sales"],
)
def test_the_sum_of_contrasts_is_right_on_average_and_its_error_is_what_is_claimed(
    truth: Truth, days: int
) -> None:
    z = z_scores(truth, stream_of(days // 7), panels=PANELS, days=days)
    assert abs(z.mean()) <= MEAN
    assert abs(z.std() - 1) <= SPREAD


def test_sales_alone_measure_the_stream_too() -> None:
    """Estimated noise is a little off (docstring of ``shared_noise``): errors may be claimed a
    fifth too small."""
    truth = Truth(effect=0.5, sales=True, lifts=False, common=0.0)
    z = z_scores(truth, stream_of(6), panels=PANELS, days=42)
    assert abs(z.mean()) <= MEAN
    assert 1 - SPREAD <= z.std() <= 1.2 + SPREAD


def test_a_common_change_of_all_lifts_is_no_effect_of_the_stream() -> None:
    """All lifts fall by a tenth as the stream begins, in every panel. All waves follow at last, so
    before and after alone would call that a loss of the moves; leading waves against following
    ones know better."""
    budgets, effects, naive = stream_of(6), [], []
    for seed in range(PANELS):
        daily = panel(seed, budgets, 42, Truth(common=0.0))
        fallen = daily.lift.copy()
        fallen[BEFORE_DAYS:] -= 0.1 * EARNED
        found = measured(replace(daily, lift=fallen), budgets, days=42)
        effects.append(found.effect / found.standard_error)
        loss = (fallen[BEFORE_DAYS:] - daily.lift[:BEFORE_DAYS].mean(axis=0)).sum()
        naive.append(loss / sum(x for _, x in found.exposure))
    # one standard deviation of what is allowed for shows as less than one claimed error
    assert abs(np.mean(effects)) <= 1
    assert np.mean(naive) < -0.5


def crossing(weeks: int) -> Budgets:
    """As :func:`stream_of`, and in each wave the larger segment gives the smaller one a fifth of
    what that has."""
    found: Budgets = [(FIRST, REFERENCE)]
    for week in range(weeks):
        moved: dict[str, float] = {}
        received: dict[str, float] = {}
        for place, (giver, taker) in enumerate(WAVES):
            if week < place:
                continue
            for name in (giver, taker):
                step = 0.05 * min(week + 1 - place, 6)
                moved[name] = step * SPENT[SEGMENTS.index(name)]
            received[taker] = 0.2 * SPENT[SEGMENTS.index(taker)]
            received[giver] = -received[taker]
        found.append((START + timedelta(days=7 * week), policy(moved, received)))
    return found


def test_money_between_segments_is_no_gain_or_loss_whatever_it_earns_within_what_is_allowed() -> (
    None
):
    """Its return is drawn anew for each panel, as wide as the module says it is known."""
    rng = np.random.default_rng(11)
    budgets, z = crossing(6), []
    for seed in range(PANELS):
        truth = Truth(effect=0.3, marginal=rng.normal(MARGINAL, MARGINAL_UNLIKE))
        found = measured(panel(seed, budgets, 42, truth), budgets, days=42)
        z.append((found.effect - 0.3) / found.standard_error)
    assert abs(np.mean(z)) <= MEAN
    assert abs(np.std(z) - 1) <= SPREAD


def test_without_a_baseline_the_lifts_and_the_spend_say_what_is_earned() -> None:
    budgets = stream_of(6)
    z, levels = [], []
    for seed in range(PANELS):
        found = measured(
            panel(seed, budgets, 42, Truth(effect=0.3)), budgets, days=42, baseline=None
        )
        z.append((found.effect - 0.3) / found.standard_error)
        levels.append(found.baseline)
    assert abs(np.mean(z)) <= MEAN
    # 84 days of six segments whose lift has an error of a quarter
    error = 0.25 * math.sqrt((EARNED**2).sum() / BEFORE_DAYS)
    assert np.mean(levels) == pytest.approx(25_000.0, abs=4 * error / math.sqrt(PANELS))


def test_a_holdback_is_compared_with_and_the_baseline_is_of_the_others() -> None:
    """Segments c and d never move, the others at once and together; all lifts fall by a tenth."""
    moving = ("a", "b", "e", "f")
    earned = float(sum(EARNED[SEGMENTS.index(name)] for name in moving))
    plan = policy({name: 0.2 * SPENT[SEGMENTS.index(name)] for name in moving})
    budgets = [(FIRST, REFERENCE), (START, plan)]
    shifted: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(PANELS):
        daily = panel(seed, budgets, 42, Truth(effect=0.3, common=0.0))
        daily.lift[BEFORE_DAYS:] -= 0.1 * EARNED
        found = measured(daily, budgets, days=42, baseline=earned, inside=moving)
        shifted[True].append((found.effect - 0.3) / found.standard_error)
        columns = [SEGMENTS.index(name) for name in moving]
        alone = Daily(
            FIRST,
            moving,
            *(x[:, columns] for x in (daily.lift, daily.lift_error, daily.sales, daily.spend)),
        )
        found = measured(alone, budgets, days=42, baseline=earned, inside=moving)
        shifted[False].append(found.effect - 0.3)
    assert abs(np.mean(shifted[True])) <= 1  # within what is claimed, as above
    assert np.mean(shifted[False]) < -0.2  # without it the fall is taken for the moves


# -- any look --------------------------------------------------------------------------------------


def false_alarms(truth: Truth, *, panels: int, weeks: int) -> tuple[int, int]:
    """In how many panels without an effect a weekly look ever calls a loss, and a gain."""
    budgets, rho = stream_of(weeks), mixture_precision(0.5)
    losses = gains = 0
    for seed in range(panels):
        daily = panel(seed, budgets, 7 * weeks, truth)
        bounds = [
            confidence_bounds(found.effect, found.standard_error, rho=rho, alpha=0.05)
            for week in range(1, weeks + 1)
            for found in [measured(until(daily, 7 * week), budgets, days=7 * week)]
        ]
        losses += any(b.high < 0 for b in bounds)
        gains += any(b.low > 0 for b in bounds)
    return losses, gains


def test_a_stream_that_changes_nothing_is_seldom_called_a_loss_at_any_weekly_look() -> None:
    losses, gains = false_alarms(Truth(), panels=40, weeks=12)
    assert max(losses, gains) <= most_by_chance(40, 0.05)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sales", [False, True])
def test_half_a_year_of_weekly_looks_calls_a_loss_or_a_gain_in_one_of_twenty_at_most(
    sales: bool,
) -> None:
    """``sales``: segments' noise with memory, and a common shock; lifts beside them."""
    truth = Truth(sales=sales, common=0.0 if sales else COMMON_RESPONSE)
    losses, gains = false_alarms(truth, panels=300, weeks=26)
    assert losses <= most_by_chance(300, 0.05)
    assert gains <= most_by_chance(300, 0.05)


# -- a single plan ---------------------------------------------------------------------------------

ENTERED = START + timedelta(days=28)
LEADING = dict.fromkeys(WAVES[0], ENTERED)


def own_effect(daily: Daily, budgets: Budgets, day: int) -> StreamEffect:
    """Of the plan that the first wave has since ``ENTERED``, by the days before ``day``."""
    stream = MeasuredStream(
        budgets=budgets,
        reference=REFERENCE,
        as_of=ENTERED + timedelta(days=day),
        margin=1.0,
        baseline=float(EARNED.sum()),
        wait_days=0,
        inside=SEGMENTS,
    )
    return plan_effect(until(daily, 28 + day), stream, reached=LEADING)


def caught(loss: float, *, panels: int, alpha: float) -> list[int | None]:
    """The first day on which the plan is called a loss, of days 4, 8, ..., 28; None for never."""
    budgets, rho = stream_of(4), mixture_precision(0.4)
    found: list[int | None] = []
    for seed in range(panels):
        daily = panel(seed, budgets, 56, Truth(plan=loss, common=0.0), reached=LEADING)
        highs = {
            day: confidence_bounds(own.effect, own.standard_error, rho=rho, alpha=alpha).high
            for day in range(4, 29, 4)
            for own in [own_effect(daily, budgets, day)]
        }
        found.append(next((day for day, high in highs.items() if high < 0), None))
    return found


def test_a_plan_that_loses_most_of_what_its_segments_earned_is_caught_within_two_weeks() -> None:
    """At the error share of one plan of half a year: 0.4 x 0.05 / 26."""
    days = caught(-0.6, panels=20, alpha=0.4 * 0.05 / 26)
    assert None not in days
    assert max(day for day in days if day is not None) <= 16
    daily = panel(0, stream_of(4), 56, Truth(plan=-0.6, common=0.0), reached=LEADING)
    own = own_effect(daily, stream_of(4), 28)
    assert own.effect == pytest.approx(-0.6, abs=4 * own.standard_error)
    assert own.standard_error < 0.1
    assert own.baseline == pytest.approx(1.25 * 7_000.0, rel=0.1)  # segments a and f


def test_a_plan_that_changes_nothing_is_seldom_called_a_loss() -> None:
    days = caught(0.0, panels=60, alpha=0.05)
    assert sum(day is not None for day in days) <= most_by_chance(60, 0.05)


def test_what_the_streams_earlier_moves_gained_is_not_the_newest_plans() -> None:
    """The moves before it lose as much as they move; the plan itself changes nothing."""
    budgets, z = stream_of(4), []
    for seed in range(60):
        daily = panel(seed, budgets, 56, Truth(effect=-1.0, common=0.0))
        own = own_effect(daily, budgets, 28)
        z.append(own.effect / own.standard_error)
    assert abs(np.mean(z)) <= 4 / math.sqrt(60)


def test_a_plan_without_days_or_history_is_not_judged() -> None:
    budgets = stream_of(4)
    daily = panel(5, budgets, 56, Truth(), reached=LEADING)
    none = own_effect(until(daily, 28), budgets, 0)
    assert none.problem and math.isnan(none.effect)
    nan = np.full_like(daily.lift, np.nan)
    silent = replace(daily, lift=nan, lift_error=nan, sales=nan)
    assert "Neither holdouts nor sales" in own_effect(silent, budgets, 28).problem
