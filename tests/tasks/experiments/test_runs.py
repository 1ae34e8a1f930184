"""An experiment from its start to the row that the curves learn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.decisions import proposal
from liftloop.adapters.ledger.experiments import experiment, experiments
from liftloop.adapters.ledger.records import policy, session
from liftloop.app.cli import app
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.experiments.design import GEO, Experiment
from liftloop.core.policy import Cell
from liftloop.markets.without_holdouts import OneSegmentMarket, SalesMarket
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.holds import holds_on
from tasks.decision.reallocate import budgets_before, propose_once
from tasks.decision.rollout import settle_once
from tasks.evidence.ingest import intake_of
from tasks.experiments.runs import ExperimentPromise, measure_due, start_experiment, stop_run
from tasks.model.train import promote_once, train_once

run = CliRunner()
WEEK = timedelta(days=7)


class ShopMarket(SalesMarket):
    """Four segments, two channels, half a year, no holdout."""

    constants = replace(
        SalesMarket.constants,
        segments=("north", "south", "east", "west"),
        channels=("search", "social"),
        history_days=182,
    )


class CountryMarket(OneSegmentMarket):
    constants = replace(OneSegmentMarket.constants, channels=("search", "social"), history_days=400)


class Shop:
    """A workspace, its market, and a person who carries out an experiment on the platforms."""

    def __init__(self, workspace: Workspace, market: Any) -> None:
        self.workspace, self.market = workspace, market
        self.day: date = market.start
        self.take_in(market.history())

    def decide(self) -> None:
        """The budgets that are spent are put in force: no model moves them."""
        proposed = propose_once(self.loop, self.day, source="holdout")
        assert settle_once(self.loop, self.day, proposed["id"])["state"] == "in_force"

    @property
    def known(self) -> date:
        """The day on which all that passed has been reported."""
        return self.day + timedelta(days=2)

    @property
    def loop(self) -> Loop:
        return open_loop(self.workspace.root)

    @property
    def root(self) -> str:
        return str(self.workspace.root)

    def take_in(self, feeds: dict[str, pd.DataFrame]) -> None:
        for name in ("performance", "sales"):
            path = self.workspace.inbox / f"{name}-{self.day}.parquet"
            feeds[name].to_parquet(path)
            taken = deliver(intake_of(self.loop), path)
            assert taken.refused is None

    def live(self, test: Experiment, weeks: int, *, until: date | None = None) -> None:
        """Weeks pass in which the person changes what the experiment says, up to ``until``."""
        for _ in range(weeks):
            budgets = self.market.incumbent.copy()
            on = any(
                first <= self.day <= last and (until is None or self.day < until)
                for first, last in test.spans()
            )
            if on:
                hit = (budgets["channel"] == test.channel) & budgets["segment"].isin(test.segments)
                budgets.loc[hit, "daily_budget"] *= Decimal(1 + round(test.change))
            feeds = self.market.step(budgets, 7)
            self.day += WEEK
            self.take_in(feeds)

    def record(self, name: str) -> Any:
        with session(self.loop.engine, read_only=True) as db:
            return experiment(db, name=name)

    def cells_held(self, day: date) -> set[tuple[str, str]]:
        now, _ = budgets_before(self.loop, day, source="holdout")
        assert now is not None
        held = holds_on(self.loop, day, now, source="holdout").lasting
        return {(segment, channel) for segment, channel, why in held if "under test" in why}


@pytest.fixture
def shop(fresh_workspace: Workspace) -> Shop:
    found = Shop(fresh_workspace, ShopMarket(1))
    found.decide()
    return found


def video_off(shop: Shop, *, weeks: int = 2, name: str = "social off") -> Experiment:
    end = shop.day + weeks * WEEK - timedelta(days=1)
    return Experiment(name, "social", ("north", "south"), GEO, -1.0, shop.day, end, 5)


def sound(loop: Loop) -> bool:
    with session(loop.engine, read_only=True) as db:
        return verify(db).intact


def test_an_experiment_runs_from_its_start_to_a_row_that_the_curves_learn_from(shop: Shop) -> None:
    test = video_off(shop, weeks=3)
    told = start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    assert told.startswith("Started: social off. You change these daily budgets on the platforms")
    assert "north x social from" in told and "to 0.00" in told and "the total falls by" in told
    again = start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    assert again.startswith("Started already")
    assert shop.cells_held(shop.day) == {("north", "social"), ("south", "social")}
    last = shop.day + timedelta(days=20)
    shop.live(test, 2)
    assert measure_due(shop.loop, shop.day) == []  # it still runs
    assert {("north", "social")} <= shop.cells_held(last)
    shop.live(test, 1)
    (taken,) = measure_due(shop.loop, shop.known)
    assert (taken.feed, taken.stored, taken.refused) == ("experiments", 1, None)
    assert ("north", "social") not in shop.cells_held(shop.day + timedelta(days=1))
    record = shop.record("social off")
    result = json.loads(record.result)
    assert record.state == "measured" and result["days"] == 21
    assert result["spend_delta"] < 0 and result["standard_error"] > 0
    assert measure_due(shop.loop, shop.known) == []  # once
    shown = run.invoke(app, ["experiments", "--json", "--workspace", shop.root])
    (row,) = json.loads(shown.output)
    assert (row["status"], row["design"], row["days"]) == ("measured", "geo", 21)
    assert row["low"] < row["incremental_revenue"] < row["high"]
    loop = shop.loop
    trained = train_once(loop, shop.known, source="holdout", reason="test")
    promote_once(loop, trained)
    (row,) = json.loads(run.invoke(app, ["experiments", "--json", "--workspace", shop.root]).output)
    assert row["error_used"] is not None and row["weight"] > 0.9
    assert sound(loop)


def test_a_planned_cell_does_not_move_and_others_do(shop: Shop) -> None:
    loop = shop.loop
    promote_once(loop, train_once(loop, shop.day, source="holdout", reason="test"))
    test = video_off(shop, weeks=4)
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    later = shop.day + timedelta(days=1)
    found = propose_once(loop, later, source="holdout")
    before, _ = budgets_before(loop, later, source="holdout")
    with session(loop.engine, read_only=True) as db:
        kept = proposal(db, id=found["id"])
        assert kept is not None and before is not None
        after = policy(db, version=kept.policy_version)
    assert after is not None
    moved = {cell for cell, amount in after.budgets if amount != before.as_dict()[cell]}
    assert moved and not moved & {Cell("north", "social"), Cell("south", "social")}
    assert "under test until" in kept.cells and "experiment social off" in kept.cells


def test_a_stopped_test_is_measured_by_what_was_run_and_says_how_long(shop: Shop) -> None:
    test = video_off(shop, weeks=4)
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    stopped = shop.day + timedelta(days=17)
    shop.live(test, 3, until=stopped)
    told = stop_run(shop.root, "social off", reason="stock ran out", actor="bo", on=stopped)
    assert told.startswith("Stopped: social off after 17 of 28 days.")
    assert "measures" in told
    assert stop_run(shop.root, "social off", reason="x", actor="bo", on=stopped) == (
        f"Stopped already: social off, from {stopped}."
    )
    assert ("north", "social") not in shop.cells_held(shop.day)
    measure_due(shop.loop, shop.known)
    record = shop.record("social off")
    assert record.state == "measured" and record.reason == "Stopped: stock ran out."
    assert json.loads(record.result)["days"] == 14
    (row,) = json.loads(run.invoke(app, ["experiments", "--json", "--workspace", shop.root]).output)
    assert row["days"] == 17 and row["why"] == "Stopped: stock ran out."
    assert sound(shop.loop)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("soon", "Not measured: 3 days were run, less than a whole week."),
        ("unchanged", "did not change from"),
    ],
)
def test_a_broken_test_stays_on_record_with_what_it_says(shop: Shop, spoil: str, why: str) -> None:
    test = video_off(shop)
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    if spoil == "soon":
        soon = shop.day + timedelta(days=3)
        stop_run(shop.root, "social off", reason="a mistake", actor="ana", on=soon)
    shop.live(test, 2, until=shop.day)  # nobody changed anything
    assert measure_due(shop.loop, shop.known) == []
    record = shop.record("social off")
    assert record.state == "unmeasured"
    assert why in record.reason and json.loads(record.result) == {}
    shown = run.invoke(app, ["experiments", "show", "social off", "--workspace", shop.root])
    assert shown.exit_code == 0 and "unmeasured" in shown.output
    assert sound(shop.loop)


def test_days_that_are_late_are_waited_for(shop: Shop) -> None:
    test = video_off(shop)
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    shop.live(test, 1)
    late = test.end + timedelta(days=3)
    assert measure_due(shop.loop, late) == []
    assert shop.record("social off").state == "running"
    assert measure_due(shop.loop, test.end + timedelta(days=40)) == []
    record = shop.record("social off")
    assert record.state == "unmeasured" and "are needed on every day" in record.reason


Change = Callable[[Experiment], Experiment]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: replace(t, name=" "), "needs a name"),
        (lambda t: replace(t, start=t.start - WEEK, end=t.end - WEEK), "is in the past"),
        (lambda t: replace(t, end=t.end - timedelta(days=2)), "lasts whole weeks"),
        (lambda t: replace(t, segments=("north", "nowhere")), "nowhere x social has no budget"),
        (lambda t: replace(t, segments=("north", "south", "east", "west")), "without the change"),
    ],
)
def test_what_cannot_be_run_is_refused(shop: Shop, change: Change, words: str) -> None:
    with pytest.raises(Declined, match=words):
        start_experiment(
            shop.root,
            change(video_off(shop)),
            promise=ExperimentPromise(),
            actor="ana",
            on=shop.day,
        )
    with session(shop.loop.engine, read_only=True) as db:
        assert experiments(db) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--segments", ";", "--change", "off", "--weeks", "2"], "names no segment"),
        (["--design", "switch-back", "--weeks", "4"], "needs --segments, --change"),
        (["--end", "2026-02-01"], "needs --segments, --change"),
        (["--end", "2026-02-01", "--weeks", "4"], "name one of them"),
        (
            [
                "--segments",
                "north",
                "--change",
                "off",
                "--design",
                "switch-back",
                "--end",
                "2025-12-07",
            ],
            "before it starts on 2026-01-05",
        ),
    ],
)
def test_no_option_of_an_experiment_is_ignored_or_fails_without_words(
    shop: Shop, options: list[str], words: str
) -> None:
    place = ["--workspace", shop.root, "--channel", "social"]
    start = ["--start", str(shop.day)] if "--segments" in options else []
    said = run.invoke(app, ["experiments", "start", "mine", *options, *start, *place])
    text = f"{said.output} {said.exception}"
    assert words in " ".join(text.replace("│", " ").split())
    with session(shop.loop.engine, read_only=True) as db:
        assert experiments(db) == []


def test_what_is_measured_is_named_wholly(shop: Shop) -> None:
    asked = ["experiments", "measure", "mine", "--workspace", shop.root, "--segments"]
    days = ["--start", "2025-12-01", "--end", "2025-12-14"]
    said = run.invoke(app, [*asked, ";", "--channel", "social", *days])
    assert "names no segment" in " ".join(said.output.split())
    test = replace(video_off(shop), name="mine")
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    said = run.invoke(app, [*asked, "north"])
    assert "by its name alone" in " ".join(said.output.replace("│", " ").split())


def test_cells_are_held_until_the_day_on_which_an_experiment_is_stopped(shop: Shop) -> None:
    ahead = shop.loop.today() + timedelta(days=1)
    test = replace(video_off(shop), start=ahead, end=ahead + timedelta(days=13))
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana")
    with pytest.raises(Declined, match="still to come"):
        stop_run(shop.root, "social off", reason="x", actor="bo", on=ahead + WEEK)
    assert shop.cells_held(ahead) == {("north", "social"), ("south", "social")}
    assert stop_run(shop.root, "social off", reason="x", actor="bo").startswith("Stopped: ")
    assert shop.cells_held(ahead) == set()


def test_two_experiments_do_not_change_one_segment_at_once(shop: Shop) -> None:
    test = video_off(shop)
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    other = replace(test, name="search off", channel="search", segments=("south",))
    with pytest.raises(Declined, match="cannot be told apart"):
        start_experiment(shop.root, other, promise=ExperimentPromise(), actor="ana", on=shop.day)
    with pytest.raises(Declined, match="already"):
        start_experiment(
            shop.root, replace(test, seed=6), promise=ExperimentPromise(), actor="ana", on=shop.day
        )
    later = replace(other, start=test.end + timedelta(days=1), end=test.end + 2 * WEEK)
    assert start_experiment(shop.root, later, promise=ExperimentPromise(), actor="ana", on=shop.day)
    with pytest.raises(UnknownName):
        stop_run(shop.root, "nothing", reason="x", actor="ana")


def test_the_suggested_test_is_started_by_its_name_and_says_how_it_was_drawn(shop: Shop) -> None:
    place = ["--workspace", shop.root]
    asked = ["experiments", "suggest", "--as-of", str(shop.day), *place]
    suggested = run.invoke(app, asked, env={"COLUMNS": "250"})
    assert suggested.exit_code == 0, suggested.exception
    assert "drawn by seed" in suggested.output and "Checked on your own past" in suggested.output
    other = run.invoke(app, [*asked, "--seed", "77", "--json"])
    assert json.loads(other.output)["tests"][0]["seed"] == 77
    begun = run.invoke(
        app, ["experiments", "start", "first", "--as-of", str(shop.day), *place, "--json"]
    )
    assert begun.exit_code == 0, begun.exception
    plan = json.loads(begun.output)
    assert plan["design"] == "geo" and date.fromisoformat(plan["start"]).weekday() == 0
    assert plan["seed"] > 0 and 1 <= len(plan["segments"]) <= 2
    shown = run.invoke(app, ["experiments", "show", "first", *place])
    assert "seen with a power of" in shown.output and "drawn from" in shown.output


def test_one_segment_takes_turns_and_is_measured_against_its_own_weeks(
    fresh_workspace: Workspace,
) -> None:
    shop = Shop(fresh_workspace, CountryMarket(3))
    shop.decide()
    place = ["--workspace", shop.root]
    asked = ["experiments", "suggest", "--as-of", str(shop.day), "--json", *place]
    suggested = json.loads(run.invoke(app, asked).output)
    best = suggested["tests"][0]
    assert best["measured_by"] == "sales in turns" and "in an order that is drawn" in best["do"]
    assert "wash-out" in suggested["sentence"]
    begin = shop.day + timedelta(days=(7 - shop.day.weekday()) % 7)
    assert begin == shop.day  # the market begins on a Monday
    begun = run.invoke(
        app,
        [
            "experiments",
            "start",
            "turns",
            "--channel",
            "search",
            "--segments",
            "country",
            "--design",
            "switch-back",
            "--change",
            "off",
            "--start",
            str(begin),
            "--weeks",
            "8",
            "--as-of",
            str(shop.day),
            "--seed",
            "4",
            "--json",
            *place,
        ],
    )
    assert begun.exit_code == 0, begun.exception
    plan = json.loads(begun.output)
    assert plan["turn_weeks"] == 2 and plan["washout_days"] == 4
    test = Experiment.from_dict({k: v for k, v in plan.items() if k != "sentence"})
    shop.live(test, 8)
    (taken,) = measure_due(shop.loop, shop.known)
    assert taken.stored == 1
    result = json.loads(shop.record("turns").result)
    spent = float(shop.market.incumbent.set_index("channel").loc["search", "daily_budget"])
    assert result["spend_delta"] == pytest.approx(-28 * spent, rel=0.1)
    assert 3 < result["freedom"] <= 14  # pairs of the past: 400 days of 28


def test_a_kill_between_the_row_and_the_record_leaves_one_row(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = video_off(shop)
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    shop.live(test, 2)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tasks.experiments.runs._end", killed)
        with pytest.raises(KeyboardInterrupt):
            measure_due(shop.loop, shop.known)
    assert shop.record("social off").state == "running"
    (again,) = measure_due(shop.loop, shop.known)
    assert again.duplicate and shop.record("social off").state == "measured"
    rows = json.loads(run.invoke(app, ["experiments", "--json", "--workspace", shop.root]).output)
    assert len(rows) == 1
    assert sound(shop.loop)


def test_a_changed_plan_or_result_is_found_by_the_audit(shop: Shop) -> None:
    test = video_off(shop)
    start_experiment(shop.root, test, promise=ExperimentPromise(), actor="ana", on=shop.day)
    shop.live(test, 2)
    measure_due(shop.loop, shop.known)
    for name, value, words in (
        ("result", "{}", "what came of the experiment social off was changed"),
        ("promise", "{}", "the plan of the experiment social off was changed"),
    ):
        with session(shop.loop.engine) as db:
            record = experiment(db, name="social off")
            assert record is not None
            before = getattr(record, name)
            setattr(record, name, value)
        with session(shop.loop.engine, read_only=True) as db:
            assert words in verify(db).problems
        with session(shop.loop.engine) as db:
            record = experiment(db, name="social off")
            assert record is not None
            setattr(record, name, before)
    assert sound(shop.loop)
