"""Experiments that a person starts and stops, and that the loop measures when they are over.

The loop changes no budget for them: the person carries the change out on the platforms, and the
loop holds the cells under test until the last day (``tasks.decision.holds``). Each act is one
ledger transaction with its audit entry.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from sqlmodel import Session

from liftloop.adapters.audit.sealing import row_content
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.experiments import (
    EXPERIMENT_CHANGES,
    MEASURED,
    RUNNING,
    UNMEASURED,
    UNSEALED,
    add_experiment,
    end_experiment,
    experiment,
    holding,
    plan_of,
    stop_experiment,
    waiting_for_a_result,
)
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import ExperimentRecord
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.experiments.design import GEO, Experiment
from liftloop.core.experiments.known_days import day_words, days_inside
from liftloop.core.ids import canonical
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import Policy
from liftloop.pipeline.experiments import CannotMeasure, measure
from liftloop.pipeline.plan.plan_budgets import outcome_words
from tasks.context import Loop, open_loop, view
from tasks.evidence.ingest import take_in
from tasks.experiments.results import FEEDS, Measured, measured_sentence, write_row
from tasks.operate.audit_notes import anchor, note_once
from tasks.step import step

WAIT = timedelta(days=28)  # for facts of the last days, before an experiment is given up


@dataclass(frozen=True, slots=True)
class ExperimentPromise:
    """What an experiment was planned to show: totals over it, in account currency, and how surely;
    None where it was not planned from the segments' past."""

    expected_effect: float | None = None
    standard_error: float | None = None
    detectable: float | None = None
    power: float | None = None
    sets: int = 1
    placebo_rate: float | None = None

    @property
    def hypotheses(self) -> str:
        """What is tested, in words."""
        text = "The change of spend changes no sales, against: it changes them (two-sided, 5 %)."
        if self.expected_effect is None or self.power is None or self.detectable is None:
            return text
        return (
            f"{text} Expected is {self.expected_effect:+z,.0f}, seen with a power of "
            f"{self.power:.0%}; the least effect seen 4 times in 5 is {self.detectable:,.0f}."
        )


def start_experiment(
    workspace: str,
    planned: Experiment,
    *,
    promise: ExperimentPromise,
    actor: str,
    on: date | None = None,
) -> str:
    """Record an experiment before its first day; its cells are held from the week before it on.
    Started again with the same plan, nothing changes.

    Parameters
    ----------
    on
        The day on which it is recorded; None: today.

    Raises
    ------
    Declined
        When it starts in the past, names a cell without a budget or one that another experiment
        changes on the same days, leaves no segment to compare with, its name is taken, or no
        budgets are in force.
    """
    loop = open_loop(workspace)
    day = on or loop.today()
    with session(loop.engine, read_only=True) as db:
        now = budgets_in_force(db, before=date.max)
    if now is None:
        raise Declined(
            "No budgets are in force yet, so none can be held: run `liftloop cycle` first."
        )
    policy = loop.names.policy(now[0])
    _must_be_possible(planned, policy, day)
    record = ExperimentRecord(
        name=planned.name,
        channel=planned.channel,
        starts_on=planned.start,
        ends_on=planned.end,
        plan=canonical(planned.as_dict()),
        promise=canonical(asdict(promise)),
        actor=actor,
        created_at=loop.now(),
        state=RUNNING,
    )
    with session(loop.engine) as db:
        known = experiment(db, name=planned.name)
        if known is not None and known.plan != record.plan:
            raise Declined(
                f"There is an experiment {planned.name} already ({known.state}): choose another "
                "name. liftloop experiments lists them."
            )
        if known is None:
            _must_be_alone(db, planned)
            add_experiment(db, record=record)
            content = row_content(record, changes=EXPERIMENT_CHANGES)
            said = {**planned.as_dict(), "content": content, "state": RUNNING}
            note_once(db, loop, "start_experiment", record.name, actor=actor, payload=said)
    anchor(loop)
    words = "Started already" if known is not None else "Started"
    return f"{words}: {what_to_do(planned, policy, loop.settings.account.currency)}"


