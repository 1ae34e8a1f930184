"""The loop's own steps on a market with clear evidence, without Prefect: propose, settle, judge."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.decisions import budget_lines, decision
from liftloop.adapters.deliveries import account_of, deliver
from liftloop.adapters.ledger import session
from liftloop.adapters.outbox import read_budgets
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import Declined
from liftloop.core.policy import Policy
from liftloop.core.settlement import Running, alike
from liftloop.markets.demo_market import DemoMarket
from tasks import acts
from tasks.canary import running_rollout
from tasks.context import Loop, open_loop
from tasks.publish import publish
from tasks.reallocate import propose_once
from tasks.rollout import settle_once
from tasks.train import crown_once, train_once

Spoil = Callable[[pd.DataFrame], pd.DataFrame]


class ClearMarket(DemoMarket):
    """Six segments, two channels, and holdouts so large that weeks are enough to judge."""

    constants = replace(
        DemoMarket.constants,
        channels=("search", "social"),
        history_days=70,
        revenue_sd=0.6,
        holdout_share=0.4,
    )


class World:
    """A workspace and the market it runs on."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.market = workspace, ClearMarket(3)
        self.day = self.market.start

    @property
    def loop(self) -> Loop:
        return open_loop(self.workspace.root)

    def set(self, old: str, new: str) -> None:
        text = self.workspace.config.read_text(encoding="utf-8")
        assert old in text
        self.workspace.config.write_text(text.replace(old, new, 1), encoding="utf-8")

    def take_in(self, feeds: dict[str, pd.DataFrame]) -> None:
        for feed, frame in feeds.items():
            path = self.workspace.inbox / f"{feed}-{self.day}.parquet"
            frame.to_parquet(path)
            deliver(
                self.workspace,
                path,
                engine=self.loop.engine,
                account=account_of(self.loop.settings.account),
            )

    def cycle(self) -> dict[str, Any]:
        loop = self.loop
        crown_once(loop, train_once(loop, self.day, door="holdout", reason="test"))
        proposal = propose_once(loop, self.day, door="holdout")
        settled = settle_once(loop, self.day, proposal["id"])
        if settled["state"] == "in_force":
            publish(loop, settled["id"])
        return settled

    def live(self, settled: dict[str, Any], spoil: Spoil | None = None) -> None:
        """A week passes under the settled budgets; ``spoil`` changes what the holdouts say."""
        feeds = self.market.step(budgets_frame(self.budgets(settled["id"])), 7)
        if spoil is not None:
            feeds = {**feeds, "holdout": spoil(feeds["holdout"])}
            feeds.pop("sales")
        self.day += timedelta(days=7)
        self.take_in(feeds)

    def budgets(self, id: str) -> Policy:
        with session(self.loop.engine, read_only=True) as db:
            found = decision(db, id=id)
            assert found is not None
            lines = budget_lines(db, decision_id=id)
        return Policy.of({_cell(line): line.daily_budget for line in lines})


def _cell(line: Any) -> Any:
    from liftloop.core.policy import Cell

    return Cell(line.segment, line.channel)


def budgets_frame(policy: Policy) -> pd.DataFrame:
    return pd.DataFrame(
        [(cell.segment, cell.channel, amount) for cell, amount in policy.budgets],
        columns=["segment", "channel", "daily_budget"],
    )


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace) -> Workspace:
    """A workspace that took the history in and learned from it, to be copied."""
    root = tmp_path_factory.mktemp("learned") / "workspace"
    shutil.copytree(workspace_model.root, root)
    world = World(Workspace(root))
    world.set("\ntuning_trials = 20", "\ntuning_trials = 0")
    world.take_in(world.market.history())
    crown_once(world.loop, train_once(world.loop, world.day, door="holdout", reason="test"))
    return world.workspace


@pytest.fixture
def world(tmp_path: Path, learned: Workspace) -> World:
    shutil.copytree(learned.root, tmp_path / "workspace")
    world = World(Workspace(tmp_path / "workspace"))
    world.market.history()
    return world


