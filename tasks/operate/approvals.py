"""Who may approve what: an approval binds to one plan, is not its author's, is by the role that its
rules ask for, and keeps a limit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from liftloop.adapters.ledger.tables import Decision
from liftloop.core.access.roles import Caller, names_in
from liftloop.core.errors import Declined, NotAllowed
from liftloop.core.money.currencies import amount_words
from liftloop.reporting.escalation import because, who_decides
from tasks.context import Loop
from tasks.decision.escalation import due_on, escalation_of_decision


@dataclass(frozen=True, slots=True)
class Approval:
    """``actor``: as the audit trail names them. ``plan``: the policy version they looked at, or how
    it begins; None: whatever the decision has."""

    actor: str
    caller: Caller
    plan: str | None = None


def must_be_approvable(
    loop: Loop, waiting: Decision, approval: Approval, *, moved: Decimal
) -> None:
    """Refuse an approval of another plan, one that comes too late, from the plan's author or a role
    that its rules do not ask for, or over a limit. ``moved``: the money a day that the plan
    moves, account currency.

    Raises
    ------
    Declined, NotAllowed
        With the rule that refuses.
    """
    plan = approval.plan
    if plan is not None and not (plan and waiting.policy_version.startswith(plan)):
        raise Declined(
            f"{waiting.id} is the plan {waiting.policy_version}, not {plan}: look at it again "
            "before you approve."
        )
    escalation = escalation_of_decision(waiting)
    days = escalation.within_days or loop.settings.access.approve_within_days
    waited = waiting.created_at + timedelta(days=days) < loop.now()
    if waited and loop.today() > due_on(loop, waiting):  # the day that people were told
        raise Declined(
            f"{waiting.id} cannot be approved any more: it waited longer than {days} days. Run "
            "liftloop cycle for a new proposal."
        )
    caller = approval.caller
    author = str(json.loads(waiting.evidence).get("actor", ""))
    if not caller.is_anyone and caller.name in names_in(author):
        raise NotAllowed(f"{waiting.id} is your own plan: somebody else approves it.")
    if not caller.is_anyone and not escalation.is_decided_by(caller.role):
        raise NotAllowed(
            f"{caller.name} ({caller.role}) may not approve {waiting.id}: "
            f"{who_decides(escalation)} decides, because {because(escalation)}."
        )
    must_be_within_limit(caller, moved)


def must_be_within_limit(caller: Caller, moved: Decimal) -> None:
    """Refuse an approval that moves more money a day than the person may."""
    if caller.approve_limit is not None and moved > caller.approve_limit:
        raise NotAllowed(
            f"This moves {amount_words(moved)} a day; {caller.name} may approve up to "
            f"{amount_words(caller.approve_limit)}. Somebody with a higher limit approves it."
        )
