"""The preview of the weeks ahead: from what is known to a plan, and nothing is changed by it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import MetaData
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import champion_training, session
from liftloop.app.cli import app
from liftloop.core.errors import Declined, RefusedFile
from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.horizon import demand, load_outlook, preview_horizon, read_calendar
from tasks.evidence.ingest import intake_of
from tasks.model.train import promote_once, train_once

SEASON = (0.0, 0.0, 0.1, 0.0, 0.2, -0.2, -0.1)  # Friday over Saturday: exp(0.4)


class ClearMarket(DemoMarket):
    """Six segments, two channels, and holdouts so large that weeks are enough to learn."""

    constants = replace(
        DemoMarket.constants,
        channels=("search", "social"),
        history_days=70,
        revenue_sd=0.6,
        holdout_share=0.4,
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace) -> Workspace:
    """A workspace with ten weeks of facts, sales with a weekday pattern, and a champion."""
    root = tmp_path_factory.mktemp("horizon") / "workspace"
    shutil.copytree(workspace_model.root, root)
    workspace = Workspace(root)
    text = workspace.config.read_text(encoding="utf-8")
    workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0"), encoding="utf-8"
    )
    market, loop = ClearMarket(1), open_loop(root)
    for feed, frame in market.history().items():
        told = frame
        if feed == "sales":
            height = np.exp([SEASON[day] for day in pd.to_datetime(frame["date"]).dt.weekday])
            told = frame.assign(revenue=frame["revenue"] * height)
        path = workspace.inbox / f"{feed}-history.parquet"
        told.to_parquet(path)
        deliver(intake_of(loop), path)
    promote_once(loop, train_once(loop, market.start, source="holdout", reason="test"))
    return workspace


def content(loop: Loop) -> dict[str, list[Any]]:
    """Everything in the ledger."""
    known = MetaData()
    known.reflect(loop.engine)
    with loop.engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(table.select())]
            for name, table in known.tables.items()
        }


def test_a_preview_plans_every_week_and_changes_nothing(learned: Workspace) -> None:
    loop = open_loop(learned.root)
    before, files = content(loop), sorted(learned.outbox.rglob("*"))
    found = preview_horizon(str(learned.root), weeks=13, as_of=ClearMarket.constants.start)
    assert content(loop) == before
    assert sorted(learned.outbox.rglob("*")) == files
    periods = found.plan.periods
    assert len(periods) == 13
    assert [p.start for p in periods] == [
        ClearMarket.constants.start + timedelta(days=7 * week) for week in range(13)
    ]
    assert {p.policy.total for p in periods} == {found.incumbent.total}
    was = found.incumbent.as_dict()
    tenth = found.incumbent.total / len(was) / 10
    for cell, amount in periods[0].policy.budgets:
        assert abs(amount - was[cell]) <= max(was[cell], tenth) / 4
    assert found.plan.gain.mean > 0


def test_the_season_of_sales_reaches_the_plan(learned: Workspace) -> None:
    loop, start = open_loop(learned.root), ClearMarket.constants.start
    found = load_outlook(loop, start, days=7)
    assert found.season is not None
    index = found.season.set_index(["segment", "date"])["index"]
    friday = pd.Timestamp(start + timedelta(days=(4 - start.weekday()) % 7))
    saturday = friday + pd.Timedelta(days=1 if friday.weekday() == 4 else -6)
    segment = found.curves.cells[0].segment
    # ten weeks at a day's noise of 6 to 10 %: a ratio is known within 0.1 sqrt(2 / 10) = 5 %
    assert index[segment, friday] / index[segment, saturday] == pytest.approx(1.49, rel=0.15)
    assert "weekdays only" in found.note
    assert found.effective is not None
    assert (found.effective > 0).all()


def test_the_command_shows_a_week_a_row_and_all_cells_as_json(learned: Workspace) -> None:
    place = ["--workspace", str(learned.root)]
    run = CliRunner()
    # without a decision the preview begins today: the last spend is long ago, the budgets are not
    told = run.invoke(app, ["budgets", "--weeks", "2", *place], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    assert "A preview: nothing is changed" in told.output
    said = run.invoke(app, ["budgets", "--weeks", "2", "--shift", "0.1", "--json", *place])
    shown = json.loads(said.output)
    assert len(shown["periods"]) == 2
    for period in shown["periods"]:
        total = sum(Decimal(line["daily_budget"]) for line in period["budgets"])
        assert total == Decimal(period["total_daily_budget"])
        assert period["expected_low"] < period["expected_incremental_revenue"]
    assert shown["periods"][0]["budgets"][0].keys() == {
        "segment",
        "channel",
        "daily_budget",
        "previous_daily_budget",
        "held",
    }


def test_without_a_model_in_force_there_is_no_plan_ahead(fresh_workspace: Workspace) -> None:
    with pytest.raises(Declined, match="No model is in force yet"):
        preview_horizon(str(fresh_workspace.root), weeks=4)


def test_a_calendar_gives_all_segments_a_day_unless_they_have_their_own(tmp_path: Path) -> None:
    file = tmp_path / "calendar.csv"
    file.write_text("date,segment,x_promo\n2026-03-02,*,1\n2026-03-02,eu,0\n", encoding="utf-8")
    found = read_calendar(file, segments=["eu", "us"])
    assert dict(zip(found["segment"], found["x_promo"], strict=True)) == {"eu": 0, "us": 1}


@pytest.mark.parametrize(
    "text",
    [
        "day,segment,x_a\n2026-03-02,*,1\n",
        "date,segment\n2026-03-02,*\n",
        "date,segment,x_a\n2026-03-02,*,much\n",
        "date,segment,x_a\n2026-03-02,*,1\nsoon,*,1\n",
    ],
)
def test_a_broken_calendar_is_refused_with_the_way_out(tmp_path: Path, text: str) -> None:
    file = tmp_path / "calendar.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RefusedFile, match=r"calendar.csv.*Fix: "):
        read_calendar(file, segments=["eu"])


def test_curves_fitted_with_a_season_are_those_of_the_cycle_after_their_training(
    learned: Workspace,
) -> None:
    loop, start = open_loop(learned.root), ClearMarket.constants.start
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name="response")
    assert champion is not None
    without, _ = demand(loop, start, days=14, champion=champion)
    # the same training, had it known a season
    champion.metrics = json.dumps({"season_elasticity": 1.0})
    found, _ = demand(loop, start, days=14, champion=champion)
    assert found is not None
    assert without is not None
    pd.testing.assert_frame_equal(
        found.drop(columns="reference"), without.drop(columns="reference")
    )
    cycle = found[
        (found.date >= pd.Timestamp(start))
        & (found.date < pd.Timestamp(start) + pd.Timedelta(days=7))
    ]
    mean = cycle.groupby("segment")["index"].mean()
    assert found.groupby("segment")["reference"].first().to_dict() == pytest.approx(mean.to_dict())
    # three days later the cycle after the training is what was
    later, _ = demand(loop, start + timedelta(days=3), days=7, champion=champion)
    assert later is not None
    seen = later[
        (later.date >= pd.Timestamp(start))
        & (later.date < pd.Timestamp(start) + pd.Timedelta(days=7))
    ]
    assert later.groupby("segment")["reference"].first().to_dict() == pytest.approx(
        seen.groupby("segment")["index"].mean().to_dict()
    )
    # where response does not follow demand the curves are those of all their evidence
    champion.metrics = json.dumps({"season_elasticity": 0.0})
    as_before, _ = demand(loop, start, days=14, champion=champion)
    assert as_before is not None
    pd.testing.assert_frame_equal(as_before, without)
