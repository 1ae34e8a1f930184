"""Experiments as they are listed and shown: those that were started here, lift tests run elsewhere,
and budgets that the loop varied on purpose."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

from sqlmodel import Session

from liftloop.adapters.facts.read_facts import FactsPart, read_facts
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.experiments import MEASURED, RUNNING, experiments, plan_of
from liftloop.adapters.ledger.records import champion_training, session, tests_of
from liftloop.adapters.ledger.tables import ExperimentRecord
from liftloop.core.arrays import Z90
from liftloop.core.experiments.design import Experiment
from models.lift.variation_effects import VariationEffect, VariedPair, variation_effects
from tasks.context import Loop, open_loop, view
from tasks.experiments.results import FEED_COLUMNS
from tasks.experiments.runs import ExperimentPromise, recorded_experiment
from tasks.model.curves import MODEL_OF


def shown(workspace: str, name: str) -> dict[str, Any]:
    """An experiment as plain values: plan, promise, state and result.

    Raises
    ------
    UnknownName
        When there is none of that name.
    """
    loop = open_loop(workspace)
    with session(loop.engine, read_only=True) as db:
        record = recorded_experiment(db, name)
    planned = plan_of(record)
    promise = ExperimentPromise(**json.loads(record.promise))
    return {
        **planned.as_dict(),
        "changed": [[str(first), str(last)] for first, last in planned.spans()],
        "days": planned.days,
        "days_run": _days_run(record, planned, loop.today()),
        "promise": asdict(promise),
        "hypotheses": promise.hypotheses,
        "state": record.state,
        "reason": record.reason,
        "by": record.actor,
        "stopped_on": record.stopped_on.isoformat() if record.stopped_on else None,
        "result": json.loads(record.result),
    }


def listed_tests(workspace: str) -> list[dict[str, Any]]:
    """All experiments, a row each: those that were started here, and the lift tests run elsewhere,
    in the feed's columns.

    ``design``, ``days`` (run so far) and ``status`` are of those started here (of others ``design``
    is "elsewhere", of budgets varied on purpose "coin", their spend and effect being the money that
    one of each pair had more than the other); ``low`` and ``high`` are a 90 % interval. What the
    model in force made of each: ``error_used`` (the standard error a test counts with),
    ``age_days``, ``weight`` (what its age leaves, 0 to 1) and ``conflict`` (words); None where no
    model has seen a test.
    """
    loop = open_loop(workspace)
    zone = loop.settings.account.timezone
    joined = FactsPart(names=loop.names)
    facts = read_facts(loop.workspace, "experiments", as_of=None, timezone=zone, part=joined)
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
        records = {record.name: record for record in experiments(db)}
    weighed = {test["experiment"]: test for test in tests_of(champion)} if champion else {}
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()}
        for row in facts[list(FEED_COLUMNS)].astype({"start": str, "end": str}).to_dict("records")
    ]
    delivered = {row["experiment"] for row in rows}
    rows += [_row_of(one) for name, one in records.items() if name not in delivered]
    for row in rows:
        test = weighed.get(row["experiment"], {})
        row.update(_status_of(row, records.get(row["experiment"]), loop.today()))
        row.update(error_used=test.get("standard_error"))
        row.update({name: test.get(name) for name in ("age_days", "weight", "conflict")})
    rows += [_row_of_variation(each) for each in measured_variation(loop, loop.today())]
    return sorted(rows, key=lambda row: (row["start"], row["experiment"]), reverse=True)


def _row_of_variation(effect: VariationEffect) -> dict[str, Any]:
    """What the budgets that a coin varied say of a channel: of the money moved, by all weeks."""
    low, high = effect.interval
    return {
        "experiment": f"budgets of {effect.channel} varied",
        "segments": ";".join(effect.segments),
        "channel": effect.channel,
        "start": str(effect.first),
        "end": str(effect.last),
        "spend_delta": effect.moved,
        "incremental_revenue": effect.effect * effect.moved,
        "standard_error": effect.standard_error * effect.moved,
        "design": "coin",
        "days": (effect.last - effect.first).days + 1,
        "low": low * effect.moved,
        "high": high * effect.moved,
        "status": RUNNING,
        "why": "",
        "error_used": None,
        "age_days": None,
        "weight": None,
        "conflict": None,
    }


def _row_of(record: ExperimentRecord) -> dict[str, Any]:
    planned = plan_of(record)
    return {
        **dict.fromkeys(FEED_COLUMNS),
        "experiment": planned.name,
        "segments": ";".join(planned.segments),
        "channel": planned.channel,
        "start": str(planned.start),
        "end": str(planned.end),
    }


def _status_of(row: dict[str, Any], record: ExperimentRecord | None, today: date) -> dict[str, Any]:
    if record is None:
        days = (date.fromisoformat(row["end"]) - date.fromisoformat(row["start"])).days + 1
        effect, half = row["incremental_revenue"], Z90 * row["standard_error"]
        return {
            "design": "elsewhere",
            "days": days,
            "low": effect - half,
            "high": effect + half,
            "status": MEASURED,
            "why": "",
        }
    planned = plan_of(record)
    result = json.loads(record.result)
    status = record.state
    if status == RUNNING and today < planned.start:
        status = "planned"
    elif status == RUNNING and today > planned.end:
        status = "over, not measured yet"
    return {
        "design": planned.design,
        "days": _days_run(record, planned, today),
        "low": result.get("low"),
        "high": result.get("high"),
        "status": status,
        "why": record.reason,
    }


def _days_run(record: ExperimentRecord, planned: Experiment, today: date) -> int:
    after = min(record.stopped_on or today, planned.end + timedelta(days=1))
    return max((after - planned.start).days, 0)


def varied_pairs(db: Session, *, until: date) -> list[VariedPair]:
    """Every pair of cells that a coin moved apart, with the days before ``until`` on which it was
    so: until the next decision came into force."""
    found, ends = [], until
    for decision in decisions(db, state="in_force"):
        begin = decision.effective_from
        days = (min(ends, until) - begin).days
        ends = min(ends, begin)
        variation = json.loads(decision.evidence).get("variation")
        if variation is None or days <= 0:
            continue
        for pair in variation["pairs"]:
            found.append(
                VariedPair(
                    begin,
                    days,
                    pair["channel"],
                    pair["raised"],
                    pair["lowered"],
                    float(pair["amount"]),
                )
            )
    return found[::-1]


def measured_variation(loop: Loop, as_of: date) -> tuple[VariationEffect, ...]:
    """By channel, what a unit of budget returned by the coins of all weeks before ``as_of``."""
    with session(loop.engine, read_only=True) as db:
        pairs = varied_pairs(db, until=as_of)
    if not pairs:
        return ()
    return variation_effects(pairs, view(loop, as_of, ["sales"])["sales"])
