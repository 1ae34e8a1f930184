"""Who gets which variant: users by a public hash, segments by a draw, days by turns.

Users are assigned as GrowthBook's SDKs do with ``hashVersion`` 2, so that any of them, given the
test's name as seed and the shares as weights, assigns the same: FNV-1a (32 bits) of seed and unit,
FNV-1a of that number's decimal digits, modulo 10,000, over 10,000; the variant is the one in whose
range of cumulated shares this falls (GrowthBook, "Building your own SDK", sections on hashing and
bucket ranges; Fowler, Noll and Vo for the hash).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import isclose

import numpy as np

from liftloop.core.arrays import Array, Days
from liftloop.core.experiments.design import turn_weeks_of, washout_of
from liftloop.core.experiments.switch_back import Turns
from liftloop.core.rollout.assignment import likeness
from liftloop.core.variant_tests.observations import VariantDays

BUCKETS = 10_000
_OFFSET, _PRIME = 0x811C9DC5, 0x01000193  # of FNV-1a with 32 bits


def _fnv1a(text: str) -> int:
    value = _OFFSET
    for character in text:
        value = ((value ^ ord(character)) * _PRIME) & 0xFFFFFFFF
    return value


def bucket_of(unit: str, *, test: str) -> float:
    """The unit's place in [0, 1), in steps of 1 / :data:`BUCKETS`: GrowthBook's hash, version 2."""
    return (_fnv1a(str(_fnv1a(test + unit))) % BUCKETS) / BUCKETS


def bucket_ranges(shares: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """First bucket and the one after the last by variant, in the order of ``shares``.

    Raises ``ValueError`` unless the shares are not negative and sum to 1.
    """
    if min(shares.values(), default=-1.0) < 0 or not isclose(
        sum(shares.values()), 1.0, abs_tol=1e-6
    ):
        raise ValueError(f"Shares must not be negative and sum to 1: {dict(shares)}.")
    ends = np.cumsum([0.0, *shares.values()]).tolist()
    ends[-1] = 1.0  # no bucket may be lost to rounding
    return dict(zip(shares, pairwise(ends), strict=True))


def variant_of(unit: str, *, test: str, shares: Mapping[str, float]) -> str:
    """The variant of a user, the same whenever and wherever it is asked.

    Parameters
    ----------
    unit
        The user's id, as text.
    test
        The test's name: another test draws anew.
    shares
        By variant, in the test's order, summing to 1. As long as they stay, everyone keeps their
        variant; a change of shares moves as few as the cumulated ranges move.

    Raises
    ------
    ValueError
        Unless the shares are not negative and sum to 1.
    """
    place = bucket_of(unit, test=test)
    for variant, (first, after) in bucket_ranges(shares).items():
        if first <= place < after:
            return variant
    raise AssertionError("the ranges cover [0, 1)")


def assign_segments(
    sizes: Mapping[str, float],
    variants: Sequence[str],
    *,
    seed: int,
    history: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, str]:
    """The variant of each segment: complete blocks of segments alike, drawn at random in each.

    Parameters
    ----------
    sizes
        Daily spend or units by segment.
    seed
        Recorded with the test: the same sizes, history and seed assign the same.
    history
        Sales by segment and week, the oldest first; segments that move together share a block then
        (:func:`liftloop.core.rollout.assignment.likeness`).

    Raises
    ------
    ValueError
        If there are fewer segments than variants.
    """
    if len(sizes) < len(variants):
        raise ValueError(f"{len(variants)} variants need as many segments; there are {len(sizes)}.")
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    alike = likeness(names, sizes, history)
    rng = np.random.default_rng([seed, 4])
    assigned: dict[str, str] = {}
    left = list(range(len(names)))
    while left:  # the largest segment left and those most like it (Moore 2012, section 2)
        block = sorted(left, key=lambda i: (alike.distance[left[0], i], i))[: len(variants)]
        for place, variant in zip(block, rng.permutation(len(variants)), strict=False):
            assigned[names[place]] = variants[variant]
        left = [i for i in left if i not in block]
    return {name: assigned[name] for name in sizes}


@dataclass(frozen=True, slots=True)
class VariantTurn:
    """A stretch of days on which one variant alone runs; the days before ``compared_from`` are
    wash-out, in which the turn before is still felt."""

    variant: str
    first: date
    compared_from: date
    last: date


def turns_for(carryover: float) -> Turns:
    """The shortest turns of whole weeks of which at least half is compared after the wash-out.

    Parameters
    ----------
    carryover
        Share of an effect that is still felt a day later.
    """
    washout = washout_of(carryover)
    return Turns(turn_weeks_of(washout), washout)


def assign_days(
    variants: Sequence[str], *, start: date, turns: Turns, rounds: int, seed: int
) -> tuple[VariantTurn, ...]:
    """Turns in rounds: in each, every variant has one, in an order drawn by ``seed``.

    With two variants, this is the coin a pair of
    :func:`liftloop.core.experiments.design.draw_turns`. Orders of different rounds are independent,
    for the reason given there.
    """
    rng = np.random.default_rng([seed, 5])
    schedule = []
    for round_ in range(rounds):
        for turn, variant in enumerate(rng.permutation(len(variants))):
            first = start + timedelta(days=(round_ * len(variants) + turn) * turns.days)
            schedule.append(
                VariantTurn(
                    variants[variant],
                    first,
                    first + timedelta(days=turns.washout),
                    first + timedelta(days=turns.days - 1),
                )
            )
    return tuple(schedule)


def by_rounds(facts: VariantDays, schedule: Sequence[VariantTurn]) -> VariantDays:
    """Facts of a test by time, one column a whole round: the sums over the days compared.

    What units tell of their variance is left out: turns differ by more than their units do. A round
    is as mature as its youngest day, and bears the last day of its last turn.
    """
    size = len(facts.variants)
    rounds = [schedule[i : i + size] for i in range(0, len(schedule) - size + 1, size)]
    rounds = [turns for turns in rounds if np.isin(np.datetime64(turns[-1].last), facts.days)]
    inside = np.zeros((len(rounds), size, len(facts.days)), dtype=bool)
    for number, turns in enumerate(rounds):
        for turn in turns:
            span = (facts.days >= np.datetime64(turn.compared_from)) & (
                facts.days <= np.datetime64(turn.last)
            )
            inside[number, facts.variants.index(turn.variant)] = span
    last: Days = np.array([turns[-1].last for turns in rounds], dtype="datetime64[D]")

    def summed(values: Array) -> Array:
        return np.asarray(np.einsum("rvd,vd->vr", inside, values))

    matured = np.array([facts.matured[round_.any(axis=0)].min() for round_ in inside])
    return VariantDays(
        facts.variants,
        last,
        summed(facts.units),
        summed(facts.spend),
        summed(facts.value),
        matured=matured,
    )
