"""What may not move on a day, loaded: asked by plan, horizon, every step of a rollout, approval."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from datetime import date, timedelta

import pandas as pd
from sqlmodel import Session

from liftloop.adapters.ledger.decisions import cells_with_budgets
from liftloop.adapters.ledger.experiments import holding, plan_of
from liftloop.adapters.ledger.loop_value_entries import standing
from liftloop.adapters.ledger.records import active_pauses, last_training, session, verdicts
from liftloop.core.failed_reports import in_words
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.holds import Frozen, Holds, alarms_in, holds, slow_cells
from liftloop.pipeline.monitor import broken_feeds, triage_config
from liftloop.pipeline.outcome_guardrails import harmed
from tasks.context import Loop, view
from tasks.decision.holdback import holdback_segments
from tasks.evidence.arms import test_holds
from tasks.evidence.health import health_of
from tasks.model.curves import MODEL_OF

FRESH_DAYS = 7  # a verdict of a week ago says nothing of today's feeds


def alarmed_cells(loop: Loop, as_of: date) -> tuple[tuple[str, str, str], ...]:
    """(segment, channel, why) of each cell whose budgets may not move on ``as_of``."""
    with session(loop.engine, read_only=True) as db:
        told = verdicts(db, before=as_of + timedelta(days=1), made_by=loop.at, limit=1)
        last = next(iter(told), None)
        if last is None or (as_of - last.as_of).days > FRESH_DAYS:
            return ()
        return alarms_in(json.loads(last.evidence).get("triage", {}).get("findings", ()))


logger = logging.getLogger(__name__)
STOPPED = (
    "it spent nothing in the week before the first decision, so it stays at 0; "
    "liftloop budgets --set FILE starts it again"
)


def holds_on(loop: Loop, as_of: date, policy: Policy, *, source: str) -> Holds:
    """What may not move on ``as_of``, by what is known then. Writes nothing.

    Parameters
    ----------
    policy
        The budgets in force before ``as_of``.
    source
        The champion's evidence source: ``holdout`` or ``units``.

    Raises
    ------
    ConfigurationError
        For a standing holdback that names a segment without a budget, or leaves none to move.
    """
    with session(loop.engine, read_only=True) as db:
        pauses = [
            (p.segment, p.channel, f"paused by {p.actor}" + (f" ({p.reason})" if p.reason else ""))
            for p in active_pauses(db, at=loop.at)
        ]
        pauses += _stopped(policy, cells_with_budgets(db, at=loop.at))
    pauses += [*experiment_holds(loop, as_of), *loop.settings.budget.blackouts_on(as_of)]
    health = health_of(loop, as_of, policy, source=source)
    facts = view(loop, as_of, ["performance", "holdout", "sales"]).frames
    alarms = _alarms(loop, as_of, facts) if source == "holdout" else ()
    return holds(
        pauses=pauses,
        holdback=holdback_of(loop, policy),
        health=health,
        alarms=(*alarms, *test_holds(loop, as_of, facts, policy)),
        no_raise={
            **slow_cells(
                loop.settings,
                facts,
                incumbent=policy,
                as_of=as_of,
                facts_health=health,
            ),
            **harmed_cells(loop, as_of),
        },
    )


def harmed_cells(loop: Loop, as_of: date) -> dict[Cell, str]:
    """The cells that get no raise because a user-level test of theirs harms a guarded outcome, by
    the last training on such tests that was known then."""
    if not loop.settings.guardrails.outcomes:
        return {}
    with session(loop.engine, read_only=True) as db:
        last = last_training(db, model_name=MODEL_OF["units"], as_of=as_of, at=loop.at)
    tests = json.loads(last.examination).get("user_tests", []) if last else []
    return harmed(loop.settings, tests)


def _stopped(policy: Policy, with_budgets: Collection[Cell]) -> list[tuple[str, str, str]]:
    """The cells that spent nothing when the loop began, and that nobody gave a budget since: what
    somebody stopped does not start again by itself."""
    return [
        (cell.segment, cell.channel, STOPPED)
        for cell, amount in policy.budgets
        if amount == 0 and cell not in with_budgets
    ]


def _alarms(
    loop: Loop, as_of: date, facts: Mapping[str, pd.DataFrame]
) -> tuple[tuple[str, str, str], ...]:
    """The cells that the monitor's last verdict pauses, and those that depend on a feed that is
    broken by the facts of today: the monitor may not have looked yet. Where the feeds cannot be
    checked it is every cell."""
    told = alarmed_cells(loop, as_of)
    if not loop.settings.data.health_checks:
        return told
    try:
        found = broken_feeds(facts, as_of=as_of, config=triage_config(loop.settings.drift))
    except Exception as error:
        logger.warning("the feeds could not be checked", exc_info=True)
        return (*told, ("*", "*", f"its feeds could not be checked ({in_words(error)[:-1]})"))
    paused = {(segment, channel) for segment, channel, _ in told}
    today = alarms_in([finding.as_dict() for finding in found])
    return (*told, *(alarm for alarm in today if alarm[:2] not in paused))


def holdback_of(loop: Loop, policy: Policy) -> tuple[str, ...]:
    """The segments of the standing holdback: as recorded, or as the next cycle would draw them
    under these settings."""
    with session(loop.engine, read_only=True) as db:
        known = standing(db, at=loop.at)
    if known is not None and known["rule"] == loop.settings.worth.model_dump(mode="json"):
        return tuple(known["segments"])
    return holdback_segments(loop.settings, {cell.segment for cell in policy.cells})


def experiment_holds(loop: Loop, as_of: date) -> Frozen:
    """(segment, channel, reason) of the cells that experiments hold on ``as_of``, from the cycle
    before their first day to their last."""
    ahead = timedelta(days=loop.settings.cycle_days)
    with session(loop.engine, read_only=True) as db:
        plans = [plan_of(one) for one in holding(db, at=loop.at)]
    return tuple(
        (cell.segment, cell.channel, f"under test until {one.end}, experiment {one.name}")
        for one in plans
        if one.start - ahead < as_of <= one.end
        for cell in one.cells
    )


def under_test(db: Session, day: date) -> frozenset[Cell]:
    """The cells whose spend a person changes on ``day`` or in the same experiment later: their
    budgets on the platforms are that person's."""
    plans = [plan_of(one) for one in holding(db)]
    return frozenset(cell for one in plans if one.start <= day <= one.end for cell in one.cells)
