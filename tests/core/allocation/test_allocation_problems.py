"""Random allocation problems against the Lagrangian dual; the benchmark runs ten thousand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.allocation_problems import KINDS, check, dual_bound, problem
from liftloop.core.allocation.constraints import book

FEW, MANY = 60, 10_000


def test_random_plans_are_exact_keep_every_rule_and_reach_the_dual_bound() -> None:
    every = [check(seed) for seed in range(FEW)]
    assert [one for one in every if one.wrong] == []
    for kind in KINDS:  # both outcomes occur, or the test shows nothing
        some = [one for one in every if one.kind == kind]
        assert any(one.gap is None for one in some)
        assert any(one.gap is not None for one in some)


def test_the_dual_bound_tells_a_plan_that_is_not_the_best() -> None:
    _, curves, rules, incumbent = problem(0)
    written = book(rules, incumbent=incumbent)
    spend = np.array([float(amount) for _, amount in incumbent.budgets])
    idle = float(curves.mean_revenue(spend).sum())
    assert dual_bound(curves, written, good=idle) > idle * 1.001


@pytest.mark.parametrize("seed", [3914])
def test_a_plan_that_once_stopped_too_far_from_the_optimum_reaches_it(seed: int) -> None:
    """Fine pieces that only ever shrink lock a cell out of where other cells' moves send it."""
    assert check(seed).wrong == ""


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_ten_thousand_random_plans_are_exact_and_reach_the_dual_bound() -> None:
    assert [one for one in map(check, range(MANY)) if one.wrong] == []