def _must_be_possible(planned: Experiment, policy: Policy, day: date) -> None:
    if not planned.name.strip():
        raise Declined("An experiment needs a name, under which its result is recorded.")
    if planned.start < day:
        raise Declined(
            f"{planned.start} is in the past: an experiment is recorded before it begins. One that "
            "was run is measured by liftloop experiments measure."
        )
    if planned.until(planned.end) != planned:
        raise Declined(
            f"{planned.start} to {planned.end} are {planned.days} days: an experiment lasts whole "
            "weeks (in turns: whole pairs of turns)."
        )
    cells, budgets = planned.cells, policy.as_dict()
    unknown = [cell for cell in cells if cell not in budgets]
    idle = [cell for cell in cells if not budgets.get(cell)]
    if unknown or idle:
        cell = (unknown or idle)[0]
        raise Declined(f"{cell} has no budget that could be changed: see liftloop budgets.")
    others = {cell.segment for cell in policy.cells} - set(planned.segments)
    if planned.design == GEO and not others:
        raise Declined(
            "A geo test needs at least one segment without the change to compare with: leave one "
            "out, or take turns in one segment (--design switch-back)."
        )


def _must_be_alone(db: Session, planned: Experiment) -> None:
    for record in holding(db):
        other = plan_of(record)
        apart = other.end < planned.start or planned.end < other.start
        if not apart and set(other.segments) & set(planned.segments):
            raise Declined(
                f"The experiment {other.name} changes {other.channel} in "
                f"{', '.join(sorted(set(other.segments) & set(planned.segments)))} from "
                f"{other.start} to {other.end}: two changes at once cannot be told apart."
            )


def what_to_do(planned: Experiment, policy: Policy, currency: str) -> str:
    """Who does what in an experiment: the amounts a person sets on the platforms, and when; what
    the loop does; what becomes of the total."""
    budgets = policy.as_dict()
    amounts = [(cell, budgets[cell]) for cell in planned.cells if cell in budgets]
    set_to = "; ".join(
        f"{cell} from {amount_words(before, currency)} to "
        f"{amount_words(round(float(before) * (1 + planned.change), 2), currency)}"
        for cell, before in amounts
    )
    spans = planned.spans()
    when = ", ".join(f"{first} to {last}" for first, last in spans[:6])
    more = f" and {len(spans) - 6} more" if len(spans) > 6 else ""
    moved = planned.change * float(sum(before for _, before in amounts))
    total = amount_words(abs(round(moved, 2)), currency)
    held = days_inside(planned.start, planned.end, {})
    beware = f" Beware: its days hold {day_words(held)}." if held else ""
    return (
        f"{planned.name}. You change these daily budgets on the platforms, and back after: "
        f"{set_to}; on {when}{more}. LiftLoop does not change them: it holds these cells until "
        f"{planned.end}, and its budgets file goes on to name their usual budgets. On these days "
        f"the total {'falls' if moved < 0 else 'rises'} by {total}: nothing is moved elsewhere. "
        f"The cycle after {planned.end} measures it from sales.{beware}"
    )


def stop_run(workspace: str, name: str, *, reason: str, actor: str, on: date | None = None) -> str:
    """Stop an experiment: the day ``on`` (default: today) is the first without the change. What was
    run is measured by the next cycle, if it is long enough. Stopped again, nothing changes.

    Raises
    ------
    Declined
        When it is over, or ``on`` is still to come: until then its cells are held.
    UnknownName
        When it was never started.
    """
    loop = open_loop(workspace)
    day = on or loop.today()
    if day > loop.today():
        raise Declined(
            f"{day} is still to come: stop {name} on the day from which its spend is as before."
        )
    with session(loop.engine) as db:
        found = recorded_experiment(db, name)
        planned = plan_of(found)
        if found.stopped_on is not None:
            return f"Stopped already: {name}, from {found.stopped_on}."
        if found.state != RUNNING or day > planned.end:
            raise Declined(
                f"{name} is over ({found.state}, its last day was {planned.end}): there is nothing "
                f"to stop. liftloop experiments show says what came of it."
            )
        ended = stop_experiment(db, name=name, on=day, at=loop.now(), reason=f"Stopped: {reason}.")
        assert ended is not None  # it runs
        said = {
            "state": ended.state,
            "reason": ended.reason,
            "stopped_on": day,
            "outcome": row_content(ended, changes=UNSEALED),
        }
        note_once(db, loop, "stop_experiment", ended.name, actor=actor, payload=said)
    anchor(loop)
    days = max((day - planned.start).days, 0)
    left = planned.until(day - timedelta(days=1))
    then = (
        f"The next cycle measures {left.start} to {left.end}."
        if left is not None
        else "That is too short to be measured; it stays on record."
    )
    return (
        f"Stopped: {name} after {days} of {planned.days} days. Set the budgets of "
        f"{', '.join(map(str, planned.cells))} back on the platforms. {then}"
    )


