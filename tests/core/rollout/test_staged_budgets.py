"""Budgets while only some segments follow: the total of each set stays exact, all limits hold."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.allocation.constraints import Book, book, resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.staged_budgets import Room, blend, land, towards


def policy(**budgets: str) -> Policy:
    """Cells named segment_channel."""
    pairs = {Cell(*name.split("_")): Decimal(amount) for name, amount in budgets.items()}
    return Policy.of(pairs)


def groups(incumbent: Policy, *limits: tuple[str, list[str], list[str], int, int | None]) -> Book:
    rules = resolve_rules(
        cells=incumbent.cells,
        total=incumbent.total,
        max_step=None,
        groups=[
            Group(n, tuple(s), tuple(c), Decimal(lo), None if hi is None else Decimal(hi))
            for n, s, c, lo, hi in limits
        ],
    )
    return book(rules, incumbent=incumbent)


def test_the_challenger_is_rescaled_to_what_the_set_had_and_the_rest_is_untouched() -> None:
    old = policy(a_x="60.00", a_y="40.00", b_x="50.00", b_y="50.00")
    new = policy(a_x="30.00", a_y="120.00", b_x="30.00", b_y="20.00")
    mixed = blend(old, new, {"a"})
    assert mixed.policy == policy(a_x="20.00", a_y="80.00", b_x="50.00", b_y="50.00")
    assert mixed.waiting == Decimal("50.00")


def test_cents_that_do_not_divide_go_to_the_largest_remainders() -> None:
    old = policy(a_x="0.34", a_y="0.33", a_z="0.33", b_x="9.00")
    new = policy(a_x="1.00", a_y="1.00", a_z="1.00", b_x="7.00")
    mixed = blend(old, new, {"a"})
    assert [str(v) for _, v in mixed.policy.budgets] == ["0.34", "0.33", "0.33", "9.00"]


def test_a_rescaled_budget_beyond_its_step_is_clipped_and_the_rest_spread_inside() -> None:
    old = policy(a_x="100.00", a_y="100.00", a_z="100.00", b_x="300.00")
    new = policy(a_x="125.00", a_y="75.00", a_z="40.00", b_x="360.00")
    mixed = blend(old, new, {"a"}, room=Room(old, max_step=0.25)).policy.as_dict()
    assert mixed[Cell("a", "x")] == Decimal("125.00")  # wanted 156.25
    assert mixed[Cell("a", "y")] + mixed[Cell("a", "z")] == Decimal("175.00")
    assert mixed[Cell("a", "z")] >= Decimal("75.00")


def test_floors_and_caps_hold_inside_the_set_or_their_conflict_is_named() -> None:
    old = policy(a_x="50.00", a_y="50.00", b_x="10.00")
    new = policy(a_x="90.00", a_y="10.00", b_x="10.00")
    cap = {Cell("a", "x"): (Decimal(0), Decimal("60.00"))}
    assert blend(old, new, {"a"}, room=Room(old, bounds=cap)).policy == policy(
        a_x="60.00", a_y="40.00", b_x="10.00"
    )
    floors = {c: (Decimal("60.00"), Decimal("99.00")) for c in old.cells}
    with pytest.raises(InfeasibleBudget, match=r"keep 100\.00"):
        blend(old, new, {"a"}, room=Room(old, bounds=floors))


def test_a_challenger_without_money_for_the_set_leaves_it_alone() -> None:
    old = policy(a_x="50.00", b_x="10.00")
    mixed = blend(old, policy(a_x="0.00", b_x="60.00"), {"a"})
    assert mixed.policy == old
    assert mixed.waiting == Decimal("-50.00")


def test_a_groups_limit_is_kept_by_the_nearest_budgets_that_keep_it() -> None:
    old = policy(a_x="50.00", a_y="50.00", b_x="50.00", b_y="50.00")
    new = policy(a_x="90.00", a_y="10.00", b_x="10.00", b_y="90.00")
    most = groups(old, ("x", ["*"], ["x"], 0, 120))
    # alone, a's x would be 90 and the group 140; b's x stays at 50
    assert blend(old, new, {"a"}, room=Room(old, groups=most)).policy == policy(
        a_x="70.00", a_y="30.00", b_x="50.00", b_y="50.00"
    )


def test_a_limit_that_the_budgets_in_force_break_already_is_broken_no_further() -> None:
    old = policy(a_x="50.00", a_y="50.00", b_x="50.00", b_y="50.00")
    new = policy(a_x="90.00", a_y="10.00", b_x="10.00", b_y="90.00")
    most = groups(old, ("x", ["*"], ["x"], 0, 60))
    assert blend(old, new, {"a"}, room=Room(old, groups=most)).policy == old


def test_groups_that_cannot_be_kept_within_floors_are_named() -> None:
    old = policy(a_x="50.00", a_y="50.00", b_x="50.00")
    new = policy(a_x="60.00", a_y="40.00", b_x="50.00")
    most = groups(old, ("x", ["*"], ["x"], 0, 105))
    floors = {Cell("a", "x"): (Decimal("58.00"), Decimal("99.00"))}
    with pytest.raises(InfeasibleBudget, match="group x"):
        blend(old, new, {"a"}, room=Room(old, bounds=floors, groups=most))


def test_a_later_stage_takes_its_steps_from_the_budgets_in_force() -> None:
    old = policy(a_x="100.00", a_y="100.00", b_x="100.00", b_y="100.00", c_x="100.00")
    new = policy(a_x="125.00", a_y="75.00", b_x="125.00", b_y="75.00", c_x="100.00")
    now = policy(a_x="80.00", a_y="120.00", b_x="100.00", b_y="100.00", c_x="100.00")
    mixed = blend(old, new, {"a", "b"}, room=Room(now, max_step=0.25)).policy.as_dict()
    assert mixed[Cell("a", "x")] == Decimal("100.00")  # a quarter more than 80
    assert mixed[Cell("b", "x")] == Decimal("125.00")
    assert mixed[Cell("c", "x")] == Decimal("100.00")
    assert sum(mixed.values()) == old.total


def test_the_challenger_lands_itself_where_it_is_within_a_step() -> None:
    new = policy(a_x="120.00", b_x="80.00")
    assert land(new, in_force=policy(a_x="100.00", b_x="100.00"), max_step=0.25) is new
    far = land(new, in_force=policy(a_x="90.00", b_x="110.00"), max_step=0.25)
    assert far == policy(a_x="112.50", b_x="87.50")


def test_a_cell_frozen_since_keeps_its_budget_when_the_challenger_lands() -> None:
    now, new = policy(a_x="90.00", a_y="110.00"), policy(a_x="100.00", a_y="100.00")
    frozen = {Cell("a", "x"): (Decimal("90.00"), Decimal("90.00"))}
    assert land(new, in_force=now, max_step=0.25, bounds=frozen) == now


AMOUNTS = st.lists(st.integers(0, 500_000), min_size=9, max_size=9)
CELLS = [Cell(s, c) for s in "abc" for c in "xyz"]


def of_cents(cents: list[int]) -> Policy:
    return Policy.of({c: Decimal(k) / 100 for c, k in zip(CELLS, cents, strict=True)})


@given(AMOUNTS, AMOUNTS, st.sampled_from([None, 0.05, 0.25, 1.0]), st.sampled_from([0.2, 0.5, 1]))
def test_each_stages_total_is_exact_and_control_is_equal_to_the_byte(
    old_cents: list[int], new_cents: list[int], max_step: float | None, most: float
) -> None:
    """Stage after stage: the canary, then one more segment, from the budgets in force then."""
    old, new = of_cents(old_cents), of_cents(new_cents)
    now, limit = old, int(most * float(old.total)) + 1
    limits = groups(old, ("x", ["*"], ["x"], 0, limit))
    for exposed in ({"a"}, {"a", "b"}):
        mixed = blend(old, new, exposed, room=Room(now, max_step, groups=limits)).policy
        was, held, then = now.as_dict(), old.as_dict(), mixed.as_dict()
        assert mixed.total == old.total
        assert all(then[c] == held[c] for c in CELLS if c.segment not in exposed)
        assert all(amount >= 0 for amount in then.values())
        if max_step is not None:
            tenth = old.total / len(CELLS) / 10
            for cell in CELLS:
                step = Decimal(str(max_step)) * max(was[cell], tenth)
                assert abs(then[cell] - was[cell]) <= step + Decimal("0.01")
        x = [sum(v for c, v in p.items() if c.channel == "x") for p in (was, then)]
        assert x[1] <= max(Decimal(limit), x[0])
        now = mixed


@given(AMOUNTS, AMOUNTS)
def test_landing_keeps_the_challengers_total_and_every_step(
    now_cents: list[int], noise: list[int]
) -> None:
    now = of_cents(now_cents)
    shuffled = [int(now_cents[i]) for i in np.argsort(noise, kind="stable")]
    new = of_cents(shuffled)
    landed = land(new, in_force=now, max_step=0.25)
    assert landed.total == new.total
    tenth = now.total / len(CELLS) / 10
    before, after = now.as_dict(), landed.as_dict()
    for cell in CELLS:
        step = Decimal("0.25") * max(before[cell], tenth)
        assert abs(after[cell] - before[cell]) <= step + Decimal("0.01")


# -- part of the way -------------------------------------------------------------------------------


def test_a_quarter_of_the_way_is_a_quarter_of_every_cells_change() -> None:
    old = policy(a_x="100.00", a_y="40.00", b_x="60.00")
    new = policy(a_x="60.00", a_y="60.00", b_x="80.00")
    assert towards(old, new, 0.25) == policy(a_x="90.00", a_y="45.00", b_x="65.00")


def test_the_cents_of_half_a_step_go_to_the_largest_remainders() -> None:
    old = policy(a_x="0.01", a_y="0.01", b_x="0.04")
    new = policy(a_x="0.02", a_y="0.02", b_x="0.02")
    half = towards(old, new, 0.5)
    assert half.total == Decimal("0.06")
    assert half == policy(a_x="0.02", a_y="0.01", b_x="0.03")


def test_nothing_of_the_way_and_all_of_it_are_the_policies_themselves() -> None:
    old, new = policy(a_x="10.00", b_x="0.01"), policy(a_x="0.00", b_x="10.01")
    assert towards(old, new, 0.0) is old
    assert towards(old, new, 1.0) is new


def test_a_cell_that_only_one_of_them_has_counts_as_nothing_in_the_other() -> None:
    half = towards(policy(a_x="10.00"), policy(b_x="10.00"), 0.5)
    assert half == policy(a_x="5.00", b_x="5.00")


@given(AMOUNTS, AMOUNTS, st.floats(0, 1))
def test_the_way_between_two_policies_of_one_total_is_exact_and_stays_between_them(
    here: list[int], noise: list[int], share: float
) -> None:
    there = [here[i] for i in np.argsort(noise, kind="stable")]
    old, new = of_cents(here), of_cents(there)
    middle = towards(old, new, share)
    assert middle.total == old.total == new.total
    was, wanted, now = old.as_dict(), new.as_dict(), middle.as_dict()
    for cell in CELLS:
        low, high = sorted((was[cell], wanted[cell]))
        assert low <= now[cell] <= high
        # largest remainders move a cell by less than a cent, but where others are at their bound
        exact = float(was[cell]) + share * float(wanted[cell] - was[cell])
        assert abs(float(now[cell]) - exact) <= 0.02 + 1e-6


def test_without_a_step_limit_a_cell_may_fall_by_more_than_its_set_has_left() -> None:
    """What is in force gives segment a 3.00; the older plan leaves it 0.02."""
    now = policy(a_x="3.00", a_y="0.00", b_x="1.00")
    older = policy(a_x="0.01", a_y="0.01", b_x="3.98")
    newer = policy(a_x="0.00", a_y="3.00", b_x="1.00")
    assert blend(older, newer, {"a"}, room=Room(now)).policy == policy(
        a_x="0.00", a_y="0.02", b_x="3.98"
    )
