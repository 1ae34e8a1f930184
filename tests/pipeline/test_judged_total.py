"""What the total is worth at its margin, and what another one would earn."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.curves.gain import Estimate
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.plan.total import JudgedTotal, judge_total, judged_clause, judged_sentence
from liftloop.settings.schema import Settings

CELLS = (Cell("a", "search"), Cell("b", "search"))


def curves(first: float) -> SaturatingCurves:
    """Both cells earn ``first`` x K x / (x + K) a day with K = 100: the next unit earns
    ``first`` / (1 + x / K)^2."""
    return SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=np.full((10, 2), first),
        half_saturation=np.full((10, 2), 100.0),
        carryover=np.zeros(2),
    )


def judged(
    first: float, amount: float, *, step: float | None = None, **budget: Any
) -> JudgedTotal | None:
    incumbent = Policy.of({cell: Decimal(str(amount)) for cell in CELLS})
    return judge_total(
        Settings.model_validate({"budget": budget}),
        curves=curves(first),
        rules=resolve_rules(cells=CELLS, total=incumbent.total, max_step=step),
        incumbent=incumbent,
    )


def test_a_total_beyond_break_even_says_what_spending_less_would_earn() -> None:
    found = judged(2.25, 100)
    assert found is not None
    assert found.next_unit == pytest.approx(2.25 / 4, rel=1e-3)
    assert found.to == Decimal("100.00")  # 2.25 / 1.5^2 = 1 at 50 in each cell
    earned = 2 * ((2.25 * 100 * 50 / 150 - 50) - (2.25 * 100 * 100 / 200 - 100))
    assert found.gain.mean == pytest.approx(earned)
    assert judged_sentence(found, "USD") == (
        "The next unit of the total returns 0.56, break-even is 1.00: spending 100.00 USD less a "
        "day is expected to earn 25 a day more (90 %: +25 to +25)."
    )


def test_a_total_below_break_even_says_what_spending_more_would_earn() -> None:
    found = judged(4.0, 80, step=0.25)  # the best total, 200, is within a step
    assert found is not None and found.to == Decimal("200.00")
    assert "spending 40.00 USD more a day is expected to earn" in judged_sentence(found, "USD")


def test_it_goes_no_farther_than_a_cycles_steps() -> None:
    found = judged(2.25, 100, step=0.1)
    assert found is not None and found.to == Decimal("180.00")


def test_the_margin_counts_for_what_a_unit_returns() -> None:
    found = judged(4.5, 100, margin=0.5)
    assert found is not None and found.next_unit == pytest.approx(2.25 / 4, rel=1e-3)


def test_a_total_that_is_about_right_is_said_to_be() -> None:
    found = judged(2.25, 50)
    assert found is not None
    assert (found.to, found.gain) == (found.now, Estimate(0.0, 0.0, 0.0))
    assert judged_sentence(found, "USD") == (
        "The next unit of the total returns 1.00, break-even is 1.00: within a cycle's steps no "
        "other total is expected to earn more."
    )


@pytest.mark.parametrize(
    "budget",
    [
        {"objective": "target_iroas", "target_iroas": "2"},
        {"total": "200.00", "total_is": "ceiling"},
    ],
)
def test_a_total_that_is_not_spent_for_profit_is_not_judged(budget: dict[str, Any]) -> None:
    assert judged(2.25, 100, **budget) is None


def test_a_total_is_not_judged_where_nothing_may_move() -> None:
    assert judged(2.25, 100, step=0.0) is None


def test_a_message_has_it_in_a_clause() -> None:
    less = judged(2.25, 100)
    right = judged(2.25, 50)
    assert less is not None and right is not None
    assert judged_clause(less, "USD") == (
        "Next unit of the total: 0.56 (break-even 1.00); 100.00 less a day earns 25 more."
    )
    assert judged_clause(right, "USD") == "Next unit of the total: 1.00 (break-even 1.00)."
