"""The health of the facts a decision rests on, judged where it is needed."""

from __future__ import annotations

from datetime import date

from liftloop.adapters.decisions import budgets_in_force, decisions
from liftloop.adapters.ledger import policy as policy_of
from liftloop.adapters.ledger import session
from liftloop.core.policy import Policy
from models.stand_ins import StandIns
from monitoring.verdicts import HealthVerdict
from tasks.context import Loop, View, view
from tasks.settling import feed_health
from tasks.standing_in import stand_in


def health_of(loop: Loop, as_of: date, policy: Policy, *, door: str) -> HealthVerdict:
    """Which cells of ``policy`` may move on ``as_of``, by the facts known then.

    A user-level test is one wave: it has no daily feed that could lag.
    """
    if door == "units":
        return HealthVerdict(as_of, (), "", "A user-level test has no daily feed that could lag.")
    facts = view(loop, as_of, ["performance", "holdout", "sales"])
    with session(loop.engine, read_only=True) as db:
        known = budgets_in_force(db, before=as_of)
    return feed_health(
        loop.settings,
        facts.frames,
        policy=policy,
        as_of=as_of,
        in_force_since=known[1].effective_from if known else None,
    )


def filled_in(loop: Loop, facts: View) -> StandIns:
    """The performance known on a day; the budgets set stand in for what it lacks."""
    return stand_in(
        loop.settings, facts.frames, budgets=budgets_over_time(loop, facts.as_of), as_of=facts.as_of
    )


def budgets_over_time(loop: Loop, before: date) -> list[tuple[date, Policy]]:
    """(first day, budgets in force from then on) of each decision that took effect before a day."""
    with session(loop.engine, read_only=True) as db:
        known = [d for d in decisions(db, state="in_force") if d.effective_from < before]
        known.sort(key=lambda d: (d.effective_from, d.sequence))
        told = [(d.effective_from, policy_of(db, version=d.policy_version)) for d in known]
    return [(day, budgets) for day, budgets in told if budgets is not None]
