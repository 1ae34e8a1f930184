"""One market of one seed, from its history to the end: the loop, and the baselines beside it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import pandas as pd

from liftloop.app.backtest.baselines import (
    PooledLearner,
    drive,
    follow_roas,
    oracle,
    plan_plainly,
    stand_still,
    steps_of,
)
from liftloop.app.backtest.known import KnownFacts, Received
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.market import (
    CheckedMarket,
    CheckedOracleMarket,
    MarketFailed,
    budgets_frame,
    find_market,
    make_market,
)
from liftloop.core.feeds.context import Account, Rate
from liftloop.core.policy import Policy
from liftloop.settings.schema import AccountSettings, Settings, parse_settings

CELL = ["segment", "channel"]
Comparison = Literal["baselines", "oracles"]
COMPARISONS: tuple[Comparison, ...] = ("baselines", "oracles")
Decide = Callable[[date, Mapping[str, pd.DataFrame]], Policy]


@dataclass(frozen=True, slots=True, eq=False)
class SeedRun:
    """What a seed showed. Amounts are incremental revenue of the truth from ``start`` on.

    Attributes
    ----------
    oracle, limit
        A planner who knows every curve, and the same held to the loop's steps; None for a market
        that cannot say what budgets earn.
    others
        Further baselines by name.
    seconds_per_cycle
        CPU seconds of the loop itself: taking in the feeds, learning, deciding.
    days
        date, segment, channel, daily_budget (Decimal, in force), incremental_revenue.
    acts
        How often the loop did what: move, hold, promote, roll_back, pause, waits.
    reasons
        The sentence of each cycle.
    """

    seed: int
    weeks: int
    loop: float
    status_quo: float
    oracle: float | None
    limit: float | None
    others: Mapping[str, float]
    seconds_per_cycle: float
    days: pd.DataFrame
    received: Received
    acts: Mapping[str, int]
    reasons: Sequence[tuple[date, str]]

    def captured(self, earned: float | None = None) -> float | None:
        """(earned - status quo) / (oracle - status quo); of the loop by default. None where there
        is no oracle, or nothing to capture."""
        if self.oracle is None or not self.oracle > self.status_quo:
            return None
        mine = self.loop if earned is None else earned
        return (mine - self.status_quo) / (self.oracle - self.status_quo)

    def against_status_quo(self, earned: float | None = None) -> float | None:
        """earned / status quo - 1; of the loop by default. None where the status quo earns 0."""
        mine = self.loop if earned is None else earned
        return mine / self.status_quo - 1 if self.status_quo > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, without the days."""
        said: dict[str, Any] = {
            "seed": self.seed,
            "weeks": self.weeks,
            "loop": self.loop,
            "status_quo": self.status_quo,
            "oracle": self.oracle,
            "limit": self.limit,
            **self.others,
            "captured": self.captured(),
            "captured_limit": None if self.limit is None else self.captured(self.limit),
        }
        said |= {f"captured_{name}": self.captured(value) for name, value in self.others.items()}
        said["against_status_quo"] = self.against_status_quo()
        said |= {
            f"against_status_quo_{name}": self.against_status_quo(value)
            for name, value in self.others.items()
        }
        return said | {
            "seconds_per_cycle": self.seconds_per_cycle,
            "acts": dict(self.acts),
            "rows": {
                "received": self.received.rows,
                "stored": self.received.stored,
                "quarantined": self.received.quarantined,
                "refused": self.received.refused,
                "not_reported_yet": self.received.waiting,
            },
            "quarantined_by_rule": dict(sorted(self.received.rules.items())),
            "refusals": list(self.received.refusals),
        }


def run_seed(
    market: str | Callable[[int], Any],
    seed: int,
    weeks: int,
    rollout: bool | None = False,
    *,
    beside: tuple[Comparison, ...] = COMPARISONS,
    loop: Callable[[Settings, Policy], MemoryLoop] = MemoryLoop,
) -> SeedRun:
    """Run the loop for ``weeks`` weeks on the market of ``seed``, and others beside it.

    Parameters
    ----------
    market
        Makes the market of a seed, or is its name, MODULE:CLASS.
    rollout
        Whether a plan is tried in canary segments first; None leaves it to the market's ``config``
        (off where that says nothing).
    beside
        Who is run as well: "baselines", the ROAS follower and the pooled curves; "oracles", those
        who know every curve, where the market can say it.
    loop
        Makes the loop from settings and the budgets in force; another one to compare with.

    Raises
    ------
    MarketFailed
        When the market breaks its contract.
    ConfigurationError
        When its ``config`` has a key or value that no configuration may have.
    """
    if isinstance(market, str):
        market_class, name = find_market(market), market
    else:
        market_class, name = market, getattr(market, "__name__", str(market))

    def make() -> CheckedMarket:
        return make_market(market_class, seed, name=name)

    lived = make()
    settings = settings_of(lived, rollout=rollout)
    steps = steps_of(weeks, settings.cycle_days)
    ours = loop(settings, lived.policy)
    facts = _facts(settings)
    budgets, seconds = _live(lived, facts, ours.cycle, steps)
    days = _days(lived, budgets, steps)
    earned = _Earned(make, days["date"].min(), steps)
    step = settings.budget.max_step
    planner = make()
    best: tuple[float | None, float | None] = (None, None)
    if "oracles" in beside and isinstance(planner, CheckedOracleMarket):
        held = make()
        assert isinstance(held, CheckedOracleMarket)
        best = (
            earned.by_drive(planner, oracle(planner, None)),
            earned.by_drive(held, oracle(held, step)),
        )
    return SeedRun(
        seed=seed,
        weeks=weeks,
        loop=float(days["incremental_revenue"].sum()),
        status_quo=earned.by_drive(make(), stand_still),
        oracle=best[0],
        limit=best[1],
        others=_others(make, settings, steps, earned) if "baselines" in beside else {},
        seconds_per_cycle=seconds / len(steps),
        days=days,
        received=facts.received,
        acts=dict(Counter("waits" if d.waits else d.kind for d in ours.decided)),
        reasons=[(d.as_of, d.reason) for d in ours.decided],
    )


