"""Broken arms in a workspace: named by ingest, doctor, training and message; they move nothing."""

from __future__ import annotations

import json
from datetime import timedelta

import pandas as pd

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.ledger.records import session, training
from tasks.context import view
from tasks.decision.holds import holds_on
from tasks.evidence.arms import arm_findings, arms_of, with_arm_notes
from tasks.evidence.ingest import intake_of
from tasks.model.train import train_once
from tasks.report.weekly import week_of
from tests.core.test_arms import user_test
from tests.models.lift.test_broken_arms import a_fifth_fewer
from tests.tasks.conftest import World


def deliver_frame(world: World, feed: str, frame: pd.DataFrame) -> DeliverySummary:
    path = world.workspace.inbox / f"{feed}-again.parquet"
    frame.to_parquet(path)
    loop = world.loop
    return deliver(intake_of(loop), path)


def test_a_holdout_out_of_its_ratio_is_told_not_learned_from_and_holds_its_cell(
    world: World,
) -> None:
    sound = world.market.history()["holdout"]
    told = a_fifth_fewer(sound, world.day - timedelta(days=1)).drop(columns="reported_at")
    segment, channel = told["segment"].iloc[0], told["channel"].iloc[0]
    assert arm_findings(world.loop, world.day) == ()
    summary = deliver_frame(world, "holdout", told)
    later = world.day + timedelta(days=365)  # restated today
    (note,) = with_arm_notes(world.loop, [summary])[0].notes[-1:]
    assert f"The holdout of {segment} x {channel} has" in note and "Fix:" in note
    assert any(one.check == "arms" and segment in one.detail for one in arms_of(world.workspace))
    (one,) = arm_findings(world.loop, later)
    assert one.days == 20
    trained = train_once(world.loop, later, source="holdout", reason="test")
    assert one.sentence in trained["sentence"]
    with session(world.loop.engine, read_only=True) as db:
        kept = training(db, key=trained["key"])
    assert kept is not None
    assert json.loads(kept.metrics)["arms_broken_cell_days"] == 20
    assert json.loads(kept.examination)["left_out"][0]["sentence"] == one.sentence
    assert one.sentence in kept.reason


def test_the_last_days_of_a_broken_holdout_hold_its_cell(world: World) -> None:
    settled = world.cycle()

    def fewer(holdout: pd.DataFrame) -> pd.DataFrame:
        return a_fifth_fewer(holdout, world.day + timedelta(days=6), days=7)

    world.live(settled, fewer)
    holdout = view(world.loop, world.day, ["holdout"])["holdout"]
    segment, channel = holdout["segment"].iloc[0], holdout["channel"].iloc[0]
    found = holds_on(world.loop, world.day, world.before(), source="holdout")
    mine = [why for s, c, why in found.passing if (s, c) == (segment, channel)]
    assert len(mine) == 1 and "control arm" in mine[0]
    assert len(found.passing) == 1  # all others may move
    with session(world.loop.engine, read_only=True) as db:
        week = week_of(world.loop, db, world.day - timedelta(days=1))
    assert week is not None
    assert any("where it usually has 40.00%" in line for line in week.alarms)


def test_users_in_both_arms_of_one_file_are_remembered(world: World) -> None:
    units = user_test(4000, propensity=None)
    other = units["arm"].map({"treated": "control", "control": "treated"})
    summary = deliver_frame(
        world, "units", pd.concat([units, units.assign(arm=other).head(200)], ignore_index=True)
    )
    assert summary.superseded == 200
    tomorrow = world.loop.today() + timedelta(days=1)
    (one,) = arm_findings(world.loop, tomorrow)
    assert (one.check, one.broken) == ("both arms", True)
    assert "has 200 of its 4,000 users in both arms" in one.sentence
    trained = train_once(world.loop, tomorrow, source="units", reason="test")
    assert trained["key"] is None
    assert trained["sentence"].count(one.sentence) == 1
    assert with_arm_notes(world.loop, [summary])[0].notes[-1].startswith(one.sentence)


def test_a_correction_of_the_arm_is_no_second_arm(world: World) -> None:
    units = user_test(4000, propensity=None)
    deliver_frame(world, "units", units)
    other = units["arm"].map({"treated": "control", "control": "treated"})
    deliver_frame(world, "units", units.assign(arm=other))
    tomorrow = world.loop.today() + timedelta(days=1)
    told = view(world.loop, tomorrow, ["units"])["units"].set_index("unit_id")["arm"]
    assert (told.loc[units["unit_id"]].to_numpy() == other.to_numpy()).all()
    assert arm_findings(world.loop, tomorrow) == ()
