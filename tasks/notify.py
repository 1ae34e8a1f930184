"""Telling people: the message after a decision, and the cycle's own closing words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from prefect import task
from sqlmodel import Session

from liftloop.adapters.decisions import budget_lines, decision, decisions
from liftloop.adapters.deliveries import DeliverySummary
from liftloop.adapters.ledger import session
from liftloop.adapters.notify import message_file, message_key, queue_message
from liftloop.adapters.rollouts import rollout
from liftloop.adapters.summaries import summary_lines
from liftloop.adapters.tables import Decision, Message
from liftloop.adapters.whole_files import write_whole
from liftloop.core.keys import key
from liftloop.core.messages import Announcement, decision_message
from liftloop.core.verdict_words import guardrail_lines, in_brief, step_verdicts
from liftloop.core.weekly_message import weekly_message
from monitoring.report import decision_page
from tasks.context import Loop, open_loop
from tasks.decision_page import gather_page
from tasks.delivering import deliver_queued
from tasks.links import decision_links
from tasks.rollout_summary import summary_of
from tasks.total_proposals import waiting_sentence
from tasks.weekly import gained, week_of


@task(name="latest decision")
def latest_decision(workspace: str, as_of: date) -> str | None:
    """The last decision for ``as_of``, if there is one."""
    with session(open_loop(workspace).engine, read_only=True) as db:
        return next((d.id for d in decisions(db) if d.as_of == as_of), None)


@task(name="write page")
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
    write_whole(loop.workspace.reports / name, decision_page(page).encode())
    return f"reports/{name}"


@task(name="announce", retries=2, retry_delay_seconds=[1, 5])
def announce(workspace: str, decision_id: str, page: str | None) -> dict[str, Any]:
    """Queue the decision's message, once, and deliver what is queued."""
    return announce_once(open_loop(workspace), decision_id, page)


def announce_once(loop: Loop, decision_id: str, page: str | None) -> dict[str, Any]:
    """The message of a decision: where it lies, and its text."""
    with session(loop.engine) as db:
        head = decision(db, id=decision_id)
        assert head is not None
        words = decision_message(
            announcement=announcement_of(loop, db, head, page),
            lines=budget_lines(db, decision_id=decision_id),
        )
        id = message_key(head)
        queue_message(db, key=id, kind=head.kind, words=words, at=loop.now())
        message = db.get(Message, id)
    assert message is not None
    sent = deliver_queued(loop)
    file = message_file(loop.workspace, message)
    return {
        "decision": decision_id,
        "page": page,
        "message": str(file.relative_to(loop.workspace.root)),
        "text": message.text,
        "waiting": sent.problem,
    }


def announcement_of(loop: Loop, db: Session, head: Decision, page: str | None) -> Announcement:
    """What there is to tell of a decision besides its lines; every number is the ledger's."""
    known = head.training_key is not None
    verdicts = step_verdicts(head.evidence)
    return Announcement(
        decision_id=head.id,
        kind=head.kind,
        state=head.state,
        effective_from=head.effective_from,
        reason=in_brief(head.reason, verdicts),
        currency=loop.settings.account.currency,
        gain=head.expected_gain if known else None,
        gain_low=head.gain_low if known else None,
        gain_high=head.gain_high if known else None,
        reversal=_reversal(loop, db, head),
        todo=_todo(loop, head),
        worth=gained(db, head.as_of) or None,
        total=waiting_sentence(db, loop.settings) or None,
        links=decision_links(loop, db, head, page),
        guardrails=guardrail_lines(verdicts),
    )


def _reversal(loop: Loop, db: Session, head: Decision) -> str | None:
    """What would take the decision's rollout back; None leaves it to the usual sentence."""
    record = rollout(db, id=head.rollout_id) if head.rollout_id else None
    if record is None or head.state != "in_force" or head.kind == "roll_back":
        return None
    found = summary_of(db, record, loop.settings, until=head.as_of)
    return found.take_back_brief or None if found else None


def _todo(loop: Loop, head: Decision) -> str | None:
    """Who does what where platforms are configured; None leaves it to the usual sentence."""
    names = ", ".join(target.name for target in loop.settings.platforms.targets)
    if not names or head.state != "in_force" or head.kind in ("hold", "pause"):
        return None
    return (
        f"LiftLoop sets the budgets on {names} and reads them back; a message names any it cannot "
        "set. Cells no platform is configured for are in the outbox, for whoever runs theirs."
    )


@task(name="deliver messages", retries=2, retry_delay_seconds=[1, 5])
def deliver_messages(workspace: str) -> dict[str, Any]:
    """Deliver what is queued: how many were delivered, refused, wait, are held, and why."""
    loop = open_loop(workspace)
    said = deliver_queued(loop)
    return {**asdict(said), "delivered": len(said.delivered), "refused": len(said.refused)}


@task(name="summarize the week")
def summarize_week(workspace: str, as_of: date) -> bool:
    """Queue the weekly summary, once a calendar week; whether it is new."""
    return summarize_once(open_loop(workspace), as_of)


@task(name="summarize the week if nobody did")
def summarize_if_due(workspace: str, today: date) -> bool:
    """The weekly summary where no cycle has brought it by Tuesday."""
    return today.isoweekday() > 1 and summarize_once(open_loop(workspace), today)


def summarize_once(loop: Loop, as_of: date) -> bool:
    """Queue the summary of the seven days up to ``as_of``; False where its week has one."""
    year, week, _ = as_of.isocalendar()
    id = key("n", "week", year, week)
    with session(loop.engine) as db:
        if db.get(Message, id) is not None:
            return False
        found = week_of(loop, db, as_of)
        if found is None:
            return False
        return queue_message(db, key=id, kind="weekly", words=weekly_message(found), at=loop.now())


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
    waiting: tuple[str, ...] = ()  # what does not stand on its platform yet

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _who_responds(uplift: Mapping[str, Any]) -> tuple[str, ...]:
    """The training on user-level tests, in a line; none where there was nothing to learn."""
    if not uplift.get("sentence"):
        return ()
    more = " Whom to reach: liftloop targets." if uplift.get("champion") else ""
    return (f"Who responds: {uplift['sentence']}{more}",)


def sum_up(
    as_of: date,
    deliveries: Sequence[DeliverySummary],
    verdict: dict[str, Any],
    training: dict[str, Any],
    proposal: dict[str, Any],
    decision: dict[str, Any],
    words: dict[str, Any],
    *,
    uplift: Mapping[str, Any] | None = None,
) -> CycleSummary:
    """The cycle in plain words, each step a line. ``uplift``: the training on user-level tests."""
    uplift = uplift or {}
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
        declined=decision["state"] == "declined"
        or (decision["new"] and decision["kind"] == "hold"),
        steps=steps,
        text="\n".join(
            [f"Cycle as of {as_of}", *(f"  {step}" for step in shown), "", closing, *waiting]
        ),
        waiting=waiting,
    )
