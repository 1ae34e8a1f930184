"""Proposals of another total: kept in the audit trail, approved or rejected by a person, and not
made again for a while once they were rejected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlmodel import Session, col, select

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.audit.trail import payload_of
from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.records import append_audit, session
from liftloop.adapters.ledger.tables import AuditEntry, Decision
from liftloop.core.access.roles import Caller
from liftloop.core.curves.gain import Estimate
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.ids import key
from liftloop.core.money.currencies import amount_words
from liftloop.pipeline.plan.manual_budgets import total_conflicts
from liftloop.pipeline.plan.total import (
    JudgedTotal,
    TotalProposal,
    judged_sentence,
    proposal_sentence,
)
from liftloop.settings.schema import Settings
from tasks.context import Loop, open_loop
from tasks.operate.access import ANYONE
from tasks.operate.approvals import must_be_within_limit
from tasks.operate.audit_notes import anchor

PREFIX = "total"
JUDGED = "judged_total"  # in the entry of a plan, and in a decision's evidence
PROPOSE, WITHDRAW = "propose_total", "withdraw_total"
QUIET_DAYS = 56  # so long a proposal like a rejected one is not made again
ALIKE = 0.1  # of the total: amounts that near in the same direction are the same proposal
SAME = 0.02  # of the total: amounts that near are not worth another number


@dataclass(frozen=True, slots=True)
class Offer:
    """A proposal of another total, and what became of it.

    Attributes
    ----------
    as_of
        The cycle's day.
    wanted
        The total of the settings then, as text; "" where they have none. An approved total holds
        for as long as they say the same.
    """

    id: str
    as_of: date
    wanted: str
    proposal: TotalProposal
    state: Literal["open", "approved", "rejected", "withdrawn", "superseded"] = "open"

    def is_like(self, other: TotalProposal, share: float) -> bool:
        """Whether another proposal goes the same way about as far."""
        mine = self.proposal
        same_way = (mine.to > mine.now) == (other.to > other.now)
        return same_way and float(abs(mine.to - other.to)) <= share * float(mine.now)


def is_total(id: str) -> bool:
    """Whether an id is a total proposal's, and not a decision's."""
    return id.startswith(f"{PREFIX}-")


def offers(db: Session, *, until: datetime | None = None) -> list[Offer]:
    """All proposals of totals, the first one first, as they stood at an instant (default: now)."""
    query = (
        select(AuditEntry)
        .where(col(AuditEntry.subject).startswith(f"{PREFIX}-"))
        .order_by(col(AuditEntry.sequence))
    )
    found: dict[str, Offer] = {}
    for entry in db.exec(query):
        if until is not None and entry.at > until:
            continue
        if entry.act == PROPOSE:
            for id, earlier in found.items():
                if earlier.state == "open":
                    found[id] = replace(earlier, state="superseded")
            found[entry.subject] = _offer(entry.subject, json.loads(entry.payload))
        elif entry.subject in found:
            became = {"approve": "approved", "reject": "rejected", WITHDRAW: "withdrawn"}
            state: Any = became.get(entry.act, found[entry.subject].state)
            found[entry.subject] = replace(found[entry.subject], state=state)
    return list(found.values())


def open_offer(db: Session) -> Offer | None:
    """The proposal that waits for a person."""
    return next((offer for offer in reversed(offers(db)) if offer.state == "open"), None)


def with_total(settings: Settings, total: Decimal | None) -> Settings:
    """The settings with an approved total in the place of their own."""
    if total is None:
        return settings
    budget = settings.budget.model_copy(update={"total": total})
    return settings.model_copy(update={"budget": budget})


def offer_total(db: Session, loop: Loop, as_of: date, found: TotalProposal | None) -> None:
    """Keep what the cycle proposes, in the caller's transaction.

    One that is like the one that waits, or like one that was rejected in the last eight weeks, is
    not made again; where nothing is proposed any more, the one that waits is withdrawn.
    """
    known = offers(db)
    waiting = next((offer for offer in reversed(known) if offer.state == "open"), None)
    if found is None:
        if waiting is not None:
            _note(db, loop, WITHDRAW, waiting.id, {"reason": "It would not earn more any more."})
        return
    if waiting is not None and waiting.is_like(found, SAME) and waiting.proposal.now == found.now:
        return
    since = as_of - timedelta(days=QUIET_DAYS)
    if any(o.state == "rejected" and o.as_of > since and o.is_like(found, ALIKE) for o in known):
        return
    _note(
        db,
        loop,
        PROPOSE,
        key(PREFIX, as_of, found.now, found.to, loop.settings_hash),
        {
            "as_of": as_of,
            "wanted": wanted_total(loop.settings),
            "now": found.now,
            "to": found.to,
            "gain": [found.gain.mean, found.gain.low, found.gain.high],
            "reason": proposal_sentence(found, loop.settings.account.currency),
        },
    )


def judged_record(found: JudgedTotal, settings: Settings) -> dict[str, Any]:
    """What the total of a plan is worth at its margin, as it is kept with the plan and with the
    decision on it; amounts in account currency a day."""
    return {
        "now": found.now,
        "to": found.to,
        "next_unit": found.next_unit,
        "gain": [found.gain.mean, found.gain.low, found.gain.high],
        "sentence": judged_sentence(found, settings.account.currency),
    }


def judged_from(kept: Mapping[str, Any]) -> JudgedTotal:
    """What :func:`judged_record` kept."""
    gain = Estimate(*(float(x) for x in kept["gain"]))
    return JudgedTotal(Decimal(kept["now"]), Decimal(kept["to"]), float(kept["next_unit"]), gain)


def judged_total(db: Session, proposal_id: str) -> dict[str, Any] | None:
    """As of :func:`judged_record`, of a plan; None where its total was not judged."""
    found: dict[str, Any] | None = (payload_of(db, subject=proposal_id) or {}).get(JUDGED)
    return found


def judged_by(found: Decision | None) -> str:
    """What the total of a decision's plan is worth at its margin, a sentence; "" where it was not
    judged."""
    return str(json.loads(found.evidence).get(JUDGED, {}).get("sentence", "")) if found else ""


def waiting_sentence(db: Session, settings: Settings) -> str:
    """The proposal that waits, with what a person can do; "" where none waits."""
    offer = open_offer(db)
    if offer is None or settings.budget.total_is != "proposal":
        return ""
    return (
        f"{proposal_sentence(offer.proposal, settings.account.currency)} It waits for you: "
        f"liftloop approve {offer.id} or liftloop reject {offer.id}."
    )


def approve_total(workspace: str, id: str, *, actor: str, caller: Caller = ANYONE) -> str:
    """Set the proposed total for the following cycles. ``caller`` approves it, up to their limit of
    the change."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        offer = _waiting(db, id)
        if (
            wanted_total(loop.settings) != offer.wanted
            or loop.settings.budget.total_is != "proposal"
        ):
            raise Declined(
                f"{id} cannot be approved any more: the total in [budget] was changed since. The "
                "next cycle proposes anew."
            )
        now = budgets_in_force(db, before=date.max)
        must_be_within_limit(caller, abs(offer.proposal.to - offer.proposal.now))
        wanted = with_total(loop.settings, offer.proposal.to)
        conflicts = total_conflicts(wanted, incumbent=now[0]) if now else ()
        if conflicts:
            raise Declined(f"{id} cannot be approved: it breaks {'; '.join(conflicts)}.")
        amount = amount_words(offer.proposal.to, loop.settings.account.currency)
        words = (
            f"From the next cycle on the total is {amount} {loop.settings.account.currency} a day, "
            "reached by the steps that cells may take."
        )
        _note(db, loop, "approve", id, {"total": offer.proposal.to, "reason": words}, actor=actor)
    anchor(loop)
    return f"Approved. {words}"


