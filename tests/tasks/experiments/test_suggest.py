"""The next lift test, suggested from a workspace; what exploration hears from holdouts."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.cli import app
from liftloop.core.errors import Declined
from liftloop.markets.families import DemoMarket
from liftloop.pipeline.plan.explore import cycle_noise
from liftloop.reporting.lift_test_sentences import suggestion_sentence
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.reallocate import propose_once
from tasks.evidence.ingest import intake_of
from tasks.experiments.results import FEED_COLUMNS
from tasks.experiments.suggest import suggest_tests
from tasks.model.train import promote_once, train_once

HEADER = ",".join(FEED_COLUMNS)
FEEDS = ("performance", "holdout", "sales")
run = CliRunner()


class SmallMarket(DemoMarket):
    constants = replace(DemoMarket.constants, channels=("search", "social"), history_days=70)


def take_in(workspace: Workspace, market: DemoMarket, feeds: tuple[str, ...]) -> None:
    loop = open_loop(workspace.root)
    for name in feeds:
        path = workspace.inbox / f"{name}-history.parquet"
        market.history()[name].to_parquet(path)
        taken = deliver(intake_of(loop), path)
        assert taken.refused is None


def trained(workspace: Workspace) -> DemoMarket:
    market = SmallMarket(1)
    take_in(workspace, market, FEEDS)
    loop = open_loop(workspace.root)
    promote_once(loop, train_once(loop, market.start, source="holdout", reason="test"))
    return market


def test_a_workspace_with_a_champion_gets_a_table_and_a_sentence(
    fresh_workspace: Workspace,
) -> None:
    market = trained(fresh_workspace)
    asked = ["experiments", "suggest", "--as-of", str(market.start), "--weeks", "4"]
    place = ["--workspace", str(fresh_workspace.root)]
    said = run.invoke(app, [*asked, *place], env={"COLUMNS": "250"})
    assert said.exit_code == 0, said.exception
    assert "search" in said.output and "social" in said.output
    assert "for 4 weeks" in said.output
    assert HEADER in said.output
    shown = json.loads(run.invoke(app, [*asked, *place, "--json"]).output)
    assert len(shown["tests"]) == 6  # two channels: up, down, dark
    nets = [test["value"] - test["cost"] for test in shown["tests"]]
    assert nets == sorted(nets, reverse=True)
    for test in shown["tests"]:
        assert test["weeks"] == 4
        assert 0.05 <= test["power"] <= 1
        assert np.sign(test["spend_delta"]) == np.sign(test["expected_effect"])
        assert date.fromisoformat(test["start"]).weekday() == 0


def test_a_free_test_says_which_money_earns_and_old_facts_are_named(
    fresh_workspace: Workspace,
) -> None:
    market = trained(fresh_workspace)
    loop, later = open_loop(fresh_workspace.root), market.start + timedelta(days=100)
    assert "Beware" not in suggest_tests(str(loop.workspace.root), as_of=market.start).sentence
    said = suggest_tests(str(loop.workspace.root), as_of=later).sentence
    eve = market.start - timedelta(days=1)
    assert f"the newest spend known is of {eve}, 101 days before {later}" in said
    test = suggest_tests(str(loop.workspace.root), as_of=market.start).tests[0]
    for delta, words in (
        (-100.0, "the money it saves earns at least as much elsewhere"),
        (100.0, "the money earns there at least"),
    ):
        free = replace(test, spend_delta=delta, cost=0.0)
        assert words in suggestion_sentence(
            free, market.start, words=OutcomeWords("USD"), horizon_weeks=26
        )


def test_the_row_to_report_is_one_that_the_loop_takes_in(fresh_workspace: Workspace) -> None:
    market = trained(fresh_workspace)
    found = suggest_tests(str(fresh_workspace.root), as_of=market.start, weeks=3)
    comma = replace(found.tests[0], segments=("Dallas, TX", "eu"))
    (row,) = csv.DictReader(io.StringIO(f"{HEADER}\n{found.row(comma)}"))
    assert row["segments"] == "Dallas, TX;eu" and row["standard_error"] == ""
    (row,) = csv.DictReader(io.StringIO(f"{HEADER}\n{found.row(found.tests[0])}"))
    assert date.fromisoformat(row["end"]) - date.fromisoformat(row["start"]) == timedelta(days=20)
    row |= {"incremental_revenue": "-120.5", "standard_error": "80"}
    path = fresh_workspace.inbox / "experiments-done.csv"
    pd.DataFrame([row]).to_csv(path, index=False)
    loop = open_loop(fresh_workspace.root)
    taken = deliver(intake_of(loop), path)
    assert taken.refused is None
    place = ["--workspace", str(fresh_workspace.root)]
    (known,) = json.loads(run.invoke(app, ["experiments", "--json", *place]).output)
    assert known["experiment"] == row["experiment"]
    assert known["incremental_revenue"] == -120.5


def test_without_a_champion_the_way_to_one_is_told(fresh_workspace: Workspace) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    said = run.invoke(app, ["experiments", "suggest", *place])
    assert isinstance(said.exception, Declined)
    assert said.exception.exit_status == 1
    assert "No spend is known yet" in str(said.exception)
    market = SmallMarket(1)
    take_in(fresh_workspace, market, FEEDS)
    with pytest.raises(Declined, match="run `liftloop cycle` first"):
        suggest_tests(str(fresh_workspace.root), as_of=market.start)


def test_without_holdouts_a_test_to_begin_with_is_proposed(fresh_workspace: Workspace) -> None:
    market = SmallMarket(1)
    take_in(fresh_workspace, market, ("performance",))
    with pytest.raises(Declined, match="no test could be measured"):
        suggest_tests(str(fresh_workspace.root), as_of=market.start)
    take_in(fresh_workspace, market, ("sales",))
    found = suggest_tests(str(fresh_workspace.root), as_of=market.start)
    (test,) = found.tests
    assert test.value is None
    assert test.measured_by == "sales"
    assert found.sentence.startswith("Nothing is known of any response yet. Begin so: ")


def test_the_noise_of_a_cycle_is_that_of_the_difference_of_two_arms() -> None:
    """900 treated and 100 control users a day, standard deviation 5 around 3 and 2."""
    rng = np.random.default_rng(3)
    rows = []
    for day in pd.date_range("2026-01-05", periods=56):
        for segment in ("a", "b", "c", "d"):
            for arm, users, mean in (("treated", 900, 3.0), ("control", 100, 2.0)):
                got = mean + 5.0 / np.sqrt(users) * rng.normal()
                rows.append(
                    (day, segment, "search", arm, users, users * got, users * (got**2 + 25.0))
                )
    columns = ["date", "segment", "channel", "arm", "users", "revenue", "revenue_sq"]
    holdout = pd.DataFrame(rows, columns=columns)
    spend = holdout[holdout.arm == "treated"][["date", "segment", "channel"]].assign(spend=10.0)
    expected = 900 * 5.0 * np.sqrt((1 / 900 + 1 / 100) / 7)
    noise = cycle_noise(holdout, spend, as_of=date(2026, 3, 2), cycle_days=7)
    assert {cell.segment for cell in noise} == {"a", "b", "c", "d"}
    assert list(noise.values()) == pytest.approx([expected] * 4, rel=0.02)
    fortnight = cycle_noise(holdout, spend, as_of=date(2026, 3, 2), cycle_days=14)
    assert list(fortnight.values()) == pytest.approx([expected / np.sqrt(2)] * 4, rel=0.02)
    treated = holdout[holdout.arm == "treated"]
    assert cycle_noise(treated, spend, as_of=date(2026, 3, 2), cycle_days=7) == {}


def test_settings_turn_exploration_off(fresh_workspace: Workspace) -> None:
    assert load_settings(fresh_workspace).exploration.share == 0.05
    text = fresh_workspace.config.read_text(encoding="utf-8")
    fresh_workspace.config.write_text(text.replace("share = 0.05\n", "share = 0\n"), "utf-8")
    assert load_settings(fresh_workspace).exploration.share == 0


def test_a_lift_test_in_conflict_is_named_where_people_look(fresh_workspace: Workspace) -> None:
    market = SmallMarket(1)
    take_in(fresh_workspace, market, FEEDS)
    segment = market.incumbent["segment"].iloc[0]
    end = market.start - timedelta(days=5)
    row = f"typo,{segment},search,{end - timedelta(days=13)},{end},1000.00,90000.00,0.000001"
    path = fresh_workspace.inbox / "experiments.csv"
    path.write_text(f"{HEADER}\n{row}\n", encoding="utf-8")
    loop = open_loop(fresh_workspace.root)
    assert deliver(intake_of(loop), path).refused is None
    trained_now = promote_once(
        loop, train_once(loop, market.start, source="holdout", reason="test")
    )
    assert "The lift test typo counts little: It says +90,000" in trained_now["sentence"]
    proposal = propose_once(loop, market.start, source="holdout")
    assert "The lift test typo counts little" in proposal["reason"]
    place = ["--workspace", str(fresh_workspace.root)]
    (listed,) = json.loads(run.invoke(app, ["experiments", "--json", *place]).output)
    assert listed["age_days"] == 3  # to the last day that is reported
    assert 0.9 < listed["weight"] < 1
    assert listed["error_used"] > 10_000 and "all other evidence" in listed["conflict"]
    shown = run.invoke(app, ["experiments", *place], env={"COLUMNS": "250"})
    assert shown.exit_code == 0 and "typo counts little" in shown.output


def test_a_test_that_was_run_is_measured_from_sales_and_goes_into_the_inbox(
    fresh_workspace: Workspace,
) -> None:
    market = SmallMarket(1)
    feeds = market.history()
    names = sorted(feeds["sales"]["segment"].unique())[:2]
    start = market.start - timedelta(days=28)
    spent, sold = feeds["performance"], feeds["sales"]
    dark = spent["segment"].isin(names) & (spent["channel"] == "search")
    dark &= pd.to_datetime(spent["date"]) >= pd.Timestamp(start)
    saved = float(spent.loc[dark, "spend"].sum())
    spent.loc[dark, ["spend", "revenue", "conversions", "impressions", "clicks"]] = 0
    fewer = sold["segment"].isin(names) & (pd.to_datetime(sold["date"]) >= pd.Timestamp(start))
    sold.loc[fewer, "revenue"] -= 4 * saved / fewer.sum()  # each unit of spend earned 4
    loop = open_loop(fresh_workspace.root)
    for name in ("performance", "sales"):
        path = fresh_workspace.inbox / f"{name}.parquet"
        feeds[name].to_parquet(path)
        assert deliver(intake_of(loop), path).refused is None
    asked = ["experiments", "measure", "search off", "--channel", "search"]
    asked += ["--segments", ";".join(names), "--start", str(start)]
    asked += ["--end", str(market.start - timedelta(days=1))]
    place = ["--workspace", str(fresh_workspace.root)]
    shown = run.invoke(app, [*asked, "--keep", "--json", *place])
    assert shown.exit_code == 0, shown.output
    row = json.loads(shown.output)
    # what would have been spent is foretold from segments whose budgets vary by a fifth a week
    assert row["spend_delta"] == pytest.approx(-saved, rel=0.35)
    off = abs(row["incremental_revenue"] + 4 * saved)
    assert off < 4 * row["standard_error"]  # the spend that was real earned something, too
    assert "for each unit of spend" in row["sentence"]
    (kept,) = fresh_workspace.inbox.glob("experiments-*.csv")
    assert deliver(intake_of(loop), kept).refused is None
    (known,) = json.loads(run.invoke(app, ["experiments", "--json", *place]).output)
    assert known["experiment"] == "search off" and known["segments"] == ";".join(names)
    wrong = [*asked[:4], "tv", *asked[5:], *place]
    refused = run.invoke(app, wrong)
    assert isinstance(refused.exception, Declined)
    assert "Nothing is known of the channel 'tv'" in str(refused.exception)
