"""The budgets in force while plans flow through the waves."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.holds import Frozen, Holds
from liftloop.pipeline.plan.stage_budgets import Level, StageInputs, stage_budgets
from liftloop.settings.schema import Settings

DAY = date(2026, 3, 2)
SEGMENTS, CHANNELS = "abcd", ("search", "video", "tv")
CELLS = [Cell(s, c) for s in SEGMENTS for c in CHANNELS]
WAVES = (("a",), ("b", "c"), ("d",))
NO_FACTS = {"performance": pd.DataFrame(), "holdout": pd.DataFrame(), "sales": pd.DataFrame()}
CENT = Decimal("0.01")


def policy(**budgets: str) -> Policy:
    """Cells named segment_channel."""
    pairs = {Cell(*name.split("_")): Decimal(amount) for name, amount in budgets.items()}
    return Policy.of(pairs)


def base(
    in_force: Policy,
    *,
    frozen: Frozen = (),
    slow: dict[Cell, float] | None = None,
    fixed: frozenset[Cell] = frozenset(),
    in_steps: bool = True,
    **budget: object,
) -> StageInputs:
    settings = Settings.model_validate({"budget": {"max_step": 0.25, **budget}})
    return StageInputs(settings, in_force, frozen, NO_FACTS, DAY, slow or {}, fixed, in_steps)


def money(policy: Policy, segments: str | tuple[str, ...]) -> Decimal:
    return sum((x for cell, x in policy.budgets if cell.segment in segments), Decimal(0))


OLD = policy(a_x="100.00", a_y="100.00", b_x="100.00", b_y="100.00")
NEW = policy(a_x="120.00", a_y="100.00", b_x="90.00", b_y="90.00")


def test_the_leading_wave_has_the_new_plan_within_the_money_it_had() -> None:
    """20 of the plan's money comes from b, and waits until b has the plan, too."""
    first = stage_budgets(base(OLD), [(["a", "b"], OLD), (["a"], NEW)])
    assert first == policy(a_x="109.09", a_y="90.91", b_x="100.00", b_y="100.00")


def test_money_crosses_when_both_waves_have_the_plan() -> None:
    first = stage_budgets(base(OLD), [(["a", "b"], OLD), (["a"], NEW)])
    assert stage_budgets(base(first), [(["a", "b"], NEW)]) == NEW


def test_three_plans_of_different_age_each_keep_to_their_waves() -> None:
    """Every segment has 300, and search goes up by 10 with each plan: the last wave has plan 1, the
    middle one plan 2, the leading one plan 3. No money crosses, so none is rescaled."""

    def plan(more: int) -> Policy:
        amounts = {"search": 100 + more, "video": 100 - more, "tv": 100}
        return Policy.of({c: Decimal(amounts[c.channel]) for c in CELLS})

    levels: list[Level] = [(SEGMENTS, plan(10)), ("abc", plan(20)), ("a", plan(30))]
    now = stage_budgets(base(plan(10)), levels).as_dict()
    assert [now[Cell(s, "search")] for s in SEGMENTS] == [130, 120, 120, 110]
    assert [now[Cell(s, "video")] for s in SEGMENTS] == [70, 80, 80, 90]
    assert {now[Cell(s, "tv")] for s in SEGMENTS} == {100}


def test_a_step_is_measured_from_the_budgets_in_force_and_not_from_a_plan() -> None:
    far = policy(a_x="200.00", a_y="0.00", b_x="100.00", b_y="100.00")
    assert stage_budgets(base(OLD), [(["a", "b"], OLD), (["a"], far)]) == policy(
        a_x="125.00", a_y="75.00", b_x="100.00", b_y="100.00"
    )
    whole = stage_budgets(base(OLD, in_steps=False), [(["a", "b"], OLD), (["a"], far)])
    assert whole == far


def test_a_paused_cell_keeps_its_budget_and_the_rest_of_its_wave_makes_up_for_it() -> None:
    paused: Frozen = (("b", "x", "paused by ana"),)
    now = stage_budgets(base(OLD, frozen=paused), [(["a", "b"], NEW)])
    assert now.as_dict()[Cell("b", "x")] == 100
    assert now.total == OLD.total


def test_a_cell_that_no_plan_moved_is_not_moved_by_rescaling() -> None:
    wide = Policy.of({**OLD.as_dict(), Cell("a", "z"): Decimal(100)})
    plan = Policy.of({**NEW.as_dict(), Cell("a", "z"): Decimal(100)})
    levels: list[Level] = [(["a", "b"], wide), (["a"], plan)]
    still = stage_budgets(base(wide, fixed=frozenset({Cell("a", "z")})), levels)
    assert still.as_dict()[Cell("a", "z")] == 100
    assert stage_budgets(base(wide), levels).as_dict()[Cell("a", "z")] != 100


def test_waves_whose_limits_leave_no_room_are_a_conflict_with_numbers() -> None:
    floors = [{"channel": "y", "floor": "500"}]
    paused: Frozen = (("*", "x", "paused by ana"),)
    with pytest.raises(InfeasibleBudget, match=r"400\.00"):
        stage_budgets(base(OLD, frozen=paused, limits=floors), [(["a", "b"], NEW)])


