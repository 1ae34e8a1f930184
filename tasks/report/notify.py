"""Telling people: the message after a decision, and the cycle's own closing words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from sqlmodel import Session

from liftloop.adapters.facts.summaries import DeliverySummary, summary_lines
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.decisions import budget_lines, decision, decisions
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Decision, Message
from liftloop.adapters.locks import exclusive
from liftloop.adapters.notify import (
    INCLUDED,
    URGENT,
    message_file,
    message_key,
    queue_message,
)
from liftloop.adapters.pasteable import pasteable_page
from liftloop.core.ids import key
from liftloop.reporting.messages.decision_message import decision_message
from liftloop.reporting.messages.weekly_message import weekly_message
from liftloop.reporting.pages.decision_page import decision_page
from tasks.context import Loop, open_loop
from tasks.operate.audit_notes import anchor
from tasks.report.announcement import announcement_of, returns_before
from tasks.report.decision_page import gather_page
from tasks.report.delivery import deliver_queued
from tasks.report.weekly import week_of
from tasks.step import Retries, step


@step("latest decision")
def latest_decision(workspace: str, as_of: date) -> str | None:
    """The last decision for ``as_of``, if there is one."""
    with session(open_loop(workspace).engine, read_only=True) as db:
        return next((d.id for d in decisions(db) if d.as_of == as_of), None)


@step("write page")
def write_page(workspace: str, decision_id: str) -> str:
    """The decision's page in reports/; its path inside the workspace."""
    return write_page_once(open_loop(workspace), decision_id)


def write_page_once(loop: Loop, decision_id: str) -> str:
    """Write the page of a decision; an identical one stays as it is."""
    with session(loop.engine, read_only=True) as db:
        head = decision(db, id=decision_id)
        assert head is not None
        page = gather_page(loop, db, head)
    name = f"decision-{head.as_of}-{head.id}.html"
    with exclusive(loop.workspace.locks / "pages.lock", what="The decision's page"):
        page_text = pasteable_page(decision_page(page), loop.workspace)
        write_whole(loop.workspace.reports / name, page_text.encode())
    return f"reports/{name}"


@step("announce", retries=Retries((1, 5)))
def announce(workspace: str, decision_id: str, page: str | None) -> dict[str, Any]:
    """Queue the decision's message, once, and deliver what is queued. A decision that the week's
    message tells has none of its own, except where it needs somebody at once."""
    return announce_once(open_loop(workspace), decision_id, page, with_week=True)


def announce_once(
    loop: Loop, decision_id: str, page: str | None, *, with_week: bool = False
) -> dict[str, Any]:
    """The message that tells a decision: where it lies, and the decision's text. With ``with_week``
    that may be the message of the week, where it is newer than the decision: then the decision's
    own is kept, and not sent."""
    with session(loop.engine, read_only=True) as db:
        head = decision(db, id=decision_id)
    assert head is not None
    returns = returns_before(loop, head)
    with session(loop.engine) as db:
        head = decision(db, id=decision_id)
        assert head is not None
        words = decision_message(
            announcement=announcement_of(loop, db, head, page, returns),
            lines=budget_lines(db, decision_id=decision_id),
        )
        id = message_key(head)
        week = _week_that_tells(db, head) if with_week else None
        queue_message(
            db, key=id, kind=head.kind, words=words, at=loop.now(), included=week is not None
        )
        own = db.get(Message, id)
        message = week if week is not None and own and own.state == INCLUDED else own
    assert message is not None
    sent = deliver_queued(loop)
    anchor(loop)
    file = message_file(loop.workspace, message)
    return {
        "decision": decision_id,
        "page": page,
        "message": str(file.relative_to(loop.workspace.root)),
        "text": words.text,
        "waiting": sent.problem,
    }


def _week_that_tells(db: Session, head: Decision) -> Message | None:
    """The message of the decision's week, where it is newer than the decision and nobody is needed
    at once."""
    if head.state == "awaiting_approval" or head.kind in URGENT:
        return None
    week = db.get(Message, _week_key(head.as_of))
    return week if week is not None and week.created_at >= head.created_at else None


@step("deliver messages", retries=Retries((1, 5)))
def deliver_messages(workspace: str) -> dict[str, Any]:
    """Deliver what is queued: how many were delivered, refused, wait, are held, and why."""
    loop = open_loop(workspace)
    said = deliver_queued(loop)
    return {**asdict(said), "delivered": len(said.delivered), "refused": len(said.refused)}


