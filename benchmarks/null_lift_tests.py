"""Null, negative and spend-cut lift tests: what is claimed for them, and what moves.

    uv run python -m benchmarks.null_lift_tests --draws 300

A draw is an account of 6 to 100 cells with spend of 100 days and no holdout. A lift test in one to
eight segments of a channel that earns nothing there (or does harm) is all the evidence. A cut
switches the channel off, half of the time for good. Asked for: the 90 % interval of the tested
cells' revenue covers 0 in 90 % of the null tests, and no cell is ever switched on by one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import plan_budgets
from liftloop.settings.schema import Settings
from tasks.model.learning import learn_from_holdout

DAYS = 100
KINDS = ("null", "negative", "cut")
FIRST_SEED = 2000
EMPTY = {
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
    "units": ["experiment", "unit_id", "segment", "channel", "arm", "assigned_on"],
}


def account(seed: int) -> tuple[dict[str, pd.DataFrame], Policy, tuple[Cell, ...], dict[str, Any]]:
    """Feeds, budgets in force, the tested cells, and the truth: kind, the test's return per unit of
    its spend change, the test's standard error over the spend change."""
    rng = np.random.default_rng(seed)
    channels, segments = int(rng.integers(2, 6)), int(rng.integers(3, 21))
    base = rng.lognormal(6.5, 0.5, (segments, channels))
    spend = base * np.exp(rng.normal(0, 0.1, (DAYS, segments, channels)))
    kind = str(rng.choice(KINDS))
    tested = np.sort(rng.choice(segments, int(rng.integers(1, min(segments, 8) + 1)), False))
    length = int(rng.integers(7, 36))
    first = int(rng.integers(40, DAYS - length + 1))
    usual = float(base[tested, 0].sum() * length)
    if kind == "cut":
        spend[first : DAYS if rng.random() < 0.5 else first + length, tested, 0] = 0.0
        change = -usual
    else:
        raised = rng.uniform(0.2, 1.0)
        spend[first : first + length, tested, 0] *= 1 + raised
        change = raised * usual
    error = rng.uniform(0.05, 0.5) * abs(change)
    truth = -rng.uniform(0.2, 1.0) if kind == "negative" else 0.0
    days = pd.date_range("2025-01-01", periods=DAYS)
    names = [f"segment {s}" for s in range(segments)], [f"channel {c}" for c in range(channels)]
    index = pd.MultiIndex.from_product([days, *names], names=["date", "segment", "channel"])
    rows = pd.DataFrame({"spend": spend.ravel().round(2)}, index).reset_index()
    performance = rows.assign(
        impressions=(rows["spend"] * 10).astype(int),
        clicks=rows["spend"].astype(int),
        conversions=rows["spend"] * 0.02,
        revenue=rows["spend"] * 3.0,
    )
    test = {
        "experiment": "test",
        "segments": ";".join(names[0][s] for s in tested),
        "channel": names[1][0],
        "start": days[first],
        "end": days[first + length - 1],
        "spend_delta": change,
        "incremental_revenue": truth * change + error * rng.standard_normal(),
        "standard_error": error,
    }
    feeds = {name: pd.DataFrame(columns=columns) for name, columns in EMPTY.items()}
    feeds |= {"performance": performance, "experiments": pd.DataFrame([test])}
    last = spend[-1].round(2)
    budgets = Policy.of(
        {
            Cell(s, c): Decimal(f"{last[i, j]:.2f}")
            for i, s in enumerate(names[0])
            for j, c in enumerate(names[1])
        }
    )
    about = tuple(Cell(names[0][s], names[1][0]) for s in tested)
    usual_of = {
        Cell(s, c): base[i, j] for i, s in enumerate(names[0]) for j, c in enumerate(names[1])
    }
    return feeds, budgets, about, {"kind": kind, "truth": truth, "usual": usual_of}


def measure(seed: int) -> dict[str, Any]:
    """What the loop makes of one draw."""
    feeds, budgets, about, truth = account(seed)
    settings = Settings()
    as_of = (feeds["performance"]["date"].max() + timedelta(days=1)).date()
    model = learn_from_holdout(settings, feeds, as_of=as_of, for_registry=False)
    plan = plan_budgets(
        settings,
        curves=model.curves,
        incumbent=budgets,
        frozen=(),
        evidence=PlanEvidence(as_of=as_of, facts=feeds),
    )
    usual: Mapping[Cell, float] = truth["usual"]
    spend = np.array([usual[cell] for cell in model.curves.cells])
    inside = [model.curves.cells.index(cell) for cell in about]
    drawn = model.curves.draw_revenue(spend)[:, inside].sum(axis=1) / spend[inside].sum()
    low, high = np.quantile(drawn, [0.05, 0.95])
    before, after = budgets.as_dict(), plan.policy.as_dict()
    channel = [cell for cell in before if cell.channel == about[0].channel]
    return {
        "seed": seed,
        "kind": truth["kind"],
        "covers 0": low <= 0 <= high,
        "covers the truth": low <= truth["truth"] <= high,
        "mean": drawn.mean(),
        "switched on": sum(before[cell] == 0 < after[cell] for cell in before),
        "money in": sum(max(float(after[c] - before[c]), 0.0) for c in channel),
        "money out": sum(max(float(before[c] - after[c]), 0.0) for c in channel),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    asked = parser.parse_args()
    rows = pd.DataFrame([measure(seed) for seed in range(asked.first, asked.first + asked.draws)])
    print(
        "| test | draws | interval covers 0 | covers the truth | mean return | cells switched on "
        "| of the channel: in, out (a day) |\n|---|---|---|---|---|---|---|"
    )
    for kind in KINDS:
        mine = rows[rows["kind"] == kind]
        print(
            f"| {kind} | {len(mine)} | {mine['covers 0'].mean():.3f} | "
            f"{mine['covers the truth'].mean():.3f} | {mine['mean'].mean():+.3f} | "
            f"{mine['switched on'].sum()} | {mine['money in'].sum():,.0f}, "
            f"{mine['money out'].sum():,.0f} |"
        )


if __name__ == "__main__":
    main()
