"""A workspace and the market it runs on, for tests of the loop's own steps without Prefect."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.decisions import budget_lines, decision
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.rollouts import transitions
from liftloop.adapters.ledger.tables import RolloutTransition
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.reallocate import budgets_before, propose_once
from tasks.decision.rollout import settle_once
from tasks.decision.running_rollout import running_rollout
from tasks.evidence.ingest import intake_of
from tasks.model.train import promote_once, train_once
from tasks.operate.publish import publish

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
                intake_of(self.loop),
                path,
            )

    def cycle(self) -> dict[str, Any]:
        loop = self.loop
        promote_once(loop, train_once(loop, self.day, source="holdout", reason="test"))
        proposal = propose_once(loop, self.day, source="holdout")
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

    harmed = staticmethod(harm)

    def rollout(self) -> Running | None:
        with session(self.loop.engine, read_only=True) as db:
            return running_rollout(db)

    def steps(self, rollout_id: str) -> list[RolloutTransition]:
        with session(self.loop.engine, read_only=True) as db:
            return transitions(db, rollout_id=rollout_id)

    def before(self) -> Policy:
        """The budgets in force before the first decision."""
        found, _ = budgets_before(self.loop, self.day, source="holdout")
        assert found is not None
        return found

    def budgets(self, id: str) -> Policy:
        with session(self.loop.engine, read_only=True) as db:
            found = decision(db, id=id)
            assert found is not None
            lines = budget_lines(db, decision_id=id)
        return Policy.of({Cell(line.segment, line.channel): line.daily_budget for line in lines})


def budgets_frame(policy: Policy) -> pd.DataFrame:
    return pd.DataFrame(
        [(cell.segment, cell.channel, amount) for cell, amount in policy.budgets],
        columns=["segment", "channel", "daily_budget"],
    )


@pytest.fixture(scope="session")
def learned(built_once: Callable[..., Path], workspace_model: Workspace) -> Workspace:
    """A workspace that took the history in and learned from it, to be copied."""

    def build(root: Path) -> None:
        shutil.copytree(workspace_model.root, root)
        world = World(Workspace(root))
        world.set("\ntuning_trials = 20", "\ntuning_trials = 0")
        world.take_in(world.market.history())
        promote_once(world.loop, train_once(world.loop, world.day, source="holdout", reason="test"))

    return Workspace(built_once("learned", build))


@pytest.fixture
def world(tmp_path: Path, learned: Workspace) -> World:
    shutil.copytree(learned.root, tmp_path / "workspace")
    world = World(Workspace(tmp_path / "workspace"))
    world.market.history()
    return world


@pytest.fixture
def no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monitor's page without Evidently's reports beside it, which take seconds to draw."""
    monkeypatch.setattr("tasks.monitor.pages.snapshots", lambda *_: {})
