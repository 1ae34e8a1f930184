"""Rules in whole cents, and smallest sets of them that cannot hold together."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.core.allocation.constraints import (
    Rules,
    book,
    broken_rules,
    resolve_rules,
)
from liftloop.core.allocation.infeasibility import conflicting, describe, possible
from liftloop.core.allocation.rule_patterns import Group, NoRaise
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell, Policy

EU, US = Cell("eu", "search"), Cell("eu", "social")
D = Decimal


def test_a_step_is_a_quarter_of_the_budget_or_of_a_tenth_of_the_average_one() -> None:
    rules = resolve_rules(cells=[EU, US], total=D("1000.03"))
    bounds = book(rules, incumbent=Policy.of({EU: D("1000.03"), US: D(0)}))
    # 25 % of 100,003 cents is 25,000.75, rounded down; a tenth of the average is 5,000.15 cents
    assert list(bounds.low) == [100003 - 25000, 0]
    assert list(bounds.high) == [100003, 1250]  # never above the total


def test_the_tightest_of_several_limits_holds() -> None:
    rules = resolve_rules(
        cells=[EU, US],
        total=D(100),
        limits=[
            ("*", "*", D(5), D(80)),
            ("eu", "search", D(10), None),
            ("*", "social", D(0), D(7)),
        ],
        max_step=None,
    )
    bounds = book(rules, incumbent=Policy.of({EU: D(50), US: D(50)}))
    assert list(bounds.low) == [1000, 500]
    assert list(bounds.high) == [8000, 700]


def test_a_frozen_cell_and_a_cell_without_evidence_keep_their_budget_to_the_cent() -> None:
    rules = resolve_rules(cells=[EU, US], total=D("100"), frozen=[("eu", "search")])
    bounds = book(rules, incumbent=Policy.of({EU: D("33.33"), US: D("66.67")}), unknown=[US])
    assert list(bounds.low) == list(bounds.high) == [3333, 6667]


def test_a_pattern_that_matches_nothing_rules_nothing() -> None:
    rules = resolve_rules(
        cells=[EU, US], total=D(100), limits=[("asia", "*", D(50), None)], max_step=None
    )
    assert [rule.kind for rule in book(rules, incumbent=Policy.of({})).rules] == ["total"]


def test_floors_above_the_total_are_named_with_their_amounts() -> None:
    rules = resolve_rules(
        cells=[EU, US, Cell("us", "search")],
        total=D(1000),
        limits=[
            ("eu", "search", D(600), None),
            ("eu", "social", D(500), None),
            ("us", "search", D(100), None),
        ],
        max_step=None,
    )
    bounds = book(rules, incumbent=Policy.of({EU: D(500), US: D(500)}))
    assert describe(conflicting(bounds), bounds.cells) == (
        "floor of eu x search (600.00)",
        "floor of eu x social (500.00)",
        "the total of 1,000.00 (the other rules need at least 1,100.00)",
    )


def test_a_floor_out_of_a_step_s_reach_is_named_with_the_step_and_not_the_total() -> None:
    rules = resolve_rules(cells=[EU, US], total=D(1000), limits=[("eu", "search", D(600), None)])
    bounds = book(rules, incumbent=Policy.of({EU: D(400), US: D(600)}))
    words = describe(conflicting(bounds), bounds.cells)
    assert words[0] == "floor of eu x search (600.00)"
    assert words[1].endswith("for eu x search 300.00 to 500.00")
    assert len(words) == 2


def test_caps_below_the_total_are_named() -> None:
    rules = resolve_rules(
        cells=[EU, US], total=D(1000), limits=[("*", "*", D(0), D(400))], max_step=None
    )
    bounds = book(rules, incumbent=Policy.of({EU: D(500), US: D(500)}))
    assert describe(conflicting(bounds), bounds.cells) == (
        "cap of every cell (400.00 each, 2 cells)",
        "the total of 1,000.00 (the other rules allow at most 800.00)",
    )


def test_a_group_s_minimum_conflicts_with_another_s_maximum_inside_it() -> None:
    rules = resolve_rules(
        cells=[EU, US],
        total=D(1000),
        groups=[
            Group("all of eu", ("eu",), ("*",), D(500)),
            Group("eu search", ("eu",), ("search",), D(0), D(100)),
            Group("eu social", ("eu",), ("social",), D(0), D(300)),
        ],
        max_step=None,
    )
    bounds = book(rules, incumbent=Policy.of({EU: D(500), US: D(500)}))
    labels = [rule.label for rule in conflicting(bounds)]
    assert "maximum of group eu search (100.00)" in labels
    assert "maximum of group eu social (300.00)" in labels
    # either the group's minimum or the total makes the third: both need more than 400
    assert len(labels) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"total": D(-1)},
        {"limits": [("*", "*", D(-5), None)]},
        {"limits": [("*", "*", D(0), D("NaN"))]},
        {"groups": [Group("g", ("*",), ("*",), D(0), D(-1))]},
        {"max_step": -0.1},
        {"cells": []},
    ],
)
def test_rules_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        resolve_rules(**{"cells": [EU], "total": D(1), **wrong})  # type: ignore[arg-type]


amounts = st.integers(0, 100_000).map(lambda cents: D(cents) / 100)
names = st.sampled_from(["a", "b", "c", "*"])


@st.composite
def random_rules(draw: st.DrawFn) -> tuple[Rules, Policy]:
    cells = [Cell(s, c) for s in "abc" for c in "ab"]
    budgets = {cell: draw(amounts) for cell in cells}
    limits = draw(st.lists(st.tuples(names, names, amounts, st.none() | amounts), max_size=4))
    groups = draw(
        st.lists(
            st.builds(Group, st.just("g"), st.tuples(names), st.tuples(names), amounts, amounts),
            max_size=3,
        )
    )
    frozen = draw(st.lists(st.tuples(names, names), max_size=1))
    step = draw(st.sampled_from([None, 0.25, 1.0]))
    total = draw(st.just(sum(budgets.values(), D(0))) | amounts)
    rules = resolve_rules(
        cells=cells, total=total, limits=limits, groups=groups, frozen=frozen, max_step=step
    )
    return rules, Policy.of(budgets)


@settings(max_examples=60, deadline=None)
@given(random_rules())
def test_a_conflict_is_one_and_without_any_one_of_its_rules_it_is_none(
    made: tuple[Rules, Policy],
) -> None:
    rules, incumbent = made
    bounds = book(rules, incumbent=incumbent)
    conflict = conflicting(bounds)
    n = len(bounds.cells)
    if not conflict:
        assert possible(bounds.rules, n)
        return
    assert not possible(conflict, n)
    for rule in conflict:
        assert possible([other for other in conflict if other is not rule], n), rule.label
    assert len(describe(conflict, bounds.cells)) == len(conflict)


def test_broken_rules_are_named_exactly() -> None:
    rules = resolve_rules(
        cells=[EU, US], total=D(10), limits=[("eu", "search", D(5), None)], max_step=None
    )
    bounds = book(rules, incumbent=Policy.of({EU: D(5), US: D(5)}))
    assert broken_rules(np.array([500, 500]), bounds) == []
    assert broken_rules(np.array([499, 501]), bounds) == ["floor of eu x search (5.00)"]
    assert broken_rules(np.array([500, 501]), bounds) == ["the total of 10.00"]


def test_a_cell_that_may_get_no_raise_may_still_lose_and_the_others_go_on() -> None:
    rules = resolve_rules(cells=[EU, US], total=D(100))
    rules = replace(rules, no_raise=(NoRaise(EU, 0.4),))
    bounds = book(rules, incumbent=Policy.of({EU: D(60), US: D(40)}))
    assert list(bounds.low) == [4500, 3000]
    assert list(bounds.high) == [6000, 5000]


def test_a_total_that_grows_while_no_cell_may_is_a_conflict_that_names_the_cells() -> None:
    rules = resolve_rules(cells=[EU, US], total=D(101))
    rules = replace(rules, no_raise=(NoRaise(EU, 0.4), NoRaise(US, 0.5)))
    written = book(rules, incumbent=Policy.of({EU: D(60), US: D(40)}))
    words = describe(conflicting(written), rules.cells)
    assert words[0].startswith("cells that do not spend their budget get no raise (eu x search, ")
    assert words[1] == "the total of 101.00 (the other rules allow at most 100.00)"
