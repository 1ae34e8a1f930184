"""Do 90 % intervals hold without holdouts? Each channel's incremental revenue against the truth.

    uv run python -m benchmarks.sales_coverage [--case history] [--markets 300] [--first 6000]

Each market is a draw of nature with eight weeks of history and no holdout. Cases: what history
alone says (``history``); twelve more weeks in which a coin varied the budgets by a fifth
(``randomized``), where the estimate of the coins alone stands beside the model's; four weeks with a
lift test in two of five channels (``lift_tests``), asked of the three that were never tested. The
error is clustered by market.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

CASES = ("history", "randomized", "lift_tests")
LEVEL = (0.05, 0.95)
VARIED_WEEKS, TEST_WEEKS = 12, 4
TESTED = ("search", "social")
TEST_ERROR = 0.15  # of a test's effect


def grown(feeds: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The feeds with another stretch of days."""
    return {name: pd.concat([feeds[name], more[name]], ignore_index=True) for name in feeds}


def varied_weeks(market: Any, feeds: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Twelve weeks around the first budgets, and the pairs that the coins moved."""
    from liftloop.core.allocation.constraints import resolve_rules
    from liftloop.core.curves.saturating import SaturatingCurves
    from liftloop.core.exploration.budget_variation import (
        ExpectedAnswer,
        Limits,
        VariationRequest,
        vary,
    )
    from liftloop.core.policy import Cell, Policy
    from models.lift.variation_effects import VariedPair

    rows, pairs = market.incumbent, []
    cells = [Cell(s, c) for s, c in zip(rows["segment"], rows["channel"], strict=True)]
    plan = Policy.of(
        {cell: Decimal(x) for cell, x in zip(cells, rows["daily_budget"], strict=True)}
    )
    shape = (2, len(plan.cells))  # a curve for each cell, for the pairing alone
    curves = SaturatingCurves(plan.cells, np.ones(shape), np.ones(shape), np.zeros(shape[1]))
    rules = resolve_rules(cells=plan.cells, total=plan.total, max_step=None)
    channels = {cell.channel: ExpectedAnswer(1.0, 0.0, 1.0) for cell in plan.cells}
    noise = {cell.segment: 1.0 for cell in plan.cells}  # all are paired, whatever it is worth
    request = VariationRequest(0.2, Decimal("0.01"), 25, 7, 1.0, noise)
    day = market.start
    for week in range(VARIED_WEEKS):
        found = vary(curves, plan, Limits(plan, rules), channels, request, seed=f"week {week}")
        assert found is not None
        budgets = pd.DataFrame(
            [(c.segment, c.channel, float(x)) for c, x in found.policy.budgets],
            columns=["segment", "channel", "daily_budget"],
        )
        feeds = grown(feeds, market.step(budgets, 7))
        for p in found.pairs:
            names = p.raised.channel, p.raised.segment, p.lowered.segment
            pairs.append(VariedPair(day, 7, *names, float(p.amount)))
        day += timedelta(days=7)
    return feeds, pairs


def lift_tests(market: Any, feeds: dict[str, Any], seed: int) -> dict[str, Any]:
    """Four weeks in which two channels are halved in three segments, and what the tests say."""
    rng = np.random.default_rng((seed, 77))
    rows = market.incumbent.assign(daily_budget=lambda t: t["daily_budget"].astype(float))
    changed, tests, days = rows.copy(), [], 7 * TEST_WEEKS
    for number, channel in enumerate(TESTED):
        segments = sorted(rows["segment"].unique())[3 * number : 3 * number + 3]
        mine = (rows["channel"] == channel) & rows["segment"].isin(segments)
        cut = rows.assign(daily_budget=rows["daily_budget"].where(~mine, rows["daily_budget"] / 2))
        changed.loc[mine, "daily_budget"] /= 2
        earned = [market.expected(t)["incremental_revenue"].to_numpy() for t in (cut, rows)]
        effect = days * float((earned[0] - earned[1])[mine.to_numpy()].sum())
        error = max(abs(effect) * TEST_ERROR, 1.0)
        tests.append(
            {
                "experiment": f"{channel} halved",
                "segments": ";".join(segments),
                "channel": channel,
                "start": pd.Timestamp(market.start),
                "end": pd.Timestamp(market.start) + pd.Timedelta(days=days - 1),
                "spend_delta": -days * float(rows["daily_budget"][mine].sum()) / 2,
                "incremental_revenue": effect + error * rng.standard_normal(),
                "standard_error": error,
            }
        )
    return {**grown(feeds, market.step(changed, days)), "experiments": pd.DataFrame(tests)}


def against_coins(
    market: Any, curves: Any, spend: Any, sales: pd.DataFrame, pairs: list[Any]
) -> tuple[list[bool], list[bool]]:
    """By channel, for the next unit of spend at ``spend``: whether the coins' interval overlaps the
    model's, and whether it holds the truth."""
    from models.lift.variation_effects import variation_effects

    if not pairs:
        return [], []
    places = [(cell.segment, cell.channel) for cell in curves.cells]
    names, nudge = np.array([channel for _, channel in places]), 0.05 * spend
    change = curves.draw_revenue(spend + nudge) - curves.draw_revenue(spend - nudge)
    asked = pd.DataFrame(places, columns=["segment", "channel"])
    more, less = (
        market.expected(asked.assign(daily_budget=b))
        .set_index(["segment", "channel"])["incremental_revenue"]
        .loc[places]
        .to_numpy()
        for b in (spend + nudge, spend - nudge)
    )
    agree, held = [], []
    for effect in variation_effects(pairs, sales):
        mine = names == effect.channel
        moved = 2 * nudge[mine].sum()
        low, high = np.quantile(change[:, mine].sum(axis=1) / moved, LEVEL)
        agree.append(effect.interval[0] <= high and low <= effect.interval[1])
        true = float((more - less)[mine].sum() / moved)
        held.append(effect.interval[0] <= true <= effect.interval[1])
    return agree, held


def one(job: tuple[str, int]) -> list[float]:
    """Of one market: share of channels covered, mean width and error as shares of all revenue
    caused, the share of channels whose coins' interval overlaps the model's, covered by the coins,
    and what all cells earn by the model as a share of sales."""
    from liftloop.markets.without_holdouts import SalesMarket
    from liftloop.settings.schema import Model, Settings
    from tasks.model.learning import learn_from_holdout

    case, seed = job
    market = SalesMarket(seed)
    feeds, own, as_of = market.history(), None, market.start
    pairs: list[Any] = []
    if case == "randomized":
        feeds, pairs = varied_weeks(market, feeds)
        own, as_of = market.start, market.start + timedelta(days=7 * VARIED_WEEKS)
    if case == "lift_tests":
        feeds = lift_tests(market, feeds, seed)
        own, as_of = market.start, market.start + timedelta(days=7 * TEST_WEEKS)
    feeds.setdefault("experiments", pd.DataFrame())
    feeds["units"] = pd.DataFrame()
    for frame in feeds.values():
        if "date" in frame:
            frame["date"] = pd.to_datetime(frame["date"])
    model = learn_from_holdout(
        Settings(model=Model(threads=1, tuning_trials=0)),
        feeds,
        as_of=as_of,
        for_registry=False,
        own_from=own,
    )
    spent = feeds["performance"]
    recent = spent[(spent["date"] >= pd.Timestamp(as_of) - pd.Timedelta(days=7)).to_numpy()]
    budgets = recent.groupby(["segment", "channel"])["spend"].mean().rename("daily_budget")
    truth = market.expected(budgets.reset_index()).set_index(["segment", "channel"])
    cells = model.curves.cells
    places = [(cell.segment, cell.channel) for cell in cells]
    spend = budgets.loc[places].to_numpy()
    earned = truth["incremental_revenue"].loc[places].to_numpy()
    drawn = model.curves.draw_revenue(spend)
    sold = feeds["sales"]
    late = sold["date"] >= pd.Timestamp(as_of) - pd.Timedelta(days=28)
    a_day = float(sold["revenue"][late.to_numpy()].sum()) / 28
    names = np.array([cell.channel for cell in cells])
    asked = sorted(set(names) - (set(TESTED) if case == "lift_tests" else set()))
    covered, widths, errors = [], [], []
    for name in asked:
        mine = names == name
        total = drawn[:, mine].sum(axis=1)
        low, high = np.quantile(total, LEVEL)
        true = float(earned[mine].sum())
        covered.append(low <= true <= high)
        widths.append((high - low) / earned.sum())
        errors.append((total.mean() - true) / earned.sum())
    agree, coins = against_coins(market, model.curves, spend, feeds["sales"], pairs)
    return [
        float(np.mean(covered)),
        float(np.mean(widths)),
        float(np.mean(errors)),
        float(np.mean(agree)) if agree else np.nan,
        float(np.mean(coins)) if coins else np.nan,
        float(np.quantile(drawn.sum(axis=1), 0.95)) / a_day,
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--markets", type=int, default=300)
    parser.add_argument("--first", type=int, default=6000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    for case in asked.case or CASES:
        jobs = [(case, seed) for seed in range(asked.first, asked.first + asked.markets)]
        with ProcessPoolExecutor(asked.jobs) as pool:
            found = np.array(list(pool.map(one, jobs, chunksize=5)))
        mean = found.mean(axis=0)
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        print(
            f"{case}: {len(found)} markets of 5 channels, 90 % intervals of each channel's revenue"
        )
        print(f"  covered              {mean[0]:.3f} ± {error[0]:.3f}")
        print(f"  width, share of all  {mean[1]:.3f}; error {mean[2]:+.3f} ± {error[2]:.3f}")
        print(f"  all cells' 95 % end, share of sales: at most {found[:, 5].max():.3f}")
        if case == "randomized":
            print(
                f"  the coins alone: covered {mean[4]:.3f} ± {error[4]:.3f}, "
                f"overlap with the model {mean[3]:.3f}"
            )


if __name__ == "__main__":
    main()
