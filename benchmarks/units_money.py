"""User-level tests: whether the money they return is predicted within its interval, and what moves.

    uv run python -m benchmarks.units_money --draws 300

A draw is an account of 1 to 4 segments and 1 to 3 channels whose cells are tested on users over a
window of 1 to 60 days, with and without ``performance``. Asked for, by kind of truth: the 90 %
interval of the curve's average return at the test's spend holds the true gain over cost in 87 to
93 %; a test of users who do not respond, too small to say so, moves money in 5 % at most within
three weekly cycles; money leaves a cell that is known to lose (true return times margin below 0.7,
by 3 standard errors) in 95 % within three.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from liftloop.app.backtest.loop import MemoryLoop
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.user_tests import unit_rules
from liftloop.settings.schema import Settings, parse_settings
from models.lift.user_test_lifts import with_user_tests
from tasks.model.learning import learn_from_holdout

KINDS = ("null", "harmful", "positive", "mixed", "losing")
FIRST_SEED = 1000
DAYS = 90  # of performance before the decision
CYCLES = 3
LOSES = 0.7
CLEARLY = 3.0  # standard errors
START = pd.Timestamp("2026-01-05")
EMPTY = {
    "performance": [
        "date",
        "segment",
        "channel",
        "campaign",
        "creative",
        "spend",
        "impressions",
        "clicks",
        "conversions",
        "revenue",
    ],
    "holdout": [
        "date",
        "segment",
        "channel",
        "arm",
        "stratum",
        "users",
        "converters",
        "conversions",
        "revenue",
        "revenue_sq",
    ],
    "sales": ["date", "segment", "orders", "revenue"],
    "experiments": [
        "experiment",
        "segments",
        "channel",
        "start",
        "end",
        "spend_delta",
        "incremental_revenue",
        "standard_error",
    ],
}


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """An account: its feeds, its budgets in force, and of each cell the true revenue per unit of
    the test's cost."""

    kind: str
    feeds: dict[str, pd.DataFrame]
    budgets: Policy
    truth: dict[Cell, float]
    as_of: date


def empty_feeds() -> dict[str, pd.DataFrame]:
    """Feeds without a row, dated."""
    feeds = {name: pd.DataFrame(columns=columns) for name, columns in EMPTY.items()}
    for name in ("performance", "holdout", "sales"):
        feeds[name]["date"] = pd.to_datetime(feeds[name]["date"])
    return feeds


