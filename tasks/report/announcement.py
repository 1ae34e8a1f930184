"""What there is to tell of a decision, gathered from the ledger and the curves for its message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from liftloop.adapters.audit.sealing import head_with
from liftloop.adapters.ledger.decisions import proposal
from liftloop.adapters.ledger.records import policy, session
from liftloop.adapters.ledger.tables import Decision
from liftloop.core.curves.gain import Estimate, spends
from liftloop.core.errors import LiftLoopError
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import Cell
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.pipeline.plan.total import judged_clause
from liftloop.reporting.escalation import also_told, asked_words
from liftloop.reporting.explain_guardrails import in_brief, step_verdicts
from liftloop.reporting.held_plans import TO_DO, cost_of_waiting, without
from liftloop.reporting.messages.decision_message import Announcement
from liftloop.settings.schema import Settings
from tasks.context import Loop
from tasks.decision.escalation import due_on, escalation_of_decision
from tasks.decision.total_proposals import JUDGED, judged_from, open_offer
from tasks.links import decision_links
from tasks.model.curves import curves_of


def announcement_of(
    loop: Loop, db: Session, head: Decision, page: str | None, returns: Mapping[Cell, float]
) -> Announcement:
    """What there is to tell of a decision besides its lines; every number is the ledger's.

    Parameters
    ----------
    page
        The decision's page, as a path in the workspace; None where none was written.
    returns
        Of :func:`returns_before`.
    """
    known = head.training_key is not None
    evidence = json.loads(head.evidence)
    to_do = str(evidence.get("to_do", ""))
    is_waiting = head.state == "awaiting_approval"
    return Announcement(
        decision_id=head.id,
        kind=head.kind,
        state=head.state,
        effective_from=head.effective_from,
        reason=in_brief(
            without(head.reason, f"{TO_DO}{to_do}" if to_do else ""), step_verdicts(head.evidence)
        ),
        currency=loop.settings.account.currency,
        gain=head.expected_gain if known else None,
        gain_low=head.gain_low if known else None,
        gain_high=head.gain_high if known else None,
        todo=to_do or _by_platforms(loop, head),
        total=total_step(db, loop.settings),
        judged_total=_judged(loop, evidence),
        waiting=_waiting(loop, db, head, is_held=bool(to_do)),
        asked=_asked(loop, head),
        copies=also_told(escalation_of_decision(head)) if is_waiting else "",
        returns=returns,
        links=decision_links(loop, db, head, page),
        audit_head=head_with(db, head.id),
        outcome=outcome_words(loop.settings),
    )


def _asked(loop: Loop, head: Decision) -> str:
    """Who decides on a plan that waits, by when and why; "" where it does not wait."""
    if head.state != "awaiting_approval":
        return ""
    return asked_words(escalation_of_decision(head), due_on(loop, head), most=1)


def _judged(loop: Loop, evidence: Mapping[str, Any]) -> str:
    kept = evidence.get(JUDGED)
    return judged_clause(judged_from(kept), loop.settings.account.currency) if kept else ""


def returns_before(loop: Loop, head: Decision) -> dict[Cell, float]:
    """What each extra unit of money returns in each cell at the budgets before the decision, as its
    reasons say it; empty where no curves are known or can be read."""
    try:
        curves = curves_of(loop, head.training_key)
    except LiftLoopError:  # the message goes out all the same
        return {}
    with session(loop.engine, read_only=True) as db:
        before = policy(db, version=head.previous_policy_version)
    if curves is None or before is None:
        return {}
    earned = loop.settings.budget.margin * curves.mean_marginal(spends(before, curves))
    return dict(zip(curves.cells, map(float, earned), strict=True))


def _waiting(loop: Loop, db: Session, head: Decision, *, is_held: bool) -> str:
    """What a day costs that the plan behind a decision waits; "" where none waits, or no gain of
    it is known."""
    plan = proposal(db, id=head.proposal_id) if head.proposal_id else None
    if plan is None or not plan.share_moved or not plan.training_key:
        return ""
    if not is_held and head.state != "awaiting_approval":
        return ""
    gain = Estimate(plan.expected_gain, plan.gain_low, plan.gain_high)
    return cost_of_waiting(gain, outcome_words(loop.settings))


def total_step(db: Session, settings: Settings) -> str:
    """The next step for a total that waits for a person; "" where none waits."""
    offer = open_offer(db)
    if offer is None or settings.budget.total_is != "proposal":
        return ""
    currency = settings.account.currency
    now, to = (amount_words(each, currency) for each in (offer.proposal.now, offer.proposal.to))
    gain = offer.proposal.gain.mean
    return (
        f"Decide on a total of {to} {currency} a day instead of {now} ({gain:+z,.0f} profit a "
        f"day): liftloop approve {offer.id} or liftloop reject {offer.id}"
    )


def _by_platforms(loop: Loop, head: Decision) -> str:
    """The next step where platforms are configured; "" leaves it to the usual sentence."""
    targets = loop.settings.platforms.targets
    if not targets or head.state != "in_force" or head.kind in ("hold", "pause"):
        return ""
    names = ", ".join(target.name for target in targets[:3])
    return f"none for {names}: LiftLoop sets them. Cells of other platforms are in the outbox."
