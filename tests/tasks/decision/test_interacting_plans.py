"""Interacting curves reach the plan: through the registry and back, and with what moves lift."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import write_curves
from liftloop.adapters.registry.mlflow_store import run_folder
from liftloop.core.curves.interacting import InteractingCurves
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import Plan, plan_budgets
from liftloop.settings.schema import parse_settings
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.model.curves import load_model_curves

DAY = date(2026, 3, 2)
CELLS = tuple(Cell(s, c) for s in ("north", "south") for c in ("search", "video"))
HELD = Policy.of(dict.fromkeys(CELLS, Decimal("100.00")))


def curves(elasticity: float, *, usual_video: float = 100.0) -> InteractingCurves:
    """All cells alike by themselves: 2 x 100 / 2 = 100 at 100. Video lifts search by
    ``elasticity`` where it spends more than it did usually."""
    n = len(CELLS)
    base = SaturatingCurves(CELLS, np.full((2, n), 2.0), np.full((2, n), 100.0), np.zeros(n))
    moved = np.zeros((2, 2, 2))
    moved[:, 1, 0] = elasticity
    usual = np.array([100.0, usual_video, 100.0, 100.0])
    return InteractingCurves(base, usual, ("search", "video"), moved, inclusive=True)


def plan(given: ResponseCurves) -> Plan:
    settings = parse_settings(
        {"budget": {"switching_cost": 0.0}, "exploration": {"share": 0.0}}, source="test"
    )
    return plan_budgets(
        settings,
        curves=given,
        incumbent=HELD,
        frozen=(),
        evidence=PlanEvidence(
            as_of=DAY, facts={"performance": pd.DataFrame(), "holdout": pd.DataFrame()}
        ),
    )


def test_search_gets_more_where_video_spends_more_than_it_did() -> None:
    found = plan(curves(0.5, usual_video=50.0))
    after = found.policy.as_dict()
    search, video, *south = (float(after[cell]) for cell in CELLS)
    # own marginals are 2 / (1 + x / 100)^2; search in the north earns 2^0.5 times as much, and a
    # log unit of video through it 0.5 x 100 x (2^0.5 - 1) more than its own curve holds
    price = 2 / (1 + south[0] / 100) ** 2
    assert south[0] == pytest.approx(south[1], abs=0.011)
    assert 2**0.5 * 2 / (1 + search / 100) ** 2 == pytest.approx(price, rel=1e-3)
    through = 50 * (2**0.5 - 1) / video
    assert 2 / (1 + video / 100) ** 2 + through == pytest.approx(price, rel=1e-3)
    assert search > 115
    assert found.policy.total == HELD.total
    assert found.gain.mean > 0


def test_at_the_usual_spend_an_interaction_moves_nothing() -> None:
    assert plan(curves(0.5)).policy.version == HELD.version


def test_the_plan_of_curves_without_interactions_is_that_of_their_own_curves() -> None:
    lone = curves(0.0, usual_video=50.0)
    assert plan(lone).policy.version == plan(lone.base).policy.version


@pytest.mark.parametrize("kind", ["interacting", "saturating"])
def test_the_registry_gives_back_the_kind_of_curves_it_got(
    fresh_workspace: Workspace, kind: str
) -> None:
    whole = curves(0.5, usual_video=50.0)
    given = whole if kind == "interacting" else whole.base
    folder = run_folder(fresh_workspace, "r1") / "curves"
    write_curves(folder, arrays=given.to_arrays(), about={"kind": kind})
    trained = Training(
        key="t1",
        as_of=DAY,
        door="holdout",
        model_name="response",
        run_id="r1",
        facts="",
        state="registered",
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    back = load_model_curves(open_loop(fresh_workspace.root), trained)
    assert type(back) is type(given)
    spend = np.array([120.0, 80.0, 100.0, 60.0])
    np.testing.assert_array_equal(back.draw_revenue(spend), given.draw_revenue(spend))
