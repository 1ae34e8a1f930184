"""A user-level model and its refresh are compared on the users both predicted."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pandas as pd

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import champion_training, session
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of
from tasks.model.train import promote_once, train_once


def users(experiment: str, number: int, on: str, seed: int) -> pd.DataFrame:
    """Half are sent ads that cost 0.1; those with x_taste > 0 spend 1 more because of them."""
    rng = np.random.default_rng(seed)
    taste, treated = rng.normal(size=number), rng.random(number) < 0.5
    revenue = 2.0 + rng.normal(size=number) * 0.5 + treated * (taste > 0)
    return pd.DataFrame(
        {
            "experiment": experiment,
            "unit_id": [f"{experiment}-{n}" for n in range(number)],
            "segment": "all users",
            "channel": "email",
            "arm": np.where(treated, "treated", "control"),
            "assigned_on": pd.Timestamp(on),
            "cost": np.where(treated, 0.1, 0.0),
            "converted": 1,
            "conversions": 1.0,
            "revenue": revenue,
            "x_taste": taste,
        }
    )


def test_a_refresh_is_compared_on_the_users_both_models_foretold(
    fresh_workspace: Workspace,
) -> None:
    text = fresh_workspace.config.read_text(encoding="utf-8")
    fresh_workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0"), encoding="utf-8"
    )
    loop = open_loop(fresh_workspace.root)
    for number, (name, day) in enumerate((("may", "2026-05-04"), ("june", "2026-06-01"))):
        path = fresh_workspace.inbox / f"units-{name}.parquet"
        users(name, 1500, day, number).to_parquet(path)
        deliver(intake_of(loop), path)
        as_of = date(2026, 5 + number, 20)
        told = promote_once(loop, train_once(loop, as_of, source="units", reason="test"))
        assert told["champion"], told["sentence"]
    with session(loop.engine, read_only=True) as db:
        now = champion_training(db, model_name="uplift")
    assert now is not None and now.model_version == "2"
    card = json.loads(now.examination)
    assert card["challenge"] == "refresh"
    profit = next(check for check in card["checks"] if check["name"] == "profit of the plan")
    assert profit["verdict"] == "pass"
    assert profit["numbers"]["base"] > 0.3  # half of the users are worth 1 each
