"""A switch-back test of nothing is rarely called something, and an effect as often as promised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from liftloop.core.arrays import Array
from liftloop.core.experiments.design import draw_turns
from liftloop.core.experiments.power import power
from liftloop.core.experiments.switch_back import (
    SwitchNoise,
    Turns,
    comparison_weights,
    measured_turns,
    past_pairs,
    placebo_turns,
    relative_differences,
)

WEEK = np.array([1.0, 1.1, 1.0, 0.9, 1.2, 1.4, 0.7])


def shop(days: int, rng: np.random.Generator, *, memory: float = 0.9, trend: float = 0.0) -> Array:
    """Sales of a segment by day: weekdays, noise that remembers, a trend."""
    noise = np.zeros(days)
    for day in range(1, days):
        noise[day] = memory * noise[day - 1] + 0.03 * rng.normal()
    weekday = np.tile(WEEK, days // 7 + 1)[:days]
    return np.asarray(1000 * weekday * np.exp(noise + trend * np.arange(days)))


def test_the_effect_is_the_mean_difference_of_turns_with_the_sign_of_the_coin() -> None:
    turns = Turns(1, 3)
    before = np.tile(np.r_[np.full(7, 100.0), np.full(7, 102.0)], 6)
    inside = np.r_[np.full(7, 80.0), np.full(7, 100.0), np.full(7, 100.0), np.full(7, 90.0)]
    found = measured_turns(before, inside, turns, (True, False))
    assert found is not None
    effect, error, freedom = found
    # 20 a day less in the first pair, 10 in the second; 14 changed days
    assert effect == pytest.approx(-15 * 14)
    square, level = (2 / 101) ** 2, np.sqrt((90**2 + 95**2) / 2)
    assert error == pytest.approx(level * np.sqrt(square / 2) * 14)
    assert freedom == 6
    differences, levels = relative_differences(inside, turns)
    assert differences == pytest.approx([20 / 90, -10 / 95]) and levels == pytest.approx([90, 95])


def test_days_of_the_wash_out_are_not_looked_at() -> None:
    turns = Turns(1, 3)
    before = np.tile(np.r_[np.full(7, 100.0), np.full(7, 102.0)], 6)
    inside = np.full(14, 100.0)
    wild = inside.copy()
    wild[[0, 1, 2, 7, 8, 9]] = 1e6
    assert measured_turns(before, wild, turns, (True,)) == measured_turns(
        before, inside, turns, (True,)
    )


def test_too_short_a_past_says_nothing() -> None:
    assert past_pairs(np.full(14 * 3, 100.0), Turns(1, 2)) is None
    assert past_pairs(np.zeros(200), Turns(1, 2)) is None
    assert measured_turns(np.full(20, 1.0), np.full(14, 1.0), Turns(1, 2), (True,)) is None


@pytest.mark.parametrize("trend", [0.0, 0.0003])
def test_nothing_is_called_something_one_time_in_twenty_and_effects_as_promised(
    trend: float,
) -> None:
    rng = np.random.default_rng(11)
    turns, pairs, worlds = Turns(1, 3), 4, 1500
    false = seen = 0
    promised = []
    for world in range(worlds):
        daily = shop(364 + 56, rng, trend=trend)
        coins = draw_turns(pairs, world)
        past = past_pairs(daily[:364], turns)
        assert past is not None
        error = past.standard_error(turns, pairs=pairs)
        effect = 2.8 * error / (pairs * 7)  # a day
        on = np.concatenate([np.repeat([one, not one], 7) for one in coins])
        for lift in (0.0, effect):
            found = measured_turns(daily[:364], daily[364:] + lift * on, turns, coins)
            assert found is not None
            hit = abs(found[0]) > stats.t.isf(0.025, found[2]) * found[1]
            false, seen = false + (hit and lift == 0), seen + (hit and lift > 0)
        promised.append(power(2.8, 1.0, freedom=past.freedom))
    assert false / worlds == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / worlds))
    assert seen / worlds == pytest.approx(np.mean(promised), abs=0.05)


def test_placebo_tests_on_the_past_show_the_rate_that_is_claimed() -> None:
    rng = np.random.default_rng(12)
    found = [placebo_turns(shop(728, rng), Turns(1, 3), pairs=4, seed=n) for n in range(40)]
    tests = sum(one.tests for one in found)
    rate = sum(one.false for one in found) / tests
    # tests of one past overlap: about one in eight is a new one
    assert rate == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / (tests / 8)))


def test_turns_grow_with_the_carry_over_and_the_comparison_adds_up() -> None:
    noise = SwitchNoise(shop(364, np.random.default_rng(1)), {"search": 0.2, "tv": 0.8})
    assert noise.turns("search") == Turns(1, 2)
    assert noise.turns("tv") == Turns(4, 11)
    assert noise.turns("unknown") == Turns(2, 4)  # half of an effect is felt a day later
    assert noise.precision("search", 5) is None  # no whole pairs
    assert noise.precision("search", 4) is not None
    assert 0.9 < noise.felt("search", 4) < 1.0
    weights = comparison_weights(Turns(1, 3), (True, False))
    assert weights.sum() == pytest.approx(0.0) and np.abs(weights).sum() == pytest.approx(2.0)
    assert (weights[:3] == 0).all() and (weights[7:10] == 0).all()


def test_wild_pairs_leave_fewer_degrees_of_freedom() -> None:
    turns = Turns(1, 0)
    calm = np.tile(np.r_[np.full(7, 100.0), np.full(7, 102.0)], 10)
    wild = calm.copy()
    wild[-7:] = 120.0  # one pair differs ten times as much
    even, odd = past_pairs(calm, turns), past_pairs(wild, turns)
    assert even is not None and odd is not None
    assert even.freedom == 10  # less kurtosis than a normal distribution's gives no more
    share = np.r_[np.full(9, 2 / 101), 20 / 110]
    kurtosis = (share**4).mean() / (share**2).mean() ** 2
    assert odd.freedom == pytest.approx(20 / (kurtosis - 1))
