"""Do the 90 % intervals hold? Curves fitted to the history of many base markets, against the truth.

    uv run python -m benchmarks.coverage [--markets 1000] [--first 2000] [--jobs 2]

Each market is a draw of nature with eight weeks of history. Asked is each cell's incremental
revenue a day at what it spent of late, held steady, and the total of all cells. The error of the
coverage is clustered by market: the cells of one market share its luck.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

LEVEL = (0.05, 0.95)


def one(seed: int) -> tuple[float, float, float, float]:
    """Of one market: the share of cells covered, whether the total is, and of the total the error
    and the interval's width, both as shares of the truth."""
    from liftloop.markets import HillMarket
    from liftloop.settings.schema import Model, Settings
    from tasks.model.learning import learn_from_holdout

    market = HillMarket(seed)
    feeds = market.history()
    feeds["experiments"], feeds["units"] = pd.DataFrame(), pd.DataFrame()
    for frame in feeds.values():
        if "date" in frame:
            frame["date"] = pd.to_datetime(frame["date"])
    model = learn_from_holdout(
        Settings(model=Model(threads=1, tuning_trials=0)),
        feeds,
        as_of=market.start,
        for_registry=False,
    )
    spent = feeds["performance"]
    recent = spent[(spent["date"] >= pd.Timestamp(market.start) - pd.Timedelta(days=7)).to_numpy()]
    budgets = recent.groupby(["segment", "channel"])["spend"].mean().rename("daily_budget")
    truth = market.expected(budgets.reset_index()).set_index(["segment", "channel"])
    places = [(cell.segment, cell.channel) for cell in model.curves.cells]
    earned = truth["incremental_revenue"].loc[places].to_numpy()
    drawn = model.curves.draw_revenue(budgets.loc[places].to_numpy())
    low, high = np.quantile(drawn, LEVEL, axis=0)
    bottom, top = np.quantile(drawn.sum(axis=1), LEVEL)
    total = float(earned.sum())
    return (
        float(((earned >= low) & (earned <= high)).mean()),
        float(bottom <= total <= top),
        float(drawn.sum(axis=1).mean() / total - 1.0),
        float((top - bottom) / total),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=1000)
    parser.add_argument("--first", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.markets)
    with ProcessPoolExecutor(asked.jobs) as pool:
        found = np.array(list(pool.map(one, seeds, chunksize=10)))
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    print(f"{len(found)} markets of 50 cells, 90 % intervals")
    print(f"cells covered  {found[:, 0].mean():.3f} ± {error[0]:.3f} (clustered by market)")
    print(f"total covered  {found[:, 1].mean():.3f} ± {error[1]:.3f}")
    print(f"total's error  {found[:, 2].mean():+.3f} ± {error[2]:.3f}, sd {found[:, 2].std():.3f}")
    print(f"total's width  {found[:, 3].mean():.3f}")


if __name__ == "__main__":
    main()
