"""Data that ended long ago: what is asked of them without a day is asked of the day after them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.cli import app
from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.data_end import ended_long_ago, last_day, planning_day
from tasks.evidence.ingest import intake_of
from tasks.experiments.suggest import suggest_tests
from tasks.monitor.comparable import nothing_to_compare

PAST = date(2022, 10, 30)  # the last day with data


class SmallMarket(DemoMarket):
    constants = replace(DemoMarket.constants, channels=("search", "social"), history_days=70)


@pytest.fixture
def old(fresh_workspace: Workspace) -> Workspace:
    """A workspace with spend and sales that end in 2022."""
    loop = open_loop(fresh_workspace.root)
    history = SmallMarket(1).history()
    for name in ("performance", "sales"):
        frame = history[name].drop(columns="reported_at", errors="ignore")
        days = pd.to_datetime(frame["date"])
        path = fresh_workspace.inbox / f"{name}-history.parquet"
        frame.assign(date=days - (days.max() - pd.Timestamp(PAST))).to_parquet(path)
        assert deliver(intake_of(loop), path).refused is None
    return fresh_workspace


def test_a_lift_test_is_suggested_for_the_day_after_the_data(
    old: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFTLOOP_NOW", "2026-11-30T09:00:00+00:00")
    found = suggest_tests(str(old.root))
    assert found.tests
    assert found.start == date(2023, 1, 2)  # the first Monday whose weeks hold no retail day
    assert found.sentence.startswith(
        "Data end on 2022-10-30; planning for 2022-10-31. Say --as-of to plan another day."
    )
    assert found.tests == suggest_tests(str(old.root), as_of=date(2022, 10, 31)).tests
    words = ["experiments", "suggest", "--workspace", str(old.root)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.exception
    assert "planning for 2022-10-31" in said.output


def test_a_day_that_is_named_or_near_the_data_is_the_day(
    old: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = open_loop(old.root)
    assert last_day(loop) == PAST
    assert planning_day(loop, date(2026, 1, 1)) == (date(2026, 1, 1), "")
    near = PAST + timedelta(days=14)
    monkeypatch.setenv("LIFTLOOP_NOW", f"{near}T09:00:00+00:00")
    assert planning_day(loop, None) == (near, "")
    monkeypatch.setenv("LIFTLOOP_NOW", f"{near + timedelta(days=1)}T09:00:00+00:00")
    assert planning_day(loop, None)[0] == PAST + timedelta(days=1)


def test_without_data_the_day_is_today(fresh_workspace: Workspace) -> None:
    loop = open_loop(fresh_workspace.root)
    assert planning_day(loop, None) == (loop.today(), "")
    assert ended_long_ago(loop, loop.today(), command="cycle") == ""


def test_what_asks_of_today_says_where_data_end_and_of_which_day_to_ask(old: Workspace) -> None:
    loop = open_loop(old.root)
    said = ended_long_ago(loop, date(2026, 11, 30), command="cycle")
    assert "Data end on 2022-10-30, 1,492 days before 2026-11-30" in said
    assert "liftloop cycle --as-of 2022-10-31" in said
    assert ended_long_ago(loop, PAST + timedelta(days=3), command="cycle") == ""
    said = nothing_to_compare(loop, date(2026, 11, 30))
    assert "data end on 2022-10-30, before the 730 days" in said
    assert "no facts from before" not in said
