"""Returns of groups are those of their sums."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from liftloop.core.curves.gain import spends
from liftloop.core.curves.returns import CurvePoints, curve_points, group_returns, next_unit
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy

CELLS = (Cell("north", "search"), Cell("north", "video"), Cell("south", "search"))
BEFORE = Policy.of((cell, Decimal("100.00")) for cell in CELLS)
NOW = Policy.of(zip(CELLS, (Decimal("150.00"), Decimal("50.00"), Decimal("100.00")), strict=True))


def curves() -> SaturatingCurves:
    rng = np.random.default_rng(3)
    draws = 400
    return SaturatingCurves(
        cells=CELLS,
        carryover=np.zeros(3),
        marginal_at_zero=rng.lognormal(0.5, 0.3, (draws, 3)),
        half_saturation=rng.lognormal(5, 0.2, (draws, 3)),
    )


def test_a_groups_average_is_of_its_sum_in_joint_draws() -> None:
    found = {
        g.name: g for g in group_returns(curves(), policy=NOW, previous=BEFORE, group=_channel)
    }
    search = found["search"]
    drawn = curves().draw_revenue(spends(NOW, curves()))[:, [0, 2]].sum(axis=1) / 250
    assert search.average is not None
    assert search.average.mean == pytest.approx(drawn.mean())
    assert search.average.low == pytest.approx(np.quantile(drawn, 0.05), rel=0.02)
    assert (search.spend, search.previous, search.cells) == (Decimal(250), Decimal(200), 2)
    assert [
        g.name for g in group_returns(curves(), policy=NOW, previous=BEFORE, group=_channel)
    ] == [
        "search",
        "video",
    ]


def test_the_marginal_is_that_of_a_unit_spread_as_the_budget_is() -> None:
    (whole,) = group_returns(curves(), policy=NOW, previous=BEFORE, group=lambda _: "all")
    spend = spends(NOW, curves())
    step = 1e-4
    moved = curves().mean_revenue(spend * (1 + step / spend.sum())).sum()
    assert whole.marginal == pytest.approx(
        (moved - curves().mean_revenue(spend).sum()) / step, rel=1e-3
    )


def test_without_curves_or_spend_nothing_is_claimed() -> None:
    nothing = Policy.of((cell, Decimal(0)) for cell in CELLS)
    for known, policy in ((None, NOW), (curves(), nothing)):
        for each in group_returns(known, policy=policy, previous=BEFORE, group=_channel):
            assert (each.average, each.marginal) == (None, None)


def test_a_curve_begins_at_nothing_and_its_band_holds_the_mean() -> None:
    found = curve_points(curves(), CELLS[0], most=300.0)
    assert found is not None
    assert (found.mean[0], found.low[0], found.high[0]) == (0.0, 0.0, 0.0)
    assert (found.low <= found.mean).all() and (found.mean <= found.high).all()
    assert (np.diff(found.mean) >= 0).all() and (np.diff(found.marginal) <= 1e-9).all()
    assert curve_points(curves(), Cell("x", "y"), most=1.0) is None


def test_the_next_unit_pays_up_to_where_it_returns_what_it_costs() -> None:
    spend = np.array([0.0, 10.0, 20.0])
    curve = CurvePoints(
        spend=spend,
        mean=np.array([0.0, 15.0, 20.0]),
        low=spend,
        high=spend,
        marginal=np.array([2.0, 1.0, 0.5]),
    )
    found = next_unit(curve, spend=5.0, margin=1.0)
    assert (found.marginal, found.average) == (1.5, 1.5)
    assert (found.pays_up_to, found.pays_beyond) == (10.0, False)
    assert next_unit(curve, spend=0.0, margin=0.25).pays_up_to is None
    assert next_unit(curve, spend=0.0, margin=0.25).average is None
    assert next_unit(curve, spend=5.0, margin=2.0).pays_beyond


def _channel(cell: Cell) -> str:
    return cell.channel
