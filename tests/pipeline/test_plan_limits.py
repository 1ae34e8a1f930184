"""A plan that runs into a limit of the guardrails on plans is the best plan inside it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from liftloop.core.curves.gain import share_moved
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence, guard_plan
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.plan.plan_budgets import Plan, plan_budgets
from liftloop.settings.schema import Settings

DAY = date(2026, 3, 2)
CELLS = tuple(Cell(s, c) for s in ("north", "south") for c in ("search", "video"))
NOW = Policy.of(dict.fromkeys(CELLS, Decimal(100)))
VIDEO_PAYS = SaturatingCurves(
    cells=CELLS,
    marginal_at_zero=np.tile([1.0, 6.0, 1.0, 5.0], (50, 1)),
    half_saturation=np.full((50, 4), 300.0),
    carryover=np.zeros(4),
)


def chosen(*, limits: dict[str, Any], **budget: Any) -> Settings:
    return Settings.model_validate(
        {"budget": budget, "guardrails": limits, "exploration": {"share": 0.0}}
    )


def plan(settings: Settings, incumbent: Policy = NOW, frozen: tuple[Any, ...] = ()) -> Plan:
    return plan_budgets(
        settings,
        curves=VIDEO_PAYS,
        incumbent=incumbent,
        frozen=frozen,
        evidence=PlanEvidence(as_of=DAY, facts={}),
    )


def verdicts(
    settings: Settings, made: Plan, incumbent: Policy = NOW, frozen: tuple[Any, ...] = ()
) -> dict[str, str]:
    found = guard_plan(
        settings,
        PlanEvidence(as_of=DAY, facts={}),
        proposed=made.policy,
        incumbent=incumbent,
        holds=Holds(lasting=frozen),
    )
    return {one.name: one.verdict for one in found if one.name != "fresh data"}


def video(policy: Policy) -> Decimal:
    return sum((x for c, x in policy.budgets if c.channel == "video"), Decimal(0)) / policy.total


def test_a_plan_at_the_limit_of_a_channel_moves_and_says_what_the_limit_costs() -> None:
    settings = chosen(limits={"channel_share": 0.55})
    made = plan(settings)
    assert video(made.policy) == Decimal("0.55")
    assert set(verdicts(settings, made).values()) == {"pass"}
    notes = " ".join(made.notes)
    assert (
        "video is at its limit of 55% of the total (channel_share in [guardrails]); one " in notes
    )
    assert "The limit of 55% for video costs about " in notes
    assert made.words[CELLS[1]].endswith("video is at its limit.")
    assert "limit" not in made.words[CELLS[0]]


def test_a_limit_that_does_not_hold_the_plan_changes_and_says_nothing() -> None:
    wide, off = (plan(chosen(limits={"channel_share": share})) for share in (0.8, 1.0))
    assert wide == off


def test_a_channel_beyond_its_limit_keeps_its_share_and_never_grows() -> None:
    settings = chosen(limits={"channel_share": 0.4})
    made = plan(settings)
    assert video(made.policy) == Decimal("0.5")
    assert made.policy != NOW  # inside the channel money still moves
    assert set(verdicts(settings, made).values()) == {"pass"}
    assert "video gets no more than it has: the limit is 40% of the total" in " ".join(made.notes)


def test_a_plan_that_moves_too_much_at_once_moves_what_it_may() -> None:
    settings = chosen(limits={"total_change": 0.1}, max_step=0.5)
    made = plan(settings)
    assert share_moved(made.policy, NOW) == pytest.approx(0.1, abs=1e-4)
    assert set(verdicts(settings, made).values()) == {"pass"}
    assert "At most 10% of the money moves at once (total_change in [guardrails]); one unit a " in (
        " ".join(made.notes)
    )


@pytest.mark.parametrize(("total", "reached"), [("4000.00", "600.00"), ("40.00", "200.00")])
def test_a_total_that_jumps_goes_as_far_as_it_may_at_once(total: str, reached: str) -> None:
    settings = chosen(limits={"channel_share": 1.0}, max_step=1.0, total=total)
    made = plan(settings)
    assert made.policy.total == Decimal(reached)
    assert set(verdicts(settings, made).values()) == {"pass"}
    assert f"this cycle reaches {reached}" in " ".join(made.notes).lower()


@pytest.mark.parametrize(
    "budget",
    [
        {"objective": "cvar"},
        {"objective": "target_iroas", "target_iroas": "0.5"},
        {"objective": "aims", "aims": [{"name": "v", "channels": ["video"], "weight": "3"}]},
        {"total": "400.00", "total_is": "ceiling"},
        {"total": "300.00"},
        {"total": "480.00"},
    ],
)
def test_limits_hold_under_every_objective_and_total(budget: dict[str, Any]) -> None:
    settings = chosen(limits={"channel_share": 0.55, "total_change": 0.25}, **budget)
    made = plan(settings)
    assert video(made.policy) <= Decimal("0.55")
    assert set(verdicts(settings, made).values()) == {"pass"}


def test_a_share_that_held_cells_push_beyond_its_limit_does_not_hold_the_plan() -> None:
    settings = chosen(limits={"channel_share": 0.5}, total="300.00", max_step=0.5)
    frozen = (("*", "video", "paused by ana"),)
    made = plan(settings, frozen=frozen)
    assert made.policy.total == Decimal("300.00")
    assert set(verdicts(settings, made, frozen=frozen).values()) == {"pass"}