@step("summarize the week")
def summarize_week(workspace: str, as_of: date) -> bool:
    """Queue the weekly summary, once a calendar week; whether it is new."""
    return summarize_once(open_loop(workspace), as_of)


@step("summarize the week if nobody did")
def summarize_if_due(workspace: str, today: date) -> bool:
    """The weekly summary where no cycle has brought it by Tuesday."""
    return today.isoweekday() > 1 and summarize_once(open_loop(workspace), today)


def summarize_once(loop: Loop, as_of: date) -> bool:
    """Queue the summary of the seven days up to ``as_of``; False where its week has one."""
    id = _week_key(as_of)
    with session(loop.engine) as db:
        if db.get(Message, id) is not None:
            return False
        found = week_of(loop, db, as_of)
        if found is None:
            return False
        return queue_message(db, key=id, kind="weekly", words=weekly_message(found), at=loop.now())


def _week_key(day: date) -> str:
    """The key of the message of a day's calendar week."""
    year, week, _ = day.isocalendar()
    return key("n", "week", year, week)


@dataclass(frozen=True, slots=True)
class CycleSummary:
    """What a cycle came to. ``changed`` is False when all of it had been done before."""

    as_of: date
    decision_id: str | None
    kind: str
    state: str
    changed: bool
    refused: tuple[str, ...]
    declined: bool
    steps: tuple[str, ...]
    text: str
    held: tuple[str, ...] = ()  # files that wait in their place, not taken in yet
    waiting: tuple[str, ...] = ()  # what does not stand on its platform yet

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _who_responds(uplift: Mapping[str, Any]) -> tuple[str, ...]:
    """The training on user-level tests, in a line; none where there was nothing to learn."""
    if not uplift.get("sentence"):
        return ()
    more = " Whom to reach: liftloop targets." if uplift.get("champion") else ""
    return (f"Who responds: {uplift['sentence']}{more}",)


@dataclass(frozen=True, slots=True, eq=False)
class CycleSteps:
    """What each step of a cycle returned.

    Attributes
    ----------
    deliveries : a summary for each file that was taken in, refused or held
    verdict, training, proposal, decision, words : of the steps monitor, train, reallocate, rollout
        and report
    uplift : of the training on user-level tests; empty where there was none
    """

    deliveries: Sequence[DeliverySummary]
    verdict: Mapping[str, Any]
    training: Mapping[str, Any]
    proposal: Mapping[str, Any]
    decision: Mapping[str, Any]
    words: Mapping[str, Any]
    uplift: Mapping[str, Any] = field(default_factory=dict)


def sum_up(as_of: date, done: CycleSteps) -> CycleSummary:
    """The cycle in plain words, each step a line."""
    deliveries, verdict, training = done.deliveries, done.verdict, done.training
    proposal, decision, words = done.proposal, done.decision, done.words
    uplift = done.uplift
    changed = bool(deliveries) or any(
        step.get("new") for step in (verdict, training, uplift, proposal, decision)
    )
    steps = (
        *summary_lines(deliveries),
        verdict["summary"],
        verdict["health"],
        training["sentence"],
        *_who_responds(uplift),
        proposal["reason"],
        *words.get("skipped", ()),
    )
    acted = decision["id"] is not None and decision["new"]  # without a plan a rollout may act
    if proposal["id"] is None and not acted:
        closing = proposal["reason"]
    elif decision["id"] is None:
        closing = decision["reason"]
    elif not changed:
        closing = (
            f"Nothing to do: {decision['id']} was decided for {as_of} on exactly these facts. "
            "Nothing was changed."
        )
    else:
        closing = words["text"]
    shown = steps if changed else ()
    waiting = tuple(decision.get("waiting", ()))
    return CycleSummary(
        as_of=as_of,
        decision_id=decision["id"],
        kind=decision["kind"],
        state=decision["state"],
        changed=changed,
        refused=tuple(s.filename for s in deliveries if s.refused),
        held=tuple(s.filename for s in deliveries if s.held),
        declined=decision["state"] == "declined"
        or (decision["new"] and decision["kind"] == "hold"),
        steps=steps,
        text="\n".join(
            [f"Cycle as of {as_of}", *(f"  {step}" for step in shown), "", closing, *waiting]
        ),
        waiting=waiting,
    )
