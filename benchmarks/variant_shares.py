"""Splits inside a cell: ours beside even, "best after a test", MABWiser and Vowpal Wabbit.

    uv run python -m benchmarks.variant_shares [--peer-python PYTHON] [--families ...]

PYTHON is an environment of its own with mabwiser (2.7.4 was used) and vowpalwabbit (9.11.9 was
used); without it the two are left out. Families of cells: variant_worlds.py. Every method splits
once a day. Ours is held to a floor of 1 % for each variant and steps of 15 points a day; the others
are not. A peer learns from a day once all its conversions are known, so that slow variants are not
at a disadvantage with it.

Possible: expected conversions over what showing the day's best variant alone had brought, mean over
the runs. Worst: the lowest ratio to an even split of the same cell. Seeds 5000 to 5199 were not
looked at while the split was developed (on 0 to 419). Some 10 CPU minutes with four peers.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.variant_worlds import DAYS, FAMILIES, LATEST, World, make_world
from liftloop.core.arrays import Array
from liftloop.core.variant_tests.splits.shares import Per, ShareRule, next_shares

ROOT = Path(__file__).resolve().parent.parent
RULE = ShareRule(per=Per.UNITS)
Split = Callable[[Sequence[World]], list[Array]]


def even(worlds: Sequence[World]) -> list[Array]:
    """An even split among who can be shown."""
    return [np.asarray(world.here / world.here.sum()) for world in worlds]


def possible(worlds: Sequence[World]) -> list[Array]:
    """The day's best variant alone."""
    best = [np.argmax(np.where(world.here, world.rates, 0.0)) for world in worlds]
    return [np.eye(len(world.here))[i] for world, i in zip(worlds, best, strict=True)]


def ours(worlds: Sequence[World]) -> list[Array]:
    """The split of LiftLoop."""
    found = []
    for world in worlds:
        names = [f"v{i}" for i in range(len(world.here))]
        if world.day == 0:
            found += even([world])
            continue
        gone = [name for name, here in zip(names, world.here.tolist(), strict=True) if not here]
        came = world.available[:, : world.day + 1].sum(axis=1) > 0
        facts = world.facts()
        facts = facts.of([name for name, there in zip(names, came, strict=True) if there])
        shares = next_shares(facts, RULE, seed=world.day, gone=gone).by_variant
        found.append(np.array([shares.get(name, 0.0) for name in names]))
    return found


def best_after_a_test(worlds: Sequence[World]) -> list[Array]:
    """Even until the test's days are over, then the variant with the most conversions a unit; a new
    test with whoever comes. Its days find a difference of 10 % with 80 % power, 14 to 42 days."""
    return [_tested(world) for world in worlds]


def _tested(world: World) -> Array:
    arrivals = np.argmax(world.available, axis=1)
    began = max((int(day) for day in arrivals if day <= world.day), default=0)
    conversions = world.units.mean() * world.level.mean() / len(world.here)
    length = int(np.clip(2 * (1.96 + 0.84) ** 2 / math.log(1.1) ** 2 / conversions, 14, 42))
    last = began + length
    if world.day < last + (LATEST if (world.arrival < 1).any() else 0):
        return np.asarray(world.here / world.here.sum())
    units = world.shown[:, began:last].sum(axis=1)
    rate = world.converted[:, began:last].sum(axis=1) / np.maximum(units, 1)
    best = int(np.argmax(np.where(world.here & (units > 0), rate, -1.0)))
    return np.asarray(np.eye(len(rate))[best])


class Peer:
    """One method of the peers' process, over all runs: units and conversions in, shares out."""

    def __init__(self, python: str, method: str) -> None:
        script = str(ROOT / "benchmarks/variant_shares_peer.py")
        self.process = subprocess.Popen(
            [python, "-P", script, method], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, worlds: Sequence[World]) -> list[Array]:
        assert self.process.stdin and self.process.stdout
        delayed = any((world.arrival < 1).any() for world in worlds)
        day = worlds[0].day - 1 - (LATEST if delayed else 0)
        runs = [
            {
                "here": world.here.tolist(),
                "units": world.complete(day)[0].tolist() if day >= 0 else None,
                "value": world.complete(day)[1].tolist() if day >= 0 else None,
            }
            for world in worlds
        ]
        request = {"new": worlds[0].day == 0, "runs": runs}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the peer's process ended; its own message is above")
        return [np.array(shares) for shares in json.loads(line)]

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def run(split: Split, family: str, seeds: range) -> Array:
    """Expected conversions of each run under a split, shape (runs,)."""
    worlds = [make_world(family, seed) for seed in seeds]
    for _ in range(DAYS):
        for world, shares in zip(worlds, split(worlds), strict=True):
            world.step(shares)
    return np.array([world.earned for world in worlds])


def peer_methods(python: str) -> list[str]:
    """The methods that the peers' process knows."""
    script = str(ROOT / "benchmarks/variant_shares_peer.py")
    listed = subprocess.run(
        [python, "-P", script, "--list"], check=True, capture_output=True, text=True
    )
    return listed.stdout.split()


def main() -> None:
    """Prints a row a family and method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peer-python", help="a Python with mabwiser and vowpalwabbit")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=5000)
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--methods", nargs="+", help="peers' methods; default: all")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.runs)
    if not arguments.peer_python:
        print("mabwiser and vowpalwabbit are left out: --peer-python is not given")
    methods = arguments.methods or []
    if arguments.peer_python and not methods:
        methods = peer_methods(arguments.peer_python)
    print(f"{'family':12s} {'method':24s} possible  over even   worst  CPU s")
    peers = {method: Peer(arguments.peer_python, method) for method in methods}
    for family in arguments.families:
        most, alike = run(possible, family, seeds), run(even, family, seeds)
        own: dict[str, Split] = {"even": even, "best after a test": best_after_a_test, "ours": ours}
        for name, split in (own | peers).items():
            report(family, name, split, (most, alike), seeds)
    for peer in peers.values():
        peer.close()


def report(family: str, name: str, split: Split, beside: tuple[Array, Array], seeds: range) -> None:
    """Prints what a method earned."""
    start = time.process_time()
    earned = run(split, family, seeds)
    most, alike = beside
    over = 100 * (earned / alike - 1)
    print(
        f"{family:12s} {name:24s} {100 * (earned / most).mean():6.1f} % {over.mean():+8.1f} % "
        f"{over.min():+6.1f} % {time.process_time() - start:6.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
