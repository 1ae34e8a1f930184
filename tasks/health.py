"""The health of the facts a decision rests on, judged where it is needed."""

from __future__ import annotations

from datetime import date

from liftloop.adapters.decisions import budgets_in_force
from liftloop.adapters.ledger import session
from liftloop.core.policy import Policy
from monitoring.verdicts import HealthVerdict
from tasks.context import Loop, view
from tasks.settling import feed_health


def health_of(loop: Loop, as_of: date, policy: Policy, *, door: str) -> HealthVerdict:
    """Which cells of ``policy`` may move on ``as_of``, by the facts known then.

    A user-level test is one wave: it has no daily feed that could lag.
    """
    if door == "units":
        return HealthVerdict(as_of, (), "", "A user-level test has no daily feed that could lag.")
    facts = view(loop, as_of, ["performance", "holdout"])
    with session(loop.engine, read_only=True) as db:
        known = budgets_in_force(db, before=as_of)
    return feed_health(
        loop.settings,
        facts.frames,
        policy=policy,
        as_of=as_of,
        in_force_since=known[1].effective_from if known else None,
    )
