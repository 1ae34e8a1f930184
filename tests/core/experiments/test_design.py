"""How experiments are laid out and drawn."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest

from liftloop.core.experiments.design import (
    GEO,
    SWITCH_BACK,
    Experiment,
    draw_set,
    draw_turns,
    equal_sets,
    felt_share,
    turn_weeks_of,
    washout_of,
)
from liftloop.core.experiments.power import WeeklySales

MONDAY = date(2026, 3, 2)


def turns(first: tuple[bool, ...], weeks: int = 1) -> Experiment:
    end = MONDAY + timedelta(weeks=2 * weeks * len(first)) - timedelta(days=1)
    return Experiment("t", "video", ("uk",), SWITCH_BACK, -1.0, MONDAY, end, 3, weeks, 3, first)


def test_the_spans_of_changed_spend_follow_the_coins() -> None:
    found = turns((True, False, True))
    assert found.spans() == (
        (date(2026, 3, 2), date(2026, 3, 8)),
        (date(2026, 3, 23), date(2026, 4, 5)),  # last of the second pair, first of the third
    )
    assert found.on.sum() == 21 and found.days == 42
    geo = Experiment("g", "video", ("a", "b"), GEO, -1.0, MONDAY, date(2026, 3, 29), 1)
    assert geo.spans() == ((MONDAY, date(2026, 3, 29)),) and geo.weeks == 4


def test_a_stopped_experiment_counts_up_to_its_last_whole_week_or_pair() -> None:
    geo = Experiment("g", "video", ("a",), GEO, -1.0, MONDAY, date(2026, 3, 29), 1)
    cut = geo.until(date(2026, 3, 17))
    assert cut is not None and cut.end == date(2026, 3, 15)
    assert geo.until(date(2026, 3, 7)) is None
    assert geo.until(date(2027, 1, 1)) == geo
    pair = turns((True, False, True)).until(date(2026, 4, 5))
    assert pair is not None
    assert pair.end == date(2026, 3, 29) and pair.changed_first == (True, False)


def test_an_experiment_comes_back_from_the_ledger_as_it_was() -> None:
    for one in (turns((True, False)), Experiment("g", "v", ("a",), GEO, 0.5, MONDAY, MONDAY, 7)):
        assert Experiment.from_dict(one.as_dict()) == one


def test_wash_out_leaves_a_tenth_and_turns_compare_half_of_their_days() -> None:
    assert washout_of(0.0) == 1
    assert washout_of(0.5) == 4  # 0.5 ** 4 = 0.06
    assert washout_of(0.95) == 14
    assert [turn_weeks_of(days) for days in (1, 3, 4, 7, 8, 14)] == [1, 1, 2, 2, 3, 4]
    for share in (0.3, 0.5, 0.7):
        days = washout_of(share)
        assert share**days <= 0.1 < share ** (days - 1)
        assert 7 * turn_weeks_of(days) >= 2 * days


def test_each_pair_has_a_coin_of_its_own_that_the_seed_throws() -> None:
    assert draw_turns(6, 1) == draw_turns(6, 1)
    drawn = np.array([draw_turns(6, seed) for seed in range(600)])
    assert drawn.mean(axis=0) == pytest.approx(np.full(6, 0.5), abs=4 * np.sqrt(0.25 / 600))
    apart = np.corrcoef(drawn.T.astype(float)) - np.eye(6)
    assert np.abs(apart).max() < 4 / np.sqrt(600)


def test_what_is_felt_of_a_lasting_effect_lacks_what_the_turn_before_carried_over() -> None:
    on = np.array([True] * 7 + [False] * 7)
    weights = np.concatenate([np.ones(7) / 7, -np.ones(7) / 7])
    assert felt_share(on, weights, 0.0) == pytest.approx(1.0)
    # 1 - 0.5 ** d on the days that are changed, 0.5 ** d of nearly the whole after
    changed = np.mean([1 - 0.5**d for d in range(1, 8)])
    after = np.mean([(1 - 0.5**7) * 0.5**d for d in range(1, 8)])
    assert felt_share(on, weights, 0.5) == pytest.approx(changed - after)


def sales(n: int = 8, weeks: int = 30) -> WeeklySales:
    rng = np.random.default_rng(2)
    return WeeklySales(tuple("abcdefgh")[:n], 1000 * np.exp(rng.normal(0, 0.05, (weeks, n))))


def test_sets_measure_about_as_well_as_the_best_and_each_is_drawn_as_often() -> None:
    known = sales()
    spend = dict.fromkeys("abcdefgh", 100.0) | {"h": 1.0}
    sets = equal_sets(spend, known, size=2, seed=1)
    assert 4 < len(sets) <= 21
    assert not any("h" in one for one in sets)  # nearly nothing is spent there

    def clear(one: tuple[str, ...]) -> float:
        contrast = known.contrast(one)
        assert contrast is not None
        return sum(spend[name] for name in one) / contrast.standard_error(1)

    every = {one: clear(one) for one in sets}
    assert min(every.values()) >= 0.8 * max(every.values())
    drawn = Counter(draw_set(sets, seed) for seed in range(2000))
    assert set(drawn) == set(sets)
    expected = 2000 / len(sets)
    assert max(abs(n - expected) for n in drawn.values()) < 4.5 * np.sqrt(expected)
    assert equal_sets(spend, known, size=5, seed=1) == []  # half of the segments stay outside
    assert equal_sets({"a": 0.0}, known, size=1, seed=1) == []


def test_of_very_many_sets_some_are_looked_at() -> None:
    rng = np.random.default_rng(5)
    names = tuple(f"s{n:02d}" for n in range(40))
    known = WeeklySales(names, 1000 * np.exp(rng.normal(0, 0.05, (30, 40))))
    sets = equal_sets(dict.fromkeys(names, 1.0), known, size=6, seed=4)
    assert 10 < len(sets) <= 400
