"""What may not move on a day, loaded: asked by plan, horizon, every step of a rollout, approval."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import date

import pandas as pd

from liftloop.adapters.decisions import cells_with_budgets
from liftloop.adapters.ledger import active_pauses, last_training, session
from liftloop.adapters.worth_entries import standing
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.holds import Holds, alarms_in, holds, slow_cells
from liftloop.pipeline.monitor import broken_feeds, triage_config
from liftloop.pipeline.outcome_guardrails import harmed
from tasks.alarmed import alarmed_cells
from tasks.arms import test_holds
from tasks.context import Loop, view
from tasks.curves import MODEL_OF
from tasks.health import health_of
from tasks.standing import standing_segments

STOPPED = (
    "it spent nothing in the week before the first decision, so it stays at 0; "
    "liftloop budgets --set FILE starts it again"
)


def holds_on(loop: Loop, as_of: date, policy: Policy, *, door: str) -> Holds:
    """What may not move on ``as_of``, by what is known then. Writes nothing.

    Parameters
    ----------
    policy
        The budgets in force before ``as_of``.
    door
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
    health = health_of(loop, as_of, policy, door=door)
    facts = view(loop, as_of, ["performance", "holdout", "sales"]).frames
    alarms = _alarms(loop, as_of, facts) if door == "holdout" else ()
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
    broken by the facts of today: the monitor may not have looked yet."""
    told = alarmed_cells(loop, as_of)
    if not loop.settings.data.health_checks:
        return told
    found = broken_feeds(facts, as_of=as_of, config=triage_config(loop.settings.drift))
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
    return standing_segments(loop.settings, {cell.segment for cell in policy.cells})
