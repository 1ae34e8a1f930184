"""How long an exact plan takes, beside general solvers.

    uv run python -m benchmarks.allocation

CPU seconds of one plan under a step of 25 % and ten group maxima that do not overlap. *Ours* is
``allocate`` as production calls it: 200 joint draws a cell, rules compiled, whole cents, bindings,
prices and the gain's interval. *Bisection* is the solver alone on curves known for certain, which
is what SLSQP (scipy) and HiGHS (30 linear pieces a cell) get too. Gap: revenue below the best
found; more than the best only by breaking a bound within the solver's tolerance.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.allocation.rule_patterns import Group
from liftloop.core.allocation.solver_concave import Problem, solve
from liftloop.core.allocation.solver_lp import piecewise_plan
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy, from_cents

Array = NDArray[np.float64]
GROUPS = 10
SLSQP_MOST, HIGHS_MOST = 200, 1_000  # beyond: 385 s (SLSQP, 1,000), minutes (HiGHS, 10,000)


def market(cells: int, draws: int) -> tuple[SaturatingCurves, Array]:
    """Curves and budgets of ``cells`` cells in 5 channels."""
    rng = np.random.default_rng(0)
    budgets = np.round(1000 * rng.lognormal(0, 0.6, cells), 2)
    noise = rng.normal(size=(2, draws, cells)) if draws > 1 else np.zeros((2, 1, cells))
    curves = SaturatingCurves(
        cells=tuple(Cell(f"s{i // 5:06d}", f"c{i % 5}") for i in range(cells)),
        marginal_at_zero=2.4 * np.exp(rng.normal(0, 0.6, cells) + 0.2 * noise[0]),
        half_saturation=budgets * np.exp(rng.normal(0, 0.5, cells) + 0.3 * noise[1]),
        carryover=np.full(cells, 0.3),
    )
    return curves, budgets


def timed(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def bench(cells: int) -> list[str]:
    """One row of the table."""
    curves, budgets = market(cells, 200)
    group = np.arange(cells) // 5 * GROUPS // (cells // 5)  # whole segments
    most = np.array([1.02 * budgets[group == g].sum() for g in range(GROUPS)])
    segments = [
        sorted({curves.cells[i].segment for i in np.flatnonzero(group == g)}) for g in range(GROUPS)
    ]
    incumbent = Policy.of(
        {c: from_cents(round(b * 100)) for c, b in zip(curves.cells, budgets, strict=True)}
    )
    rules = resolve_rules(
        cells=curves.cells,
        total=incumbent.total,
        groups=[
            Group(f"g{g}", tuple(names), maximum=Decimal(f"{most[g]:.2f}"))
            for g, names in enumerate(segments)
        ],
    )
    ours = timed(lambda: allocate(curves=curves, rules=rules, incumbent=incumbent))

    sure, _ = market(cells, 1)
    low, high = 0.75 * budgets, 1.25 * budgets
    problem = Problem(
        low=low,
        high=high,
        total=float(budgets.sum()),
        part=group.astype(np.intp),
        part_low=np.zeros(GROUPS),
        part_high=most,
    )
    plans: dict[str, Array] = {}
    times = [timed(lambda: plans.update(bisection=solve(problem, sure.mean_marginal).spend))]
    rows = np.array([group == g for g in range(GROUPS)])
    if cells <= SLSQP_MOST:
        times.append(timed(lambda: plans.update(slsqp=slsqp(sure, problem, rows, most))))
    if cells <= HIGHS_MOST:
        nodes = low + (high - low) * np.linspace(0, 1, 31)[:, None]
        revenue = np.array([sure.mean_revenue(level) for level in nodes])
        times.append(
            timed(
                lambda: plans.update(
                    highs=piecewise_plan(
                        nodes=nodes,
                        revenue=revenue,
                        total=problem.total,
                        membership=rows,
                        group_low=np.zeros(GROUPS),
                        group_high=most,
                    )[0]
                )
            )
        )
    earned = {name: float(sure.mean_revenue(plan).sum()) for name, plan in plans.items()}
    best = max(earned.values())
    shown = {
        name: f"{t:.3f} s (gap {1 - earned[name] / best:.1e})"
        for name, t in zip(plans, times, strict=True)
    }
    return [
        f"{cells:,}",
        f"{ours:.3f} s",
        *(shown.get(name, "not tried") for name in ("bisection", "slsqp", "highs")),
    ]


def slsqp(curves: SaturatingCurves, problem: Problem, rows: Array, most: Array) -> Array:
    """scipy's SLSQP with gradient, in units of the average budget."""
    unit = problem.total / len(problem.low)
    inside = rows.astype(float)
    constraints: list[Any] = [
        {"type": "eq", "fun": lambda z: z.sum() - len(z), "jac": lambda z: np.ones((1, len(z)))},
        {"type": "ineq", "fun": lambda z: most / unit - inside @ z, "jac": lambda z: -inside},
    ]

    def lost(z: Array) -> float:
        return float(-curves.mean_revenue(z * unit).sum() / problem.total)

    def slope(z: Array) -> Array:
        return np.asarray(-curves.mean_marginal(z * unit) * unit / problem.total)

    found = minimize(
        lost,
        (problem.low + problem.high) / 2 / unit,
        jac=slope,
        bounds=list(zip(problem.low / unit, problem.high / unit, strict=True)),
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-10},
    )
    return np.asarray(found.x * unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="*", default=[70, 1_000, 10_000, 100_000])
    heads = ["cells", "ours", "bisection", "SLSQP", "HiGHS, 30 pieces"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for cells in parser.parse_args().cells:
        print("| " + " | ".join(bench(cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
