"""How much of a total pays: what earns less than it costs is parked, under all the rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.money.paying_total import paying_total
from liftloop.core.policy import Cell, Policy

CELLS = tuple(Cell("a", c) for c in ("email", "search", "video"))
SLOPE, HALF = np.array([4.0, 2.0, 0.8]), np.array([500.0, 800.0, 600.0])
HELD = Policy.of(dict.fromkeys(CELLS, Decimal("1000.00")))


def curves(slope: Array = SLOPE) -> SaturatingCurves:
    return SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=np.tile(slope, (20, 1)),
        half_saturation=np.tile(HALF, (20, 1)),
        carryover=np.zeros(3),
    )


def total(
    *,
    margin: float = 1.0,
    slope: Array = SLOPE,
    total: str = "3000.00",
    incumbent: Policy = HELD,
    unknown: tuple[Cell, ...] = (),
    **rules: Any,
) -> float:
    resolved = resolve_rules(cells=CELLS, total=Decimal(total), **{"max_step": None, **rules})
    found = paying_total(
        curves=curves(slope), rules=resolved, incumbent=incumbent, margin=margin, unknown=unknown
    )
    return float(found)


def pays(margin: float = 1.0) -> float:
    """Where margin x slope x K^2 / (K + x)^2 is 1 in each cell; 0 where no unit pays."""
    return float(np.maximum(HALF * (np.sqrt(margin * SLOPE) - 1.0), 0.0).sum())


@pytest.mark.parametrize("margin", [0.4, 1.0, 2.0])
def test_what_pays_is_spent_and_no_more(margin: float) -> None:
    assert total(margin=margin) == pytest.approx(pays(margin), abs=0.05)


def test_the_whole_total_is_spent_where_all_of_it_pays() -> None:
    assert total(total="700.00") == 700.0


def test_floors_groups_steps_and_frozen_cells_are_kept() -> None:
    alone = pays()
    assert total(limits=[("a", "video", Decimal(300), None)]) == pytest.approx(alone + 300, abs=0.1)
    frozen = total(frozen=[("a", "video")])
    assert frozen == pytest.approx(alone + 1000, abs=0.1)
    group = Group("g", ("a",), ("search", "video"), Decimal(900))
    search = float(800 * (np.sqrt(2.0) - 1.0))
    assert total(groups=[group]) == pytest.approx(alone - search + 900, abs=0.1)
    stepped = total(max_step=0.25)  # each cell by at most 250 from 1,000
    assert stepped == pytest.approx(3 * 750.0, abs=0.1)


def test_shares_are_of_what_is_spent_and_not_of_what_might_be() -> None:
    """A fifth of the money is for video, which loses: of the money spent, not of the ceiling."""
    found = total(groups=[Group("v", ("a",), ("video",), minimum_share=0.2)])
    others = pays()
    assert others < found < others / 0.8 + 1.0
    assert total(
        groups=[Group("v", ("a",), ("video",), minimum_share=0.2)], total=f"{found:.2f}"
    ) == (pytest.approx(found, rel=0.02))


def test_a_cell_without_a_curve_keeps_its_budget() -> None:
    more = Policy.of({**HELD.as_dict(), Cell("b", "new"): Decimal("200.00")})
    rules = resolve_rules(cells=more.cells, total=Decimal("3200.00"), max_step=None)
    found = paying_total(
        curves=curves(), rules=rules, incumbent=more, margin=1.0, unknown=[Cell("b", "new")]
    )
    assert float(found) == pytest.approx(pays() + 200.0, abs=0.1)


def test_rules_that_cannot_hold_together_change_nothing() -> None:
    assert total(limits=[("a", "*", Decimal(1500), None)]) == 3000.0


class Steps:
    """Revenue that comes only from the 400th unit on: an S curve of straight pieces."""

    cells = CELLS
    carryover = np.zeros(3)
    diminishing = False

    def mean_revenue(self, spend: Array) -> Array:
        return np.array([3.0, 1.5, 0.9]) * np.clip(spend - 400.0, 0.0, 300.0)

    def mean_marginal(self, spend: Array) -> Array:
        return np.where((spend >= 400) & (spend < 700), np.array([3.0, 1.5, 0.9]), 0.0)

    def draw_revenue(self, spend: Array) -> Array:
        return self.mean_revenue(spend)[None]


def test_of_s_curves_those_pay_that_pay_as_a_whole() -> None:
    """700 into the first cell bring 900; into the second 450, and no less brings more."""
    rules = resolve_rules(cells=CELLS, total=Decimal("3000.00"), max_step=None)
    found = paying_total(curves=Steps(), rules=rules, incumbent=HELD, margin=1.0)
    assert float(found) == pytest.approx(700.0, abs=5.0)
