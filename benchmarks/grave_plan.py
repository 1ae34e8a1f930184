"""One grave plan in a running stream: days until it is taken back, and what it loses until then.

    uv run python -m benchmarks.grave_plan --seeds 100-119

The product's own loop with its default settings runs on the base market, judged on every day as in
production. The first plan that enters in week 9 or later takes the share ``loss`` of what ads truly
earn, in every segment that follows it or a newer plan, from its first day there until the stream is
taken back; carry-over fades it in and out. Everything else is the same for all losses, weeks 1 to 8
included; 0 is the control, whose take-backs are the product's own doing.

The loss is what the same budgets would have earned without the harm, less what they earned: over 56
days at most where nothing takes the plan back, and until it has faded where something does. The
allowance is the settings' share of what the stream's reference truly earns in a quarter.

Two turns of the stream are held against it. A part of the way back to the reference, by which the
dial makes room, spreads the harm to nobody and takes nothing of it. A measured gain makes budgets
with the harm the reference, where every segment follows them: then a take-back goes back to the
harm, and does not count.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from liftloop.app.backtest.known import KnownFacts
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.market import budgets_frame, make_market
from liftloop.app.backtest.runs import settings_of
from liftloop.core.arrays import Array
from liftloop.core.feeds.context import Account
from liftloop.core.rollout.allowance import QUARTER_DAYS
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.state import Transition
from liftloop.markets import HillMarket

LOSSES = (0.0, 0.1, 0.3, 0.6)
BY = (7, 14, 28, 56)
HORIZON = max(BY)
FADING = 14  # days; the longest carry-over keeps 0.6 a day


class HarmedMarket(HillMarket):
    """The base market, where segments may earn a part of what they would."""

    kept: Array | float = 1.0  # (S, 1)

    def contributions(self, spend: Array) -> tuple[Array, Array]:
        earned, lost = super().contributions(spend)
        return earned * self.kept, lost * self.kept

    def harm(self, segments: Collection[str], loss: float) -> None:
        """From now on these segments earn less by the share ``loss``, and no others."""
        inside = np.array([name in segments for name in self.constants.segments], dtype=float)
        self.kept = 1.0 - loss * inside[:, None]


@dataclass
class World:
    """A loop on its market, at one moment of a day: the budgets of ``day`` are still to come."""

    market: HarmedMarket
    loop: MemoryLoop
    facts: KnownFacts
    day: date
    feeds: dict[str, pd.DataFrame]

    @classmethod
    def new(cls, seed: int) -> World:
        market = HarmedMarket(seed)
        checked = make_market(HillMarket, seed, name="HillMarket")
        settings = settings_of(checked, rollout=True)
        facts = KnownFacts(Account(), history_days=settings.data.history_days)
        loop = MemoryLoop(settings, checked.policy)
        return cls(market, loop, facts, market.start, market.history())

    def decide(self) -> Transition | None:
        """The day's cycle, or the look of a day between cycles; the step of a stream that moved or
        ended by it."""
        self.facts.deliver(self.feeds, on=self.day)
        known, before = self.facts.known(self.day), len(self.loop.results)
        days = (self.day - self.market.start).days
        act = self.loop.look if days % self.loop.settings.cycle_days else self.loop.cycle
        act(self.day, known)
        return self.loop.results[-1].step if len(self.loop.results) > before else None

    def spend(self) -> None:
        """The day itself."""
        self.feeds = self.market.step(budgets_frame(self.loop.in_force), 1)
        self.day += timedelta(days=1)


@dataclass
class Grave:
    """The grave plan and where it is: the segments that ``follow`` it."""

    number: int = 0
    stream: str = ""
    entered: date | None = None
    back: date | None = None
    by: tuple[str, ...] = ()
    follow: frozenset[str] = frozenset()
    turned: bool = False  # part of the way back
    proven: bool = False  # the reference itself has the harm
    reached: list[int] = field(default_factory=list)  # how many segments, a day

    def see(
        self, day: date, before: Running | None, step: Transition | None, now: Running | None
    ) -> None:
        """What the day's step makes of it."""
        if self.entered is None:
            if step is None or now is None or not _enters(step):
                return
            self.number, self.stream = now.state.newest, now.state.rollout_id
            self.entered = day
        elif before is not None and not self.proven and before.state.rollout_id == self.stream:
            if now is None:
                assert step is not None and step.act == "roll_back"
                self.back, self.follow = day, frozenset()
                self.by = tuple(v.name for v in step.verdicts if v.verdict == "fail")
                return
            if now.state.reference != before.state.reference:
                self.proven = before.state.oldest >= self.number
            self.turned = self.turned or (step is not None and _turns_back(step))
        if now is not None and not self.turned and now.state.rollout_id == self.stream:
            self.follow = frozenset(now.following(self.number))
        self.reached.append(len(self.follow))


