"""Cells without money: switched on only where it is likely that they pay."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import Plan, plan_budgets
from liftloop.settings.schema import Settings

ON, OFF, ALSO_OFF = Cell("a", "video"), Cell("a", "search"), Cell("b", "search")
BEFORE = Policy.of({ON: Decimal(900), OFF: Decimal(0), ALSO_OFF: Decimal(0)})


def curves(*, sure: bool) -> SaturatingCurves:
    """Cells that are off and earn 2 a unit: in every draw, or 20 in one of ten and nothing else."""
    rare = np.where(np.arange(100) % 10 == 0, 20.0, 0.0)
    off = np.full(100, 2.0) if sure else rare
    return SaturatingCurves(
        cells=BEFORE.cells,
        marginal_at_zero=np.column_stack(
            [{ON: np.full(100, 1.2), OFF: off, ALSO_OFF: 0.9 * off}[cell] for cell in BEFORE.cells]
        ),
        half_saturation=np.full((100, 3), 1000.0),
        carryover=np.zeros(3),
    )


def plan(known: SaturatingCurves, **budget: Any) -> Plan:
    settings = Settings.model_validate({"budget": {"sureness": 0.5, **budget}})
    return plan_budgets(
        settings,
        curves=known,
        incumbent=BEFORE,
        frozen=(),
        evidence=PlanEvidence(as_of=date(2026, 3, 2), facts={}),
    )


def test_a_cell_that_surely_pays_is_switched_on() -> None:
    budgets = plan(curves(sure=True)).policy.as_dict()
    assert budgets[OFF] > 0 and budgets[ALSO_OFF] > 0


def test_no_cell_is_switched_on_for_the_few_draws_in_which_it_earns_much() -> None:
    made = plan(curves(sure=False))
    assert made.policy.version == BEFORE.version
    assert "stays off: that it would pay is likely by 10% only" in made.words[OFF]


def test_money_that_may_not_start_one_cell_does_not_start_the_next() -> None:
    # at first only the better of the two has room: a maximum holds both together
    group = {"name": "s", "segments": ["*"], "channels": ["search"], "maximum": "5.00"}
    words = plan(curves(sure=False), groups=[group]).words
    assert all("stays off" in words[cell] for cell in (OFF, ALSO_OFF))


def test_a_start_that_a_floor_asks_for_is_made() -> None:
    limit = {"segment": "a", "channel": "search", "floor": "5.00"}
    budgets = plan(curves(sure=False), limits=[limit]).policy.as_dict()
    assert budgets[OFF] >= Decimal(5)
