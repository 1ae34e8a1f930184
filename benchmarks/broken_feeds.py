"""What do broken feeds cost, and how much of it do the health checks win back?

    uv run python -m benchmarks.broken_feeds [--seeds 100-104] [--weeks 26]

The same seeds three times, so that the same happens under the same budgets: told as it is
(``HillMarket``), told by broken feeds with the checks on (the default), and with
``data.health_checks = false``. Off, the contracts of the feeds still refuse and quarantine, and the
guardrails still hold; but no cell is paused and no default stands in for what was not told. One
process, one thread.

    won back = (on - off) / (clean - off)   of the captured shares, ratios of means over the seeds
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from liftloop.app.backtest.runs import SeedRun, run_seed
from liftloop.app.commands.backtest import seed_range
from liftloop.app.environment import prepare
from liftloop.markets import BrokenFeedsMarket, HillMarket


class UncheckedFeedsMarket(BrokenFeedsMarket):
    """Broken feeds, believed as they come."""

    def __init__(self, seed: int, **given: Any) -> None:
        super().__init__(seed, **given)
        self.config = {**self.config, "data": {"health_checks": False}}


WAYS: dict[str, Callable[[int], Any]] = {
    "clean": HillMarket,
    "broken, checks on": BrokenFeedsMarket,
    "broken, checks off": UncheckedFeedsMarket,
}


def shares(seeds: Sequence[int], weeks: int) -> dict[str, list[SeedRun]]:
    """The runs of each way; each is told as it ends."""
    found: dict[str, list[SeedRun]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way, market in WAYS.items():
            run = run_seed(market, seed, weeks, beside=("oracles",))
            found[way].append(run)
            told = {
                "seed": seed,
                "way": way,
                "captured": run.captured(),
                "acts": dict(run.acts),
                "against_status_quo": run.against_status_quo(),
            }
            print(json.dumps(told), flush=True)
    return found


def summary(runs: dict[str, list[SeedRun]]) -> list[str]:
    """Captured shares with what the faults cost and what was won back. Standard errors leave out
    one seed after the other (jackknife); None of a single seed."""
    gains = {way: np.array([r.loop - r.status_quo for r in seeds]) for way, seeds in runs.items()}
    scale = np.array([(r.oracle or 0.0) - r.status_quo for r in runs["clean"]])
    clean, on, off = (gains[way] for way in WAYS)

    def error(of: Callable[[Any], float]) -> str:
        count = len(scale)
        if count < 2:
            return "one seed"
        left = np.array([of(np.arange(count) != i) for i in range(count)])
        return f"{np.sqrt((count - 1) * left.var()):.3f}"

    def line(name: str, of: Callable[[Any], float]) -> str:
        return f"{name:24s} {of(slice(None)):6.3f} ± {error(of)}"

    def ratio(top: Any, below: Any) -> Callable[[Any], float]:
        return lambda keep: float(top[keep].sum() / below[keep].sum())

    lines = [line(way, ratio(gains[way], scale)) for way in WAYS]
    return [
        *lines,
        line("cost, checks off", ratio(clean - off, scale)),
        line("cost, checks on", ratio(clean - on, scale)),
        line("won back", ratio(on - off, clean - off)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="100-104")
    parser.add_argument("--weeks", type=int, default=26)
    asked = parser.parse_args()
    prepare(None)
    first, last = seed_range(asked.seeds)
    print("\n".join(summary(shares(range(first, last + 1), asked.weeks))))


if __name__ == "__main__":
    main()