def _turns_back(step: Transition) -> bool:
    """Part of the way back, for all waves; only the first wave gets a part of a new plan."""
    positions, plans = step.after.positions, step.after.plans
    return (
        step.act == "move"
        and len(set(positions)) == 1 < len(positions)
        and plans[-1].share < 1
        and plans[-1].on == step.on
    )


def _enters(step: Transition) -> bool:
    return step.act in ("start", "move") and not _turns_back(step)


def live(world: World, loss: float, last: date) -> dict[str, Any] | None:
    """From here on the first plan that enters is grave. None where none enters before ``last``."""
    grave, twin = Grave(), copy.deepcopy(world.market)
    allowance = float("nan")
    while grave.back is None and world.day < last:
        if grave.entered and (world.day - grave.entered).days > HORIZON:
            break
        before = world.loop.running
        was_open = grave.entered is None
        step = world.decide()
        grave.see(world.day, before, step, world.loop.running)
        if was_open and grave.entered and world.loop.running:
            settings = world.loop.settings
            usual = twin.expected(budgets_frame(world.loop.running.reference))
            earned = float(usual["incremental_revenue"].sum()) * settings.budget.margin
            allowance = settings.rollout.allowance * QUARTER_DAYS * earned
        _spend(world, twin, grave, loss)
    if grave.entered is None:
        return None
    for _ in range(FADING if grave.back else 0):
        _spend(world, twin, grave, loss)
    margin = world.loop.settings.budget.margin
    lost = margin * (_earned(twin, grave.entered) - _earned(world.market, grave.entered))
    return {
        "loss": loss,
        "entered": grave.entered.isoformat(),
        "number": grave.number,
        "days": (grave.back - grave.entered).days if grave.back else None,
        "by": grave.by,
        "first": grave.reached[0],
        "most": max(grave.reached),
        "turned": grave.turned,
        "proven": grave.proven,
        "lost": lost,
        "allowance": allowance,
        "allowances": lost / allowance,
    }


def _spend(world: World, twin: HarmedMarket, grave: Grave, loss: float) -> None:
    """The day itself, with the harm and without."""
    world.market.harm(grave.follow, loss)
    twin.step(budgets_frame(world.loop.in_force), 1)
    world.spend()


def _earned(market: HarmedMarket, since: date) -> float:
    truth = market.truth()
    return float(truth.loc[truth["date"] >= since, "incremental_revenue"].sum())


def run(job: tuple[int, tuple[float, ...], int, int]) -> list[dict[str, Any]]:
    """All losses on one seed, from the same weeks before."""
    seed, losses, before, weeks = job
    world = World.new(seed)
    while world.day < world.market.start + timedelta(weeks=before):
        world.decide()
        world.spend()
    last = world.market.start + timedelta(weeks=weeks)
    found = []
    for loss in losses:
        row = live(copy.deepcopy(world), loss, last)
        if row is not None:
            found.append({"seed": seed, **row})
    return found


def print_table(rows: pd.DataFrame, losses: Sequence[float]) -> None:
    """One line a loss."""
    by = " | ".join(f"by day {day}" for day in BY)
    print(
        f"| true loss | runs | {by} | median days | mean loss | mean, worst, allowances | "
        f"taken back by |\n|{'---|' * (6 + len(BY))}"
    )
    for loss in losses:
        mine = rows[rows["loss"] == loss]
        days = mine["days"].astype(float).fillna(np.inf)
        shares = " | ".join(f"{(days <= day).mean():.2f}" for day in BY)
        median = float(np.median(days))
        names = Counter(name for one in mine["by"] for name in one)
        why = ", ".join(f"{name} {count}" for name, count in names.most_common()) or "nothing"
        print(
            f"| {loss:.0%} | {len(mine)} | {shares} | "
            f"{f'{median:.0f}' if np.isfinite(median) else f'above {HORIZON}'} | "
            f"{mine['lost'].mean():,.0f} | "
            f"{mine['allowances'].mean():.2f}, {mine['allowances'].max():.2f} | {why} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-3")
    parser.add_argument("--losses", nargs="*", type=float, default=list(LOSSES))
    parser.add_argument("--before", type=int, default=8, help="weeks before the plan")
    parser.add_argument("--weeks", type=int, default=26, help="in all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    low, _, high = asked.seeds.partition("-")
    seeds = range(int(low), int(high or low) + 1)
    jobs = [(seed, tuple(asked.losses), asked.before, asked.weeks) for seed in seeds]
    rows = []
    with ProcessPoolExecutor(asked.jobs) as pool:
        for found in pool.map(run, jobs):
            rows += found
            if asked.json:
                for row in found:
                    print(json.dumps(row), flush=True)
    if not rows:
        print("No plan entered in time: nothing to tell.")
        return
    print_table(pd.DataFrame(rows), asked.losses)


if __name__ == "__main__":
    main()
