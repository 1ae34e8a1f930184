"""How often do the checks that compare feeds warn for nothing, and do they name what is planted?

    uv run python -m benchmarks.consistency [--markets 780-839] [--part false] [--talk]

Base markets at 50 cells. *False warnings*: four weeks of sound feeds, looked at daily, once with
budgets that stay and once with budgets that move every week as the loop may move them (a quarter up
or down, at random). *Planted*: one fault in the last week or days, looked at once, on the same
markets. *Broken feeds*: ``BrokenFeedsMarket`` for eight weeks, through the contracts as production
sifts them, looked at weekly. One process, one thread.

Markets of 780 and up were not looked at while the limits were set; one was set anew on 700 to 779.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from liftloop.app.backtest.known import KnownFacts
from liftloop.app.backtest.market import as_policy
from liftloop.app.commands.backtest import seed_range
from liftloop.app.environment import prepare
from liftloop.core.feeds.context import Account
from liftloop.core.policy import Policy
from liftloop.markets import BrokenFeedsMarket, HillMarket
from liftloop.markets.hill import exact_cents
from liftloop.settings.schema import Settings
from monitoring.feeds.consistency import consistency
from monitoring.feeds.consistency_verdict import Consistency

Frames = dict[str, pd.DataFrame]
Budgets = list[tuple[date, Policy]]
WEEKS = 4
STEP = 0.25
Plant = Callable[[Frames, date, np.random.Generator], Frames]


def moved(budgets: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Each cell a quarter up or down at random, the total kept to the cent."""
    now = budgets["daily_budget"].astype(float).to_numpy()
    wanted = now * np.where(rng.random(len(now)) < 0.5, 1 + STEP, 1 - STEP)
    exact = exact_cents(wanted * now.sum() / wanted.sum(), Decimal(f"{now.sum():.2f}"))
    return budgets.assign(daily_budget=np.array([Decimal(f"{x:.2f}") for x in exact]))


def lived(
    seed: int, *, weeks: int = WEEKS, moving: bool = False
) -> tuple[HillMarket, Frames, Budgets]:
    """A market's history and so many weeks more, with the budgets of each."""
    market, rng = HillMarket(seed), np.random.default_rng([seed, 5])
    parts, budgets, now = [market.history()], [], market.incumbent
    for week in range(weeks):
        if moving and week:
            now = moved(now, rng)
        budgets.append((market.start + timedelta(weeks=week), as_policy(now)))
        parts.append(market.step(now, 7))
    frames = {feed: pd.concat([p[feed] for p in parts], ignore_index=True) for feed in parts[0]}
    return market, frames, budgets


def looked(frames: Mapping[str, pd.DataFrame], budgets: Budgets, as_of: date) -> Consistency:
    return consistency(
        frames["performance"],
        holdout=frames["holdout"],
        sales=frames["sales"],
        budgets=[(day, policy) for day, policy in budgets if day < as_of],
        as_of=as_of,
    )


def false_warnings(markets: list[int], *, moving: bool, talk: bool) -> str:
    """Months with any warning on sound feeds, and looks; by check."""
    months, looks, checks, spent = 0, 0, Counter[str](), []
    for seed in markets:
        market, frames, budgets = lived(seed, moving=moving)
        heard: set[str] = set()
        for day in range(1, 7 * WEEKS + 1):
            begin = time.process_time()
            found = looked(frames, budgets, market.start + timedelta(days=day))
            spent.append(time.process_time() - begin)
            looks += bool(found.warnings)
            heard |= {one.check for one in found.warnings}
            if talk and found.warnings:
                print(f"  {seed} day {day}: {found.lines[0]}", flush=True)
        months += bool(heard)
        checks.update(heard)
    count = 7 * WEEKS * len(markets)
    kind = "moving" if moving else "standing"
    return (
        f"sound feeds, {kind} budgets: {months} of {len(markets)} months with a warning, {looks} "
        f"of {count} daily looks; by check {dict(checks)}; a look takes {np.median(spent):.2f} "
        "CPU s (median)"
    )


def rows_of(frame: pd.DataFrame, since: date, **equal: str) -> pd.Series:
    rows = frame["date"] >= since
    for column, value in equal.items():
        rows &= frame[column] == value
    return rows


def scaled(frame: pd.DataFrame, rows: pd.Series, factor: float, *columns: str) -> pd.DataFrame:
    return frame.assign(
        **{c: frame[c].astype(float).mask(rows, frame[c].astype(float) * factor) for c in columns}
    )


def one_of(frame: pd.DataFrame, column: str, rng: np.random.Generator) -> str:
    names = sorted(frame[column].unique())
    return str(names[int(rng.integers(0, len(names)))])


