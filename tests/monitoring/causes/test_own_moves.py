"""What the loop's own budgets do to a market's figures is no alarm; what it does not explain is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from monitoring.causes.own_moves import explained, inside
from monitoring.feeds.feed_faults import faults
from monitoring.panel import watch
from monitoring.response.change import path
from monitoring.response.slopes import SlopeLimits
from tests.monitoring.test_triage import AS_OF, DAYS, shop

DAYS_OF_CELL, CELLS, EARLY = 84, 12, 56


def moved(
    factor: float, *, elasticity: float = -0.4, change: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of a metric and spend of 12 cells over 84 days; in the last 28 spend is ``factor``
    times as much, and the metric ``change`` higher than spend explains."""
    rng = np.random.default_rng(1)
    late = np.arange(DAYS_OF_CELL)[:, None] >= EARLY
    spend = rng.normal(5, 0.1, (DAYS_OF_CELL, CELLS)) + late * np.log(factor)
    metric = elasticity * spend + rng.normal(0, 0.05, spend.shape) + late * np.log1p(change)
    cell = np.broadcast_to(np.arange(CELLS), spend.shape)
    early = np.broadcast_to(~late, spend.shape)
    return np.exp(metric).ravel(), np.exp(spend).ravel(), cell.ravel(), early.ravel()


def left_over(factor: float, *, elasticity: float = -0.4, change: float = 0.0) -> float:
    """The mean logarithm of the metric in the last weeks over that before, spend taken out."""
    metric, spend, cell, early = moved(factor, elasticity=elasticity, change=change)
    free = np.log(metric) - explained(metric, spend, cell, early)
    return float(free[~early].mean() - free[early].mean())


@pytest.mark.parametrize("factor", [0.2, 0.8, 1.0, 1.25, 5.0])
def test_what_follows_spend_is_explained_however_far_it_went(factor: float) -> None:
    # 28 days of 12 cells with noise 0.05: a standard error of 0.003, and of the elasticity 0.03
    assert abs(left_over(factor)) < 0.02


@pytest.mark.parametrize("change", [-0.4, 0.5])
def test_a_change_where_spend_stood_still_is_left_whole(change: float) -> None:
    assert left_over(1.0, change=change) == pytest.approx(np.log1p(change), abs=0.03)
    assert abs(left_over(1.1, change=change)) > 0.9 * abs(np.log1p(change)) - 0.03


def test_where_spend_went_far_a_change_may_be_the_moves_own() -> None:
    assert abs(left_over(5.0, elasticity=0.0, change=-0.3)) < 0.02
    assert left_over(5.0, elasticity=0.0, change=-0.9) < -0.5  # steeper than any metric follows


def test_what_is_inside_is_one_share_a_cell() -> None:
    left = np.array([0.1, 0.3, -0.2, np.nan, 0.0])
    cell = np.array([0, 0, 1, 1, 2])
    up = down = np.array([0.4, 0.4, 0.1, 0.1, 0.5])
    np.testing.assert_allclose(inside(left, up, down, cell), [0.2, 0.2, -0.1, -0.1, 0.0])


def _cut(frames: dict[str, pd.DataFrame], share: float) -> dict[str, pd.DataFrame]:
    """Segment s2 spends ``share`` of what it did for ten days; platforms claim no less."""
    told = frames["performance"]
    hit = (told["segment"] == "s2") & (told["date"] >= AS_OF - pd.Timedelta(days=10))
    fewer = {
        name: told[name].where(~hit, told[name] * share)
        for name in ("spend", "impressions", "clicks")
    }
    return {**frames, "performance": told.assign(**fewer)}


def test_claims_a_click_may_rise_as_far_as_spend_falls_and_no_further() -> None:
    frames, _ = shop()
    cut = _cut(frames, 0.05)  # organic sales are claimed all the same: 20 times the claims a click
    assert faults(cut, watch(cut, as_of=AS_OF)) == []
    told = cut["performance"]
    hit = (told["segment"] == "s2") & (told["date"] >= AS_OF - pd.Timedelta(days=3))
    wrong = {
        **cut,
        "performance": told.assign(
            conversions=told["conversions"].where(~hit, told["conversions"] * 100)
        ),
    }
    (found,) = [f for f in faults(wrong, watch(wrong, as_of=AS_OF)) if "conversions" in f.sentence]
    assert (found.name, found.subjects[1]) == ("unit", "s2")


@pytest.mark.parametrize(("moves", "leaves"), [(True, False), (False, True)])
def test_claims_that_left_their_path_where_spend_moved_are_no_change(
    moves: bool, leaves: bool
) -> None:
    """Claims of c1 fall by 30 %: where spend was cut to a third, flatter than was predicted, and
    where it stood."""
    frames, measured = shop(credit=0.0)
    seen = watch(frames, measured=measured, as_of=AS_OF)
    late = np.arange(DAYS) >= DAYS - 28
    fall, spend = np.where(late, 0.7, 1.0)[:, None], np.where(late & moves, 1 / 3, 1.0)[:, None]
    changed = {name: values.copy() for name, values in seen.performance.items()}
    changed["revenue"][:, :, 1] *= fall * spend
    changed["spend"][:, :, 1] *= spend
    predicted = seen.predicted.copy()
    predicted[:, :, 1] *= spend
    found = path(replace(seen, performance=changed, predicted=predicted), 1, SlopeLimits())
    assert found is not None
    claimed = found.claimed(seen.reference)
    material = SlopeLimits().material
    assert (claimed is not None and abs(claimed.effect) >= material) == leaves
