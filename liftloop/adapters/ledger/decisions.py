"""Proposals, decisions and their lines in the ledger, and which budgets are in force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, cast

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.records import insert_once, insert_rows, next_sequence, policy
from liftloop.adapters.ledger.tables import Decision, DecisionLine, Proposal
from liftloop.core.policy import BudgetLine, Cell, Policy, Stage, from_cents, to_cents


def record_proposal(session: Session, *, proposal: Proposal) -> bool:
    """Keep a proposal under its id; False when it is there already."""
    return insert_once(session, proposal)


def proposal(session: Session, *, id: str) -> Proposal | None:
    return session.get(Proposal, id)


def proposals(session: Session, *, limit: int | None = None) -> list[Proposal]:
    """Proposals, the last one first."""
    query = select(Proposal).order_by(
        col(Proposal.as_of).desc(), col(Proposal.created_at).desc(), col(Proposal.id)
    )
    return list(session.exec(query.limit(limit)))


def record_decision(session: Session, *, decision: Decision, lines: Sequence[BudgetLine]) -> bool:
    """Keep a decision with its lines under its id, numbered without gaps in the order of writing.

    Whatever ``decision.sequence`` holds is replaced.

    Returns
    -------
    False, and nothing changed, when a decision of that id is there already.

    Raises
    ------
    ValueError
        If the lines are not exactly the budgets of ``decision.policy_version``: the export and
        the policy must never disagree.
    """
    if session.get(Decision, decision.id) is not None:
        return False
    if lines:
        said = Policy.of({Cell(line.segment, line.channel): line.daily_budget for line in lines})
        if len(said.budgets) != len(lines) or said.version != decision.policy_version:
            raise ValueError(f"the lines of {decision.id} are not {decision.policy_version}")
    decision.sequence = next_sequence(session, Decision.sequence)
    session.add(decision)
    session.flush()
    insert_rows(session, DecisionLine, [_row(decision.id, line) for line in lines])
    return True


def _row(decision_id: str, line: BudgetLine) -> dict[str, Any]:
    return {
        "decision_id": decision_id,
        "segment": line.segment,
        "channel": line.channel,
        "daily_cents": to_cents(line.daily_budget),
        "previous_cents": to_cents(line.previous_daily_budget),
        "stage": line.stage,
        "expected": line.expected_incremental_revenue,
        "expected_low": line.expected_low,
        "expected_high": line.expected_high,
        "reason": line.reason,
        "idempotency_key": line.idempotency_key,
    }


def decision(session: Session, *, id: str) -> Decision | None:
    return session.get(Decision, id)


def decisions(
    session: Session,
    *,
    state: str | None = None,
    kind: str | None = None,
    rollout_id: str | None = None,
    limit: int | None = None,
) -> list[Decision]:
    """Decisions, the last one first."""
    query = select(Decision).order_by(col(Decision.sequence).desc())
    if state is not None:
        query = query.where(Decision.state == state)
    if kind is not None:
        query = query.where(Decision.kind == kind)
    if rollout_id is not None:
        query = query.where(Decision.rollout_id == rollout_id)
    return list(session.exec(query.limit(limit)))


def set_decision_state(session: Session, *, id: str, state: str, expected: str) -> bool:
    """Move a decision from the state ``expected`` to ``state``.

    Returns False when it is not (any more) in ``expected``: someone was faster.
    """
    found = session.get(Decision, id)
    if found is None or found.state != expected:
        return False
    found.state = state
    session.add(found)
    session.flush()
    return True


def budget_lines(session: Session, *, decision_id: str) -> list[BudgetLine]:
    """The decision's lines as they are exported, by segment and channel; [] for an unknown one."""
    head = session.get(Decision, decision_id)
    if head is None:
        return []
    rows = session.exec(select(DecisionLine).where(DecisionLine.decision_id == decision_id)).all()
    return [
        BudgetLine(
            decision_id=head.id,
            policy_version=head.policy_version,
            effective_from=head.effective_from,
            segment=row.segment,
            channel=row.channel,
            daily_budget=from_cents(row.daily_cents),
            previous_daily_budget=from_cents(row.previous_cents),
            stage=cast(Stage, row.stage),
            expected_incremental_revenue=row.expected,
            expected_low=row.expected_low,
            expected_high=row.expected_high,
            reason=row.reason,
            idempotency_key=row.idempotency_key,
        )
        # sorted here: databases collate names differently
        for row in sorted(rows, key=lambda row: (row.segment, row.channel))
    ]


def cells_with_budgets(session: Session, *, at: datetime | None = None) -> frozenset[Cell]:
    """The cells that a decision gave or found a budget above 0, as of an instant (default: now)."""
    query = (
        select(DecisionLine.segment, DecisionLine.channel)
        .join(Decision, col(Decision.id) == col(DecisionLine.decision_id))
        .where((col(DecisionLine.daily_cents) > 0) | (col(DecisionLine.previous_cents) > 0))
        .distinct()
    )
    if at is not None:
        query = query.where(col(Decision.created_at) < at)
    return frozenset(Cell(segment, channel) for segment, channel in session.exec(query))


def budgets_in_force(session: Session, *, before: date) -> tuple[Policy, Decision] | None:
    """The budgets that a cycle on the day ``before`` finds in force, and the decision that put
    them there: of the decisions in force that took effect earlier, the last one.

    Returns None while nothing was decided.
    """
    last = session.exec(
        select(Decision)
        .where(Decision.state == "in_force", Decision.effective_from < before)
        .order_by(col(Decision.effective_from).desc(), col(Decision.sequence).desc())
        .limit(1)
    ).first()
    if last is None:
        return None
    budgets = policy(session, version=last.policy_version)
    assert budgets is not None  # a foreign key holds it
    return budgets, last
