"""The frontier: what an allowance lets the loop gain, and what it lets bad planners lose.

    uv run python -m benchmarks.frontier --seeds 100-119

Whole loops with the product's settings, rollouts on, and one number changed: the allowance, a share
of what the replaced budgets earn in a quarter. Captured shares are ratios of means over the seeds;
the worst seed is that of all markets together. The bad planners are two of
:mod:`benchmarks.bad_planners`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pandas as pd

from benchmarks.bad_planners import CASES, Case
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.runs import Comparison, run_seed
from liftloop.core.policy import Policy
from liftloop.markets import HillMarket, ThinMarket, UselessMarket
from liftloop.markets.scoring import captured_share
from liftloop.settings.schema import Rollout, Settings

ALLOWANCES = (0.02, 0.04, 0.08, 0.16, 0.5)  # the last is off the scale
DEFAULT = Rollout.model_fields["allowance"].default
MARKETS: Mapping[str, Case] = {
    "Hill": Case(HillMarket),
    "thin": Case(ThinMarket),
    "useless": Case(UselessMarket),
}
BAD = ("moves to the least", "upside-down model")


def run(job: tuple[str, int, float, bool, int]) -> dict[str, Any]:
    """One market or bad planner on one seed under one allowance."""
    name, seed, allowance, oracles, weeks = job
    case = MARKETS[name] if name in MARKETS else CASES[name]

    def make(settings: Settings, policy: Policy) -> MemoryLoop:
        rollout = settings.rollout.model_copy(update={"allowance": allowance})
        return case.loop(settings.model_copy(update={"rollout": rollout}), policy)

    beside: tuple[Comparison, ...] = ("oracles",) if oracles else ()
    found = run_seed(case.market, seed, weeks, True, beside=beside, loop=make)
    return {
        "case": name,
        "seed": seed,
        "allowance": allowance,
        "loop": found.loop,
        "status_quo": found.status_quo,
        "oracle": found.oracle,
        "against": found.against_status_quo(),
        "acts": dict(found.acts),
    }


def jobs_of(
    seeds: Sequence[int], allowances: Sequence[float], weeks: int
) -> list[tuple[str, int, float, bool, int]]:
    """The oracle is the same under every allowance: it is asked with the first."""
    return [
        (name, seed, allowance, name in MARKETS and allowance == allowances[0], weeks)
        for name in (*MARKETS, *BAD)
        for seed in seeds
        for allowance in allowances
    ]


def print_table(rows: pd.DataFrame, allowances: Sequence[float]) -> None:
    """One line an allowance."""
    columns = [f"captured, {name}" for name in MARKETS] + ["worst seed"]
    columns += [f"{name}: mean, worst" for name in BAD]
    print(f"| allowance | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}")
    best = rows.dropna(subset="oracle").set_index(["case", "seed"])["oracle"]
    for allowance in allowances:
        mine = rows[rows["allowance"] == allowance]
        cells = []
        for name in MARKETS:
            some = mine[mine["case"] == name]
            oracle = [best[name, seed] for seed in some["seed"]]
            cells.append(f"{captured_share(some['loop'], some['status_quo'], oracle):.2f}")
        cells.append(f"{mine.loc[mine['case'].isin(list(MARKETS)), 'against'].min():+.1%}")
        for name in BAD:
            against = mine.loc[mine["case"] == name, "against"]
            cells.append(f"{against.mean():+.1%}, {against.min():+.1%}")
        mark = " (default)" if allowance == DEFAULT else ""
        print(f"| {allowance:g}{mark} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-3")
    parser.add_argument("--allowances", nargs="*", type=float, default=list(ALLOWANCES))
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    low, _, high = asked.seeds.partition("-")
    seeds = range(int(low), int(high or low) + 1)
    rows = []
    with ProcessPoolExecutor(asked.jobs) as pool:
        for row in pool.map(run, jobs_of(seeds, asked.allowances, asked.weeks)):
            rows.append(row)
            if asked.json:
                print(json.dumps(row), flush=True)
    print_table(pd.DataFrame(rows), asked.allowances)


if __name__ == "__main__":
    main()
