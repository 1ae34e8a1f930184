"""Bad planners in the product's own loop: how soon the stream of plans is slowed, stopped and taken
back, and what they lose against the status quo, in allowances.

    uv run python -m benchmarks.bad_planners --seeds 100-119
    uv run python -m benchmarks.bad_planners --seeds 100-104 --rollout off
    uv run python -m benchmarks.bad_planners --seeds 100-119 --cases "nothing changes"

Two kinds of planner. A *lying model* replaces what was learned, so plans, promises and the belief
about what is at risk all rest on the lie, and only measured gains can uncover it. A *bad planner*
replaces the optimizer, while the model stays the product's own.

Beside them, in a table of its own, plans that change nothing in truth: random steps on a market
where money earns the same wherever it is. There every stream that is taken back is taken back for
nothing, and every week without a move is a week lost.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from liftloop.app.backtest.baselines import ROAS_DAYS, follow_roas
from liftloop.app.backtest.loop import HoldoutLearner, MemoryLoop
from liftloop.app.backtest.runs import run_seed
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import Estimate, spends
from liftloop.core.curves.protocol import ResponseCurves, WeightedCurves
from liftloop.core.policy import Policy
from liftloop.markets import HillMarket, JumpMarket, UselessMarket
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import exact_cents
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import Plan
from liftloop.settings.schema import Settings

FROZEN_FROM = 11  # weeks: the jump of response comes in week 12
NOTHING = Estimate(0.0, 0.0, 0.0)


class EqualMarket(HillMarket):
    """Every unit of money earns the same wherever it is, on its own day and after: no move of
    budgets gains or loses anything. All else is :class:`HillMarket`, draw for draw."""

    constants = HillConstants(effect_walk=0.0, carryover=(0.3, 0.3))
    common_return = HillConstants().return_at_zero / 2  # what a usual cell of the base market earns

    def response(self, spend: Array) -> Array:
        return self.common_return * spend


class UpsideDown(HoldoutLearner):
    """A model that takes the cells that earn least for those that earn most."""

    def __call__(
        self,
        settings: Settings,
        facts: Mapping[str, pd.DataFrame],
        as_of: date,
        own_from: date | None = None,
    ) -> ResponseCurves | None:
        curves = super().__call__(settings, facts, as_of, own_from)
        if curves is None:
            return None
        spent = _spent(curves, facts, as_of)
        marginal = np.maximum(curves.mean_marginal(spent), 1e-3)
        typical = float(np.exp(np.log(marginal).mean()))
        return WeightedCurves(curves, np.clip((typical / marginal) ** 2, 0.05, 20.0))


class Attributed(HoldoutLearner):
    """A model that takes what platforms attribute to themselves for incremental."""

    def __call__(
        self,
        settings: Settings,
        facts: Mapping[str, pd.DataFrame],
        as_of: date,
        own_from: date | None = None,
    ) -> ResponseCurves | None:
        curves = super().__call__(settings, facts, as_of, own_from)
        if curves is None:
            return None
        recent = _recent(facts, as_of)
        revenue = recent.groupby(["segment", "channel"], observed=True)["revenue"].sum()
        spent = _spent(curves, facts, as_of)
        days = max(recent["date"].nunique(), 1)
        claimed = np.array(
            [float(revenue.get((c.segment, c.channel), 0.0)) / days for c in curves.cells]
        )
        own = np.maximum(curves.mean_revenue(spent), 1e-6)
        weight = np.clip(claimed / own, 0.02, 50.0)
        level = own.sum() / (own * weight).sum()  # the platforms' shares, at a credible level
        return WeightedCurves(curves, weight * level)


class Frozen(HoldoutLearner):
    """A champion that is never trained again from the week before the jump on."""

    def __init__(self) -> None:
        super().__init__()
        self._weeks = 0

    def __call__(
        self,
        settings: Settings,
        facts: Mapping[str, pd.DataFrame],
        as_of: date,
        own_from: date | None = None,
    ) -> ResponseCurves | None:
        self._weeks += 1
        return (
            super().__call__(settings, facts, as_of, own_from)
            if self._weeks <= FROZEN_FROM
            else None
        )


def _recent(facts: Mapping[str, pd.DataFrame], as_of: date) -> pd.DataFrame:
    frame = facts["performance"]
    return frame[(frame["date"] >= pd.Timestamp(as_of - timedelta(days=ROAS_DAYS))).to_numpy()]


def _spent(
    curves: ResponseCurves, facts: Mapping[str, pd.DataFrame], as_of: date
) -> np.ndarray[Any, np.dtype[np.float64]]:
    recent = _recent(facts, as_of)
    spend = recent.groupby(["segment", "channel"], observed=True)["spend"].sum()
    days = max(recent["date"].nunique(), 1)
    return np.array([float(spend.get((c.segment, c.channel), 0.0)) / days for c in curves.cells])


def roas_follower(
    settings: Settings, *, incumbent: Policy, evidence: PlanEvidence, **_: Any
) -> Plan:
    """Budgets in proportion to attributed ROAS times budget, a full step a week."""
    policy = follow_roas(settings.budget.max_step)(evidence.as_of, incumbent, evidence.facts)
    return Plan(policy, NOTHING, {}, "Follows the platforms' ROAS.")


def least_first(
    settings: Settings, *, curves: ResponseCurves | None, incumbent: Policy, **_: Any
) -> Plan:
    """A full step from where the next unit earns most to where it earns least."""
    if curves is None:
        return Plan(incumbent, NOTHING, {}, "Nothing is known yet.")
    marginal = curves.mean_marginal(spends(incumbent, curves))
    ranks = {cell: -float(m) for cell, m in zip(curves.cells, marginal, strict=True)}
    order = np.argsort([ranks.get(c, 0.0) for c in incumbent.cells])[::-1]
    return Plan(_swap(incumbent, order, settings), NOTHING, {}, "Moves to where least is earned.")


def random_steps(settings: Settings, *, incumbent: Policy, as_of: date, **_: Any) -> Plan:
    """A full step of every cell, up or down by the toss of a coin."""
    order = np.random.default_rng(as_of.toordinal()).permutation(len(incumbent.cells))
    return Plan(_swap(incumbent, order, settings), NOTHING, {}, "Moves at random.")


def _swap(incumbent: Policy, order: Any, settings: Settings) -> Policy:
    """The first half of ``order`` goes up by a step, the other down, the total kept."""
    now = np.array([float(amount) for _, amount in incumbent.budgets])
    step = settings.budget.max_step * np.maximum(now, now.mean() / 10)
    sign = np.ones(len(now))
    sign[np.asarray(order)[len(now) // 2 :]] = -1.0
    up, down = step * (sign > 0), np.minimum(step, now) * (sign < 0)
    part = min(up.sum(), down.sum())
    wanted = now + up * part / max(up.sum(), 1e-9) - down * part / max(down.sum(), 1e-9)
    exact = exact_cents(np.maximum(wanted, 0.0), incumbent.total)
    pairs = zip(incumbent.cells, (Decimal(f"{x:.2f}") for x in exact), strict=True)
    return Policy.of(pairs)


@dataclass(frozen=True, slots=True)
class Case:
    """A market and what is wrong in its loop."""

    market: Callable[[int], Any]
    learn: Callable[[], Any] = HoldoutLearner
    plan: Any = None

    def loop(self, settings: Settings, policy: Policy) -> MemoryLoop:
        more = {} if self.plan is None else {"plan": self.plan}
        return MemoryLoop(settings, policy, learn=self.learn(), **more)


CASES: Mapping[str, Case] = {
    "attributed model": Case(UselessMarket, learn=Attributed),
    "upside-down model": Case(HillMarket, learn=UpsideDown),
    "frozen before a jump": Case(JumpMarket, learn=Frozen),
    "ROAS follower": Case(UselessMarket, plan=roas_follower),
    "moves to the least": Case(HillMarket, plan=least_first),
    "random steps": Case(HillMarket, plan=random_steps),
    "nothing changes": Case(EqualMarket, plan=random_steps),
}
HARMLESS = ("nothing changes",)  # have a table of their own


def run(job: tuple[str, int, bool, int]) -> dict[str, Any]:
    """One case on one seed: its loss against the status quo, in money and in allowances, and the
    weeks in which the stream was first slowed, stopped and taken back, and in how many budgets
    moved."""
    name, seed, rollout, weeks = job
    case = CASES[name]
    loops: list[MemoryLoop] = []
    incumbents: list[Policy] = []

    def make(settings: Settings, policy: Policy) -> MemoryLoop:
        loops.append(case.loop(settings, policy))
        incumbents.append(policy)
        return loops[-1]

    found = run_seed(case.market, seed, weeks, rollout, beside=(), loop=make)
    start = loops[0].decided[0].as_of
    first: dict[str, int | None] = {"slowed": None, "stopped": None, "taken back": None}
    for result, decided in zip(loops[0].results, loops[0].decided, strict=False):
        week = (decided.as_of - start).days // 7 + 1
        step = result.step
        if step is None:
            continue
        positions = step.after.positions
        slow = len(set(positions)) > 1 or (step.after.plans and step.after.plans[-1].share < 1)
        for what, so in (
            ("slowed", bool(slow) and step.act in ("start", "move")),
            ("stopped", step.act == "hold" and "does not fit" in step.reason),
            ("taken back", step.act == "roll_back"),
        ):
            if so and first[what] is None:
                first[what] = week
    allowances = [
        r.step.after.risk.allowance for r in loops[0].results if r.step and r.step.after.risk
    ]
    allowance = float(np.mean(allowances)) if allowances else float("nan")
    share = loops[0].settings.rollout.allowance
    own = share * 91 / (7 * weeks) * found.status_quo  # of what is truly earned
    lost = found.status_quo - found.loop
    return {
        "case": name,
        "seed": seed,
        "against": found.against_status_quo(),
        "lost": lost,
        "allowances": lost / own,
        "allowance": allowance,
        **first,
        "acts": dict(found.acts),
        "moving": moving(loops[0], incumbents[0]),
        "back": sum(1 for r in loops[0].results if r.step and r.step.act == "roll_back"),
    }


def moving(loop: MemoryLoop, incumbent: Policy) -> float:
    """The share of cycles in which a plan moved budgets; back is not on."""
    before, count = incumbent, 0
    for decided in loop.decided:
        now = decided.policy if decided.in_force else before
        count += now.version != before.version and decided.kind in ("move", "promote")
        before = now
    return count / len(loop.decided)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-3")
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--rollout", choices=["on", "off"], default="on")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    low, _, high = asked.seeds.partition("-")
    seeds = range(int(low), int(high or low) + 1)
    jobs = [(name, s, asked.rollout == "on", asked.weeks) for name in asked.cases for s in seeds]
    with ProcessPoolExecutor(asked.jobs) as pool:
        rows = []
        for row in pool.map(run, jobs):
            rows.append(row)
            if asked.json:
                print(json.dumps(row), flush=True)
    frame = pd.DataFrame(rows)
    harmful = [name for name in asked.cases if name not in HARMLESS]
    if harmful:
        print_losses(frame, harmful)
    harmless = [name for name in asked.cases if name in HARMLESS]
    if harmless:
        print_quiet(frame, harmless)


def print_losses(rows: pd.DataFrame, cases: Sequence[str]) -> None:
    """What bad planners lose, and when the stream was first slowed, stopped and taken back."""
    print(
        "| planner | mean | worst seed | worst, allowances | within 1.2 | slowed, stopped, taken "
        "back (median week; share of runs) |\n|---|---|---|---|---|---|"
    )
    for name in cases:
        mine = rows[rows["case"] == name]
        when = []
        for what in ("slowed", "stopped", "taken back"):
            known = mine[what].dropna()
            median = f"{known.median():.0f}" if len(known) else "never"
            when.append(f"{median} ({len(known) / len(mine):.2f})")
        print(
            f"| {name} | {mine['against'].mean():+.1%} | {mine['against'].min():+.1%} | "
            f"{mine['allowances'].max():.2f} | {(mine['allowances'] <= 1.2).mean():.2f} | "
            f"{', '.join(when)} |"
        )


def print_quiet(rows: pd.DataFrame, cases: Sequence[str]) -> None:
    """How often plans that change nothing were taken back, and how steadily they moved."""
    print(
        "\n| plans that change nothing | runs | taken back in | asked | weeks with moves | asked "
        "| least in a run |\n|---|---|---|---|---|---|---|"
    )
    for name in cases:
        mine = rows[rows["case"] == name]
        print(
            f"| {name} | {len(mine)} | {(mine['back'] > 0).mean():.2f} | at most .05 | "
            f"{mine['moving'].mean():.2f} | at least .90 | {mine['moving'].min():.2f} |"
        )


if __name__ == "__main__":
    main()
