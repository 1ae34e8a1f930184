"""The plain cycle with a user-level test: it learns who responds, once for the same users."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from flows.cycle import cycle
from liftloop.adapters.ledger.records import session, trainings
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_it_trains_the_model_of_who_responds_beside_that_of_the_budgets(
    fresh_workspace: Workspace,
) -> None:
    text = fresh_workspace.config.read_text(encoding="utf-8")
    fresh_workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0"), encoding="utf-8"
    )
    rng = np.random.default_rng(2)
    treated = rng.random(1500) < 0.5
    pd.DataFrame(
        {
            "experiment": "may",
            "unit_id": [f"u{n}" for n in range(1500)],
            "segment": np.where(rng.random(1500) < 0.5, "new", "loyal"),
            "channel": "mail",
            "arm": np.where(treated, "treated", "control"),
            "assigned_on": pd.Timestamp("2026-05-04"),
            "outcome_days": 14,
            "cost": np.where(treated, 0.5, 0.0),
            "converted": 1,
            "conversions": 1.0,
            "revenue": 2.0 + rng.normal(size=1500) * 0.5 + treated * 1.0,
            "x_taste": rng.normal(size=1500),
        }
    ).to_parquet(fresh_workspace.inbox / "units.parquet")

    def uplift_trainings() -> int:
        with session(open_loop(fresh_workspace.root).engine, read_only=True) as db:
            return len(trainings(db, model_name="uplift"))

    first = cycle(str(fresh_workspace.root), date(2026, 6, 15))
    assert any(step.startswith("Who responds: Trained uplift") for step in first.steps), first.text
    assert any("liftloop targets" in step for step in first.steps)
    assert uplift_trainings() == 1
    cycle(str(fresh_workspace.root), date(2026, 6, 22))
    assert uplift_trainings() == 1  # the same users: nothing new to learn
