"""Fatigue of a creative, told apart from season, mix, saturation and price.

    uv run python -m benchmarks.fatigue [--first 7000] [--cells 1000]

A cell has 2 to 6 creatives, 1 to 3 parts of the audience, 84 days, 15 to 80 conversions a creative
and day, and noise of 6 % a creative and day with a memory of 0.3. Of ten cells two have a creative
whose response falls by 30 to 65 % with its own exposure, on top of one of the four disturbances;
the other eight have a disturbance alone:

season      the rate of all falls or rises by up to 40 % over the time
mix         one creative's impressions move from the part that buys most to the one that buys least
saturation  the cell's spend doubles or triples, that of all creatives or of one of them, and the
            response per impression falls with the creative's volume of the day
price       dearer from one day on: all rates 15 to 40 % lower

Right: the planted creative is found and no other. False: any finding in a cell without fatigue.
Seeds from 7000 were not looked at while this was developed (on 0 to 999).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.fatigue import (
    CreativeFacts,
    FatigueRule,
    Finding,
    find_fatigue,
)
from liftloop.core.variant_tests.observations import VariantDays

DAYS = 84
KINDS = ("season", "mix", "saturation", "price")
CPM = 5.0


def make_cell(seed: int) -> tuple[CreativeFacts, int | None, str]:
    """Facts of the cell of ``seed``, which creative tires (None: none), and the disturbance."""
    rng = np.random.default_rng(seed)
    planted, kind = seed % 5 == 0, KINDS[seed // 5 % 4]
    v, k = int(rng.integers(2, 7)), int(rng.integers(1, 4))
    if kind == "mix":
        k = max(k, 2)
    volume = np.exp(rng.normal(9.5, 0.3, (v, 1)) + rng.normal(0, 0.15, (v, DAYS)))
    mix = np.repeat(rng.dirichlet(np.full(k, 4.0), v)[:, None, :], DAYS, axis=1)
    common = np.log(rng.uniform(15, 80)) - 9.5 + rng.normal(0, 0.15, 7)[np.arange(DAYS) % 7]
    common = common + rng.normal(0, 0.08, DAYS)
    part = np.sort(rng.normal(0, 0.4, k))
    own = rng.normal(0, 0.15, (v, 1)) + _noise(rng, (v, DAYS))
    time_ = np.linspace(0, 1, DAYS)
    if kind == "season":
        common = common + rng.uniform(-0.5, 0.35) * time_
    elif kind == "price":
        common = common + np.log(rng.uniform(0.6, 0.85)) * (time_ > rng.uniform(0.2, 0.8))
    elif kind == "mix":
        moved = time_[:, None] * rng.uniform(0.4, 0.8)
        mix[0] = mix[0] * (1 - moved) + moved * np.eye(k)[0]
        mix[0, :, -1] += 0.3 * (1 - time_)
        mix[0] /= mix[0].sum(axis=1, keepdims=True)
    else:
        who = slice(None) if rng.uniform() < 0.5 else slice(0, 1)
        usual = volume.mean(axis=1, keepdims=True)
        volume[who] *= rng.uniform(2, 3) ** time_
        own = own - rng.uniform(0.2, 0.5) * np.log(volume / usual)
    tired = int(rng.integers(v)) if planted else None
    if tired is not None:
        exposed = np.cumsum(volume[tired])
        own[tired] += np.log1p(-rng.uniform(0.3, 0.65)) * exposed / exposed[-1]
    strata = {}
    names, days = tuple(f"c{i}" for i in range(v)), np.datetime64("2026-01-05") + np.arange(DAYS)
    for s in range(k):
        units = np.rint(volume * mix[:, :, s])
        value = rng.poisson(units * np.exp(common + own + part[s])).astype(float)
        strata[f"s{s}"] = VariantDays(names, days, units, units / 1000 * CPM, value)
    return CreativeFacts(strata), tired, kind


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    fresh = rng.normal(0, 0.06, shape)
    for day in range(1, shape[1]):
        fresh[:, day] = 0.3 * fresh[:, day - 1] + np.sqrt(1 - 0.3**2) * fresh[:, day]
    return np.asarray(fresh)


def main() -> None:
    """Prints what was found, by disturbance."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--first", type=int, default=7000)
    arguments = parser.parse_args()
    start = time.process_time()
    cases: Counter[tuple[str, bool]] = Counter()
    hits: Counter[tuple[str, bool]] = Counter()
    for seed in range(arguments.first, arguments.first + arguments.cells):
        facts, tired, kind = make_cell(seed)
        findings = find_fatigue(facts, FatigueRule())
        falling = [i for i, one in enumerate(findings) if one.finding is Finding.FALLING]
        key = (kind, tired is not None)
        cases[key] += 1
        hits[key] += falling == [tired] if tired is not None else bool(falling)
    print(f"{'disturbance':12s} planted  right   without  false")
    for kind in KINDS:
        p, n = (kind, True), (kind, False)
        print(f"{kind:12s} {cases[p]:7d} {hits[p]:6d} {cases[n]:9d} {hits[n]:6d}")
    for planted, word in ((True, "right"), (False, "false")):
        many = sum(count for key, count in cases.items() if key[1] == planted)
        few = sum(count for key, count in hits.items() if key[1] == planted)
        print(f"{word}: {few} of {many} ({100 * few / max(many, 1):.1f} %)")
    print(f"{time.process_time() - start:.1f} CPU s")


if __name__ == "__main__":
    main()
