"""S-shaped curves against every plan on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pytest

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.arrays import Array
from liftloop.core.policy import Cell, Policy


@dataclass(frozen=True)
class Hill:
    """``top x^shape / (x^shape + half^shape)``: S-shaped for a shape above 1."""

    top: Array
    half: Array
    shape: Array
    diminishing: bool = False

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(Cell(f"s{i:02d}", "c") for i in range(len(self.top)))

    @property
    def carryover(self) -> Array:
        return np.zeros(len(self.top))

    def mean_revenue(self, spend: Array) -> Array:
        power = np.maximum(spend, 0.0) ** self.shape
        return self.top * power / (power + self.half**self.shape)

    def mean_marginal(self, spend: Array) -> Array:
        x = np.maximum(spend, 1e-9)
        power, bend = x**self.shape, self.half**self.shape
        return self.top * self.shape * power * bend / x / (power + bend) ** 2

    def draw_revenue(self, spend: Array) -> Array:
        return self.mean_revenue(spend)[None]


def hills(cells: int, seed: int) -> Hill:
    rng = np.random.default_rng(seed)
    return Hill(
        top=rng.uniform(100, 300, cells),
        half=rng.uniform(20, 90, cells),
        shape=rng.uniform(1.5, 4.0, cells),
    )


def planned(curves: Hill, each: int, **more: Any) -> Array:
    incumbent = Policy.of(dict.fromkeys(curves.cells, Decimal(each)))
    rules = resolve_rules(
        cells=curves.cells,
        total=incumbent.total,
        max_step=None,
        **more,
    )
    policy = allocate(curves=curves, rules=rules, incumbent=incumbent).policy
    assert policy.total == incumbent.total
    return np.array([float(amount) for _, amount in policy.budgets])


@pytest.mark.parametrize("seed", range(8))
def test_the_plan_is_within_half_a_percent_of_the_best_of_all_plans(seed: int) -> None:
    curves = hills(4, seed)
    grid = np.array([p for p in product(range(0, 121, 2), repeat=3) if sum(p) <= 120], dtype=float)
    every = np.column_stack([grid, 120 - grid.sum(axis=1)])
    power = every**curves.shape
    best = (curves.top * power / (power + curves.half**curves.shape)).sum(axis=1).max()
    found = curves.mean_revenue(planned(curves, 30)).sum()
    assert found >= best * 0.995


def test_one_cell_gets_it_all_where_half_of_it_is_not_enough_for_either() -> None:
    # x^4 / (x^4 + 50^4): 60 in one earns 0.675, 30 in each earns 2 x 0.115
    curves = Hill(np.ones(2), np.full(2, 50.0), np.full(2, 4.0))
    assert sorted(planned(curves, 30)) == [0.0, 60.0]


@pytest.mark.parametrize("seed", range(4))
def test_the_plan_is_never_worse_than_the_concave_path_s(seed: int) -> None:
    curves = hills(12, seed)
    honest = curves.mean_revenue(planned(curves, 25)).sum()
    concave = Hill(curves.top, curves.half, curves.shape, diminishing=True)
    assert honest >= curves.mean_revenue(planned(concave, 25)).sum()


def test_groups_hold_for_s_shaped_curves_too() -> None:
    curves = hills(4, 3)
    capped = planned(
        curves,
        30,
        groups=[
            Group(
                "g",
                (
                    "s00",
                    "s01",
                ),
                ("*",),
                Decimal(0),
                Decimal(40),
            )
        ],
    )
    assert capped[:2].sum() <= 40
