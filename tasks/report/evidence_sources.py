"""What is known of each channel, how surely, on what it rests, and which test would tell more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from liftloop.adapters.ledger.records import champion_training, session
from liftloop.core.curves.gain import spends
from liftloop.core.errors import Declined
from liftloop.core.experiments.lift_tests import LiftTest
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.reporting.outcome_words import OutcomeWords
from tasks.context import open_loop, view
from tasks.data_end import planning_day
from tasks.decision.reallocate import budgets_before
from tasks.experiments.listing import measured_variation
from tasks.experiments.suggest import suggest_tests
from tasks.model.curves import MODEL_OF, load_model_curves

FEEDS = ("performance", "holdout", "experiments", "units")
HOLDOUT, TESTS, USERS, SALES = "holdout", "experiments", "units", "sales"
VARIED = "varied"
NONE = "none"
WORDS = {
    HOLDOUT: "holdout",
    TESTS: "lift tests",
    USERS: "user-level tests",
    SALES: "sales and claims, never tested",
    VARIED: "sales and claims, with budgets that a coin varied",
    NONE: "nothing yet",
}


@dataclass(frozen=True, slots=True)
class ChannelSource:
    """One channel: daily spend, what a unit of it returns on average (mean and 90 % interval; None
    without a model; of conversions where no worth of one is known), what that rests on, and the
    lift test worth most, with its first day."""

    channel: str
    spend: float
    iroas: float | None
    low: float | None
    high: float | None
    sources: tuple[str, ...]
    test: LiftTest | None
    start: date | None

    @property
    def words(self) -> str:
        """What the estimate rests on, in words."""
        return source_words(self.sources)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        test = self.test
        return {
            "channel": self.channel,
            "spend": round(self.spend, 2),
            "iroas": self.iroas,
            "low": self.low,
            "high": self.high,
            "sources": list(self.sources),
            "next_test": None
            if test is None or self.start is None
            else {
                "do": test.act,
                "start": self.start.isoformat(),
                "detectable": test.detectable,
                "power": test.power,
                "cost": test.cost,
            },
        }


@dataclass(frozen=True, slots=True)
class Sources:
    """The channels, by spend, what to do next in a sentence, and how returns are said."""

    channels: tuple[ChannelSource, ...]
    sentence: str
    words: OutcomeWords


def evidence_sources(workspace: str, *, as_of: date | None = None) -> Sources:
    """What is known of each channel as of ``as_of`` (default: today).

    Raises
    ------
    Declined
        When no spend is known.
    """
    loop = open_loop(workspace)
    day, _ = planning_day(loop, as_of)
    policy, _ = budgets_before(loop, day, source="holdout")
    if policy is None:
        raise Declined("No spend is known yet: deliver `performance` (liftloop ingest) first.")
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
    facts = view(loop, day, FEEDS).frames
    spent: dict[str, float] = {}
    for cell, amount in policy.budgets:
        spent[cell.channel] = spent.get(cell.channel, 0.0) + float(amount)
    of = sources_of_channels(
        facts,
        channels=spent,
        estimated=champion is not None,
        varied={each.channel for each in measured_variation(loop, day)},
    )
    returns: dict[str, tuple[float | None, float | None, float | None]] = {}
    if champion is not None:
        curves = load_model_curves(loop, champion)
        spend = spends(policy, curves)
        drawn = curves.draw_revenue(spend)
        channel = np.array([cell.channel for cell in curves.cells])
        for name, total in spent.items():
            if total > 0 and (channel == name).any():
                each = drawn[:, channel == name].sum(axis=1) / spend[channel == name].sum()
                low, high = np.quantile(each, [0.05, 0.95])
                returns[name] = (float(each.mean()), float(low), float(high))
    tests, start, lack = _best_tests(workspace, as_of)
    rows = [
        ChannelSource(
            name,
            spent[name],
            *returns.get(name, (None, None, None)),
            of[name],
            tests.get(name),
            start,
        )
        for name in sorted(spent, key=lambda name: (-spent[name], name))
    ]
    return Sources(tuple(rows), _sentence(rows, lack), outcome_words(loop.settings))


def _best_tests(workspace: str, as_of: date | None) -> tuple[dict[str, LiftTest], date | None, str]:
    """The lift test worth most of each channel, their first day, and why there is none."""
    try:
        found = suggest_tests(workspace, as_of=as_of)
    except Declined as lack:
        return {}, None, str(lack)
    best: dict[str, LiftTest] = {}
    for test in found.tests:  # the best first
        best.setdefault(test.channel, test)
    return best, found.start, ""


def _untested_words(untested: int, channels: int, share: float, first: str) -> str:
    """How many channels were never tested, and the share of the spend that is theirs."""
    if untested == channels:
        return (
            f"{first} was never tested."
            if channels == 1
            else f"None of the {channels} channels was ever tested."
        )
    verb = "was" if untested == 1 else "were"
    return f"{untested} of {channels} channels ({share:.0%} of the spend) {verb} never tested."


def _sentence(rows: list[ChannelSource], lack: str) -> str:
    untested = [row for row in rows if not set(row.sources) & {"holdout", "experiments", "units"}]
    if not untested:
        return "Every channel has been tested."
    share = sum(row.spend for row in untested) / max(sum(row.spend for row in rows), 1e-9)
    text = _untested_words(len(untested), len(rows), share, untested[0].channel)
    asked = [row for row in untested if row.test is not None]
    if not asked:
        return f"{text} {lack}".strip()
    row = max(asked, key=lambda one: (one.test.net if one.test else 0.0, one.spend))
    assert row.test is not None
    cost = "" if row.test.cost is None else f", which costs about {row.test.cost:,.0f}"
    return (
        f"{text} The answer worth most is {row.channel}'s: {row.test.act} from {row.start}{cost}. "
        f"It sees the effect that is expected with a power of {row.test.power:.0%} (liftloop "
        "experiments suggest shows all)."
    )


def sources_of_channels(
    facts: Mapping[str, pd.DataFrame],
    *,
    channels: Iterable[str],
    estimated: bool,
    varied: Collection[str] = (),
) -> dict[str, tuple[str, ...]]:
    """What the estimates of each channel rest on, as names of feeds.

    Parameters
    ----------
    facts
        The feeds ``holdout``, ``experiments`` and ``units`` as known; missing ones are empty.
    estimated
        Whether a model is in force; without one, an untested channel rests on nothing.
    varied
        Channels whose budgets the loop varied on purpose for some weeks.
    """
    tested = {
        feed: set(facts[feed]["channel"].dropna().astype(str)) if len(facts.get(feed, ())) else ()
        for feed in (HOLDOUT, TESTS, USERS)
    }
    found = {}
    for channel in sorted(set(channels)):
        rest = VARIED if channel in varied else SALES
        tests = tuple(feed for feed, known in tested.items() if channel in known)
        found[channel] = tests or ((rest,) if estimated else (NONE,))
    return found


def source_words(sources: Iterable[str]) -> str:
    """The same for people."""
    return " and ".join(WORDS[name] for name in sources)