def harm(segments: tuple[str, ...]) -> Spoil:
    """The treated users of these segments buy hardly more than those who saw no ads."""

    def spoil(holdout: pd.DataFrame) -> pd.DataFrame:
        key = ["date", "segment", "channel"]
        control = holdout[holdout.arm == "control"].set_index(key)
        mean = (control.revenue / control.users).rename("control_mean")
        rows = holdout.merge(mean.reset_index(), on=key)
        hit = (rows.arm == "treated") & rows.segment.isin(segments)
        lower = rows.users * rows.control_mean * 1.0001
        return rows.assign(revenue=rows.revenue.where(~hit, lower)).drop(columns="control_mean")

    return spoil


def running_segments(world: World) -> tuple[str, ...]:
    with session(world.loop.engine, read_only=True) as db:
        running = running_rollout(db)
    assert running is not None
    return running.canary


def test_a_plan_goes_to_canary_segments_first_and_the_total_stays_exact(world: World) -> None:
    first = world.cycle()
    assert (first["kind"], first["state"]) == ("move", "in_force")
    file = next(world.workspace.outbox.glob("*.csv"))
    lines = read_budgets(file)
    canary = set(running_segments(world))
    for line in lines:
        assert line.stage == ("canary" if line.segment in canary else "incumbent")
        if line.segment not in canary:
            assert line.daily_budget == line.previous_daily_budget
    assert sum(x.daily_budget for x in lines) == sum(x.previous_daily_budget for x in lines)


def test_the_same_day_and_facts_decide_once(world: World) -> None:
    first, again = world.cycle(), world.cycle()
    assert again == {**first, "new": False}


def test_a_canary_that_loses_goes_back_to_the_incumbent_to_the_cent(world: World) -> None:
    first = world.cycle()
    with session(world.loop.engine, read_only=True) as db:
        began = running_rollout(db)
    assert began is not None
    last = first
    for _ in range(6):
        world.live(last, harm(began.canary))
        last = world.cycle()
        if last["kind"] == "roll_back":
            break
    assert last["kind"] == "roll_back", last["reason"]
    assert world.budgets(last["id"]).version == began.incumbent.version
    with session(world.loop.engine, read_only=True) as db:
        assert running_rollout(db) is None


def rollout_now(world: World) -> Running | None:
    with session(world.loop.engine, read_only=True) as db:
        return running_rollout(db)


def test_a_rollout_that_keeps_its_promise_goes_through_the_ramp_to_all_segments(
    world: World,
) -> None:
    last = world.cycle()
    began = rollout_now(world)
    assert began is not None
    assert len(began.waves) == 2
    stages = [began.state.stage]
    for _ in range(12):
        world.live(last)
        last = world.cycle()
        budgets = world.budgets(last["id"])
        assert budgets.total == began.incumbent.total
        now = rollout_now(world)
        stages.append(now.state.stage if now else "full")
        if now is None:
            break
        held, mixed = now.incumbent.as_dict(), budgets.as_dict()
        assert all(mixed[c] == held[c] for c in held if c.segment in now.control)
    assert last["kind"] == "promote", last["reason"]
    assert [s for i, s in enumerate(stages) if s not in stages[:i]] == ["canary", "ramp", "full"]
    assert alike(budgets, began.challenger)


def test_with_the_rollout_off_the_plan_reaches_all_segments_at_once(world: World) -> None:
    world.set("\nenabled = true", "\nenabled = false")
    settled = world.cycle()
    stages = {line.stage for line in read_budgets(next(world.workspace.outbox.glob("*.csv")))}
    assert (settled["kind"], stages) == ("move", {"full"})


