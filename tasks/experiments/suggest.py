"""Suggesting the next lift test: what is known is loaded, and the core weighs all tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd

from liftloop.adapters.ledger.records import champion_training, session
from liftloop.core.curves.interacting import separable_at
from liftloop.core.errors import Declined
from liftloop.core.experiments.design import GEO, SWITCH_BACK, Experiment, draw_turns
from liftloop.core.experiments.first_test import first_switch, first_test
from liftloop.core.experiments.known_days import days_inside, first_free_start
from liftloop.core.experiments.lift_tests import (
    SALES,
    SWITCH_WEEKS,
    WEEKS,
    LiftTest,
    Measures,
    SuggestionTerms,
    drawn,
    suggest,
)
from liftloop.core.experiments.power import Placebo, WeeklySales, placebo_tests
from liftloop.core.experiments.switch_back import SwitchNoise, channel_carryovers, placebo_turns
from liftloop.core.policy import Policy
from liftloop.pipeline.experiments import daily_sales, latest_weeks
from liftloop.pipeline.plan.explore import cycle_noise
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.pipeline.plan.rules import rules_of
from liftloop.pipeline.plan.total import what_pays
from liftloop.reporting.lift_test_sentences import (
    drawn_words,
    known_days_words,
    placebo_words,
    suggestion_sentence,
)
from tasks.context import Loop, View, open_loop, view
from tasks.data_end import OLD_DAYS, planning_day
from tasks.decision.budget_terms import planning_settings
from tasks.decision.horizon import read_calendar
from tasks.decision.reallocate import budgets_before
from tasks.experiments.results import FEED_COLUMNS, csv_line
from tasks.experiments.runs import ExperimentPromise
from tasks.model.curves import MODEL_OF, load_model_curves

FEEDS = ("performance", "holdout", "sales")
PLACEBO_SETS = 60  # sets of segments on which the claimed error rate is checked


@dataclass(frozen=True, slots=True)
class Suggested:
    """Tests, those worth most first, that could begin on ``start``, and a sentence for the best.

    ``sets``: of each test, how many sets of segments the seed could have drawn; ``placebo``: what
    tests of nothing on the past showed, for the first one."""

    tests: tuple[LiftTest, ...]
    start: date
    sentence: str
    seed: int = 0
    sets: tuple[int, ...] = ()
    placebo: Placebo | None = None
    worth: float = 1.0  # of a conversion, where those are counted or valued

    def promise(self, test: LiftTest) -> ExperimentPromise:
        """What a test is planned to show, in the unit of the experiments feed."""
        first = test is self.tests[0] and self.placebo is not None
        return ExperimentPromise(
            test.expected_effect / self.worth,
            test.standard_error / self.worth,
            test.detectable / self.worth,
            test.power,
            dict(zip(self.tests, self.sets, strict=True)).get(test, 1),
            self.placebo.rate if first and self.placebo is not None else None,
        )

    def experiment(self, test: LiftTest, name: str | None = None) -> Experiment:
        """A test as it would be run from ``start`` on."""
        turns = test.turns
        pairs = test.weeks // (2 * turns.weeks) if turns is not None else 0
        return Experiment(
            name=name or f"{test.channel}-{self.start}",
            channel=test.channel,
            segments=test.segments,
            design=GEO if turns is None else SWITCH_BACK,
            change=test.change,
            start=self.start,
            end=self.start + timedelta(weeks=test.weeks) - timedelta(days=1),
            seed=self.seed,
            turn_weeks=turns.weeks if turns is not None else 0,
            washout_days=turns.washout if turns is not None else 0,
            changed_first=draw_turns(pairs, self.seed) if pairs else (),
        )

    def row(self, test: LiftTest) -> str:
        """The row of the experiments feed, the two measured columns left open."""
        one = self.experiment(test)
        segments, delta = ";".join(test.segments), f"{test.spend_delta:.2f}"
        return csv_line((one.name, segments, test.channel, one.start, one.end, delta, "", ""))

    def as_dicts(self) -> list[dict[str, Any]]:
        """Plain values, as ``--json`` shows them."""
        return [
            {
                **asdict(test),
                "segments": list(test.segments),
                "start": self.start.isoformat(),
                "do": test.act,
                "feed_columns": csv_line(FEED_COLUMNS),
                "feed_row": self.row(test),
                "seed": self.seed,
                "changed": [[str(a), str(b)] for a, b in self.experiment(test).spans()],
            }
            for test in self.tests
        ]


def suggest_tests(
    workspace: str,
    *,
    as_of: date | None = None,
    weeks: int | None = None,
    seed: int | None = None,
    calendar: Path | None = None,
) -> Suggested:
    """The lift tests to choose from, as known on ``as_of`` (default: today, and where data ended
    long ago the day after them, which the sentence then names). Where there are several segments
    those of each test are drawn by ``seed`` from sets that measure it as well; where there is one,
    weeks with and without the change take turns. Known days (Black Friday; those of ``calendar``)
    are left out or named.

    Raises
    ------
    Declined
        When no model is in force though holdouts are there, or nothing could be measured.
    RefusedFile
        When ``calendar`` cannot be read.
    """
    loop = open_loop(workspace)
    day, taken = planning_day(loop, as_of)
    start = day + timedelta(days=7 - day.weekday())  # the next Monday: whole weeks compare
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
    facts = view(loop, day, FEEDS)
    policy, _ = budgets_before(loop, day, source="holdout")
    if policy is None:
        raise Declined("No spend is known yet: deliver `performance` (liftloop ingest) first.")
    if champion is None and len(facts["holdout"]):
        raise Declined(
            "No model is in force yet, so no answer has a worth: run `liftloop cycle` first."
        )
    curves = separable_at(load_model_curves(loop, champion), policy) if champion else None
    ground = _Ground.of(facts["sales"], policy, day=day, curves=curves)
    found = (
        _first(loop, ground, weeks)
        if curves is None
        else _worth_most(loop, ground, weeks, facts=facts, curves=curves, day=day)
    )
    chance = crc32(f"{start}{sorted(map(str, policy.cells))}".encode()) if seed is None else seed
    tests, sets = zip(*(ground.drawn(test, chance) for test in found), strict=True)
    known = _calendar(calendar)
    begin, held = first_free_start(start, days=7 * tests[0].weeks, calendar=known)
    left = days_inside(start, start + timedelta(days=7 * tests[0].weeks - 1), known)
    placebo = ground.placebo(tests[0], sets[0], chance)
    sentence = " ".join(
        filter(
            None,
            (
                taken,
                _stale(facts, day),
                suggestion_sentence(
                    tests[0],
                    begin,
                    words=outcome_words(loop.settings),
                    horizon_weeks=loop.settings.exploration.horizon_weeks,
                ),
                drawn_words(tests[0], sets=len(sets[0]), seed=chance),
                placebo_words(placebo),
                known_days_words(start, begin, held, left=left),
            ),
        )
    )
    counts = tuple(len(one) for one in sets)
    worth = loop.settings.outcome.worth
    return Suggested(tuple(tests), begin, sentence, chance, counts, placebo, worth)


@dataclass(frozen=True, slots=True)
class _Ground:
    """Where tests would be run: the budgets, and what is known of sales before."""

    policy: Policy
    weekly: WeeklySales | None
    switch: SwitchNoise | None

    @classmethod
    def of(cls, sales: pd.DataFrame, policy: Policy, *, day: date, curves: Any | None) -> _Ground:
        weekly = latest_weeks(sales, as_of=day)
        segments = {cell.segment for cell in policy.cells}
        if weekly is not None or len(segments) != 1:
            return cls(policy, weekly, None)
        days = pd.to_datetime(sales["date"])
        last = days[(days < pd.Timestamp(day)).to_numpy()].max()
        if pd.isna(last):
            return cls(policy, None, None)
        after = last.date() + timedelta(days=1)
        before, _ = daily_sales(sales, sorted(segments), start=after)
        return cls(
            policy, None, SwitchNoise(before, channel_carryovers(curves)) if len(before) else None
        )

    def drawn(self, test: LiftTest, seed: int) -> tuple[LiftTest, list[tuple[str, ...]]]:
        """The test with its segments drawn by the seed, and the sets it was drawn from."""
        if self.weekly is None:
            return test, [test.segments]
        spend = {c.segment: float(b) for c, b in self.policy.budgets if c.channel == test.channel}
        return drawn(test, spend=spend, sales=self.weekly, seed=seed)

    def placebo(self, test: LiftTest, sets: Sequence[Sequence[str]], seed: int) -> Placebo | None:
        """What tests of nothing like this one showed on the past; None where it has no room."""
        if test.turns is not None and self.switch is not None:
            pairs = test.weeks // (2 * test.turns.weeks)
            found = placebo_turns(self.switch.before, test.turns, pairs=pairs, seed=seed)
        elif self.weekly is not None and SALES in test.measured_by:
            found = placebo_tests(self.weekly, sets[:PLACEBO_SETS], weeks=test.weeks)
        else:
            return None
        return found if found.tests else None


def _worth_most(
    loop: Loop, ground: _Ground, weeks: int | None, *, facts: View, curves: Any, day: date
) -> tuple[LiftTest, ...]:
    """With a model in force: the tests by what their answers are worth."""
    settings, policy = planning_settings(loop), ground.policy
    rules = rules_of(settings, policy, ())
    usual = SWITCH_WEEKS if ground.switch is not None else WEEKS
    found = suggest(
        curves=curves,
        policy=policy,
        rules=what_pays(settings, curves=curves, rules=rules, incumbent=policy),
        measures=Measures(
            sales=ground.weekly,
            noise=cycle_noise(
                facts["holdout"], facts["performance"], as_of=day, cycle_days=settings.cycle_days
            ),
            switch=ground.switch,
        ),
        terms=SuggestionTerms(
            weeks=(weeks,) if weeks is not None else usual,
            horizon_days=7 * settings.exploration.horizon_weeks,
            cycle_days=settings.cycle_days,
            margin=settings.budget.margin,
        ),
    )
    if not found:
        raise Declined(
            "No lift test could be measured: deliver `sales` of at least two segments over ten "
            "weeks, or of one over half a year, or `holdout`, or run a lift test on the platform "
            "and deliver its result as `experiments`."
        )
    return found


def _first(loop: Loop, ground: _Ground, weeks: int | None) -> tuple[LiftTest, ...]:
    """Without any randomized evidence: the test with which to begin."""
    test, margin = None, loop.settings.budget.margin
    durations = (weeks,) if weeks is not None else None
    if ground.weekly is not None:
        test = first_test(
            policy=ground.policy, sales=ground.weekly, weeks=durations or WEEKS, margin=margin
        )
    elif ground.switch is not None:
        test = first_switch(
            policy=ground.policy,
            noise=ground.switch,
            weeks=durations or SWITCH_WEEKS,
            margin=margin,
        )
    if test is None:
        raise Declined(
            "There is no randomized evidence yet, and no test could be measured: deliver `sales` "
            "of at least two segments over ten weeks, or of one over half a year, withhold a "
            "random tenth of each channel's audience and deliver `holdout`, or run a lift test on "
            "the platform and deliver its result as `experiments`."
        )
    return (test,)


def _calendar(path: Path | None) -> dict[date, str]:
    """The days of a calendar file on which a covariate is not 0, with the covariates' names."""
    if path is None:
        return {}
    rows = read_calendar(path, segments=["*"])
    names = [name for name in rows.columns if name.startswith("x_")]
    found: dict[date, str] = {}
    for day, values in rows.groupby("date")[names]:
        on = [name.removeprefix("x_") for name in names if (values[name] != 0).any()]
        if on:
            found[pd.Timestamp(str(day)).date()] = " and ".join(on)
    return found


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
