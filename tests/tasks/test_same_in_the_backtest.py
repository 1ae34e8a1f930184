"""The loop in memory, which backtests run, decides what production decides: one function makes each
step, and both must give it the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from liftloop.adapters.ledger.records import champion_training, session
from liftloop.adapters.ledger.rollouts import rollouts
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Policy
from liftloop.pipeline.rollout import Ended, RolloutDecision, decide
from liftloop.settings.schema import Settings
from tasks.context import view
from tasks.decision.rollout import look_once
from tasks.decision.running_rollout import ended_streams
from tasks.model.curves import MODEL_OF, curves_of
from tasks.model.learning import HOLDOUT_FEEDS
from tests.tasks.conftest import World

SMALL = ("\nallowance = 0.08", "\nallowance = 0.01")  # plans do not go to all waves at once
Step = tuple[date, str, str, tuple[int, ...]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[RolloutDecision]:
    """What the loop in memory decides. Both draw the waves by the same seed, which production makes
    of a proposal's id."""
    kept: list[RolloutDecision] = []

    def of_production(*args: Any, **asked: Any) -> RolloutDecision:
        return decide(*args, **{**asked, "seed": 11})

    def in_memory(*args: Any, **asked: Any) -> RolloutDecision:
        kept.append(of_production(*args, **asked))
        return kept[-1]

    monkeypatch.setattr("tasks.decision.rollout.decide", of_production)
    monkeypatch.setattr("liftloop.app.backtest.loop.decide", in_memory)
    return kept


class Both:
    """Production's tasks and the loop in memory, on the same facts."""

    def __init__(self, world: World, seen: list[RolloutDecision]) -> None:
        self.world, self.seen = world, seen
        self.memory = MemoryLoop(world.loop.settings, world.before(), learn=self.learned)
        self.settled: dict[str, Any] = {}
        self.budgets: list[tuple[Policy, Policy]] = []
        self.told: list[tuple[str, str]] = []

    def learned(
        self, _: Settings, __: Any, as_of: date, ___: date | None = None
    ) -> ResponseCurves | None:
        """The curves that took over in production on a day: what a model is held to before it is in
        force is no question of rollouts."""
        with session(self.world.loop.engine, read_only=True) as db:
            champion = champion_training(db, model_name=MODEL_OF["holdout"])
        assert champion is not None
        return curves_of(self.world.loop, champion.key) if champion.as_of == as_of else None

    def facts(self, day: date) -> dict[str, Any]:
        return dict(view(self.world.loop, day, list(HOLDOUT_FEEDS)).frames)

    def cycle(self) -> str:
        self.settled = self.world.cycle()
        now = self.memory.cycle(self.world.day, self.facts(self.world.day))
        self.budgets.append((self.world.budgets(self.settled["id"]), now))
        self.told.append((self.settled["reason"], self.memory.decided[-1].reason))
        return str(self.settled["kind"])

    def look(self, day: date) -> None:
        found = look_once(self.world.loop, day)
        now = self.memory.look(day, self.facts(day))
        if found is not None and found["id"]:
            self.settled = found
            self.told.append((found["reason"], self.memory.decided[-1].reason))
        self.budgets.append((self.world.budgets(self.settled["id"]), now))

    def steps_of_production(self) -> list[Step]:
        with session(self.world.loop.engine, read_only=True) as db:
            ids = [record.id for record in reversed(rollouts(db))]
        steps = [step for id in ids for step in self.world.steps(id)]
        states = [json.loads(step.evidence)["state"] for step in steps]
        return [
            (step.as_of, step.act, step.to_stage, tuple(state["positions"]))
            for step, state in zip(steps, states, strict=True)
            if step.act != "hold"
        ]

    def steps_in_memory(self) -> list[Step]:
        return [
            (step.on, step.act, step.after.stage, step.after.positions)
            for found in self.seen
            for step in found.steps
            if step.act != "hold"
        ]

    def agree(self) -> None:
        assert [one for one, _ in self.budgets] == [other for _, other in self.budgets]
        assert [one for one, _ in self.told] == [other for _, other in self.told]
        assert self.steps_of_production() == self.steps_in_memory()
        assert nameless(self.memory._ended) == nameless(ended_streams(self.world.loop))


def nameless(ended: Sequence[Ended]) -> list[Ended]:
    """Without the streams' ids, which name proposals."""
    return [replace(each, state=replace(each.state, rollout_id="")) for each in ended]


def test_weeks_in_which_plans_flow_through_the_waves_are_decided_the_same(
    world: World, seen: list[RolloutDecision]
) -> None:
    world.set(*SMALL)
    both = Both(world, seen)
    for _ in range(6):
        both.cycle()
        world.live(both.settled)
        both.look(world.day)
    both.agree()
    acts = [act for _, act, _, _ in both.steps_in_memory()]
    assert acts[0] == "start" and {"move", "promote"} & set(acts)
    positions = [at for *_, at in both.steps_in_memory()]
    assert any(first > last > 0 for first, _, last in positions), "waves on different plans"


def test_a_stream_that_is_taken_back_and_starts_again_is_decided_the_same(
    world: World, seen: list[RolloutDecision]
) -> None:
    world.set("\ncooldown_days = 28", "\ncooldown_days = 14")
    both = Both(world, seen)
    both.cycle()
    running = world.rollout()
    assert running is not None
    world.live(both.settled, world.harmed(running.following(1)))
    both.look(world.day - timedelta(days=1))
    for _ in range(4):
        both.cycle()
        world.live(both.settled)
    both.agree()
    acts = [act for _, act, _, _ in both.steps_in_memory()]
    assert acts[:2] == ["start", "roll_back"]
    assert "start" in acts[2:], "it began again after the cool-down"
