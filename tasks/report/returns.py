"""What the budgets in force return, by channel, segment and cell, from the curves they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.records import policy, session
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Policy
from tasks.context import Loop
from tasks.model.curves import curves_of


@dataclass(frozen=True, slots=True)
class InForce:
    """The budgets in force and those before them, and the curves that the decision rests on (None
    where it rests on none)."""

    decision_id: str
    policy: Policy
    previous: Policy
    curves: ResponseCurves | None


def in_force(loop: Loop) -> InForce | None:
    """None before the first decision."""
    with session(loop.engine, read_only=True) as db:
        now = budgets_in_force(db, before=date.max)
        if now is None:
            return None
        budgets, head = now
        before = policy(db, version=head.previous_policy_version)
    return InForce(head.id, budgets, before or budgets, curves_of(loop, head.training_key))
