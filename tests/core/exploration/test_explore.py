"""Exploring pays where it should, costs nothing where it should not, and keeps every rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import Rules, book, broken_rules, resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.exploration.explore import MOST, Exploration, ExplorationTerms, explore
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

NORTH, SOUTH = Cell("north", "video"), Cell("south", "search")
BEND = 0.001
SD = 0.1


@dataclass(frozen=True)
class Parabolas:
    """Revenue a x - bend x^2 / 2: conjugate with normal noise, so that everything is known in
    closed form."""

    cells: tuple[Cell, ...]
    slope: Array  # (n_draws, n_cells)
    bend: float = BEND

    @property
    def carryover(self) -> Array:
        return np.zeros(len(self.cells))

    def draw_revenue(self, spend: Array) -> Array:
        return np.asarray(self.slope * spend - 0.5 * self.bend * spend**2)

    def mean_revenue(self, spend: Array) -> Array:
        return np.asarray(self.draw_revenue(spend).mean(axis=0))

    def mean_marginal(self, spend: Array) -> Array:
        return np.asarray(self.slope.mean(axis=0) - self.bend * spend)


def two_cells(sd: float = SD) -> Parabolas:
    """North is uncertain by exactly ``sd``, south is certain; both earn 2 a unit at first."""
    ranks = np.linspace(-1.0, 1.0, 201)
    ranks *= sd / ranks.std(ddof=1)
    return Parabolas((NORTH, SOUTH), np.column_stack([2.0 + ranks, np.full(201, 2.0)]))


def budgets(north: float, south: float) -> Policy:
    return Policy.of({NORTH: Decimal(str(north)), SOUTH: Decimal(str(south))})


EVEN = budgets(100, 100)


def toy(
    *,
    curves: Parabolas | None = None,
    incumbent: Policy = EVEN,
    noise: float | None = 20.0,
    share: float = 0.5,
    weeks: int = 13,
    rules: Rules | None = None,
) -> Exploration:
    return explore(
        curves=curves or two_cells(),
        plan=EVEN,
        incumbent=incumbent,
        rules=rules or resolve_rules(cells=[NORTH, SOUTH], total=Decimal(200)),
        noise={} if noise is None else {NORTH: noise},
        terms=ExplorationTerms(share=share, horizon_days=7 * weeks, cycle_days=7, margin=1.0),
    )


def test_an_excursion_that_pays_is_made_and_told() -> None:
    found = toy()
    assert found.policy == budgets(125, 75)
    (learned,) = found.learned
    # both curves bend by 0.001: 0.001 x 25^2 a day for seven days
    assert learned.cost == pytest.approx(7 * 0.625)
    assert learned.words == (
        "Learning north x video at +25% for about 4 a week: an answer is worth about 6 over the "
        "next 13 weeks."
    )
    assert found.givers == (SOUTH,)
    assert set(found.words) == {NORTH, SOUTH}
    assert found.reason == "1 cell is being learned: about 6 for about 4 a week."


def test_exploring_earns_in_simulation_what_it_promises() -> None:
    """60,000 worlds, 13 weeks: each week the holdout is observed, the belief updated by Bayes' rule
    and the best plan made anew. Only the first week differs."""
    found = toy()
    weeks, worlds, noise = 13, 60_000, 20.0
    rng = np.random.default_rng(1)
    slope = 2.0 + SD * rng.normal(size=worlds)
    luck = rng.normal(size=(weeks, worlds))

    def earned(first: float) -> Array:
        mean, precision = np.full(worlds, 2.0), np.full(worlds, SD**-2)
        total = np.zeros(worlds)
        for week in range(weeks):
            best = np.clip(100.0 + (mean - 2.0) / (2.0 * BEND), 0.0, 200.0)
            north = np.full(worlds, first) if week == 0 else best
            south = 200.0 - north
            total += 7 * (slope * north + 2.0 * south - BEND / 2 * (north**2 + south**2))
            seen = slope + noise / np.maximum(north, 1e-9) * luck[week]
            information = north**2 / noise**2
            mean = (mean * precision + seen * information) / (precision + information)
            precision = precision + information
        return total

    gained = earned(float(found.policy.as_dict()[NORTH])) - earned(100.0)
    error = gained.std(ddof=1) / np.sqrt(worlds)
    assert gained.mean() > 5 * error
    assert abs(gained.mean() - (found.value - found.cost)) < 3 * error


def test_a_cell_at_nothing_is_tried_where_good_news_would_be_used() -> None:
    """North returns 1.95 a unit, give or take 0.1, the others 2 at the plan that spends all there.
    What is not spent teaches nothing, so without a try north would stay at nothing for ever."""
    east = Cell("east", "search")
    ranks = np.linspace(-1.0, 1.0, 201)
    ranks *= SD / ranks.std(ddof=1)
    certain = np.full(201, 4.0)
    curves = Parabolas((NORTH, SOUTH, east), np.column_stack([1.95 + ranks, certain, certain]))
    plan = Policy.of({NORTH: Decimal(0), SOUTH: Decimal(2000), east: Decimal(2000)})
    noise = 1.5
    found = explore(
        curves=curves,
        plan=plan,
        incumbent=plan,
        rules=resolve_rules(cells=curves.cells, total=Decimal(4000)),
        noise={NORTH: noise},
        terms=ExplorationTerms(share=0.05, horizon_days=91, cycle_days=7, margin=1.0),
    )
    # a quarter of a tenth of the average budget is all that a step allows
    (learned,) = found.learned
    tried = 33.33
    assert learned.budget == Decimal(str(tried))
    assert "at 33.33 a day for about" in learned.words
    bend = BEND + BEND / 2  # its own, and that of the two that pay for it
    assert learned.cost == pytest.approx(7 * (0.05 * tried + bend / 2 * tried**2), rel=1e-4)

    # 200,000 worlds: the first week's answer alone decides the twelve weeks after it
    rng = np.random.default_rng(2)
    slope = 1.95 + SD * rng.normal(size=200_000)
    seen = slope + noise / tried * rng.normal(size=len(slope))
    mean = 1.95 + SD**2 / (SD**2 + (noise / tried) ** 2) * (seen - 1.95)
    north = np.maximum((mean - 2.0) / bend, 0.0)
    gained = 7 * 12 * ((slope - 2.0) * north - bend / 2 * north**2)
    error = gained.std(ddof=1) / np.sqrt(len(gained))
    assert abs(gained.mean() - learned.value) < 4 * error + 0.01 * learned.value
    assert learned.value > 1.25 * learned.cost


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"curves": two_cells(sd=0.0)}, "No answer is worth what asking for it would cost."),
        ({"weeks": 0}, "The horizon ends before an answer could be used."),
        ({"weeks": 1}, "The horizon ends before an answer could be used."),
        ({"weeks": 2}, "No answer is worth what asking for it would cost."),
        ({"share": 0.0}, "Exploration is off."),
        ({"noise": None}, "No cell has a holdout that could answer."),
        ({"noise": 2000.0}, "No answer is worth what asking for it would cost."),
        ({"noise": 0.5}, "No answer is worth what asking for it would cost."),
    ],
    ids=["certain", "no horizon", "one week", "two weeks", "off", "deaf", "loud", "known soon"],
)
def test_where_exploring_cannot_pay_the_plan_stays(case: dict[str, Any], reason: str) -> None:
    found = toy(**case)
    assert found.policy == EVEN
    assert (found.learned, found.givers, found.cost) == ((), (), 0.0)
    assert found.reason == reason


def test_a_cell_that_may_not_move_is_not_learned() -> None:
    frozen = resolve_rules(
        cells=[NORTH, SOUTH], total=Decimal(200), frozen=[("north", "video", "paused")]
    )
    assert toy(rules=frozen).policy == EVEN
    capped = resolve_rules(
        cells=[NORTH, SOUTH], total=Decimal(200), limits=[("*", "video", Decimal(0), Decimal(110))]
    )
    assert toy(rules=capped).policy.as_dict()[NORTH] <= Decimal(110)


def test_the_share_bounds_what_is_exposed() -> None:
    for share in (0.02, 0.05):
        found = toy(share=share)
        moved = found.policy.as_dict()[NORTH] - Decimal(100)
        assert moved == Decimal(200) * Decimal(str(share))


def test_an_excursion_goes_on_at_its_level_and_needs_less_to_do_so() -> None:
    first = toy()
    wide = resolve_rules(cells=[NORTH, SOUTH], total=Decimal(200), max_step=0.5)
    again = toy(incumbent=first.policy, rules=wide)
    assert again.policy == first.policy  # it does not grow, though a larger step is allowed
    # the value grows with the horizon; where it lies between 1 and 1.25 of the cost, an excursion
    # to this level is not begun, but is not broken off either
    level = budgets(125, 75)
    on = {weeks: toy(weeks=weeks, incumbent=level, rules=wide) for weeks in range(2, 14)}
    assert {found.policy.version for found in on.values()} == {EVEN.version, level.version}
    ratios = {w: found.value / found.cost for w, found in on.items() if found.learned}
    assert min(ratios.values()) < 1.25 < max(ratios.values())
    begun = {w for w in on if toy(weeks=w).policy == level}
    assert begun
    assert begun <= {w for w, ratio in ratios.items() if ratio > 1.25} < set(ratios)


def random_case(
    seed: int, n: int = 24
) -> tuple[SaturatingCurves, Policy, Rules, dict[Cell, float]]:
    """A flat market with uncertain cells, groups and limits, where exploring often pays."""
    rng = np.random.default_rng(seed)
    cells = tuple(Cell(f"s{i // 4:02d}", f"c{i % 4}") for i in range(n))
    own = rng.normal(size=(2, 200, n))
    curves = SaturatingCurves(
        cells=cells,
        marginal_at_zero=2 * np.exp(rng.normal(0, 0.2, n) + rng.uniform(0.05, 0.4, n) * own[0]),
        half_saturation=2000 * np.exp(rng.normal(0, 0.3, n) + 0.5 * own[1]),
        carryover=rng.uniform(0, 0.6, n),
    )
    total = Decimal(1000 * n)
    rules = resolve_rules(
        cells=cells,
        total=total,
        limits=[("*", "c0", Decimal(200), Decimal(1500))],
        groups=[
            Group(
                "g",
                tuple(f"s{k:02d}" for k in range(3)),
                ("*",),
                Decimal(0),
                total * Decimal("0.45"),
            ),
            Group("h", ("*",), ("c1",), Decimal(3000)),
        ],
        frozen=[("s01", "c2", "paused")],
        max_step=None,
    )
    even = Policy.of(dict.fromkeys(cells, Decimal(1000)))
    plan = allocate(curves=curves, rules=rules, incumbent=even).policy
    noise = {cell: float(rng.uniform(20, 400)) for cell in cells if rng.random() < 0.8}
    return curves, plan, replace(rules, max_step=0.25), noise


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.005, 0.05, 0.3]))
def test_every_rule_and_every_sum_holds_to_the_cent(seed: int, share: float) -> None:
    curves, plan, rules, noise = random_case(seed)
    found = explore(
        curves=curves,
        plan=plan,
        incumbent=plan,
        rules=rules,
        noise=noise,
        terms=ExplorationTerms(share=share, horizon_days=182, cycle_days=7, margin=0.8),
    )
    written = book(rules, incumbent=plan)
    cents = np.array([to_cents(found.policy.as_dict()[cell]) for cell in rules.cells])
    before = np.array([to_cents(plan.as_dict()[cell]) for cell in rules.cells])
    assert broken_rules(cents, written) == []
    assert found.policy.total == plan.total
    assert list(written.membership @ cents) == list(written.membership @ before)
    exposed = sum(abs(one.budget - one.planned) for one in found.learned)
    assert exposed <= Decimal(str(share)) * plan.total
    assert len(found.learned) <= MOST
    changed = {c for c in rules.cells if found.policy.as_dict()[c] != plan.as_dict()[c]}
    assert changed == set(found.words)
    assert all(one.value > 1.25 * one.cost for one in found.learned)
    assert all(one.cell in noise for one in found.learned)


def test_the_same_inputs_give_the_same_answer_and_some_of_these_explore() -> None:
    explored = 0
    for seed in range(6):
        curves, plan, rules, noise = random_case(seed)
        asked: dict[str, Any] = {
            "curves": curves,
            "plan": plan,
            "incumbent": plan,
            "rules": rules,
            "noise": noise,
            "terms": ExplorationTerms(share=0.05, horizon_days=182, cycle_days=7, margin=1.0),
        }
        first, second = explore(**asked), explore(**asked)
        assert first == second
        explored += len(first.learned)
    assert explored > 0


def test_a_plan_outside_the_rules_is_left_to_its_maker() -> None:
    found = toy(incumbent=budgets(10, 190))
    assert found.policy == EVEN
    assert found.reason == "The plan is outside the rules: nothing is explored."


def test_the_currency_does_not_matter() -> None:
    curves, plan, rules, noise = random_case(3)
    small = explore(
        curves=curves,
        plan=plan,
        incumbent=plan,
        rules=rules,
        noise=noise,
        terms=ExplorationTerms(share=0.05, horizon_days=182, cycle_days=7, margin=1.0),
    )
    scale = 1000
    large = explore(
        curves=replace(curves, half_saturation=curves.half_saturation * scale),
        plan=Policy.of({c: a * scale for c, a in plan.budgets}),
        incumbent=Policy.of({c: a * scale for c, a in plan.budgets}),
        rules=replace(
            rules,
            total=rules.total * scale,
            limits=tuple(
                replace(x, floor=x.floor * scale, cap=x.cap and x.cap * scale) for x in rules.limits
            ),
            groups=tuple(
                replace(g, minimum=g.minimum * scale, maximum=g.maximum and g.maximum * scale)
                for g in rules.groups
            ),
        ),
        noise={cell: value * scale for cell, value in noise.items()},
        terms=ExplorationTerms(share=0.05, horizon_days=182, cycle_days=7, margin=1.0),
    )
    assert [one.cell for one in large.learned] == [one.cell for one in small.learned]
    assert large.value == pytest.approx(scale * small.value, rel=1e-3)
    assert float(from_cents(to_cents(large.policy.total))) == pytest.approx(
        float(rules.total) * 1e3
    )
