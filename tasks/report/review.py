"""The review of a month, gathered from the ledger and the audit trail; only the plans that another
objective would have made are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from sqlmodel import Session

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.loop_value_entries import WORTH, entries_of
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Decision
from liftloop.adapters.pasteable import pasteable_page
from liftloop.core.arrays import Z90
from liftloop.core.curves.gain import Estimate
from liftloop.core.errors import LiftLoopError
from liftloop.reporting.history.playbook import PlaybookEntry
from liftloop.reporting.history.realized_gains import RealizedGain
from liftloop.reporting.pages.review_page import DecisionReview, Deviation, Review, review_page
from liftloop.reporting.status import StatusKind, status_of
from tasks.context import Loop
from tasks.decision.what_if import what_if
from tasks.operate.playbook import noted_events, playbook_in
from tasks.report.changelog import gain_of, gains_of
from tasks.report.rollout_summary import last_summary
from tasks.report.situation import gain_of_decision, situation
from tasks.report.weekly import gained

MOST_PLANS = 4  # each is planned anew
OTHER = {"expected_profit": "cvar"}  # any other objective is compared with the expected profit
NO_FIGURE = "no figure yet."


def review_of(loop: Loop, month: date | None = None) -> Review:
    """The review of the month that ``month`` lies in; default: that of the last decision, or the
    present one."""
    with session(loop.engine, read_only=True) as db:
        every = list(reversed(decisions(db)))
        day = month or (every[-1].effective_from if every else loop.today())
        first = day.replace(day=1)
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        inside = [d for d in every if first <= d.effective_from <= last]
        gains, entries = gains_of(db, loop), playbook_in(db)
        now = status_of(
            situation(db, loop, verify(db, tables=False), last_summary(db, loop.settings))
        )
        found = Review(
            first=first,
            last=last,
            currency=loop.settings.account.currency,
            month_gain=_month_gain(db, first),
            gained=gained(db, date.max) or NO_FIGURE,
            decisions=_decisions(inside, gains),
            deviations=_deviations(db, loop, gains, first, last),
            lessons=[
                one
                for one in entries
                if one.kind in ("lesson", "result") and one.first <= last and one.last >= first
            ],
            questions=open_questions(entries),
            waiting=[
                (notice.sentence, notice.command)
                for notice in now.notices
                if notice.kind in (StatusKind.NEEDS_YOU, StatusKind.STUCK)
            ],
            otherwise=(),
        )
    planned = [d.id for d in inside if d.proposal_id is not None]
    return replace(found, otherwise=_otherwise(loop, planned))


def write_review(loop: Loop, review: Review) -> str:
    """Write the page; its path inside the workspace."""
    name = f"review-{review.first:%Y-%m}.html"
    page = pasteable_page(review_page(review), loop.workspace)
    write_whole(loop.workspace.reports / name, page.encode())
    return f"reports/{name}"


def open_questions(entries: Sequence[PlaybookEntry]) -> list[PlaybookEntry]:
    """Hypotheses that no result and no lesson is about."""
    answered = {one.about for one in entries if one.kind in ("result", "lesson")}
    return [one for one in entries if one.kind == "hypothesis" and one.id not in answered]


def _month_gain(db: Session, first: date) -> Estimate | None:
    """The month's profit against the budgets as they were, by the last figure that covers it."""
    for said in entries_of(db, WORTH):
        for month in said.get("months", ()):
            if date.fromisoformat(month["first"]).replace(day=1) == first:
                gain, half = float(month["gain"]), Z90 * float(month["error"])
                return Estimate(gain, gain - half, gain + half)
    return None


def _decisions(
    inside: Sequence[Decision], gains: Sequence[RealizedGain]
) -> tuple[DecisionReview, ...]:
    return tuple(
        DecisionReview(
            row.id,
            row.effective_from,
            row.kind,
            row.state,
            gain_of_decision(row) if row.training_key and row.kind != "roll_back" else None,
            gain_of(gains, row),
        )
        for row in inside
        if row.policy_version != row.previous_policy_version
    )


def _deviations(
    db: Session, loop: Loop, gains: Sequence[RealizedGain], first: date, last: date
) -> tuple[Deviation, ...]:
    currency = loop.settings.account.currency
    return tuple(
        Deviation(
            gain,
            f"Rollout {gain.rollout} {gain.sentence(currency)}",
            noted_events(db, first=gain.since, last=gain.until - timedelta(days=1)),
        )
        for gain in gains
        if gain.is_outside and gain.since <= last and gain.until > first
    )


def _otherwise(loop: Loop, planned: Sequence[str]) -> tuple[str, ...]:
    """What another objective would have planned; why not, where it cannot be planned again."""
    objective = OTHER.get(loop.settings.budget.objective, "expected_profit")
    found = []
    for id in planned[-MOST_PLANS:]:
        try:
            other = what_if(str(loop.workspace.root), id, [f'budget.objective="{objective}"'])
        except LiftLoopError as error:
            found.append(f"{id} could not be planned again: {error}")
        else:
            found.append(other.sentence)
    left = len(planned) - MOST_PLANS
    if left > 0:
        found.append(f"{left} earlier plans of the month were left out: liftloop replay --set.")
    return tuple(found)