def account(seed: int) -> Drawn:
    """One draw; the same seed gives the same account."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    segments = [f"segment {i}" for i in range(int(rng.integers(1, 5)))]
    # a losing or null channel is beside others, or there is nowhere for money to go
    least = 2 if kind in ("losing", "mixed") else 1
    channels = [f"channel {i}" for i in range(int(rng.integers(least, 4)))]
    window = int(rng.integers(1, 61))
    reported = bool(rng.integers(0, 2))
    begun = START + timedelta(days=int(rng.integers(0, DAYS - 60 + 1)))
    mean = {channel: _mean_return(kind, number, rng) for number, channel in enumerate(channels)}
    truth, tests, budgets = {}, [], {}
    for channel in channels:
        cost = float(rng.lognormal(-0.7, 0.7))
        for segment in segments:
            cell = Cell(segment, channel)
            truth[cell] = mean[channel] * float(np.exp(rng.normal(0, 0.25)))
            users = int(rng.lognormal(8.6 if kind == "losing" else 8.0, 0.5))
            rows = _users(cell, truth[cell], cost, users, begun, window, kind, rng)
            tests.append(rows)
            spent = float(rows["cost"].sum()) / (window + rows["assigned_on"].nunique() - 1)
            share = float(rng.uniform(0.15, 1.0)) if reported else 1.0
            budgets[cell] = spent / share
    feeds = empty_feeds() | {"units": pd.concat(tests, ignore_index=True)}
    as_of = (START + timedelta(days=DAYS)).date()
    if reported:
        days = pd.date_range(START, periods=DAYS)
        feeds["performance"] = pd.concat(
            [_spent(cell, daily, days, rng) for cell, daily in budgets.items()], ignore_index=True
        )
    policy = Policy.of({cell: Decimal(f"{daily:.2f}") for cell, daily in budgets.items()})
    return Drawn(kind, feeds, policy, truth, as_of)


def _mean_return(kind: str, number: int, rng: np.random.Generator) -> float:
    if kind == "mixed":
        kind = str(rng.choice(["null", "harmful", "positive"]))
    if kind == "losing" and number > 0:
        return float(rng.uniform(1.2, 3.0))
    if kind == "losing":
        return float(rng.uniform(-0.5, 0.4))
    if kind == "null":
        return 0.0
    return -float(rng.uniform(0.2, 1.0)) if kind == "harmful" else float(rng.lognormal(0.2, 0.6))


def _users(
    cell: Cell,
    returned: float,
    cost: float,
    users: int,
    begun: pd.Timestamp,
    window: int,
    kind: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Users of one cell, some of them assigned on later days, with what they bought."""
    treated = rng.random(users) < 0.5
    late = rng.integers(0, min(7, 61 - window), users)
    # so many buy without ads that the test is known to one part in 3 to 12 of its cost
    value = cost * float(rng.uniform(8, 40 if kind != "losing" else 16))
    base = 0.15
    chance = np.clip(base + returned * cost / value * treated, 0.0, 1.0)
    bought = rng.random(users) < chance
    spread = 0.5
    revenue = bought * value * np.exp(rng.normal(-(spread**2) / 2, spread, users))
    name = f"{cell.segment} {cell.channel}"
    return pd.DataFrame(
        {
            "experiment": f"test {name}",
            "unit_id": [f"{name} {i}" for i in range(users)],
            "segment": cell.segment,
            "channel": cell.channel,
            "arm": np.where(treated, "treated", "control"),
            "propensity": 0.5,
            "assigned_on": begun + pd.to_timedelta(late, unit="D"),
            "outcome_days": float(window),
            "cost": np.where(treated, cost, 0.0),
            "converted": bought.astype(int),
            "conversions": bought.astype(float),
            "revenue": revenue.round(2),
        }
    )


def _spent(
    cell: Cell, daily: float, days: pd.DatetimeIndex, rng: np.random.Generator
) -> pd.DataFrame:
    spend = (daily * np.exp(rng.normal(0, 0.05, len(days)))).round(2)
    return pd.DataFrame(
        {
            "date": days,
            "segment": cell.segment,
            "channel": cell.channel,
            "campaign": "all",
            "creative": "all",
            "spend": spend,
            "impressions": (spend * 50).astype(int),
            "clicks": spend.astype(int),
            "conversions": spend * 0.02,
            "revenue": spend * 3.0,
        }
    )


def measure(seed: int, *, rollout: bool, total_is: str) -> list[dict[str, Any]]:
    """What the loop makes of one draw, one row a tested cell."""
    drawn = account(seed)
    values = {
        "rollout": {"enabled": rollout},
        "model": {"threads": 1, "tuning_trials": 0},
        "budget": {"total": str(drawn.budgets.total), "total_is": total_is},
        # of one to three channels one may have more than the 80 % that are allowed by default
        "guardrails": {"channel_share": 1.0},
    }
    settings = parse_settings(values, source="benchmark")
    tests = with_user_tests(drawn.feeds, as_of=drawn.as_of, rules=unit_rules(settings))[
        "experiments"
    ]
    curves = learn_from_holdout(settings, drawn.feeds, as_of=drawn.as_of, for_registry=False).curves
    after = _cycles(drawn, settings, seed)
    before = drawn.budgets.as_dict()
    rows = []
    for test in tests.to_dict("records"):
        cell = Cell(test["segments"], test["channel"])
        error = test["standard_error"] / test["spend_delta"]
        low, mean, high = _returned(curves, cell, float(test["actual_spend"]))
        rows.append(
            {
                "seed": seed,
                "kind": drawn.kind,
                "reported": len(drawn.feeds["performance"]) > 0,
                "truth": drawn.truth[cell],
                "error": error,
                "measured": test["incremental_revenue"] / test["spend_delta"],
                "mean": mean,
                "inside": low <= drawn.truth[cell] <= high,
                "before": float(before[cell]),
                "after": float(after[cell]),
            }
        )
    return rows


