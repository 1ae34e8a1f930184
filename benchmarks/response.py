"""Seconds and memory of fitting and planning, by the number of cells.

    uv run python -m benchmarks.response [--cells 50 500 10000] [--weeks 104]

Synthetic weekly lifts and claims of two years, each size in a process of its own. "fit" is the main
member (curves with calibrated claims), "sales alone" the same from daily sales and claims, as it is
without holdouts, "ensemble" all members with what they must predict, "allocate" the exact plan from
200 joint draws.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from decimal import Decimal

import numpy as np
import pandas as pd

from models.response.fit import FitFeeds, ResponseConfig, fit_response

CHANNELS = 10


def evidence(cells: int, weeks: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Lifts, daily spend and claims of a saturating market with steady jitter."""
    rng = np.random.default_rng(cells)
    segments = max(cells // CHANNELS, 1)
    names = [f"segment {s:04d}" for s in range(segments)]
    channels = [f"channel {c}" for c in range(CHANNELS)]
    usual = rng.lognormal(7, 0.5, (segments, CHANNELS))
    spend = usual * rng.lognormal(0, 0.2, (weeks, segments, CHANNELS))
    m = 2.4 * rng.lognormal(0, 0.5, CHANNELS) * rng.lognormal(0, 0.35, (segments, CHANNELS))
    scale = usual * rng.lognormal(0, 0.3, CHANNELS)
    earned = m * spend / (1 + spend / scale)
    noise = 2.0 * np.broadcast_to(m * usual / (1 + usual / scale), spend.shape)
    sold = 60 * usual.sum(axis=1)[:, None] * rng.lognormal(0, 0.05, (weeks, segments, 1))
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * np.arange(weeks), unit="D")
    rows = pd.DataFrame(
        {
            "segment": np.tile(np.repeat(names, CHANNELS), weeks),
            "channel": np.tile(channels, weeks * segments),
            "period_start": np.repeat(start, segments * CHANNELS),
            "spend": spend.ravel(),
            "lift": (earned + noise * rng.standard_normal(spend.shape)).ravel(),
            "standard_error": noise.ravel(),
            "claimed": (1.5 * earned * rng.lognormal(0, 0.05, spend.shape) + 0.02 * sold).ravel(),
            "sold": np.broadcast_to(sold, spend.shape).ravel(),
        }
    )
    rows["period_end"] = rows["period_start"] + pd.Timedelta(days=6)
    columns = pd.MultiIndex.from_product([names, channels], names=["segment", "channel"])
    daily = pd.DataFrame(
        np.repeat(spend.reshape(weeks, -1), 7, axis=0),
        index=pd.date_range(start[0], periods=7 * weeks, name="date"),
        columns=columns,
    )
    keys = ["segment", "channel", "period_start", "period_end"]
    lifts = rows[[*keys, "spend", "lift", "standard_error"]]
    return lifts, daily, rows[[*keys, "claimed", "sold"]]


def sales_alone(lifts: pd.DataFrame, daily: pd.DataFrame, claims: pd.DataFrame) -> FitFeeds:
    """The same market without its holdouts: a segment's sales of a day, and no lift."""
    keys = ["segment", "period_start"]
    earned = lifts.groupby(keys)["lift"].sum()
    weekly = claims.groupby(keys)["sold"].first() + earned
    days = daily.index.to_numpy()
    rng = np.random.default_rng(1)
    table = weekly.unstack("segment").reindex(daily.index, method="ffill")
    noisy = table * rng.lognormal(0, 0.1, table.shape)
    sales = pd.DataFrame(
        {
            "date": np.repeat(days, table.shape[1]),
            "segment": np.tile(table.columns.to_numpy(), len(days)),
            "revenue": noisy.to_numpy().ravel(),
        }
    )
    return FitFeeds(lifts=lifts.iloc[:0], daily_spend=daily, claims=claims, sales=sales)


def measure(cells: int, weeks: int) -> None:
    """Print one row of the table."""
    from liftloop.core.allocation.allocate import allocate
    from liftloop.core.allocation.constraints import resolve_rules
    from liftloop.core.policy import Policy
    from models.response.ensemble import fit_ensemble

    lifts, daily, claims = evidence(cells, weeks)
    feeds = FitFeeds(lifts=lifts, daily_spend=daily, claims=claims)
    marks = [(time.process_time(), time.perf_counter())]

    def took() -> str:
        marks.append((time.process_time(), time.perf_counter()))
        cpu, wall = (b - a for a, b in zip(marks[-2], marks[-1], strict=True))
        return f"{cpu:>9.2f} {wall:>9.2f}"

    fit = fit_response(feeds, config=ResponseConfig())
    shown = [took()]
    fit_response(sales_alone(lifts, daily, claims), config=ResponseConfig())
    shown.append(took())
    curves = fit_ensemble(feeds, main=fit).curves
    shown.append(took())
    usual = daily.iloc[-28:].mean()
    budgets = [Decimal(f"{usual[cell.segment, cell.channel]:.2f}") for cell in curves.cells]
    incumbent = Policy.of(zip(curves.cells, budgets, strict=True))
    rules = resolve_rules(cells=curves.cells, total=incumbent.total)
    marks.append((time.process_time(), time.perf_counter()))
    allocate(curves=curves, rules=rules, incumbent=incumbent)
    shown.append(took())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{cells:>6} {' | '.join(shown)} | {peak:>8.0f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[50, 500, 10_000])
    parser.add_argument("--weeks", type=int, default=104)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        measure(asked.cells[0], asked.weeks)
        return
    print(
        f"{asked.weeks} weeks; CPU and wall seconds of "
        "fit | sales alone | ensemble | allocate | peak MB"
    )
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for cells in asked.cells:
        one = ["--one", "--cells", str(cells), "--weeks", str(asked.weeks)]
        subprocess.run([sys.executable, "-m", "benchmarks.response", *one], env=quiet, check=True)


if __name__ == "__main__":
    main()