def reject_total(workspace: str, id: str, *, reason: str, actor: str) -> str:
    """Keep the present total, and remember that this one was rejected."""
    loop = open_loop(workspace)
    with session(loop.engine) as db:
        offer = _waiting(db, id)
        _note(db, loop, "reject", id, {"reason": reason}, actor=actor)
    anchor(loop)
    amount = amount_words(offer.proposal.now, loop.settings.account.currency)
    return (
        f"Rejected: {id}. The total stays at {amount} a day; a proposal like it is not made again "
        f"for {QUIET_DAYS // 7} weeks."
    )


def _waiting(db: Session, id: str) -> Offer:
    known = {offer.id: offer for offer in offers(db)}
    if id not in known:
        raise UnknownName(f"There is no proposal {id}. liftloop budgets names the one that waits.")
    offer = known[id]
    if offer.state == "superseded":
        newest = open_offer(db)
        more = f" {newest.id} took its place." if newest is not None else ""
        raise Declined(f"{id} does not wait any more: a newer cycle proposed otherwise.{more}")
    if offer.state != "open":
        raise Declined(f"{id} does not wait for approval: it is {offer.state}.")
    return offer


def _offer(id: str, said: Mapping[str, Any]) -> Offer:
    proposal = TotalProposal(
        Decimal(said["now"]), Decimal(said["to"]), Estimate(*(float(x) for x in said["gain"]))
    )
    return Offer(id, date.fromisoformat(said["as_of"]), str(said["wanted"]), proposal)


def wanted_total(settings: Settings) -> str:
    """The total of the settings, as text; "" where they have none."""
    total = settings.budget.total
    return "" if total is None else str(total)


def _note(
    db: Session, loop: Loop, act: str, id: str, payload: Mapping[str, Any], *, actor: str = ""
) -> None:
    append_audit(
        db,
        AuditEvent(
            key=key("a", act, id),
            actor=actor or loop.actor,
            act=act,
            subject=id,
            payload=payload,
            at=loop.now(),
        ),
    )
