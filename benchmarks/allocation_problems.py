"""Random allocation problems: exact totals, every rule, and the optimum of an independent solver.

    uv run python -m benchmarks.allocation_problems --problems 10000

Each seeded problem has 2 to 60 cells, one of the curve families, floors, caps, steps, freezes, and
groups that are disjoint, overlapping or absent. The reference shares nothing with the allocation:
it minimizes the Lagrangian dual of the exact concave problem (each cell's best spend at a price by
bisection on its own marginal return, HiGHS for the bundle of cuts), whose value is an upper bound
on what any plan earns. So a gap below 1e-6 proves the plan, not merely agreement.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from liftloop.core.allocation.allocate import allocate, best_spend
from liftloop.core.allocation.constraints import Book, Rules, book, broken_rules, resolve_rules
from liftloop.core.allocation.infeasibility import conflicting, possible
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.curves.saturating import FAMILIES, SaturatingCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

Array = NDArray[np.float64]
KINDS = ("none", "disjoint", "overlapping")
CUTS, GAP = 400, 8e-7


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one problem: ``kind`` of groups, ``gap`` to the bound (None: infeasible), and
    what went ``wrong`` ("" for nothing)."""

    kind: str
    family: str
    gap: float | None
    wrong: str


def problem(seed: int) -> tuple[str, SaturatingCurves, Rules, Policy]:
    """The seeded problem: kind of groups, curves, rules and the budgets in force."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % 3]
    n = int(rng.integers(2, 61))
    family = [*sorted(FAMILIES), "bent"][int(rng.integers(len(FAMILIES) + 1))]
    draws = int(rng.integers(1, 6))
    wide = int(rng.integers(1, 6))
    budgets = np.round(1000 * rng.lognormal(0, 0.8, n), 2)
    curves = SaturatingCurves(
        cells=tuple(Cell(f"s{i // wide:02d}", f"c{i % wide}") for i in range(n)),
        marginal_at_zero=2.5 * rng.lognormal(0, 0.7, (draws, n)),
        half_saturation=budgets * rng.lognormal(0, 0.7, (draws, n)),
        carryover=np.zeros(n),
        family=family,
        bend=rng.uniform(0.4, 5.0, (draws, n)) if family == "bent" else None,
    )
    cents = [round(float(b) * 100) for b in budgets]
    incumbent = Policy.of(zip(curves.cells, map(from_cents, cents), strict=True))
    segments = sorted({cell.segment for cell in curves.cells})
    channels = sorted({cell.channel for cell in curves.cells})
    total = incumbent.total * Decimal(str(round(float(rng.choice([1, 1, 0.95, 1.05, 1.4])), 2)))
    total = from_cents(to_cents(total))

    def pick(names: Sequence[str]) -> str:
        return str(rng.choice([*names, "*"]))

    def money(amount: float) -> Decimal:
        return from_cents(round(amount * 100))

    held = incumbent.as_dict()

    def inside(some: Sequence[str], others: Sequence[str]) -> float:
        return sum(
            float(held[c])
            for c in curves.cells
            if c.segment in some and ("*" in others or c.channel in others)
        )

    groups = []
    if kind != "none":
        cut = sorted({int(v) for v in rng.integers(0, len(segments) + 1, 2)} | {0, len(segments)})
        for at, (a, b) in enumerate(pairwise(cut)):
            now = inside(segments[a:b], ["*"])
            groups.append(
                Group(
                    f"g{at}",
                    tuple(segments[a:b]),
                    ("*",),
                    money(now * rng.uniform(0, 1.02)),
                    money(now * rng.uniform(0.97, 1.3)) if rng.random() < 0.7 else None,
                )
            )
    if kind == "overlapping":
        channel = str(rng.choice(channels))
        now = inside(segments, [channel])
        groups.append(
            Group(
                "o",
                ("*",),
                (channel,),
                money(now * rng.uniform(0, 0.95)),
                money(now * rng.uniform(1, 1.3)),
            )
        )
    limits = [
        (
            pick(segments),
            pick(channels),
            money(float(rng.choice([0, 50, 300]))),
            money(rng.uniform(500, 6000)) if rng.random() < 0.5 else None,
        )
        for _ in range(int(rng.integers(0, 3)))
    ]
    frozen = [(str(rng.choice(segments)), pick(channels))] if rng.random() < 0.4 else []
    step = [None, 0.1, 0.25, 1.0][int(rng.integers(4))]
    rules = resolve_rules(
        cells=curves.cells, total=total, limits=limits, groups=groups, frozen=frozen, max_step=step
    )
    return kind, curves, rules, incumbent


def dual_bound(
    curves: SaturatingCurves, written: Book, *, good: float, enough: float = GAP
) -> float:
    """An upper bound on the revenue of any plan in real amounts (account currency): the Lagrangian
    dual, minimized by cutting planes over the prices until within ``enough`` of ``good``."""
    low, high = written.low / 100, written.high / 100
    rows = np.vstack([np.ones(len(low)), written.membership, -written.membership.astype(float)])
    right = (
        np.concatenate(
            [[written.total], np.minimum(written.group_high, written.total), -written.group_low]
        )
        / 100
    )
    m0 = float(curves.mean_marginal(low).max()) or 1.0
    unit = written.total / 100 or 1.0
    # A group's price may outweigh the total's, and both the steepest cell's, where groups overlap.
    far = 4 * m0
    box = [(-far, far), *([(0.0, far)] * (len(right) - 1))]

    def dual(prices: Array) -> tuple[float, Array]:
        price = rows.T @ prices
        a, b = low.copy(), high.copy()
        for _ in range(70):
            middle = (a + b) / 2
            up = curves.mean_marginal(middle) > price
            a, b = np.where(up, middle, a), np.where(up, b, middle)
        spend = np.where(curves.mean_marginal(high) >= price, high, (a + b) / 2)
        spend = np.where(curves.mean_marginal(low) <= price, low, spend)
        value = float((curves.mean_revenue(spend) - price * spend).sum() + prices @ right)
        return value, right - rows @ spend

    best, point = np.inf, np.zeros(len(right))
    point[0] = m0 / 2
    center, radius = point, m0
    planes: list[Array] = []
    heights: list[float] = []
    for _ in range(CUTS):
        value, slope = dual(point)
        planes.append(np.append(slope / unit, -1.0))
        heights.append(float(slope @ point - value) / unit)
        if value < best:
            best, center = value, point
        else:
            radius *= 0.7  # stay where the cuts are true
        if best - good <= enough * abs(good):
            break
        near = [
            (max(lo, c - radius), min(hi, c + radius))
            for (lo, hi), c in zip(box, center, strict=True)
        ]
        model = linprog(
            np.append(np.zeros(len(right)), 1.0),
            A_ub=np.array(planes),
            b_ub=heights,
            bounds=[*near, (None, None)],
            method="highs",
        )
        if model.x is None:
            break
        radius = min(m0, radius * 1.15)
        point = model.x[:-1]
    return float(best)


def check(seed: int) -> Checked:
    """One problem, solved and examined."""
    kind, curves, rules, incumbent = problem(seed)
    family = curves.family
    written = book(rules, incumbent=incumbent)
    try:
        found = allocate(curves=curves, rules=rules, incumbent=incumbent)
    except InfeasibleBudget:
        conflict = conflicting(written)
        n = len(rules.cells)
        true = bool(conflict) and not possible(conflict, n)
        smallest = all(possible([r for r in conflict if r is not out], n) for out in conflict)
        return Checked(kind, family, None, "" if true and smallest else "names no true conflict")
    held = found.policy.as_dict()
    cents = np.array([to_cents(held[cell]) for cell in rules.cells], dtype=np.int64)
    wrong = ""
    if found.policy.total != rules.total:
        wrong = "the total is not exact"
    elif broken_rules(cents, written):
        wrong = f"breaks {broken_rules(cents, written)}"
    spend = best_spend(curves=curves, written=written)
    earned = float(curves.mean_revenue(spend).sum())
    bound = dual_bound(curves, written, good=earned)
    gap = bound / earned - 1 if earned > 0 else 0.0
    if gap > 1e-6:
        wrong = wrong or f"{gap:.1e} below the bound"
    return Checked(kind, family, gap, wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    began = time.process_time()
    every = {seed: check(seed) for seed in range(asked.first, asked.first + asked.problems)}
    heads = ["groups", "problems", "feasible", "infeasible", "largest gap", "wrong"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for kind in KINDS:
        some = [one for one in every.values() if one.kind == kind]
        gaps = [one.gap for one in some if one.gap is not None]
        wrong = sum(bool(one.wrong) for one in some)
        print(
            f"| {kind} | {len(some):,} | {len(gaps):,} | {len(some) - len(gaps):,} | "
            f"{max(gaps, default=0.0):.1e} | {wrong} |"
        )
    for seed, one in every.items():
        if one.wrong:
            print(f"seed {seed} ({one.kind}, {one.family}): {one.wrong}")
    print(
        f"{time.process_time() - began:.0f} CPU s; families: "
        f"{dict(Counter(one.family for one in every.values()))}"
    )


if __name__ == "__main__":
    main()
