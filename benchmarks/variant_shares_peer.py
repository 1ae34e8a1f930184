"""MABWiser and Vowpal Wabbit as the peers of variant_shares.py; run by its ``--peer-python``.

A line of JSON is a day of all runs: whether they begin, who can be shown, units and conversions of
the day that became complete (or null); the answer is the shares of each run. ``--list`` prints the
methods.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

PREDICTIONS = 20  # a policy that picks one variant at a time is asked so often for a day's shares
BATCHES = 4  # examples that Vowpal Wabbit gets for a variant's day
SCALE = 0.05  # conversion rates over this are of order one, as its learner expects


class MabWiser:
    """One run of a MABWiser policy, taught each unit's reward."""

    def __init__(self, policy: Any, variants: int) -> None:
        from mabwiser.mab import MAB

        self.bandit = MAB(list(range(variants)), policy, seed=1)
        self.started = False

    def learn(self, units: list[float], value: list[float]) -> None:
        arms = [i for i, n in enumerate(units) if n > 0]
        decisions = np.repeat(arms, [int(units[i]) for i in arms])
        rewards = np.concatenate([np.arange(int(units[i])) < value[i] for i in arms]).astype(int)
        if self.started:
            self.bandit.partial_fit(decisions, rewards)
        else:
            self.bandit.fit(decisions, rewards)
        self.started = True

    def shares(self, here: list[bool]) -> np.ndarray[Any, Any]:
        if not self.started:
            return np.asarray(np.array(here) / sum(here))
        counts = np.zeros(len(here))
        for _ in range(PREDICTIONS):
            expected = self.bandit.predict_expectations()
            counts[max((i for i, h in enumerate(here) if h), key=lambda i: expected[i])] += 1
        return np.asarray(counts / counts.sum())


class Vowpal:
    """One run of Vowpal Wabbit's contextual bandit with an example a variant and part of a day."""

    def __init__(self, options: str, variants: int) -> None:
        from vowpalwabbit import Workspace

        self.workspace = Workspace(f"--cb_explore_adf --quiet --random_seed 1 {options}")
        self.latest: list[np.ndarray[Any, Any]] = []
        self.variants = variants

    def learn(self, units: list[float], value: list[float]) -> None:
        shown = [i for i, n in enumerate(units) if n > 0]
        total = sum(units)
        for _ in range(BATCHES):
            for i in shown:
                cost = -value[i] / units[i] / SCALE
                lines = [
                    (f"0:{cost}:{units[i] / total} " if j == i else "") + f"|a v{j}" for j in shown
                ]
                self.workspace.learn(lines)

    def shares(self, here: list[bool]) -> np.ndarray[Any, Any]:
        there = [i for i, h in enumerate(here) if h]
        found = np.zeros(len(here))
        found[there] = self.workspace.predict([f"|a v{i}" for i in there])
        return np.asarray(found / found.sum())


def methods() -> dict[str, Callable[[int], Any]]:
    """How each method starts a run of so many variants."""

    def wise(name: str, **options: Any) -> Callable[[int], Any]:
        from mabwiser.mab import LearningPolicy

        return lambda variants: MabWiser(getattr(LearningPolicy, name)(**options), variants)

    def vowpal(options: str) -> Callable[[int], Any]:
        return lambda variants: Vowpal(options, variants)

    return {
        "mabwiser-thompson": wise("ThompsonSampling"),
        "mabwiser-ucb1": wise("UCB1", alpha=0.1),
        "mabwiser-greedy": wise("EpsilonGreedy", epsilon=0.1),
        "vw-epsilon": vowpal("--epsilon 0.1"),
        "vw-squarecb": vowpal("--squarecb"),
        "vw-cover": vowpal("--cover 5"),
        "vw-bag": vowpal("--bag 10"),
    }


def main() -> None:
    """Answers a line a day until the input ends."""
    known = methods()
    if sys.argv[1] == "--list":
        print(*known)
        return
    start = known[sys.argv[1]]
    runs: list[Any] = []
    for line in sys.stdin:
        request = json.loads(line)
        days = request["runs"]
        if request["new"]:
            runs = [start(len(day["here"])) for day in days]
        for run, day in zip(runs, days, strict=True):
            if day["units"] is not None:
                run.learn(day["units"], day["value"])
        answers = [run.shares(day["here"]).tolist() for run, day in zip(runs, days, strict=True)]
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
