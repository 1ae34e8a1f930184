"""What a person approved in the place of keys of ``[budget]``: the total, the step, floors and
caps. Kept in the audit trail with the approval; it holds for as long as the settings say the same
of the key as then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import AuditEntry
from liftloop.core.errors import Declined
from liftloop.pipeline.plan.manual_budgets import total_conflicts
from liftloop.settings.budget import Budget
from liftloop.settings.schema import Settings
from tasks.context import Loop
from tasks.decision.total_proposals import is_total, offers, wanted_total

KEYS = ("total", "max_step", "limits", "groups")
TERMS, INSTEAD = "terms", "instead_of_terms"  # in a decision's evidence and its approval's entry

Terms = Mapping[str, Any]  # by key of [budget], as JSON has it


def terms_of(before: Settings, after: Settings) -> Terms:
    """The terms of ``after`` that differ from those of ``before``."""
    was, now = _budget(before), _budget(after)
    return {name: now[name] for name in KEYS if now[name] != was[name]}


def with_terms(settings: Settings, terms: Terms) -> Settings:
    """The settings with approved terms in the place of their own."""
    if not terms:
        return settings
    budget = Budget.model_validate({**settings.budget.model_dump(), **terms})
    return settings.model_copy(update={"budget": budget})


def terms_in_force(db: Session, loop: Loop) -> Terms:
    """The terms that people approved by the loop's instant: of each key the last one, while the
    settings name what they named then. An approved total proposal counts while they propose."""
    own = _budget(loop.settings)
    proposes = loop.settings.budget.total_is == "proposal"
    totals = {offer.id: offer for offer in offers(db, until=loop.at)} if proposes else {}
    query = select(AuditEntry).where(AuditEntry.act == "approve").order_by(col(AuditEntry.sequence))
    found: dict[str, Any] = {}
    for entry in db.exec(query):
        if loop.at is not None and entry.at > loop.at:
            continue
        if is_total(entry.subject):
            offer = totals.get(entry.subject)
            if offer is not None and offer.wanted == wanted_total(loop.settings):
                found["total"] = str(offer.proposal.to)
            continue
        said = json.loads(entry.payload)
        for name, value in said.get(TERMS, {}).items():
            if said[INSTEAD][name] == own[name]:
                found[name] = value
    return found


def approved_total(db: Session, loop: Loop) -> Decimal | None:
    """The total that a person approved, where one holds."""
    total = terms_in_force(db, loop).get("total")
    return None if total is None else Decimal(total)


def planning_settings(loop: Loop) -> Settings:
    """The settings that plans are made with: approved terms are in the place of their own."""
    with session(loop.engine, read_only=True) as db:
        return with_terms(loop.settings, terms_in_force(db, loop))


def proposed_terms(settings: Settings, terms: Terms) -> dict[str, Any]:
    """What a decision that waits keeps of the terms it comes with; {} where it has none.
    ``settings``: those of the workspace."""
    if not terms:
        return {}
    own = _budget(settings)
    return {TERMS: dict(terms), INSTEAD: {name: own[name] for name in terms}}


def settings_to_approve(loop: Loop, evidence: Mapping[str, Any], *, id: str) -> Settings:
    """The settings that plans are made with once the decision with this evidence is approved.

    Raises
    ------
    Declined
        If the settings name other terms by now than when it was proposed, or its total cannot hold
        together with the other rules.
    """
    terms = evidence.get(TERMS, {})
    own = _budget(loop.settings)
    changed = [name for name in terms if evidence[INSTEAD][name] != own[name]]
    if changed:
        raise Declined(
            f"{id} cannot be approved any more: {' and '.join(changed)} in [budget] was changed "
            "since. Propose it anew."
        )
    return with_terms(planning_settings(loop), terms)


def must_hold_together(settings: Settings, loop: Loop, *, id: str) -> None:
    """Refuse terms under which no budgets could be found.

    Raises
    ------
    Declined
        With the rules that cannot hold together.
    """
    with session(loop.engine, read_only=True) as db:
        now = budgets_in_force(db, before=date.max)
    conflicts = total_conflicts(settings, incumbent=now[0]) if now else ()
    if conflicts:
        raise Declined(f"{id} cannot be approved: it breaks {'; '.join(conflicts)}.")


def _budget(settings: Settings) -> dict[str, Any]:
    return settings.budget.model_dump(mode="json", include=set(KEYS))