# -- in every state --------------------------------------------------------------------------------

AMOUNTS = st.lists(st.integers(0, 200_000), min_size=12, max_size=12)
ORDERS = st.permutations(list(range(12)))


def of_cents(cents: list[int]) -> Policy:
    return Policy.of({c: Decimal(k) / 100 for c, k in zip(CELLS, cents, strict=True)})


@st.composite
def states(draw: st.DrawFn) -> tuple[Policy, list[Level]]:
    """Budgets in force, and the plans of waves of which none is ahead of the one before it."""
    cents = draw(AMOUNTS)
    places = sorted(draw(st.lists(st.integers(0, 3), min_size=3, max_size=3)), reverse=True)
    plans = {n: of_cents([cents[i] for i in draw(ORDERS)]) for n in sorted(set(places))}
    levels: list[Level] = [
        ([s for wave, place in zip(WAVES, places, strict=True) if place >= n for s in wave], plan)
        for n, plan in plans.items()
    ]
    return of_cents(cents), levels


FROZEN = st.lists(
    st.tuples(st.sampled_from([*SEGMENTS, "*"]), st.sampled_from([*CHANNELS, "*"]), st.just("why")),
    max_size=3,
)
SLOW = st.dictionaries(st.sampled_from(CELLS), st.just(0.4), max_size=3)
FIXED = st.frozensets(st.sampled_from(CELLS), max_size=3)


@given(states(), FROZEN, SLOW, FIXED, st.booleans())
def test_in_every_state_totals_are_exact_and_nothing_moves_that_may_not(
    state: tuple[Policy, list[Level]],
    frozen: list[tuple[str, str, str]],
    slow: dict[Cell, float],
    fixed: frozenset[Cell],
    in_steps: bool,
) -> None:
    """The budgets in force keep all that is asked here, so every state can be made."""
    now, levels = state
    inputs = base(now, frozen=tuple(frozen), slow=slow, fixed=fixed, in_steps=in_steps)
    then = stage_budgets(inputs, levels)
    before, after = now.as_dict(), then.as_dict()
    assert then.total == now.total
    assert all(amount >= 0 for amount in after.values())
    for cell in Holds(tuple(frozen)).held(now) | fixed:
        assert after[cell] == before[cell]
    for cell in slow:
        assert after[cell] <= before[cell]
    if in_steps:
        tenth = now.total / len(CELLS) / 10
        for cell in CELLS:
            step = Decimal("0.25") * max(before[cell], tenth)
            assert abs(after[cell] - before[cell]) <= step + CENT


@given(states(), FROZEN, st.booleans())
def test_money_crosses_only_between_waves_that_both_have_the_plan(
    state: tuple[Policy, list[Level]], frozen: list[tuple[str, str, str]], in_steps: bool
) -> None:
    """Those that have a newer plan keep together what they had under the older, and those that do
    not have it are left as they are, to the byte."""
    now, levels = state
    inputs = base(now, frozen=tuple(frozen), in_steps=in_steps)
    stages = [stage_budgets(inputs, levels[: k + 1]) for k in range(len(levels))]
    for k in range(1, len(levels)):
        inside = tuple(levels[k][0])
        assert money(stages[k], inside) == money(stages[k - 1], inside)
        was, is_now = stages[k - 1].as_dict(), stages[k].as_dict()
        assert all(was[c] == is_now[c] for c in CELLS if c.segment not in inside)


# -- plans that spend less or more -----------------------------------------------------------------


def test_what_a_plan_parks_leaves_each_segment_with_its_own_wave() -> None:
    """The plan cuts 30 in a and 50 in b: a is first, and only its own 30 are out."""
    plan = policy(a_x="80.00", a_y="90.00", b_x="75.00", b_y="75.00")
    first = stage_budgets(base(OLD), [(["a", "b"], OLD), (["a"], plan)])
    assert first == policy(a_x="80.00", a_y="90.00", b_x="100.00", b_y="100.00")
    assert stage_budgets(base(first), [(["a", "b"], plan)]) == plan


def test_what_crosses_waits_and_what_is_parked_does_not() -> None:
    """Of the 30 that a loses 10 go to b, which has no new plan yet; 20 are parked."""
    plan = policy(a_x="80.00", a_y="90.00", b_x="110.00", b_y="100.00")
    first = stage_budgets(base(OLD), [(["a", "b"], OLD), (["a"], plan)])
    assert money(first, "a") == Decimal("180.00") and money(first, "b") == 200
    assert stage_budgets(base(first), [(["a", "b"], plan)]) == plan


def test_a_newer_plan_that_only_moves_money_takes_nothing_of_an_older_ones_cut() -> None:
    """Plan 1 parks 20 in b; plan 2 moves 20 from a to b. With a on plan 2 and b on the reference,
    neither is out: b's cut is b's own, and what crosses waits for b."""
    cut = policy(a_x="100.00", a_y="100.00", b_x="80.00", b_y="100.00")
    then = policy(a_x="80.00", a_y="100.00", b_x="100.00", b_y="100.00")
    levels: list[Level] = [(["a", "b"], OLD), (["a"], cut), (["a"], then)]
    assert stage_budgets(base(OLD), levels).total == OLD.total


