"""The [budget] section reaches the core: objectives, shares and reach."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.core.allocation.constraints import book
from liftloop.core.allocation.objectives import (
    Aim,
    CvarProfit,
    ExpectedProfit,
    StrategicAims,
    TargetIroas,
)
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import Plan, objective_of, plan_budgets
from liftloop.pipeline.plan.reach import caps_by_frequency
from liftloop.pipeline.plan.rules import rules_of
from liftloop.settings.schema import Settings, parse_settings

CELLS = (Cell("north", "search"), Cell("south", "search"))
HELD = Policy.of(dict.fromkeys(CELLS, Decimal("100.00")))
DAY = date(2026, 3, 2)


def settings(**budget: object) -> Settings:
    return parse_settings({"budget": budget, "exploration": {"share": 0.0}}, source="test")


def feeds(days: int = 14) -> dict[str, pd.DataFrame]:
    dates = [DAY - timedelta(days=d) for d in range(1, days + 1)]
    bought = {"segment": "north", "channel": "search", "spend": 100.0, "impressions": 5000}
    treated = {"segment": "north", "channel": "search", "arm": "treated", "users": 700}
    return {
        "performance": pd.DataFrame([{"date": d, **bought} for d in dates]),
        "holdout": pd.DataFrame([{"date": d, **treated} for d in dates]),
    }


def test_each_objective_is_the_one_that_is_configured() -> None:
    aim = {"name": "brand", "channels": ["search"], "weight": 2.0, "minimum_share": 0.1}
    assert objective_of(settings()) == ExpectedProfit()
    assert objective_of(settings(objective="cvar", risk_level=0.2)) == CvarProfit(0.2)
    assert objective_of(settings(objective="target_iroas", target_iroas=2)) == TargetIroas(2.0)
    assert objective_of(settings(objective="aims", aims=[aim])) == StrategicAims(
        (Aim("brand", ("*",), ("search",), 2.0, 0.1),)
    )


@pytest.mark.parametrize(
    "budget", [{"objective": "target_iroas"}, {"objective": "aims"}, {"risky": ["search"]}]
)
def test_an_objective_without_what_it_needs_is_refused(budget: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="budget"):
        settings(**budget)


def test_shares_of_the_total_become_cents() -> None:
    asked = settings(
        geo_minima=[{"segment": "north", "share": 0.3}], risky=["search"], risky_share=0.9
    )
    written = book(rules_of(asked, HELD, ()), incumbent=HELD)
    assert written.group_low.tolist() == [6000, 0]
    assert written.group_high[1] == 18000


def test_a_frequency_cap_follows_from_price_and_users_and_unknown_reach_is_not_capped() -> None:
    # 50 impressions per unit of spend, 700 users, 7 a week: 7 x 700 / 7 / 50 = 14.00 a day
    caps = caps_by_frequency(
        settings(frequency_per_week=7.0), cells=CELLS, facts=feeds(), as_of=DAY
    )
    assert caps == {CELLS[0]: Decimal("14.00")}
    wider = settings(frequency_per_week=7.0, audiences=[{"segment": "north", "users": 1400}])
    assert caps_by_frequency(wider, cells=CELLS, facts=feeds(), as_of=DAY) == {
        CELLS[0]: Decimal("28.00")
    }


def test_a_plan_says_what_its_target_and_its_unknown_reach_mean() -> None:
    curves = SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=np.full((60, 2), 2.0),
        half_saturation=np.full((60, 2), 100.0),
        carryover=np.zeros(2),
    )
    asked = settings(
        objective="target_iroas", target_iroas=1.1, frequency_per_week=700.0, max_step=1.0
    )
    plan = plan_budgets(
        asked,
        curves=curves,
        incumbent=HELD,
        frozen=(),
        evidence=PlanEvidence(as_of=DAY, facts=feeds()),
    )
    # 2 / (1 + x/100) = 1.1 at x = 81.8181 in each cell
    assert plan.policy.total == Decimal("163.63")
    assert "1 of 2 cells have no frequency cap" in plan.notes[0]
    assert "163.63 of the total of 200.00 is spent" in plan.notes[1]


def test_a_cell_that_does_not_spend_what_it_has_gets_no_raise_and_is_told_why() -> None:
    curves = SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=np.tile([4.0, 1.0], (60, 1)),
        half_saturation=np.full((60, 2), 100.0),
        carryover=np.zeros(2),
    )

    def plan(slow: dict[Cell, float]) -> Plan:
        return plan_budgets(
            settings(),
            curves=curves,
            incumbent=HELD,
            frozen=(),
            evidence=PlanEvidence(as_of=DAY, facts=feeds()),
            slow=slow,
        )

    assert plan({}).policy.as_dict() == {CELLS[0]: Decimal("125.00"), CELLS[1]: Decimal("75.00")}
    held = plan({CELLS[0]: 0.41})
    assert held.policy == HELD
    assert held.words[CELLS[0]].endswith(
        "It spends 41% of its budget: it gets no raise until it spends what it has."
    )
    assert "It spends" not in held.words[CELLS[1]]
    assert any("No raise for north x search" in note for note in held.notes)
    # one that would lose goes on losing
    assert plan({CELLS[1]: 0.41}).policy == plan({}).policy
