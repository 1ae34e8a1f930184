"""What the assistant's tools answer, as plain values. Names and reasons are given as they are on
record, each in a field of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from liftloop.adapters.pasteable import pasteable
from liftloop.app import views
from liftloop.core.curves.returns import GROUPINGS
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.policy import Cell
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    from liftloop.core.curves.returns import GroupReturn
    from tasks.context import Loop
    from tasks.decision.what_if import NextPlan

Answer = dict[str, Any]


def status(place: Workspace) -> Answer:
    """Whether somebody has to act, the rollout, what the monitor found, and what was gained."""
    from liftloop.adapters.audit.trail import verify
    from liftloop.adapters.ledger.loop_value_entries import worth_known
    from liftloop.adapters.ledger.records import last_verdict, session
    from liftloop.adapters.ledger.rollouts import active_rollout
    from liftloop.reporting.status import status_of
    from tasks.report.rollout_summary import last_summary, summary_of
    from tasks.report.situation import situation

    loop = _loop(place)
    with session(loop.engine, read_only=True) as db:
        now = situation(db, loop, verify(db), last_summary(db, loop.settings))
        running = active_rollout(db)
        rollout = summary_of(db, running, loop.settings) if running is not None else None
        verdict, worth = last_verdict(db), worth_known(db, as_of=date.max)
        monitor = verdict and {
            "as_of": verdict.as_of,
            "drifted": verdict.drifted,
            "summary": verdict.summary,
        }
    found = status_of(now)
    return {
        "status": found.kind.value,
        "sentence": found.sentence,
        "notices": [
            {
                "kind": notice.kind.value,
                "sentence": notice.sentence,
                "command_for_a_person": pasteable(notice.command, place, anywhere=True),
            }
            for notice in found.notices
        ],
        "budgets_in_force_from": now.in_force_from,
        "paused_cells": now.paused_cells,
        "cells": now.cells,
        "rollout": rollout and rollout.as_dict(),
        "monitor": monitor,
        "gained_so_far": worth and worth["sentence"],
    }


def budgets(place: Workspace, by: str, *, segment: str, channel: str, most: int) -> Answer:
    """The budgets in force and what they return, by channel, segment or cell, the largest first."""
    from liftloop.core.curves.returns import group_returns
    from tasks.report.returns import in_force

    loop = _loop(place)
    now = in_force(loop)
    if now is None:
        raise Declined("No budgets were decided yet.")

    def name(cell: Cell) -> str:
        asked = segment in ("", cell.segment) and channel in ("", cell.channel)
        return GROUPINGS[by](cell) if asked else ""

    every = group_returns(now.curves, policy=now.policy, previous=now.previous, group=name)
    groups = [group for group in every if group.name]
    if not groups:
        raise UnknownName(f"No budget is in force for {segment or '*'} x {channel or '*'}.")
    return {
        "decision": now.decision_id,
        "policy_version": now.policy.version,
        "currency": loop.settings.account.currency,
        "break_even": 1 / loop.settings.budget.margin,
        "is_predicted": now.curves is not None,
        "total_a_day": now.policy.total,
        "by": by,
        "rows": [_group(group) for group in groups[:most]],
        "rows_left_out": max(len(groups) - most, 0),
        "total_says": views.total_in_force(place)[0],
    }


def _group(group: GroupReturn) -> Answer:
    average = group.average
    return {
        "name": group.name,
        "cells": group.cells,
        "budget_a_day": group.spend,
        "previous_budget_a_day": group.previous,
        "return_per_unit": average and average.mean,
        "return_low_90": average and average.low,
        "return_high_90": average and average.high,
        "return_of_next_unit": group.marginal,
    }


def why(place: Workspace, segment: str, channel: str) -> Answer:
    """Why a cell has the budget it has, what it is expected to earn, and why not more."""
    from liftloop.core.curves.returns import curve_points, next_unit
    from liftloop.pipeline.plan.plan_budgets import outcome_words
    from liftloop.reporting.explain_moves import why_not_more
    from tasks.report.returns import in_force

    loop = _loop(place)
    head, lines = views.budgets_in_force(place)
    line = next((x for x in lines if (x["segment"], x["channel"]) == (segment, channel)), None)
    now = in_force(loop)
    if head is None or line is None or now is None:
        raise UnknownName(f"No budget is in force for {segment} x {channel}.")
    words, margin = outcome_words(loop.settings), loop.settings.budget.margin
    budget = float(Decimal(line["daily_budget"]))
    most = 2 * max(budget, float(Decimal(line["previous_daily_budget"])), 1.0)
    cell = Cell(segment, channel)
    curve = now.curves and curve_points(now.curves, cell, most=most)
    unit = curve and next_unit(curve, spend=budget, margin=margin)
    named = ("id", "kind", "state", "as_of", "effective_from", "reason", "evidence")
    return {
        "cell": line,
        "decision": {name: head[name] for name in named},
        "currency": words.currency,
        "break_even": 1 / margin,
        "next_unit": unit and asdict(unit),
        "why_not_more": unit and why_not_more(unit, margin=margin, words=words),
    }


def decisions(place: Workspace, last: int) -> Answer:
    """The last decisions, without what they rest on."""
    named = ("id", "as_of", "effective_from", "kind", "state", "policy_version", "reason")
    gain = ("expected_gain", "gain_low", "gain_high")
    found = views.decisions(place)
    return {
        "decisions": [{name: one[name] for name in (*named, *gain)} for one in found[:last]],
        "decisions_left_out": max(len(found) - last, 0),
    }


def experiments(place: Workspace) -> Answer:
    """All experiments and lift tests, and how much each counts in the model in force; and the tests
    inside cells."""
    from tasks.experiments.listing import listed_tests
    from tasks.variant_tests.listing import listed_tests as inside_cells

    where = str(place.root)
    return {"experiments": listed_tests(where), "tests": inside_cells(where)}


def sources(place: Workspace) -> Answer:
    """What is known of each channel, on what it rests, and the test that would tell most."""
    from tasks.report.evidence_sources import evidence_sources

    found = evidence_sources(str(place.root))
    channels = [{**each.as_dict(), "rests_on": each.words} for each in found.channels]
    return {"sentence": found.sentence, "channels": channels}


def audit(place: Workspace, last: int) -> Answer:
    """The verdict on the audit trail, and its last entries."""
    verdict, entries = views.audit(place, known_hash=None, last=last)
    return {"verdict": verdict, "entries": entries}


def what_if(place: Workspace, changes: Sequence[str], *, most: int) -> Answer:
    """The next plan under changed settings; nothing is written."""
    from tasks.decision.what_if import what_next

    found = what_next(str(place.root), changes)
    said = found.as_dict()
    moved = sorted(
        (row for row in said["budgets"] if row["changed"] != row["in_force"]),
        key=lambda row: -abs(row["changed"] - (row["in_force"] or 0)),
    )
    return {
        **said,
        "currency": found.words.currency,
        "plan": found.changed[1].version,
        "budgets": moved[:most],
        "budgets_left_out": max(len(moved) - most, 0),
        "budgets_that_stay": len(said["budgets"]) - len(moved),
    }


def propose(
    place: Workspace, changes: Sequence[str], *, plan: str, reason: str, actor: str
) -> Answer:
    """Let the plan of a what-if wait for a person's approval, whatever it moves.

    Raises
    ------
    Declined
        When the reason is missing, the plan is another one by now, or moves nothing.
    """
    from liftloop.adapters.ledger.decisions import decisions as recorded
    from liftloop.adapters.ledger.records import session
    from tasks.decision.what_if import what_next
    from tasks.operate.acts import WAITING
    from tasks.operate.budget_acts import propose_next

    why = " ".join(reason.split())
    if not why:
        raise Declined("Give a reason: it is kept in the audit trail.")
    found = what_next(str(place.root), changes)
    _must_be_the_plan(found, plan)
    source = f"a what-if plan ({why})"
    said = propose_next(str(place.root), found, source=source, actor=actor)
    with session(_loop(place).engine, read_only=True) as db:
        ids = [one.id for one in recorded(db, state=WAITING) if one.policy_version == plan]
    return {"sentence": said, "waiting": ids, "plan": plan, "entered_by": actor}


def _must_be_the_plan(found: NextPlan, plan: str) -> None:
    now = found.changed[1].version
    if now != plan:
        raise Declined(f"These changes give the plan {now} by now, not {plan}: look at it again.")
    if now == found.in_force.version:
        raise Declined("This plan leaves the budgets as they are: there is nothing to approve.")


def as_data(value: Any) -> Any:
    """Values as JSON has them: amounts as text, exact to the cent; what is no number as null."""
    if isinstance(value, Mapping):
        return {str(name): as_data(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(one) for one in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal):
        return str(value)
    number = float(value)  # also numpy's
    return number if math.isfinite(number) else None


def _loop(place: Workspace) -> Loop:
    from tasks.context import open_loop

    return open_loop(place.root)
