"""The health of the facts a decision rests on, judged where it is needed."""

from __future__ import annotations

from datetime import date

from liftloop.adapters.decisions import budgets_in_force
from liftloop.adapters.ledger import session
from liftloop.core.policy import Policy
from monitoring.data_health import HealthConfig, health
from monitoring.verdicts import HealthVerdict
from tasks.context import Loop, view


def health_of(loop: Loop, as_of: date, policy: Policy, *, door: str) -> HealthVerdict:
    """Which cells of ``policy`` may move on ``as_of``, by the facts known then.

    A user-level test is one wave: it has no daily feed that could lag.
    """
    if door == "units":
        return HealthVerdict(as_of, (), "", "A user-level test has no daily feed that could lag.")
    facts = view(loop, as_of, ["performance", "holdout"])
    with session(loop.engine, read_only=True) as db:
        known = budgets_in_force(db, before=as_of)
    return health(
        facts["performance"],
        policy=policy,
        as_of=as_of,
        holdout=facts["holdout"],
        in_force_since=known[1].effective_from if known else None,
        config=HealthConfig(max_lag_days=loop.settings.data.max_lag_days),
    )