def _unit(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    spent = frames["performance"]
    rows = rows_of(spent, end - timedelta(days=7), segment=one_of(spent, "segment", rng))
    return {**frames, "performance": scaled(spent, rows, 100, "spend")}


def _twice(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    spent = frames["performance"]
    again = spent[rows_of(spent, end - timedelta(days=7))].assign(campaign="again")
    return {**frames, "performance": pd.concat([spent, again], ignore_index=True)}


def _claims(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    spent = frames["performance"]
    rows = rows_of(spent, end - timedelta(days=7), channel=one_of(spent, "channel", rng))
    return {**frames, "performance": scaled(spent, rows, 3, "revenue", "conversions")}


def _orders(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    sold = frames["sales"]
    rows = rows_of(sold, end - timedelta(days=7), segment=one_of(sold, "segment", rng))
    return {**frames, "sales": scaled(sold, rows, 0.5, "orders")}


def _nothing(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    sold = frames["sales"]
    rows = rows_of(sold, end - timedelta(days=4), segment=one_of(sold, "segment", rng))
    rows &= sold["date"] < end - timedelta(days=3)
    return {**frames, "sales": scaled(sold, rows, 0, "orders", "revenue")}


def _day_twice(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    sold = frames["sales"]
    rows = rows_of(sold, end - timedelta(days=4), segment=one_of(sold, "segment", rng))
    rows &= sold["date"] < end - timedelta(days=3)
    return {**frames, "sales": scaled(sold, rows, 2, "orders", "revenue")}


def _arm(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    held = frames["holdout"]
    cell = {name: one_of(held, name, rng) for name in ("segment", "channel")}
    rows = rows_of(held, end - timedelta(days=7), arm="control", **cell)
    return {**frames, "holdout": scaled(held, rows, 1.5, "users")}


def _gap(frames: Frames, end: date, rng: np.random.Generator) -> Frames:
    spent = frames["performance"]
    cell = {name: one_of(spent, name, rng) for name in ("segment", "channel")}
    rows = rows_of(spent, end - timedelta(days=8), **cell)
    rows &= spent["date"] < end - timedelta(days=3)
    return {**frames, "performance": spent[~rows]}


PLANTS: dict[str, tuple[Plant, str]] = {
    "one segment's spend in cents, a week": (_unit, "spend against budgets"),
    "the performance feed twice, a week": (_twice, "claimed conversions against orders"),
    "one channel claims three times as much, a week": (
        _claims,
        "claimed revenue against revenue sold",
    ),
    "one segment's orders halved, a week": (_orders, "claimed conversions against orders"),
    "one segment sells nothing on one day": (_nothing, "a day's orders"),
    "one segment's sales of one day twice": (_day_twice, "a day's orders"),
    "one control arm half as large again, a week": (_arm, "arm sizes"),
    "one cell lacks five days": (_gap, "gaps"),
}


def planted(markets: list[int], *, talk: bool) -> list[str]:
    """How often the check that should name a planted fault does."""
    hits = Counter[str]()
    for seed in markets:
        market, frames, budgets = lived(seed)
        end = market.start + timedelta(weeks=WEEKS)
        for name, (plant, check) in PLANTS.items():
            found = looked(plant(frames, end, np.random.default_rng([seed, 6])), budgets, end)
            hits[name] += (hit := check in {one.check for one in found.warnings})
            if talk and not hit:
                print(f"  {seed} {name}: {found.lines}", flush=True)
    return [f"{name}: named in {hits[name]} of {len(markets)}" for name in PLANTS]


def broken(markets: list[int], *, weeks: int = 8, talk: bool) -> list[str]:
    """Weekly looks at broken feeds: how many warn, of what, and whether a segment that the market
    tells in cents (known spend above three times the budget) is named."""
    looks, warned, checks, cents, named = 0, 0, Counter[str](), 0, 0
    settings = Settings()
    for seed in markets:
        market = BrokenFeedsMarket(seed)
        facts = KnownFacts(
            Account(settings.account.currency, settings.account.timezone),
            history_days=settings.data.history_days,
        )
        facts.deliver(market.history(), on=market.start)
        policy = as_policy(market.incumbent)
        allowed = {(c.segment, c.channel): float(b) for c, b in policy.budgets}
        for week in range(1, weeks + 1):
            as_of = market.start + timedelta(weeks=week)
            facts.deliver(market.step(market.incumbent, 7), on=as_of)
            known = facts.known(as_of)
            found = looked(known, [(market.start, policy)], as_of)
            looks += 1
            warned += bool(found.warnings)
            checks.update({one.check for one in found.warnings})
            spent = known["performance"]
            near = spent[spent["date"] >= pd.Timestamp(as_of - timedelta(days=7))]
            daily = near.groupby(["segment", "channel", "date"])["spend"].sum().astype(float)
            usual = daily.groupby(level=[0, 1]).mean()
            wrong = {
                f"{cell[0]} x {cell[1]}"
                for cell, amount in zip(usual.index, usual, strict=True)
                if amount > 3 * allowed[cell]
            }
            told = {one.subject for one in found.warnings if one.check == "spend against budgets"}
            cents += bool(wrong)
            named += bool(wrong) and wrong <= told
            if talk:
                print(f"  {seed} week {week}: {found.lines}", flush=True)
    return [
        f"broken feeds: {warned} of {looks} weekly looks warn; by check {dict(checks)}",
        f"weeks with a segment in cents in the facts: {cents}, all its cells named in {named}",
    ]


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--markets", default="780-839")
    ask.add_argument("--part", choices=["all", "false", "planted", "broken"], default="all")
    ask.add_argument("--talk", action="store_true", help="say each warning, and each miss")
    given = ask.parse_args()
    prepare(None)
    first, last = seed_range(given.markets)
    markets = list(range(first, last + 1))
    if given.part in ("all", "false"):
        for moving in (False, True):
            print(false_warnings(markets, moving=moving, talk=given.talk), flush=True)
    if given.part in ("all", "planted"):
        print("\n".join(planted(markets, talk=given.talk)), flush=True)
    if given.part in ("all", "broken"):
        print("\n".join(broken(markets, talk=given.talk)), flush=True)


if __name__ == "__main__":
    main()
