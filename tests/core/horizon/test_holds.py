"""What may not move in a horizon's first period, or may not rise in any, does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import Rules, resolve_rules
from liftloop.core.allocation.rule_patterns import NoRaise
from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.horizon.optimize import Horizon, HorizonLimits, HorizonOutlook
from liftloop.core.horizon.plan import HorizonPlan, plan_horizon
from liftloop.core.horizon.words import held_sentences
from liftloop.core.policy import Cell, Policy

D = Decimal
MONDAY = date(2026, 3, 2)
CELLS = tuple(Cell(f"s{number}", "c") for number in range(3))
BEST, MIDDLE, WORST = CELLS
HELD = Policy.of(dict.fromkeys(CELLS, D("100.00")))
CURVES = SaturatingCurves(
    cells=CELLS,
    marginal_at_zero=np.array([[6.0, 3.0, 1.0]]),
    half_saturation=np.full((1, 3), 100.0),
    carryover=np.zeros(3),
)


def rules(no_raise: Sequence[tuple[Cell, float]] = (), **more: Any) -> Rules:
    resolved = resolve_rules(cells=CELLS, total=HELD.total, **more)
    return replace(resolved, no_raise=tuple(NoRaise(*held) for held in no_raise))


def plan(
    ruled: Rules, *, periods: int = 4, season: pd.DataFrame | None = None, **limits: Any
) -> HorizonPlan:
    return plan_horizon(
        HorizonOutlook(CURVES, season),
        HorizonLimits(ruled, **limits),
        Horizon(MONDAY, periods),
        incumbent=HELD,
    )


def path(found: HorizonPlan, cell: Cell) -> list[Decimal]:
    return [HELD.as_dict()[cell], *(p.policy.as_dict()[cell] for p in found.periods)]


def season(heights: list[float]) -> pd.DataFrame:
    rows = [
        (pd.Timestamp(MONDAY) + pd.Timedelta(days=7 * week + day), "s0", height)
        for week, height in enumerate(heights)
        for day in range(7)
    ]
    return pd.DataFrame(rows, columns=["date", "segment", "index"])


def test_a_freeze_of_the_first_period_ends_with_it() -> None:
    found = plan(rules(), first=rules(frozen=[("s0", "*", "late")]))
    moved = path(found, BEST)
    assert moved[0] == moved[1] == D("100.00")
    assert moved[2] == D("125.00"), "a full step from the budget it was held at"
    assert path(found, WORST)[1] < D("100.00"), "the others go on"
    assert found.gap < 1e-6


@pytest.mark.parametrize("step", [0.25, None])
def test_a_cell_that_gets_no_raise_never_rises_and_may_fall(step: float | None) -> None:
    free = plan(rules(max_step=step))
    assert path(free, BEST)[-1] > path(free, BEST)[0], "it would rise"
    found = plan(rules(max_step=step, no_raise=[(BEST, 0.4), (WORST, 0.4)]))
    for cell in (BEST, WORST):
        steps = path(found, cell)
        assert all(later <= earlier for earlier, later in pairwise(steps))
    assert path(found, WORST)[-1] < D("100.00")
    assert {p.policy.total for p in found.periods} == {HELD.total}
    assert found.gap < 1e-6


@pytest.mark.parametrize("step", [0.25, None])
def test_what_a_low_week_would_take_is_weighed_against_never_coming_back(
    step: float | None,
) -> None:
    heights = [0.1, 0.4, 0.1]
    found = plan(rules(max_step=step, no_raise=[(BEST, 0.5)]), periods=3, season=season(heights))
    weights = np.ones((3, 3))
    weights[0] = heights
    shares = np.array([6.0, 3.0, 1.0])[:, None] * 100.0

    def lost(spend: Array) -> float:
        x = spend.reshape(3, 3)
        return -float((weights * shares * x / (100.0 + x)).sum())

    limits: list[Any] = [{"type": "eq", "fun": lambda x: x.reshape(3, 3).sum(axis=0) - 300.0}]
    before = np.full((3, 1), 100.0)

    def rises(x: Array) -> Array:
        whole: Array = np.hstack([before, x.reshape(3, 3)])
        return whole[0, :-1] - whole[0, 1:]

    def steps(x: Array) -> Array:
        whole = np.hstack([before, x.reshape(3, 3)])
        now, then = whole[:, 1:], whole[:, :-1]
        return np.concatenate([(1.25 * then - now).ravel(), (now - 0.75 * then).ravel()])

    limits.append({"type": "ineq", "fun": rises})
    if step is not None:
        limits.append({"type": "ineq", "fun": steps})
    other = minimize(
        lost,
        np.full(9, 100.0),
        bounds=[(0, 300)] * 9,
        constraints=limits,
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert other.success
    here = np.array([[float(a) for a in path(found, cell)[1:]] for cell in CELLS])
    assert lost(here) == pytest.approx(other.fun, rel=1e-5)
    # it falls in the first week only as far as the second would have it, too
    assert here[0, 0] < 100
    assert here[0, 1] == pytest.approx(here[0, 0], abs=0.02)


def test_where_no_cell_may_rise_the_budgets_stay_to_the_cent() -> None:
    found = plan(rules(no_raise=[(cell, 0.5) for cell in CELLS]))
    assert {p.policy.version for p in found.periods} == {HELD.version}
    assert found.gap < 1e-6


@pytest.mark.parametrize(
    "more",
    [
        {"limits": [("s0", "c", D("110.00"), None)], "no_raise": [(BEST, 0.4)]},
        {"limits": [("s0", "c", D("110.00"), None)], "frozen": [("s0", "c", "late")]},
        {
            "frozen": [("s0", "*", "late"), ("s1", "*", "alarm")],
            "limits": [("s2", "c", D(0), D("90.00"))],
        },
    ],
    ids=["floor of a slow cell", "floor of a late cell", "total"],
)
def test_a_conflict_has_the_names_that_a_cycle_gives_it(more: dict[str, Any]) -> None:
    ruled = rules(**more)
    with pytest.raises(InfeasibleBudget) as cycle:
        allocate(curves=CURVES, rules=ruled, incumbent=HELD)
    with pytest.raises(InfeasibleBudget) as preview:
        plan(rules(limits=more["limits"]), first=ruled)
    assert str(preview.value).replace("period 1: ", "") == str(cycle.value)
    assert "period 1: " in str(preview.value)


def test_totals_that_need_a_raise_are_refused_with_the_cells_that_get_none() -> None:
    ruled = rules(max_step=None, no_raise=[(cell, 0.5) for cell in CELLS])
    with pytest.raises(InfeasibleBudget) as refused:
        plan(ruled, periods=3, totals=[D("300.00"), D("200.00"), D("300.00")])
    assert "get no raise" in str(refused.value)
    assert "totals of all periods" in str(refused.value)


def test_the_words_name_each_cell_how_long_it_is_held_and_why() -> None:
    told = held_sentences(
        lasting={BEST: "paused by ann", MIDDLE: "paused by ann"},
        passing={WORST: "holdout is 6 days late"},
        slow={Cell("s3", "c"): 0.413},
    )
    assert told == (
        "Held in every period: s0 x c, s1 x c (paused by ann).",
        "Held in the first period, and expected to be mended then: s2 x c (holdout is 6 days "
        "late).",
        "No raise in any period, for they do not spend their budget: s3 x c (41%).",
    )
    assert held_sentences(lasting={}, passing={}, slow={}) == ()
