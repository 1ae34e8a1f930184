from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.blending import blend
from liftloop.core.canary import choose_canary
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy

SIZES = {f"s{i}": float(10 * (i + 1)) for i in range(10)}


def policy(**budgets: str) -> Policy:
    """Cells named segment_channel."""
    pairs = {Cell(*name.split("_")): Decimal(amount) for name, amount in budgets.items()}
    return Policy.of(pairs)


def test_the_same_seed_chooses_the_same_segments_and_another_one_others() -> None:
    first = choose_canary(SIZES, share=0.3, seed=1)
    assert first == choose_canary(dict(reversed(SIZES.items())), share=0.3, seed=1)
    assert len({choose_canary(SIZES, share=0.3, seed=s).canary for s in range(20)}) > 5


def test_three_of_ten_are_one_small_one_middling_and_one_large() -> None:
    for seed in range(20):
        choice = choose_canary(SIZES, share=0.3, seed=seed)
        ranks = sorted(int(name[1:]) for name in choice.canary)
        assert len(ranks) == 3
        assert ranks[0] < 3 <= ranks[1] < 7 <= ranks[2]


@given(
    st.dictionaries(st.text(min_size=1, max_size=4), st.floats(0, 1e9), min_size=2, max_size=30),
    st.floats(0.01, 1),
    st.integers(0, 10),
)
def test_there_is_always_a_canary_and_a_control_for_it(
    sizes: dict[str, float], share: float, seed: int
) -> None:
    choice = choose_canary(sizes, share=share, seed=seed)
    if choice.problem:
        assert not sum(sizes.values())
        return
    assert choice.canary
    assert choice.control
    assert set(choice.canary) | set(choice.control) == set(sizes)
    assert not set(choice.canary) & set(choice.control)


def test_the_canary_holds_at_most_its_share_of_the_spend_where_that_is_possible() -> None:
    sizes = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 97.0}
    for seed in range(20):
        assert "d" not in choose_canary(sizes, share=0.5, seed=seed).canary


def test_a_single_segment_is_told_and_not_rolled_out() -> None:
    choice = choose_canary({"only": 5.0}, share=0.3, seed=0)
    assert choice.canary == choice.control == ()
    assert "only is the only segment" in choice.problem


def test_segments_without_spend_are_told() -> None:
    assert choose_canary({"a": 0.0, "b": 0.0}, share=0.3, seed=0).problem


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
    mixed = blend(old, new, {"a"}, max_step=0.25).policy.as_dict()
    assert mixed[Cell("a", "x")] == Decimal("125.00")  # wanted 156.25
    assert mixed[Cell("a", "y")] + mixed[Cell("a", "z")] == Decimal("175.00")
    assert mixed[Cell("a", "z")] >= Decimal("75.00")


def test_floors_and_caps_hold_inside_the_set_or_their_conflict_is_named() -> None:
    old = policy(a_x="50.00", a_y="50.00", b_x="10.00")
    new = policy(a_x="90.00", a_y="10.00", b_x="10.00")
    cap = {Cell("a", "x"): (Decimal(0), Decimal("60.00"))}
    assert blend(old, new, {"a"}, bounds=cap).policy == policy(
        a_x="60.00", a_y="40.00", b_x="10.00"
    )
    floors = {c: (Decimal("60.00"), Decimal("99.00")) for c in old.cells}
    with pytest.raises(InfeasibleBudget, match=r"keep 100\.00"):
        blend(old, new, {"a"}, bounds=floors)


def test_a_challenger_without_money_for_the_set_leaves_it_alone() -> None:
    old = policy(a_x="50.00", b_x="10.00")
    mixed = blend(old, policy(a_x="0.00", b_x="60.00"), {"a"})
    assert mixed.policy == old
    assert mixed.waiting == Decimal("-50.00")


AMOUNTS = st.lists(st.integers(0, 500_000), min_size=6, max_size=6)


@given(AMOUNTS, AMOUNTS, st.sampled_from([None, 0.05, 0.25, 1.0]))
def test_the_total_of_each_set_is_exact_and_the_others_are_equal_to_the_byte(
    old_cents: list[int], new_cents: list[int], max_step: float | None
) -> None:
    cells = [Cell(s, c) for s in "ab" for c in "xyz"]
    old = Policy.of({c: Decimal(k) / 100 for c, k in zip(cells, old_cents, strict=True)})
    new = Policy.of({c: Decimal(k) / 100 for c, k in zip(cells, new_cents, strict=True)})
    mixed = blend(old, new, {"a"}, max_step=max_step).policy
    was, now = old.as_dict(), mixed.as_dict()
    assert mixed.total == old.total
    assert all(now[c] == was[c] for c in cells if c.segment == "b")
    assert all(amount >= 0 for amount in now.values())
    if max_step is not None:
        tenth = old.total / 6 / 10
        for cell in cells:
            limit = Decimal(str(max_step)) * max(was[cell], tenth)
            assert abs(now[cell] - was[cell]) <= limit + Decimal("0.01")
