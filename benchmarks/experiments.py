"""Experiments as LiftLoop suggests and measures them, on markets where the truth is known: how
often a test of nothing shows an effect, and whether the power it promises is the power it has.

    uv run python -m benchmarks.experiments [--tests 500] [--first 41000]

Each market is an account of ``benchmarks.first_cycle`` (18 months; season, growth, segments that
wander, whole orders) or one of ``liftloop.markets`` (weekly shocks that remember, common shocks).
The test is what ``liftloop experiments suggest`` proposes before anything is known of any response,
with its segments or weeks drawn by the market's seed; it is measured by the function that ``cycle``
calls. First nothing is planted, then the effect it says it sees 4 times in 5.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.first_cycle import ordinary_account
from liftloop.core.experiments.design import GEO, SWITCH_BACK, Experiment, draw_turns
from liftloop.core.experiments.first_test import first_switch, first_test
from liftloop.core.experiments.lift_tests import SWITCH_WEEKS, WEEKS, LiftTest, drawn
from liftloop.core.experiments.power import ALPHA, WeeklySales, power
from liftloop.core.experiments.switch_back import SwitchNoise
from liftloop.core.policy import Cell, Policy
from liftloop.markets.without_holdouts import OneSegmentMarket, SalesMarket
from liftloop.pipeline.experiments import CannotMeasure, daily_sales, measure, whole_weeks

FIRST_SEED = 41_000  # used here for the first time, and nowhere else
PANEL_WEEKS = 56
HISTORY = 392  # days of a market before the test and in it
Feeds = tuple[pd.DataFrame, pd.DataFrame, date]  # performance, sales, the day after the last


@dataclass(frozen=True, slots=True)
class Trial:
    """One market: whether a test of nothing showed an effect, whether the planted one was seen, the
    power that was promised for it, and the share of cases the 90 % interval held it."""

    false: bool
    seen: bool
    promised: float
    covered: bool


def account(seed: int, *, segments: range) -> Feeds | None:
    """An ordinary account; None where its segments are not so many, or it delivers no sales."""
    feeds, as_of = ordinary_account(seed)
    if feeds["sales"].empty or feeds["sales"]["segment"].nunique() not in segments:
        return None
    return feeds["performance"], feeds["sales"], as_of


def market(seed: int, *, segments: range) -> Feeds:
    """A market of LiftLoop's own, under the budgets it began with."""
    kind = SalesMarket if len(segments) > 1 else OneSegmentMarket
    constants = replace(kind.constants, history_days=HISTORY)
    found = kind(seed, constants=constants)
    feeds = found.history()
    return feeds["performance"], feeds["sales"], found.start


def trial(feeds: Feeds, seed: int) -> Trial | None:
    """The suggested test on one market; None where none can be made."""
    spend, sales, after = feeds
    in_turns = sales["segment"].nunique() == 1
    longest = max(SWITCH_WEEKS if in_turns else WEEKS)
    start = after - timedelta(weeks=longest)
    planned = _suggested(spend, sales, start, seed, in_turns)
    if planned is None:
        return None
    test, experiment = planned
    changed = _with_change(spend, experiment)
    try:
        nothing = measure(experiment, spend=changed, sales=sales)
        effect = float(np.sign(test.spend_delta)) * test.detectable
        some = measure(experiment, spend=changed, sales=_planted(sales, experiment, effect))
    except CannotMeasure:
        return None
    edge = float(stats.t.isf(ALPHA / 2, nothing.freedom))
    low, high = some.interval
    return Trial(
        abs(nothing.effect) > edge * nothing.error,
        abs(some.effect) > edge * some.error,
        power(effect, test.standard_error, freedom=nothing.freedom),
        low <= effect <= high,
    )


