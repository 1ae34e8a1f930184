"""An experiment as a person describes it, and what the past says it will show."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from zlib import crc32

from liftloop.adapters.ledger.records import champion_training, session
from liftloop.core.curves.interacting import separable_at
from liftloop.core.experiments.design import SWITCH_BACK, Experiment, draw_turns
from liftloop.core.experiments.lift_tests import SALES
from liftloop.core.experiments.power import Precision, detectable, power
from liftloop.core.experiments.switch_back import SwitchNoise, channel_carryovers
from liftloop.pipeline.experiments import daily_sales, latest_weeks
from tasks.context import open_loop, view
from tasks.decision.reallocate import budgets_before
from tasks.experiments.results import FEEDS, must_be_in_order
from tasks.experiments.runs import ExperimentPromise
from tasks.model.curves import MODEL_OF, load_model_curves


def seed_of(name: str, start: date) -> int:
    """The seed of an experiment for which none is given."""
    return crc32(f"{name}{start}".encode())


def describe_test(workspace: str, described: Experiment) -> tuple[Experiment, ExperimentPromise]:
    """An experiment as a person describes it, with its turns, and what it is known to show.

    Raises
    ------
    Declined
        When the last day is before the first.
    """
    loop = open_loop(workspace)
    channel, segments, start = described.channel, described.segments, described.start
    must_be_in_order(start, described.end)
    weeks = described.weeks
    facts = view(loop, min(start, loop.today() + timedelta(days=1)), FEEDS)
    policy, _ = budgets_before(loop, start, source="holdout")
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
    curves = None
    if champion is not None and policy is not None:
        curves = separable_at(load_model_curves(loop, champion), policy)
    spend = sum(
        float(budget)
        for cell, budget in (policy.budgets if policy is not None else ())
        if cell.channel == channel and cell.segment in segments
    )
    planned = described
    if described.design == SWITCH_BACK:
        before, _ = daily_sales(facts["sales"], segments, start=start)
        known = channel_carryovers(curves)
        noise = SwitchNoise(before, known)
        turns, precision = noise.turns(channel), noise.precision(channel, weeks)
        pairs = weeks // (2 * turns.weeks)
        planned = replace(
            described,
            turn_weeks=turns.weeks,
            washout_days=turns.washout,
            changed_first=draw_turns(pairs, described.seed),
        )
        felt = noise.felt(channel, weeks) / 2
    else:
        weekly = latest_weeks(facts["sales"], as_of=start)
        contrast = weekly.contrast(segments) if weekly is not None else None
        precision, felt = None, 1.0
        if contrast is not None and contrast.freedom(weeks) > 0:
            error = contrast.standard_error(weeks)
            precision = Precision(error, contrast.freedom(weeks), SALES)
    if precision is None:
        return planned, ExperimentPromise()
    expected = 7 * weeks * described.change * spend * felt / loop.settings.budget.margin
    error, freedom = precision.standard_error, precision.freedom
    worth = loop.settings.outcome.worth
    return planned, ExperimentPromise(
        expected / worth,
        error / worth,
        detectable(error, freedom=freedom) / worth,
        power(expected, error, freedom=freedom),
    )
