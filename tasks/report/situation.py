"""What the ledger says today that a person may have to act on, for page, messages and assistant."""

from __future__ import annotations

from collections import Counter
from datetime import date

from sqlmodel import Session, select

from liftloop.adapters.audit.trail import AuditVerdict
from liftloop.adapters.facts.unfinished import count
from liftloop.adapters.ledger.decisions import budget_lines, budgets_in_force, decisions
from liftloop.adapters.ledger.records import active_pauses, last_verdict
from liftloop.adapters.ledger.tables import Decision, Delivery, Pause, QuarantinedRow
from liftloop.core.curves.gain import Estimate
from liftloop.core.policy import BudgetLine
from liftloop.core.rollout.state import ENDED
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.reporting.rollout_summary import RolloutSummary
from liftloop.reporting.status import Situation, Trial, WaitingPlan
from tasks.context import Loop
from tasks.decision.escalation import due_on
from tasks.decision.total_proposals import judged_by, waiting_sentence
from tasks.operate.acts import WAITING, cells_in_words, resume_command


def situation(
    db: Session, loop: Loop, audit: AuditVerdict | None, summary: RolloutSummary | None
) -> Situation:
    """The situation in one transaction, given the trail's verdict (None: not known yet) and the
    last rollout, under way or ended (None: there was none)."""
    now = budgets_in_force(db, before=date.max)
    head = now[1] if now else None
    lines = budget_lines(db, decision_id=head.id) if head else []
    pauses = active_pauses(db)
    verdict = last_verdict(db)
    newest = next(iter(decisions(db, limit=1)), None)
    return Situation(
        words=outcome_words(loop.settings),
        has_facts=db.exec(select(Delivery.id).limit(1)).first() is not None,
        in_force_from=head.effective_from if head else None,
        audit_problem="" if audit is None or audit.intact else audit.problem,
        waiting=[_waiting(d, loop) for d in decisions(db, state=WAITING)],
        pauses=[
            (
                cells_in_words(p.segment, p.channel),
                p.since.date(),
                p.actor,
                p.reason,
                resume_command(p.segment, p.channel),
            )
            for p in pauses
        ],
        paused_cells=sum(any(_names(p, line) for p in pauses) for line in lines),
        cells=len(lines),
        alarm=verdict.summary if verdict is not None and verdict.drifted else "",
        held=_held(newest),
        taken_back=_taken_back(summary, head),
        proposed_total=waiting_sentence(db, loop.settings),
        judged_total=judged_by(newest) or judged_by(head),
        quarantined=count(db, QuarantinedRow, QuarantinedRow.state == "open"),
        trial=_trial(summary, head),
        is_known=any(line.expected_incremental_revenue is not None for line in lines),
    )


def gain_of_decision(found: Decision) -> Estimate:
    """The profit a day that a decision expects, with its 90 % interval."""
    return Estimate(found.expected_gain, found.gain_low, found.gain_high)


def _waiting(found: Decision, loop: Loop) -> WaitingPlan:
    return WaitingPlan(
        found.id,
        found.effective_from,
        found.reason,
        gain_of_decision(found),
        (loop.now() - found.created_at).days,
        (due_on(loop, found) - found.effective_from).days,
    )


def _names(pause: Pause, line: BudgetLine) -> bool:
    return pause.segment in ("*", line.segment) and pause.channel in ("*", line.channel)


def _held(newest: Decision | None) -> str:
    """Why the newest decision holds a plan back; "" where it does not, or no plan was made."""
    if newest is None or newest.kind != "hold" or newest.proposal_id is None:
        return ""
    return newest.reason


def _taken_back(summary: RolloutSummary | None, head: Decision | None) -> str:
    if summary is None or summary.stage != "rolled_back":
        return ""
    # budgets set by hand end a rollout on the very day they take effect
    if head is not None and head.effective_from >= summary.changed_on and head.kind == "move":
        return ""
    return " ".join(filter(None, (summary.sentence, summary.cooldown_sentence)))


def _trial(summary: RolloutSummary | None, head: Decision | None) -> Trial | None:
    if summary is None or summary.stage in ENDED or not summary.waves:
        return None
    newest = max(wave.plan for wave in summary.waves)
    count: Counter[bool] = Counter()
    for wave in summary.waves:
        count[wave.plan == newest and newest > 0] += len(wave.segments)
    moved = head is not None and head.policy_version != head.previous_policy_version
    gain = gain_of_decision(head) if head is not None and moved else None
    return Trial(count[True], count.total(), gain, is_paused=summary.stage == "paused")
