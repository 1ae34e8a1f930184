"""Budgets varied by a coin: every sum stays, every rule holds, and it happens where it pays."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.core.allocation.constraints import Freeze, Rules, book, broken_rules, resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.exploration.budget_variation import (
    ExpectedAnswer,
    Limits,
    Variation,
    VariationRequest,
    vary,
    worthwhile,
)
from liftloop.core.policy import Cell, Policy, to_cents

SEGMENTS = tuple(f"region {i}" for i in range(6))
CHANNELS = ("search", "video")
CELLS = tuple(Cell(segment, channel) for segment in SEGMENTS for channel in CHANNELS)
ANSWERS = {name: ExpectedAnswer(10.0, 1.0, 0.5) for name in CHANNELS}


def curves(*, video: float = 0.5, search: float = 0.02, draws: int = 400) -> SaturatingCurves:
    """Cells return 2 a unit at first; the spreads are what is not known of each channel."""
    rng = np.random.default_rng(3)
    common = rng.normal(size=(draws, 2))
    common = (common - common.mean(axis=0)) / common.std(axis=0)
    factor = np.exp(np.array([search, video]) * common)
    return SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=2.0 * np.tile(factor / factor.mean(axis=0), (1, len(SEGMENTS))),
        half_saturation=np.full((draws, len(CELLS)), 1000.0),
        carryover=np.zeros(len(CELLS)),
    )


def policy(amounts: list[int] | None = None) -> Policy:
    every = amounts or [1000] * len(CELLS)
    return Policy.of({c: Decimal(a) for c, a in zip(CELLS, every, strict=True)})


def rules(plan: Policy, **given: Any) -> Rules:
    return resolve_rules(cells=CELLS, total=plan.total, **given)


def request(*, noise: float = 50.0, most: float = 0.2, cycles: int = 25) -> VariationRequest:
    return VariationRequest(
        most=most,
        unit=Decimal("0.01"),
        cycles=cycles,
        cycle_days=7,
        margin=1.0,
        noise=dict.fromkeys(SEGMENTS, noise),
    )


def drawn(plan: Policy, kept: Rules, *, seed: str = "a", **asked: Any) -> Variation | None:
    return vary(curves(), plan, Limits(plan, kept), ANSWERS, request(**asked), seed=seed)


def sums(plan: Policy, part: str) -> dict[str, Decimal]:
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for cell, amount in plan.budgets:
        found[getattr(cell, part)] += amount
    return dict(found)


@settings(max_examples=60, deadline=None)
@given(
    amounts=st.lists(st.integers(0, 5000), min_size=len(CELLS), max_size=len(CELLS)),
    step=st.sampled_from([None, 0.05, 0.25]),
    group=st.booleans(),
    frozen=st.integers(0, len(SEGMENTS) - 1),
    seed=st.text(min_size=1, max_size=4),
)
def test_whatever_the_plan_every_rule_and_every_sum_is_kept(
    amounts: list[int], step: float | None, group: bool, frozen: int, seed: str
) -> None:
    plan = policy(amounts if sum(amounts) else [1] * len(CELLS))
    half = (*SEGMENTS[:3],)
    least = sum((a for c, a in plan.budgets if c.segment in half), Decimal(0))
    kept = rules(
        plan,
        max_step=step,
        frozen=[(SEGMENTS[frozen], "*")],
        groups=[Group("half", half, minimum=least)] if group else [],
    )
    found = drawn(plan, kept, seed=seed)
    if found is None:
        return
    after = found.policy.as_dict()
    cents = np.array([to_cents(after[cell]) for cell in kept.cells])
    assert not broken_rules(cents, book(kept, incumbent=plan))
    assert sums(found.policy, "channel") == sums(plan, "channel")
    before = plan.as_dict()
    for cell in CELLS:
        assert abs(after[cell] - before[cell]) <= Decimal("0.2") * before[cell]
        if cell.segment == SEGMENTS[frozen]:
            assert after[cell] == before[cell]
    if group:
        assert sum((after[c] for c in CELLS if c.segment in half), Decimal(0)) == least


def test_a_pair_moves_only_as_far_as_both_cells_could_move_either_way() -> None:
    before = policy()
    plan = policy([1200, *[1000] * 9, 800, 1000])  # a plan has moved two cells almost a step
    kept = rules(plan, max_step=0.25)
    found = vary(curves(), plan, Limits(before, kept), ANSWERS, request(), seed="a")
    assert found is not None
    moved = {pair.raised: pair.amount for pair in found.pairs}
    moved |= {pair.lowered: pair.amount for pair in found.pairs}
    assert moved[CELLS[0]] == 50  # 1,250 is the step's end
    assert moved[CELLS[2]] == 50  # its partner
    assert moved[CELLS[1]] == 200
    whole = vary(curves(), before, Limits(before, kept), ANSWERS, request(), seed="a")
    assert whole is not None  # what it costs and teaches is of what is really moved
    assert found.answers["search"].cost < whole.answers["search"].cost
    assert found.answers["search"].standard_error > whole.answers["search"].standard_error


def test_where_nothing_could_be_seen_nothing_varies() -> None:
    plan = policy()
    unseen = replace(request(), noise={})
    assert vary(curves(), plan, Limits(plan, rules(plan)), ANSWERS, unseen, seed="a") is None


def test_the_coin_is_fair_and_anybody_can_draw_it_again() -> None:
    plan, heads = policy(), 0
    for number in range(400):
        found = drawn(plan, rules(plan), seed=str(number))
        assert found is not None and found == drawn(plan, rules(plan), seed=str(number))
        heads += sum(pair.raised < pair.lowered for pair in found.pairs)
    count = 400 * 6
    assert abs(heads - count / 2) < 4 * np.sqrt(count / 4)  # four standard errors of a fair coin


def test_what_is_uncertain_is_varied_and_what_is_known_is_left_alone() -> None:
    plan = policy()
    found = worthwhile(curves(), plan, rules(plan), request())
    assert set(found) == {"video"}
    assert found["video"].value > found["video"].cost > 0
    # 6 cells moved by 200 each, against a noise of 50 a day
    assert found["video"].standard_error == pytest.approx(50 / (200 * np.sqrt(6)))


@pytest.mark.parametrize(
    "asked", [{"noise": 50_000.0}, {"most": 0.0}, {"cycles": 0}], ids=["noisy", "off", "too late"]
)
def test_nothing_varies_where_it_would_teach_less_than_it_costs(asked: dict[str, Any]) -> None:
    plan = policy()
    assert worthwhile(curves(), plan, rules(plan), request(**asked)) == {}


def test_cells_with_a_holdout_and_cells_that_may_not_move_stay_at_their_plan() -> None:
    plan = policy()
    asked = replace(request(), tested=frozenset(c for c in CELLS if c.channel == "video"))
    kept = replace(rules(plan), frozen=(Freeze("*", "search", "paused"),))
    assert vary(curves(), plan, Limits(plan, kept), ANSWERS, asked, seed="a") is None


def test_amounts_are_whole_units_of_the_currency() -> None:
    plan = policy([997] * len(CELLS))
    asked = replace(request(), unit=Decimal(1))
    found = vary(curves(), plan, Limits(plan, rules(plan)), ANSWERS, asked, seed="a")
    assert found is not None
    assert {pair.amount for pair in found.pairs} == {Decimal(199)}