def _returned(curves: Any, cell: Cell, spend: float) -> tuple[float, float, float]:
    """The curve's average return at ``spend`` a day: its 90 % interval around the mean."""
    additive = curves if isinstance(curves, SaturatingCurves) else curves.base
    place = additive.cells.index(cell)
    at = np.zeros(len(additive.cells))
    at[place] = spend
    drawn = additive.draw_revenue(at)[:, place] / spend
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(low), float(drawn.mean()), float(high)


def _cycles(drawn: Drawn, settings: Settings, seed: int) -> Mapping[Cell, Decimal]:
    """The budgets after three weekly cycles; what is budgeted is what performance then reports."""
    rng = np.random.default_rng([seed, 1])
    loop = MemoryLoop(settings, drawn.budgets)
    feeds = dict(drawn.feeds)
    day = drawn.as_of
    for _ in range(CYCLES):
        policy = loop.cycle(day, feeds)
        if len(feeds["performance"]):
            days = pd.date_range(pd.Timestamp(day), periods=settings.cycle_days)
            week = [_spent(cell, float(budget), days, rng) for cell, budget in policy.budgets]
            feeds["performance"] = pd.concat([feeds["performance"], *week], ignore_index=True)
        day += timedelta(days=settings.cycle_days)
    return loop.in_force.as_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--rollout", action="store_true", help="new plans go through waves")
    parser.add_argument("--total-is", default="fixed", choices=["fixed", "ceiling"])
    parser.add_argument("--out", help="write the rows to this CSV file")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.draws)
    rows = pd.DataFrame(
        [
            row
            for seed in seeds
            for row in measure(seed, rollout=asked.rollout, total_is=asked.total_is)
        ]
    )
    if asked.out:
        rows.to_csv(asked.out, index=False)
    print("| truth | accounts | tests | inside the 90 % interval | mean less truth |")
    print("|---|---:|---:|---:|---:|")
    for kind, mine in [*rows.groupby("kind"), ("all", rows)]:
        print(
            f"| {kind} | {mine['seed'].nunique()} | {len(mine)} | {mine['inside'].mean():.3f} | "
            f"{(mine['mean'] - mine['truth']).mean():+.3f} |"
        )
    change = rows["after"] / rows["before"] - 1
    known = rows["truth"] + CLEARLY * rows["error"] < LOSES
    measured = rows["measured"] + CLEARLY * rows["error"] < LOSES
    silent = ~measured.groupby(rows["seed"]).transform("any")
    quiet = rows[(rows["kind"] == "null") & silent]
    moved = (change[quiet.index].abs() > 0.005).groupby(quiet["seed"]).any()
    print(
        f"\nAccounts none of whose null tests can tell: money moves in {moved.sum()} of "
        f"{len(moved)}."
    )
    losing = rows[(rows["kind"].isin(["losing", "mixed"])) & known & (rows["before"] > 0)]
    better = losing["seed"].map(rows.groupby("seed")["truth"].max()) >= LOSES
    for name, mine in (("", losing), (" beside one that earns more", losing[better])):
        left = change[mine.index] < -0.005
        print(
            f"Cells known to lose{name}: money leaves {left.mean():.3f} of {len(mine)} within "
            f"{CYCLES} cycles, {-change[mine.index].mean():.0%} of it on average."
        )


if __name__ == "__main__":
    main()