def settings_of(market: CheckedMarket, *, rollout: bool | None) -> Settings:
    """The defaults, with the market's ``config`` over them. One thread; no search for
    hyperparameters unless the market asks for trials, and then none that a clock would end."""
    values = {**market.config}
    for section in ("model", "rollout"):
        if not isinstance(values.get(section, {}), dict):
            return parse_settings(values, source=f"config of the market {market.name}")
    model = {"tuning_trials": 0, **values.get("model", {})}
    values["model"] = {**model, "threads": 1, "tuning_seconds": 1e9}
    canary = dict(values.get("rollout", {}))
    enabled = canary.get("enabled", False) if rollout is None else rollout
    values["rollout"] = {**canary, "enabled": enabled}
    budget = values.get("budget", {})
    kept = {"total_is": "ceiling", "objective": "target_iroas"}  # not all of the total is spent
    if isinstance(budget, dict) and any(budget.get(k) == v for k, v in kept.items()):
        values["budget"] = {"total": market.total_daily_budget, **budget}
    settings = parse_settings(values, source=f"config of the market {market.name}")
    if settings.budget.total not in (None, market.total_daily_budget):
        raise MarketFailed(
            market.name,
            f"its config has the total {settings.budget.total}, not its total_daily_budget "
            f"{market.total_daily_budget}.",
            fix="leave budget.total out of config.",
        )
    return settings


def _facts(settings: Settings, feeds: tuple[str, ...] | None = None) -> KnownFacts:
    account = _account(settings.account)
    if feeds is None:
        return KnownFacts(account, history_days=settings.data.history_days)
    return KnownFacts(account, history_days=settings.data.history_days, feeds=feeds)


def _account(said: AccountSettings) -> Account:
    rates = tuple(Rate(r.currency, r.rate, r.start, r.end) for r in said.rates)
    return Account(said.currency, said.timezone, rates)


def _live(
    market: CheckedMarket, facts: KnownFacts, decide: Decide, steps: Sequence[int]
) -> tuple[list[Policy], float]:
    """Drive the market. Returns the budgets of each cycle, and the CPU seconds it took beside the
    market's own."""
    day, chosen, seconds = market.start, [], 0.0
    feeds = market.history()
    for days in steps:
        began = time.process_time()
        facts.deliver(feeds, on=day)
        chosen.append(decide(day, facts.known(day)))
        seconds += time.process_time() - began
        feeds = market.step(budgets_frame(chosen[-1]), days)
        day += timedelta(days=days)
    return chosen, seconds


def _days(market: CheckedMarket, budgets: Sequence[Policy], steps: Sequence[int]) -> pd.DataFrame:
    """One row a day and cell from ``start`` on. A cell without a row of truth earned nothing, one
    without a budget was given nothing."""
    parts, day = [], pd.Timestamp(market.start)
    for policy, days in zip(budgets, steps, strict=True):
        frame = budgets_frame(policy)
        parts += [frame.assign(date=day + timedelta(days=n)) for n in range(days)]
        day += timedelta(days=days)
    told = market.truth()
    told = told[(told["date"] >= pd.Timestamp(market.start)) & (told["date"] < day)]
    if told.empty:
        raise MarketFailed(
            market.name,
            "truth() says nothing of the days that were lived through.",
            fix="return the days since start, by the day the revenue is earned.",
        )
    frame = pd.concat(parts, ignore_index=True)
    keys = ["date", *CELL]
    told = told.astype({"segment": "str", "channel": "str"})
    frame = frame.astype({"segment": "str", "channel": "str"})
    both = frame.merge(told, on=keys, how="outer", sort=True)
    nothing = Policy.of({}).total
    return both.assign(
        daily_budget=both["daily_budget"].where(both["daily_budget"].notna(), nothing),
        incremental_revenue=both["incremental_revenue"].fillna(0.0),
    )[[*keys, "daily_budget", "incremental_revenue"]]


@dataclass(frozen=True, slots=True)
class _Earned:
    """What others earn on the same days of the same market."""

    make: Callable[[], CheckedMarket]
    start: pd.Timestamp
    steps: Sequence[int]

    def by_drive(self, market: CheckedMarket, plans: Any) -> float:
        drive(market, plans, self.steps)
        return self.of(market)

    def of(self, market: CheckedMarket) -> float:
        told = market.truth()
        days = (told["date"] - pd.Timestamp(market.start)).dt.days
        return float(told.loc[(days >= 0) & (days < sum(self.steps)), "incremental_revenue"].sum())


def _others(
    make: Callable[[], CheckedMarket], settings: Settings, steps: Sequence[int], earned: _Earned
) -> dict[str, float]:
    market, found = make(), {}
    now = [market.policy]
    follow = follow_roas(settings.budget.max_step)

    def roas(as_of: date, facts: Mapping[str, pd.DataFrame]) -> Policy:
        now[0] = follow(as_of, now[0], facts)
        return now[0]

    _live(market, _facts(settings, ("performance",)), roas, steps)
    found["roas"] = earned.of(market)
    market = make()
    loop = MemoryLoop(settings, market.policy, learn=PooledLearner(), plan=plan_plainly)
    _live(market, _facts(settings), loop.cycle, steps)
    found["pooled"] = earned.of(market)
    return found