def _suggested(
    spend: pd.DataFrame, sales: pd.DataFrame, start: date, seed: int, in_turns: bool
) -> tuple[LiftTest, Experiment] | None:
    """The test to begin with, as ``suggest`` makes it from what is known before ``start``."""
    first = pd.Timestamp(start)
    before = sales[(pd.to_datetime(sales["date"]) < first).to_numpy()]
    policy = _policy(spend, start)
    if in_turns:
        segment = str(sales["segment"].iloc[0])
        daily, _ = daily_sales(before, [segment], start=start)
        test = first_switch(policy=policy, noise=SwitchNoise(daily, {}), weeks=SWITCH_WEEKS)
    else:
        weekly = whole_weeks(before, until=first)
        test = first_test(policy=policy, sales=weekly, weeks=WEEKS) if weekly else None
        if test is not None and weekly is not None:
            money = {c.segment: float(b) for c, b in policy.budgets if c.channel == test.channel}
            test, _ = drawn(test, spend=money, sales=weekly, seed=seed)
    if test is None:
        return None
    turns, end = test.turns, start + timedelta(days=7 * test.weeks - 1)
    common = ("test", test.channel, test.segments)
    if turns is None:
        return test, Experiment(*common, GEO, test.change, start, end, seed)
    coins = draw_turns(test.weeks // (2 * turns.weeks), seed)
    return test, Experiment(
        *common, SWITCH_BACK, test.change, start, end, seed, turns.weeks, turns.washout, coins
    )


def _policy(spend: pd.DataFrame, start: date) -> Policy:
    """Daily spend of the four weeks before the test."""
    days = pd.to_datetime(spend["date"])
    recent = (days < pd.Timestamp(start)) & (days >= pd.Timestamp(start - timedelta(days=28)))
    means = spend[recent.to_numpy()].groupby(["segment", "channel"])["spend"].sum() / 28
    budgets: dict[Cell, Decimal] = {}
    for row in means.reset_index().itertuples(index=False):
        budgets[Cell(str(row.segment), str(row.channel))] = Decimal(f"{row.spend:.2f}")
    return Policy.of(budgets)


def _inside(frame: pd.DataFrame, experiment: Experiment) -> np.ndarray:
    """The rows of its segments on its changed days."""
    places = (pd.to_datetime(frame["date"]) - pd.Timestamp(experiment.start)).dt.days.to_numpy()
    during = (places >= 0) & (places < experiment.days)
    on = experiment.on[np.clip(places, 0, experiment.days - 1)]
    return np.asarray(during & on & frame["segment"].isin(list(experiment.segments)).to_numpy())


def _with_change(spend: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    hit = _inside(spend, experiment) & (spend["channel"] == experiment.channel).to_numpy()
    return spend.assign(spend=spend["spend"].astype(float) * (1 + experiment.change * hit))


def _planted(sales: pd.DataFrame, experiment: Experiment, effect: float) -> pd.DataFrame:
    """Sales with the effect, spread over the changed days as sales are."""
    hit = _inside(sales, experiment)
    sold = sales["revenue"].to_numpy(dtype=float)
    return sales.assign(revenue=sold + np.where(hit, sold / sold[hit].sum() * effect, 0.0))


def panels(*, tests: int, first: int, segments: int, memory: float) -> Iterator[Trial]:
    """Geo tests of a third of the segments for four weeks on simulated panels of weekly sales:
    sizes and noise of their own, a common walk, and noise that remembers (``memory``: the weekly
    autocorrelation). The segments are drawn from all sets; 2.8 standard errors are planted."""
    for seed in range(first, first + tests):
        rng = np.random.default_rng(seed)
        level = rng.lognormal(0, 0.7, segments)
        spread = 0.05 * rng.uniform(0.5, 1.5, segments)
        noise = np.zeros((PANEL_WEEKS, segments))
        now = spread * rng.normal(size=segments)
        for week in range(PANEL_WEEKS):
            now = memory * now + np.sqrt(1 - memory**2) * spread * rng.normal(size=segments)
            noise[week] = now
        common = np.cumsum(rng.normal(0, 0.03, PANEL_WEEKS))
        revenue = level * np.exp(common[:, None] + noise)
        names = tuple(map(str, range(segments)))
        tested = rng.choice(segments, max(segments // 3, 1), replace=False)
        found = WeeklySales(names, revenue).measured([names[i] for i in tested], weeks=4)
        assert found is not None
        effect, contrast = found
        error, freedom = contrast.standard_error(4), contrast.freedom(4)
        edge, truth = float(stats.t.isf(ALPHA / 2, freedom)) * error, 2.8 * error
        half = float(stats.t.isf(0.05, freedom)) * error
        yield Trial(
            abs(effect) > edge,
            abs(effect + truth) > edge,
            power(truth, error, freedom=freedom),
            abs(effect) <= half,
        )


def trials(make: Callable[[int], Feeds | None], *, tests: int, first: int) -> Iterator[Trial]:
    """So many tests, on the markets of the seeds from ``first`` on that allow one."""
    done, seed = 0, first
    while done < tests and seed < first + 20 * tests:
        feeds = make(seed)
        found = trial(feeds, seed) if feeds is not None else None
        seed += 1
        if found is not None:
            done += 1
            yield found


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--tests", type=int, default=500)
    options.add_argument("--first", type=int, default=FIRST_SEED)
    options.add_argument("--only", default="", help="a part of a family's name")
    given = options.parse_args()
    several, one = range(4, 99), range(1, 2)
    families: tuple[tuple[str, Callable[[int], Feeds | None]], ...] = (
        ("geo, ordinary accounts", lambda seed: account(seed, segments=several)),
        ("geo, ten segments of liftloop.markets", lambda seed: market(seed, segments=several)),
        ("switch-back, ordinary accounts", lambda seed: account(seed, segments=one)),
        ("switch-back, one segment of liftloop.markets", lambda seed: market(seed, segments=one)),
    )
    families_of_panels = [(n, memory) for n in (4, 12) for memory in (0.0, 0.4, 0.8)]
    print(f"{given.tests} tests each, seeds from {given.first:,}")
    print("| design and market | A/A false effects | power promised | power | 90 % holds |")
    print("|---|---|---|---|---|")
    runs: list[tuple[str, Iterator[Trial]]] = [
        (
            f"panels, {n} segments, memory {memory}",
            panels(tests=given.tests, first=given.first, segments=n, memory=memory),
        )
        for n, memory in families_of_panels
    ]
    runs += [(name, trials(make, tests=given.tests, first=given.first)) for name, make in families]
    for name, run in runs:
        if given.only not in name:
            continue
        found = list(run)
        false, seen, promised, covered = (
            float(np.mean([getattr(one, field) for one in found]))
            for field in ("false", "seen", "promised", "covered")
        )
        shares = " | ".join(f"{share:.1%}" for share in (false, promised, seen, covered))
        print(f"| {name} ({len(found)}) | {shares} |", flush=True)


if __name__ == "__main__":
    main()
