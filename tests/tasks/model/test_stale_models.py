"""No move by a model that has seen too little of late; and plans from user-level tests."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import champion_training, session
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.reallocate import propose_once
from tasks.decision.rollout import settle_once
from tasks.evidence.ingest import intake_of
from tasks.model.curves import learned_until
from tasks.model.train import promote_once, train_once
from tasks.open_work import review_waiting_once


def a_week(world: Any) -> None:
    world.take_in(world.market.step(world.market.incumbent, 7))
    world.day += timedelta(days=7)


def test_a_plan_by_a_model_that_saw_its_last_day_too_long_ago_is_held(world: Any) -> None:
    world.set("model_days = 90", "model_days = 3")
    trained = world.day
    a_week(world)
    with session(world.loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name="response")
    assert champion is not None
    # the feeds of a day come in the day after: those of the eve were not known yet
    assert learned_until(world.loop, champion.key) == trained - timedelta(days=2)
    found = propose_once(world.loop, world.day, source="holdout")
    settled = settle_once(world.loop, world.day, found["id"])
    assert settled["kind"] == "hold"
    assert "The model learned from facts that ended 8 days ago" in settled["reason"]


def test_a_plan_that_waits_for_a_person_is_rejected_once_its_model_is_too_old(world: Any) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting = world.cycle()
    assert waiting["state"] == "awaiting_approval"
    a_week(world)
    assert review_waiting_once(world.loop, world.day) == []
    world.set("model_days = 90", "model_days = 3")
    assert review_waiting_once(world.loop, world.day) == [waiting["id"]]


def test_a_plan_from_user_level_tests_is_not_held_for_want_of_daily_facts(
    fresh_workspace: Workspace,
) -> None:
    text = fresh_workspace.config.read_text(encoding="utf-8")
    fresh_workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0").replace(
            "\nenabled = true", "\nenabled = false"
        ),
        encoding="utf-8",
    )
    rng = np.random.default_rng(5)
    arms = []
    for channel, effect in (("mail", 2.0), ("post", 0.2)):  # either costs 0.5 a user
        treated = rng.random(3000) < 0.5
        arms.append(
            pd.DataFrame(
                {
                    "experiment": channel,
                    "unit_id": [f"{channel}-{n}" for n in range(3000)],
                    "segment": np.where(rng.random(3000) < 0.5, "new", "loyal"),
                    "channel": channel,
                    "arm": np.where(treated, "treated", "control"),
                    "assigned_on": pd.Timestamp("2026-05-04"),
                    "cost": np.where(treated, 0.5, 0.0),
                    "converted": 1,
                    "conversions": 1.0,
                    "revenue": 2.0 + rng.normal(size=3000) * 0.5 + treated * effect,
                    "x_taste": rng.normal(size=3000),
                }
            )
        )
    path = fresh_workspace.inbox / "units.parquet"
    pd.concat(arms, ignore_index=True).to_parquet(path)
    loop = open_loop(fresh_workspace.root)
    deliver(intake_of(loop), path)
    day = date(2026, 6, 15)
    told = promote_once(loop, train_once(loop, day, source="units", reason="test"))
    assert told["champion"], told["sentence"]
    found = propose_once(loop, day, source="units")
    settled = settle_once(loop, day, found["id"])
    assert settled["kind"] == "move", settled["reason"]
