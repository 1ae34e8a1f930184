"""Suggesting the next lift test: load what is known, ask the core, write down how to report it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import pandas as pd

from liftloop.adapters.facts import read_facts
from liftloop.adapters.ledger import champion_training, session, tests_of
from liftloop.core.errors import Declined
from liftloop.core.first_test import first_test
from liftloop.core.interacting import separable_at
from liftloop.core.lift_tests import WEEKS, LiftTest, suggest
from liftloop.core.policy import Policy
from liftloop.core.power import WeeklySales
from liftloop.pipeline.explore import cycle_noise
from liftloop.pipeline.plan import rules_of
from liftloop.pipeline.total import what_pays
from tasks.context import Loop, View, open_loop, view
from tasks.curves import MODEL_OF, load_model_curves
from tasks.data_end import OLD_DAYS, planning_day
from tasks.reallocate import budgets_before
from tasks.total_proposals import planning_settings

FEEDS = ("performance", "holdout", "sales")
FEED_COLUMNS = (
    "experiment,segments,channel,start,end,spend_delta,incremental_revenue,standard_error"
)
FEED_COLUMNS_SHOWN = [
    "experiment", "channel", "segments", "start", "end", "spend_delta", "incremental_revenue",
    "standard_error",
]  # fmt: skip
MOST_WEEKS, LEAST_WEEKS = 26, 6


@dataclass(frozen=True, slots=True)
class Suggested:
    """Tests, those worth most first, that could begin on ``start``, and a sentence for the best."""

    tests: tuple[LiftTest, ...]
    start: date
    sentence: str

    def row(self, test: LiftTest) -> str:
        """The row of the experiments feed, the two measured columns left open."""
        end = self.start + timedelta(weeks=test.weeks) - timedelta(days=1)
        name = f"{test.channel}-{self.start}"
        segments = ";".join(test.segments)
        return f"{name},{segments},{test.channel},{self.start},{end},{test.spend_delta:.2f},,"

    def as_dicts(self) -> list[dict[str, Any]]:
        """Plain values, as ``--json`` shows them."""
        return [
            {**asdict(test), "segments": list(test.segments), "start": self.start.isoformat(),
             "do": test.act, "feed_columns": FEED_COLUMNS, "feed_row": self.row(test)}
            for test in self.tests
        ]  # fmt: skip


def listed_tests(workspace: str) -> list[dict[str, Any]]:
    """The lift tests run elsewhere, a row each in the feed's columns, with what the model in force
    made of them: ``error_used`` (the standard error a test counts with), ``age_days``, ``weight``
    (what its age leaves, 0 to 1) and ``conflict`` (words); None where no model has seen a test."""
    loop = open_loop(workspace)
    zone = loop.settings.account.timezone
    facts = read_facts(loop.workspace, "experiments", as_of=None, timezone=zone, names=loop.names)
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
    seen = {test["experiment"]: test for test in tests_of(champion)} if champion else {}
    rows: list[dict[str, Any]] = (
        facts[FEED_COLUMNS_SHOWN].astype({"start": str, "end": str}).to_dict("records")
    )
    for row in rows:
        test = seen.get(row["experiment"], {})
        row["error_used"] = test.get("standard_error")
        row |= {name: test.get(name) for name in ("age_days", "weight", "conflict")}
    return rows


def weekly_sales(sales: pd.DataFrame, *, as_of: date) -> WeeklySales | None:
    """Sales of whole weeks, counted back from the last known day, of the segments that lack no day
    of the last six; at most 26 weeks. None where that leaves nothing to compare."""
    days = pd.to_datetime(sales["date"])
    known = sales[(days < pd.Timestamp(as_of)).to_numpy()]
    if known.empty:
        return None
    wide = known.assign(day=pd.to_datetime(known["date"])).pivot_table(
        index="day", columns="segment", values="revenue", aggfunc="sum"
    )
    week = (wide.index.max() - wide.index).days // 7
    whole = wide.groupby(week).count() == 7
    sums = wide.groupby(week).sum()
    kept = whole.loc[whole.index < LEAST_WEEKS].all()
    kept &= len(whole) >= LEAST_WEEKS
    names = [str(name) for name in kept.index[kept]]
    weeks = sums.loc[whole[names].all(axis=1) & (sums.index < MOST_WEEKS), names]
    if len(names) < 2 or len(weeks) < LEAST_WEEKS:
        return None
    return WeeklySales(tuple(names), weeks.iloc[::-1].to_numpy(dtype=float))


def suggest_tests(
    workspace: str, *, as_of: date | None = None, weeks: int | None = None
) -> Suggested:
    """The lift tests to choose from, as known on ``as_of`` (default: today, and where data ended
    long ago the day after them, which the sentence then names).

    Raises
    ------
    Declined
        When no model is in force though holdouts are there, or nothing could be measured.
    """
    loop = open_loop(workspace)
    day, taken = planning_day(loop, as_of)
    start = day + timedelta(days=7 - day.weekday())  # the next Monday: whole weeks compare
    durations = (weeks,) if weeks is not None else WEEKS
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
    facts = view(loop, day, FEEDS)
    sales = weekly_sales(facts["sales"], as_of=day)
    policy, _ = budgets_before(loop, day, door="holdout")
    if policy is None:
        raise Declined("No spend is known yet: deliver `performance` (liftloop ingest) first.")
    if champion is None:
        if len(facts["holdout"]):
            raise Declined(
                "No model is in force yet, so no answer has a worth: run `liftloop cycle` first."
            )
        first = _beginning(loop, policy, sales, durations, start)
        return replace(first, sentence=" ".join(filter(None, (taken, first.sentence))))
    settings = planning_settings(loop)
    curves = separable_at(load_model_curves(loop, champion), policy)
    rules = rules_of(settings, policy, ())
    found = suggest(
        curves=curves,
        policy=policy,
        rules=what_pays(settings, curves=curves, rules=rules, incumbent=policy),
        sales=sales,
        noise=cycle_noise(
            facts["holdout"], facts["performance"], as_of=day, cycle_days=settings.cycle_days
        ),
        weeks=durations,
        horizon_days=7 * settings.exploration.horizon_weeks,
        cycle_days=settings.cycle_days,
        margin=settings.budget.margin,
    )
    if not found:
        raise Declined(
            "No lift test could be measured: deliver `sales` of at least two segments over six "
            "weeks, or `holdout`."
        )
    sentence = _sentence(loop, found[0], start)
    return Suggested(found, start, " ".join(filter(None, (taken, _stale(facts, day), sentence))))


def _beginning(
    loop: Loop, policy: Policy, sales: WeeklySales | None, weeks: Sequence[int], start: date
) -> Suggested:
    """Without any randomized evidence: the test with which to begin."""
    test = None
    if sales is not None:
        test = first_test(
            policy=policy, sales=sales, weeks=weeks, margin=loop.settings.budget.margin
        )
    if test is None:
        raise Declined(
            "There is no randomized evidence yet, and no test could be measured: deliver `sales` "
            "of at least two segments over six weeks, or withhold a random tenth of each channel's "
            "audience and deliver `holdout`."
        )
    money = loop.settings.account.currency
    text = (
        f"Nothing is known of any response yet. Begin so: {test.act} from {start}. If the spend "
        f"just pays for itself, sales change by {test.expected_effect:+z,.0f} {money}, which the "
        f"other segments' sales let you see {_chance(test.power)}; the least effect seen 4 times "
        f"in 5 is {test.detectable:,.0f}."
    )
    return Suggested((test,), start, text)


def _stale(facts: View, day: date) -> str:
    """A warning where the facts that tests are planned from are old; "" where they are not."""
    known = pd.to_datetime(facts["performance"]["date"]).max()
    age = (pd.Timestamp(day) - known).days if pd.notna(known) else 0
    if age <= OLD_DAYS:
        return ""
    return (
        f"Beware: the newest spend known is of {known.date()}, {age} days before {day}. Deliver "
        "newer facts first (liftloop ingest), or name a day with --as-of."
    )


def _chance(power: float) -> str:
    return f"with a power of {power:.0%}"


def _sentence(loop: Loop, best: LiftTest, start: date) -> str:
    money, horizon = loop.settings.account.currency, loop.settings.exploration.horizon_weeks
    free = (
        "the money it saves earns at least as much elsewhere"
        if best.spend_delta < 0
        else "the money earns there at least what it earns elsewhere"
    )
    price = f"costs about {best.cost:,.0f}" if best.cost else f"costs nothing, for {free}"
    worth = (
        f"the answer is worth about {best.value:,.0f} {money} until {horizon} weeks from now and "
        f"{price}"
    )
    seen = (
        f"The expected effect of {best.expected_effect:+z,.0f} is seen {_chance(best.power)} "
        f"({best.measured_by}); the least effect seen 4 times in 5 is {best.detectable:,.0f}."
    )
    if best.net <= 0:
        return f"No lift test is worth its cost now. The nearest: {best.act}: {worth}. {seen}"
    return f"Next: {best.act} from {start}: {worth}. {seen}"
