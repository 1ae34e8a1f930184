"""Commitments and blackout days hold in plans, and what a commitment costs is said."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.manual_budgets import broken_by_hand
from liftloop.pipeline.plan.no_spend_days import less_withheld, no_spend_days
from liftloop.pipeline.plan.plan_budgets import Plan, plan_budgets
from liftloop.settings.budget import BlackoutSettings, Budget, CommitmentSettings
from liftloop.settings.schema import Settings, parse_settings

DAY = date(2026, 3, 2)
CELLS = tuple(Cell(s, c) for s in ("north", "south") for c in ("search", "video"))
NOW = Policy.of(dict.fromkeys(CELLS, Decimal(100)))
VIDEO_PAYS = SaturatingCurves(
    cells=CELLS,
    marginal_at_zero=np.tile([1.0, 6.0, 1.0, 5.0], (50, 1)),
    half_saturation=np.full((50, 4), 300.0),
    carryover=np.zeros(4),
)


def deal(amount: str, start: date, end: date) -> Settings:
    commitment = {"name": "search deal", "channels": ["search"], "amount": amount}
    return Settings.model_validate(
        {
            "budget": {"commitments": [{**commitment, "start": start, "end": end}]},
            "exploration": {"share": 0.0},
        }
    )


def plan(settings: Settings, incumbent: Policy = NOW, frozen: tuple[Any, ...] = ()) -> Plan:
    return plan_budgets(
        settings,
        curves=VIDEO_PAYS,
        incumbent=incumbent,
        frozen=frozen,
        evidence=PlanEvidence(as_of=DAY, facts={}),
    )


def search(policy: Policy) -> Decimal:
    return sum((x for c, x in policy.budgets if c.channel == "search"), Decimal(0))


def test_a_commitment_is_spent_day_by_day_and_its_cost_is_said() -> None:
    free = plan(Settings.model_validate({"exploration": {"share": 0.0}}))
    assert search(free.policy) < 180
    held = plan(deal("5580.00", DAY, DAY + timedelta(days=30)))  # 180 a day
    assert search(held.policy) == Decimal("180.00")
    notes = " ".join(held.notes)
    assert "the commitment search deal (until 2026-04-01) costs about" in notes


@pytest.mark.parametrize("start", [DAY + timedelta(days=7), DAY - timedelta(days=40)])
def test_outside_of_its_dates_a_commitment_asks_nothing(start: date) -> None:
    made = plan(deal("5580.00", start, start + timedelta(days=30)))
    assert search(made.policy) < 180


def test_a_commitment_out_of_reach_is_approached_by_full_steps() -> None:
    made = plan(deal("9300.00", DAY, DAY + timedelta(days=30)))  # 300 a day, 200 in force
    assert search(made.policy) == Decimal("250.00")  # a quarter more of both cells
    again = plan(deal("9300.00", DAY, DAY + timedelta(days=30)), made.policy)
    assert search(again.policy) == Decimal("287.50")  # video gives a quarter of its 150
    last = plan(deal("9300.00", DAY, DAY + timedelta(days=30)), again.policy)
    assert search(last.policy) == Decimal("300.00")


def test_on_blackout_days_the_cells_keep_their_budgets() -> None:
    sale = BlackoutSettings(
        name="sale", channels=("video",), segments=("north",), start=DAY, end=DAY
    )
    budget = Budget(blackouts=(sale,))
    frozen = budget.blackouts_on(DAY)
    assert frozen == (("north", "video", "no moves until 2026-03-02: sale"),)
    assert budget.blackouts_on(DAY + timedelta(days=1)) == ()
    made = plan(Settings.model_validate({"exploration": {"share": 0.0}}), frozen=frozen)
    assert made.policy.as_dict()[CELLS[1]] == Decimal(100)
    assert made.policy.as_dict()[CELLS[3]] > 100


def test_the_daily_amount_is_rounded_up() -> None:
    deal = CommitmentSettings(name="x", amount=Decimal(100), start=DAY, end=DAY + timedelta(days=2))
    assert deal.daily == Decimal("33.34")


def test_dates_in_the_wrong_order_are_refused() -> None:
    values = {"budget": {"blackouts": [{"name": "x", "start": DAY, "end": date(2026, 1, 1)}]}}
    with pytest.raises(ConfigurationError, match="is before start"):
        parse_settings(values, source="liftloop.toml")


def dark(start: date = DAY, end: date = DAY + timedelta(days=2)) -> Settings:
    one = {"name": "mourning", "channels": ["video"], "start": start, "end": end, "no_spend": True}
    return Settings.model_validate({"budget": {"blackouts": [one]}})


def test_days_without_spend_take_every_budget_to_nothing_and_give_it_back() -> None:
    begun = no_spend_days(dark(), NOW, {}, on=DAY)
    assert begun is not None
    budgets = begun.policy.as_dict()
    assert {cell.channel for cell, amount in budgets.items() if amount == 0} == {"video"}
    assert begun.withheld == {cell: Decimal(100) for cell in CELLS if cell.channel == "video"}
    assert "until 2026-03-04: mourning" in begun.reason
    for day in (DAY, DAY + timedelta(days=2)):
        assert no_spend_days(dark(), begun.policy, begun.withheld, on=day) is None
    over = no_spend_days(dark(), begun.policy, begun.withheld, on=DAY + timedelta(days=3))
    assert over is not None and (over.policy, dict(over.withheld)) == (NOW, {})
    assert "200.00 USD a day" in over.reason


def test_a_cell_that_somebody_gave_another_budget_keeps_it_after_its_days_without_spend() -> None:
    kept = {CELLS[1]: Decimal(100), CELLS[3]: Decimal(100)}
    set_by_hand = {**NOW.as_dict(), CELLS[1]: Decimal(40), CELLS[3]: Decimal(0)}
    over = no_spend_days(dark(), Policy.of(set_by_hand), kept, on=DAY + timedelta(days=3))
    assert over is not None
    assert over.policy.as_dict() == {**set_by_hand, CELLS[3]: Decimal(100)}


def test_what_is_withheld_goes_to_no_other_cell() -> None:
    settings = dark()
    begun = no_spend_days(settings, NOW, {}, on=DAY)
    assert begun is not None
    assert less_withheld(Decimal(400), begun.withheld) == Decimal(200)
    assert less_withheld(None, begun.withheld) is None
    found = plan(settings, begun.policy, settings.budget.blackouts_on(DAY))
    assert found.policy.total == Decimal(200)
    assert {amount for cell, amount in found.policy.budgets if cell.channel == "video"} == {0}


def test_by_hand_a_commitment_and_days_without_spend_are_kept_as_well() -> None:
    held = deal("5580.00", DAY, DAY + timedelta(days=30))  # 180 a day
    low = Policy.of({cell: Decimal(80 if cell.channel == "search" else 120) for cell in CELLS})
    enough = Policy.of({cell: Decimal(90 if cell.channel == "search" else 110) for cell in CELLS})
    (words,) = broken_by_hand(held, target=low, incumbent=NOW, on=DAY)
    assert "the commitment search deal" in words and "160.00" in words
    assert broken_by_hand(held, target=enough, incumbent=NOW, on=DAY) == ()
    assert broken_by_hand(held, target=low, incumbent=NOW, on=DAY + timedelta(days=40)) == ()
    found = broken_by_hand(dark(), target=NOW, incumbent=NOW, on=DAY)
    assert len(found) == 2 and "north x video would get 100.00" in found[0]
