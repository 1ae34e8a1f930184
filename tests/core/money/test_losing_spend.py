"""What of the budgets loses, in money a day with its interval."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.money.losing_spend import losing_spend
from liftloop.core.policy import Cell, Policy
from tests.core.money.test_paying_total import CELLS, HALF, HELD, SLOPE, Steps, curves


def revenue(spend: Array) -> Array:
    earned: Array = SLOPE * spend * HALF / (HALF + spend)
    return earned


@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_it_is_the_part_beyond_which_a_unit_earns_less_than_it_costs(margin: float) -> None:
    best = np.maximum(HALF * (np.sqrt(margin * SLOPE) - 1.0), 0.0)
    spend = np.full(3, 1000.0)
    found = losing_spend(curves(), HELD, margin)
    beyond = np.maximum(spend - best, 0.0).sum()
    lost = (spend - best - margin * (revenue(spend) - revenue(best))).sum()
    assert found.spend == pytest.approx(beyond, rel=0.01)
    assert found.loss.mean == pytest.approx(lost, rel=0.001)
    assert found.probability == 1.0 and found.is_named(3000.0)


def test_where_every_unit_pays_nothing_loses() -> None:
    small = Policy.of(dict.fromkeys(CELLS[:2], Decimal("50.00")))
    found = losing_spend(curves(), small, 1.0)
    assert (found.spend, found.loss.mean) == (0.0, 0.0) and not found.is_named(100.0)


def test_a_cell_that_loses_as_a_whole_counts_as_a_whole_also_where_its_curve_is_s_shaped() -> None:
    """At 700 the second cell earns 450 and the third 270: not 700 anywhere below."""
    budgets = Policy.of(dict.fromkeys(CELLS, Decimal("700.00")))
    found = losing_spend(Steps(), budgets, 1.0)
    assert found.spend == pytest.approx(1400.0, abs=1.0)
    assert found.loss.mean == pytest.approx(1400.0 - 720.0, abs=1.0)


def test_a_loss_that_is_not_likely_or_not_worth_a_word_is_not_named() -> None:
    rng = np.random.default_rng(3)
    slope = np.exp(0.8 * rng.standard_normal((400, 1)))  # as likely to pay as not
    one = Cell("a", "x")
    unsure = SaturatingCurves(
        cells=(one,),
        marginal_at_zero=slope,
        half_saturation=np.full((400, 1), 1e5),
        carryover=np.zeros(1),
    )
    found = losing_spend(unsure, Policy.of({one: Decimal("1000.00")}), 0.7)
    assert found.probability < 0.9 and not found.is_named(1000.0)
    known = losing_spend(curves(), HELD, 1.0)
    assert not known.is_named(known.loss.mean / 0.004)
