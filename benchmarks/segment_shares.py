"""Shares by segment beside one split for all and a split for each segment alone.

    uv run python -m benchmarks.segment_shares [--runs 200] [--first 9000]

Four segments with 200, 400, 800 and 1,600 units a day and variant; four variants whose log effects
spread by 15 %, and by so much more between segments as a row says; 28 even days, 3 % conversions.
Possible: expected conversions of the day after over what each segment's best variant had brought.
Seeds from 9000 were not looked at while this was developed (on 0 to 59).
"""

from __future__ import annotations

import argparse

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.splits.segment_shares import segment_shares
from liftloop.core.variant_tests.splits.shares import Per, ShareRule, next_shares

RULE = ShareRule(per=Per.UNITS, largest_step=1.0)
UNITS = (200.0, 400.0, 800.0, 1600.0)
DAYS = 28


def observe(rates: Array, units: float, rng: np.random.Generator) -> VariantDays:
    """An even split at ``rates`` (v,)."""
    shown = np.full((len(rates), DAYS), units)
    value = rng.binomial(shown.astype(int), rates[:, None]).astype(float)
    days = np.datetime64("2026-03-02") + np.arange(DAYS)
    return VariantDays(tuple("abcd"), days, shown, shown, value, value)


def run(spread: float, seed: int) -> tuple[Array, float]:
    """Share of the possible (ours, one split, each alone), and the probability of a difference."""
    rng = np.random.default_rng((seed, round(spread * 100)))
    common = rng.normal(0, 0.15, 4)
    logs = [common + rng.normal(0, spread, 4) for _ in UNITS]
    segments = {
        f"s{i}": observe(0.03 * np.exp(log), units, rng)
        for i, (log, units) in enumerate(zip(logs, UNITS, strict=True))
    }
    first = segments["s0"]
    value = np.sum([days.value for days in segments.values()], axis=0)
    units = np.sum([days.units for days in segments.values()], axis=0)
    together = VariantDays(first.variants, first.days, units, units, value, value)
    ours = segment_shares(segments, RULE, seed=seed)
    one = next_shares(together, RULE, seed=seed).by_variant
    earned, possible = np.zeros(3), 0.0
    for (name, days), log, size in zip(segments.items(), logs, UNITS, strict=True):
        alone = next_shares(days, RULE, seed=seed).by_variant
        splits = (ours.segments[name].by_variant, one, alone)
        earned += [size * float(np.exp(log) @ list(split.values())) for split in splits]
        possible += size * float(np.exp(log).max())
    return earned / possible, ours.probability_apart


def main() -> None:
    """Prints a row a spread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=9000)
    arguments = parser.parse_args()
    print("spread   by segment  one split  each alone  taken to differ")
    for spread in (0.0, 0.05, 0.1, 0.2, 0.3):
        runs = [run(spread, arguments.first + i) for i in range(arguments.runs)]
        ours, one, alone = 100 * np.mean([shares for shares, _ in runs], axis=0)
        apart = 100 * np.mean([probability > 0.5 for _, probability in runs])
        print(f"{spread:6.2f} {ours:10.2f} % {one:8.2f} % {alone:9.2f} % {apart:14.1f} %")


if __name__ == "__main__":
    main()
