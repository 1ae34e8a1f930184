"""Units get their variants by a hash that others compute too, by a draw, or by turns."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from liftloop.core.variant_tests.assignment import (
    assign_days,
    assign_segments,
    bucket_of,
    bucket_ranges,
    by_rounds,
    turns_for,
    variant_of,
)
from liftloop.core.variant_tests.observations import VariantDays

HALVES = {"old": 0.5, "new": 0.5}


@pytest.mark.parametrize(
    ("seed", "unit", "expected"),
    [  # from "hash" in GrowthBook's SDK test cases (cases.json, MIT), those of version 2
        ("seed", "a", 0.0505),
        ("seed", "b", 0.2696),
        ("foo", "ab", 0.2575),
        ("foo", "def", 0.2019),
        ("89123klj", "8952klfjas09ujkasdf", 0.124),
        ("90850943850283058242805", "123", 0.7516),
        ("()**(%$##$%#$#", '___)((*":&', 0.0128),
    ],
)
def test_buckets_are_those_of_growthbooks_sdks(seed: str, unit: str, expected: float) -> None:
    assert bucket_of(unit, test=seed) == expected


def test_ranges_are_cumulated_shares_without_a_gap() -> None:
    ranges = bucket_ranges({"a": 0.2, "b": 0.3, "c": 0.5})
    assert [r[0] for r in ranges.values()] == pytest.approx([0.0, 0.2, 0.5])
    assert list(ranges.values())[-1][1] == 1.0
    thirds = bucket_ranges(dict.fromkeys("abc", 1 / 3))
    assert all(one[1] == other[0] for one, other in pairwise(thirds.values()))


def test_shares_of_users_are_what_was_asked_and_tests_are_independent() -> None:
    users, shares = [f"user-{i}" for i in range(20_000)], {"a": 0.2, "b": 0.3, "c": 0.5}
    mine = [variant_of(user, test="one", shares=shares) for user in users]
    other = [variant_of(user, test="two", shares=HALVES) for user in users]
    count = Counter(mine)
    for name, share in shares.items():
        assert abs(count[name] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5
    both = sum(a == "a" and b == "old" for a, b in zip(mine, other, strict=True))
    assert abs(both / 20_000 - 0.1) < 4 * (0.1 * 0.9 / 20_000) ** 0.5
    assert mine == [variant_of(user, test="one", shares=shares) for user in users]


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    for shares in ({"a": 0.5, "b": 0.4}, {"a": 1.2, "b": -0.2}, {}):
        with pytest.raises(ValueError, match="sum to 1"):
            variant_of("u", test="t", shares=shares)


def test_segments_alike_get_different_variants() -> None:
    sizes = {"n": 100.0, "s": 98.0, "e": 10.0, "w": 9.5}
    draws = [assign_segments(sizes, ("old", "new"), seed=seed) for seed in range(40)]
    assert all(one["n"] != one["s"] and one["e"] != one["w"] for one in draws)
    assert 5 <= sum(one["n"] == "new" for one in draws) <= 35
    assert draws[3] == assign_segments(sizes, ("old", "new"), seed=3)
    with pytest.raises(ValueError, match="3 variants"):
        assign_segments({"n": 1.0, "s": 1.0}, ("a", "b", "c"), seed=1)


def test_segments_that_move_together_share_a_block() -> None:
    up, down = [1.0, 2, 3, 4, 5, 6, 7, 8], [8.0, 7, 6, 5, 4, 3, 2, 1]
    history = {"a": up, "b": down, "c": up, "d": down}
    for seed in range(10):
        one = assign_segments(
            dict.fromkeys("abcd", 5.0), ("old", "new"), seed=seed, history=history
        )
        assert one["a"] != one["c"] and one["b"] != one["d"]


def test_each_round_of_turns_has_every_variant_once_with_wash_out() -> None:
    turns = turns_for(0.5)
    assert (turns.weeks, turns.washout) == (2, 4)
    start = date(2026, 3, 2)
    schedule = assign_days(("a", "b", "c"), start=start, turns=turns, rounds=4, seed=7)
    assert len(schedule) == 12 and schedule[0].first == start
    for one, other in pairwise(schedule):
        assert other.first == one.last + timedelta(days=1)
    for i in range(0, 12, 3):
        assert {turn.variant for turn in schedule[i : i + 3]} == {"a", "b", "c"}
    assert all((turn.compared_from - turn.first).days == 4 for turn in schedule)


def test_rounds_are_sums_of_the_days_compared() -> None:
    turns = turns_for(0.0)  # a week, one day of wash-out
    start = date(2026, 3, 2)
    schedule = assign_days(("a", "b"), start=start, turns=turns, rounds=2, seed=1)
    days = np.datetime64(start) + np.arange(27)  # the last turn lacks a day
    units = np.zeros((2, 27))
    for turn in schedule:
        first = (turn.first - start).days
        units[("a", "b").index(turn.variant), first : first + 7] = np.arange(1, 8)[: 27 - first]
    rounds = by_rounds(VariantDays(("a", "b"), days, units, 2 * units, units / 2), schedule)
    assert rounds.units.tolist() == [[27.0], [27.0]]  # 2 + ... + 7
    assert rounds.spend.tolist() == [[54.0], [54.0]] and rounds.value_squares is None
    assert rounds.days.tolist() == [start + timedelta(days=13)]