def test_more_money_comes_with_the_segments_own_wave_too() -> None:
    plan = policy(a_x="120.00", a_y="100.00", b_x="100.00", b_y="115.00")
    first = stage_budgets(base(OLD), [(["a", "b"], OLD), (["a"], plan)])
    assert first == policy(a_x="120.00", a_y="100.00", b_x="100.00", b_y="100.00")


def test_a_cut_of_a_cell_that_is_held_today_is_made_by_no_other_cell() -> None:
    plan = policy(a_x="75.00", a_y="100.00", b_x="100.00", b_y="100.00")
    held: Frozen = (("a", "x", "paused by ana"),)
    for levels in ([(["a", "b"], plan)], [(["a", "b"], OLD), (["a"], plan)]):
        assert stage_budgets(base(OLD, frozen=held), levels) == OLD


def test_shares_of_the_total_are_of_the_total_that_is_left() -> None:
    """Half of the money is x: a plan that parks as much of x as of y keeps that."""
    half = [{"name": "x", "channels": ["x"], "minimum_share": 0.5}]
    plan = policy(a_x="80.00", a_y="80.00", b_x="90.00", b_y="90.00")
    first = stage_budgets(base(OLD, groups=half), [(["a", "b"], OLD), (["a"], plan)])
    assert first == policy(a_x="80.00", a_y="80.00", b_x="100.00", b_y="100.00")


@st.composite
def other_totals(draw: st.DrawFn) -> tuple[Policy, list[Level]]:
    """As of ``states``, with plans of any total."""
    cents = draw(AMOUNTS)
    places = sorted(draw(st.lists(st.integers(0, 3), min_size=3, max_size=3)), reverse=True)
    plans = {n: of_cents(draw(AMOUNTS)) for n in sorted(set(places))}
    plans[min(plans)] = of_cents(cents)  # the oldest is in force
    levels: list[Level] = [
        ([s for wave, place in zip(WAVES, places, strict=True) if place >= n for s in wave], plan)
        for n, plan in plans.items()
    ]
    return of_cents(cents), levels


@given(other_totals(), FROZEN, st.booleans())
def test_with_other_totals_no_cell_outside_the_waves_moves_and_sums_are_exact(
    state: tuple[Policy, list[Level]], frozen: list[tuple[str, str, str]], in_steps: bool
) -> None:
    """A wave's sum changes by its own part of the change of the total, to the cent where steps and
    holds leave room; it never goes farther, and never the other way."""
    now, levels = state
    inputs = base(now, frozen=tuple(frozen), in_steps=in_steps)
    stages = [stage_budgets(inputs, levels[: k + 1]) for k in range(len(levels))]
    for k in range(1, len(levels)):
        inside, plan, older = tuple(levels[k][0]), levels[k][1], levels[k - 1][1]
        was, is_now = stages[k - 1].as_dict(), stages[k].as_dict()
        assert all(was[c] == is_now[c] for c in CELLS if c.segment not in inside)
        change, whole = stages[k].total - stages[k - 1].total, plan.total - older.total
        own = money(plan, inside) - money(older, inside)
        toward = money(plan, inside) - money(stages[k - 1], inside)
        asked = _nearest(_nearest(own, whole), toward)
        assert money(stages[k], inside) - money(stages[k - 1], inside) == change
        assert min(asked, Decimal(0)) <= change <= max(asked, Decimal(0)) or frozen
        assert min(whole, Decimal(0)) <= change <= max(whole, Decimal(0))
        if not frozen and not in_steps:
            assert change == asked
    before, after = now.as_dict(), stages[-1].as_dict()
    for cell in Holds(tuple(frozen)).held(now):
        assert after[cell] == before[cell]
    if in_steps:
        tenth = now.total / len(CELLS) / 10
        for cell in CELLS:
            step = Decimal("0.25") * max(before[cell], tenth)
            assert abs(after[cell] - before[cell]) <= step + CENT


def _nearest(amount: Decimal, end: Decimal) -> Decimal:
    """The nearest to ``amount`` from 0 to ``end``."""
    return min(max(amount, min(end, Decimal(0))), max(end, Decimal(0)))


@given(states())
def test_without_limits_a_wave_has_its_plan_in_the_plans_proportions(
    state: tuple[Policy, list[Level]],
) -> None:
    now, levels = state
    then = stage_budgets(base(now, in_steps=False), levels)
    segments, plan = levels[-1]
    inside = [cell for cell in CELLS if cell.segment in segments]
    wanted = np.array([float(plan.as_dict()[cell]) for cell in inside])
    have = np.array([float(then.as_dict()[cell]) for cell in inside])
    assume(wanted.sum() > 0)
    assert have == pytest.approx(wanted * have.sum() / wanted.sum(), abs=0.01 + 1e-6)
