"""For how much of the money a person may have to be asked."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Settlement
from liftloop.pipeline.rollout.steps import RolloutDecision

CELLS = (Cell("north", "search"), Cell("north", "tv"))


def budgets(search: int) -> Policy:
    amounts = (Decimal(search), Decimal(1000 - search))
    return Policy.of(zip(CELLS, amounts, strict=True))


def decided(*acts: str, plan: bool, retreats: bool = False) -> RolloutDecision:
    """Budgets of 700 for search where 500 were in force: a fifth of the money moves today."""
    steps = cast(Any, tuple(SimpleNamespace(act=act) for act in acts))
    return RolloutDecision(
        Settlement("move", budgets(700), {}, ""),
        steps,
        plan=budgets(700) if plan else None,
        retreats=retreats,
    )


@pytest.mark.parametrize(
    ("found", "approved", "share"),
    [
        (decided("start", plan=True), False, 0.5),  # a plan begins: all of it counts
        (decided("move", plan=True), False, 0.5),
        (decided("promote", plan=False), False, 0.2),  # it widens: what moves today counts
        (decided("promote", plan=False), True, 0.0),  # and was approved as a whole
        (decided("prove", "promote", plan=False), False, 0.2),
        (decided("hold", plan=False), False, 0.0),
        (decided("move", plan=True, retreats=True), False, 0.0),  # back is never asked for
    ],
)
def test_what_begins_or_widens_is_asked_for(
    found: RolloutDecision, approved: bool, share: float
) -> None:
    assert found.share_to_approve(0.5, budgets(500), approved=approved) == pytest.approx(share)
