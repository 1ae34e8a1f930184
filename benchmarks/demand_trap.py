"""What a regression of sales on spend says where spend follows demand, beside what we say.

    uv run python -m benchmarks.demand_trap [--seeds 110-113]

Spend of the market rises with the weekday's demand and with yesterday's sales; platforms bid up
when people buy. *Regression*: ordinary least squares of a segment's daily sales on its spend by
channel, one intercept a segment, which is what a spreadsheet does. Both are asked for each
channel's incremental revenue a day at the last week's spend; the truth is the market's.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np
import pandas as pd

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


def regression(performance: pd.DataFrame, sales: pd.DataFrame) -> dict[str, float]:
    """Revenue per unit of spend by channel: sales on spend within segments."""
    spend = performance.groupby(["date", "segment", "channel"])["spend"].sum().unstack("channel")
    sold = sales.groupby(["date", "segment"])["revenue"].sum()
    both = spend.join(sold, how="inner").fillna(0.0)
    inside = both - both.groupby("segment").transform("mean")
    x, y = inside[spend.columns].to_numpy(), inside["revenue"].to_numpy()
    found, *_ = np.linalg.lstsq(x, y, rcond=None)
    return dict(zip(map(str, spend.columns), map(float, found), strict=True))


def asked(market_class: Any, seed: int) -> pd.DataFrame:
    """Each channel's incremental revenue a day: truth, regression, ours with its 90 % interval."""
    from liftloop.settings.schema import Model, Settings
    from tasks.model.learning import learn_from_holdout

    market = market_class(seed)
    feeds = market.history()
    feeds |= {"experiments": pd.DataFrame(), "units": pd.DataFrame()}
    for frame in feeds.values():
        if "date" in frame:
            frame["date"] = pd.to_datetime(frame["date"])
    settings = Settings(model=Model(threads=1, tuning_trials=0))
    model = learn_from_holdout(settings, feeds, as_of=market.start, for_registry=False)
    spent = feeds["performance"]
    week = spent[spent["date"] >= pd.Timestamp(market.start) - pd.Timedelta(days=7)]
    budgets = week.groupby(["segment", "channel"])["spend"].mean().rename("daily_budget")
    truth = market.expected(budgets.reset_index()).set_index(["segment", "channel"])
    cells = model.curves.cells
    spend = budgets.loc[[(c.segment, c.channel) for c in cells]].to_numpy()
    drawn = model.curves.draw_revenue(spend)
    names = np.array([cell.channel for cell in cells])
    naive = regression(spent, feeds["sales"])
    rows = []
    for channel in sorted(set(names)):
        total = drawn[:, names == channel].sum(axis=1)
        low, high = np.quantile(total, [0.05, 0.95])
        true = truth.xs(channel, level="channel")["incremental_revenue"].sum()
        money = spend[names == channel].sum()
        ours = [float(x) / money for x in (total.mean(), low, high)]
        rows.append((seed, channel, true / money, naive[channel], *ours))
    columns = ["seed", "channel", "true", "regression", "ours", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    """Print a table for each market, and how far both are off."""
    from liftloop.markets.without_holdouts import DemandMarket, SalesMarket

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="110-113")
    first, _, last = parser.parse_args().seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    for words, market in (("spend follows demand", DemandMarket), ("it does not", SalesMarket)):
        found = pd.concat([asked(market, seed) for seed in seeds], ignore_index=True)
        print(f"{words}: revenue caused per unit of spend, {len(found)} channels")
        print(found.round(2).to_string(index=False))
        covered = ((found["low"] <= found["true"]) & (found["true"] <= found["high"])).mean()
        for name in ("regression", "ours"):
            ratio = found[name].sum() / found["true"].sum()
            error = (found[name] - found["true"]).abs().mean()
            print(f"  {name}: {ratio:.2f} of the truth in all, {error:.2f} off on average")
        print(f"  our 90 % intervals cover {covered:.2f}")


if __name__ == "__main__":
    main()