@step("measure experiments")
def measure_experiments(workspace: str, as_of: date) -> list[DeliverySummary]:
    """Measure the experiments that are over by the facts known on ``as_of``, and take their results
    in as rows of the experiments feed, each once."""
    return measure_due(open_loop(workspace), as_of)


def measure_due(loop: Loop, as_of: date) -> list[DeliverySummary]:
    """As of :func:`measure_experiments`. The row comes first, then the record: done again after a
    kill, the same row is a file that was taken in before."""
    with session(loop.engine, read_only=True) as db:
        waiting = waiting_for_a_result(db)
    taken: list[DeliverySummary] = []
    for record in waiting:
        planned = plan_of(record)
        after = min(record.stopped_on or date.max, planned.end + timedelta(days=1))
        if after > as_of:
            continue
        run = planned.until(after - timedelta(days=1))
        if run is None:
            days = max((after - planned.start).days, 0)
            least = "a whole week" if planned.design == GEO else "a whole pair of turns"
            _end(loop, record, None, f"Not measured: {days} days were run, less than {least}.")
            continue
        facts = view(loop, as_of, FEEDS)
        try:
            found = measure(run, spend=facts["performance"], sales=facts["sales"])
        except CannotMeasure as lack:
            if not lack.wait or as_of > after + WAIT:
                _end(loop, record, None, f"Not measured: {lack}")
            continue
        words, worth = outcome_words(loop.settings), loop.settings.outcome.worth
        told = Measured(found, measured_sentence(found, words), worth)
        path = write_row(loop, told)
        taken.append(take_in(str(loop.workspace.root), str(path), None))
        _end(loop, record, told, "")
    return taken


def _end(loop: Loop, record: ExperimentRecord, told: Measured | None, why: str) -> None:
    result: dict[str, Any] = {}
    if told is not None:
        found = told.measurement
        low, high = found.interval
        unit = told.worth
        result = {
            **told.row(),
            "low": round(low / unit, 2),
            "high": round(high / unit, 2),
            "error": round(found.error / unit, 2),
            "freedom": round(found.freedom, 2),
            "days": found.experiment.days,
            "sentence": told.sentence,
        }
    with session(loop.engine) as db:
        ended = end_experiment(
            db,
            name=record.name,
            state=MEASURED if told is not None else UNMEASURED,
            result=canonical(result),
            reason=why,
        )
        if ended is not None:
            said = {
                "state": ended.state,
                "reason": ended.reason,
                **result,
                "outcome": row_content(ended, changes=UNSEALED),
            }
            note_once(db, loop, "end_experiment", ended.name, actor=loop.actor, payload=said)


def recorded(workspace: str, name: str) -> Experiment | None:
    """The experiment of that name as planned; None where there is none."""
    with session(open_loop(workspace).engine, read_only=True) as db:
        found = experiment(db, name=name)
    return plan_of(found) if found is not None else None


def recorded_experiment(db: Session, name: str) -> ExperimentRecord:
    """The record of that name.

    Raises
    ------
    UnknownName
        Where there is none.
    """
    found = experiment(db, name=name)
    if found is None:
        raise UnknownName(f"There is no experiment {name}. liftloop experiments lists them.")
    return found