def test_a_large_plan_waits_for_a_person_and_nothing_goes_out(world: World) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting = world.cycle()
    assert waiting["state"] == "awaiting_approval"
    assert list(world.workspace.outbox.glob("*.csv")) == []
    place = str(world.workspace.root)
    assert "Approved" in acts.approve(place, waiting["id"], actor="ana")
    assert len(list(world.workspace.outbox.glob("*.csv"))) == 1
    assert running_segments(world)
    with pytest.raises(Declined, match="does not wait"):
        acts.approve(place, waiting["id"], actor="ana")


def test_a_rejected_plan_leaves_the_budgets_in_force(world: World) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting = world.cycle()
    acts.reject(str(world.workspace.root), waiting["id"], reason="sale", actor="ana")
    assert list(world.workspace.outbox.glob("*.csv")) == []


def test_a_person_rolls_back_by_hand_and_the_rollout_ends(world: World) -> None:
    world.cycle()
    with session(world.loop.engine, read_only=True) as db:
        began = running_rollout(db)
    assert began is not None
    acts.roll_back(str(world.workspace.root), to=None, reason="stock", actor="ana")
    with session(world.loop.engine, read_only=True) as db:
        assert running_rollout(db) is None
    newest = max(world.workspace.outbox.glob("*.csv"), key=lambda path: path.stat().st_mtime_ns)
    lines = read_budgets(newest)
    assert Policy.of({_cell(x): x.daily_budget for x in lines}).version == began.incumbent.version


def test_a_paused_channel_does_not_move(world: World) -> None:
    world.set("\nenabled = true", "\nenabled = false")
    place = str(world.workspace.root)
    acts.pause(place, segment="*", channel="search", reason="tracking", actor="ana")
    world.cycle()
    lines = read_budgets(next(world.workspace.outbox.glob("*.csv")))
    still = [x for x in lines if x.channel == "search"]
    assert still and all(x.daily_budget == x.previous_daily_budget for x in still)
    assert all("paused" in x.reason for x in still)
    assert "Resumed" in acts.resume(place, segment="*", channel="search", actor="ana")


def test_a_paused_channel_does_not_move_in_a_canary_either(world: World) -> None:
    place = str(world.workspace.root)
    cell = sorted(world.market.incumbent.segment)[0]
    acts.pause(place, segment=cell, channel="search", reason="", actor="ana")
    world.set("\ncanary_share = 0.3", "\ncanary_share = 0.5")
    world.cycle()
    lines = read_budgets(next(world.workspace.outbox.glob("*.csv")))
    (held,) = [x for x in lines if (x.segment, x.channel) == (cell, "search")]
    assert held.daily_budget == held.previous_daily_budget


def test_budgets_set_by_hand_are_what_the_next_cycle_starts_from(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    budgets_frame(Policy.of({_cell(r): Decimal("1000.00") for r in cells(world)})).to_csv(
        file, index=False
    )
    before = world.day - timedelta(days=1)
    acts.set_budgets(str(world.workspace.root), file, start=before, actor="ana")
    world.cycle()
    newest = max(world.workspace.outbox.glob(f"budgets-{world.day}*.csv"))
    assert {x.previous_daily_budget for x in read_budgets(newest)} == {Decimal("1000.00")}


def cells(world: World) -> Any:
    return world.market.incumbent.itertuples()


def test_a_plan_for_a_day_already_passed_is_declined(world: World) -> None:
    first = world.cycle()
    world.live(first)
    world.cycle()
    world.day -= timedelta(days=3)
    late = world.cycle()
    assert late["state"] == "declined"
    assert "undo the future" in late["reason"]


def test_rules_that_cannot_hold_together_are_named_and_nothing_is_written(world: World) -> None:
    world.set("\n# Least and most a cell", '\n[[budget.limits]]\nfloor = "999999.00"\n# Least')
    settled = world.cycle()
    assert settled["state"] == "declined"
    assert list(world.workspace.outbox.iterdir()) == []
    said = propose_once(world.loop, world.day, door="holdout")
    assert said["id"] is None
    assert "floor of every cell" in said["reason"] and "Nothing was written" in said["reason"]
