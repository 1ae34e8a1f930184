"""The week as the ledger has it, gathered for its message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from sqlmodel import Session

from liftloop.adapters.audit.sealing import head_with
from liftloop.adapters.ledger.decisions import budget_lines, budgets_in_force, decisions
from liftloop.adapters.ledger.loop_value_entries import worth_known
from liftloop.adapters.ledger.records import active_pauses, policy, verdicts
from liftloop.adapters.ledger.rollouts import active_rollout
from liftloop.adapters.ledger.tables import Decision
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.reporting.messages.decision_message import DecisionPlaces
from liftloop.reporting.messages.moves import NetMove
from liftloop.reporting.messages.slack_blocks import Link
from liftloop.reporting.messages.weekly_message import LatestDecision, Week
from liftloop.reporting.rollout_sentences import day_text
from liftloop.reporting.rollout_summary import RolloutSummary
from tasks.context import Loop
from tasks.evidence.arms import arm_findings
from tasks.links import act_links, link, prefect_link
from tasks.operate.playbook import noted_events
from tasks.report.announcement import returns_before, total_step
from tasks.report.rollout_summary import summary_of


def week_of(loop: Loop, db: Session, last: date) -> Week | None:
    """The seven days up to and with ``last``; None while nothing was ever decided."""
    first = last - timedelta(days=6)
    every = [d for d in decisions(db) if d.as_of <= last]
    if not every:
        return None
    inside = [d for d in every if d.as_of >= first]
    before, after = _budgets(db, first), _budgets(db, last + timedelta(days=1))
    record = active_rollout(db)
    rollout = summary_of(db, record, loop.settings, until=last) if record else None
    return Week(
        last=last,
        currency=loop.settings.account.currency,
        latest=_latest(db, inside[0]) if inside else None,
        moves=_moves(
            before or _budgets_at_first(db, inside),
            after,
            returns_before(loop, inside[0]) if inside else {},
        ),
        cells=len(after.budgets) if after else 0,
        steps=_steps(loop, db, every, last),
        alarms=_with_arms(loop, _alarms(db, first, last), first, last),
        events=[
            one.brief.removesuffix(f" [{one.id}]")
            # a week's message goes out in the morning: what is noted of that day comes a week later
            for one in noted_events(db, first=first - timedelta(days=1), last=last)
        ],
        measured=_measured(rollout, after),
        worth=_worth(db, last),
        links=_links(loop, db, every[0], last),
        audit_head=head_with(db, every[0].id),
        outcome=outcome_words(loop.settings),
    )


def gained(db: Session, as_of: date) -> str:
    """What the loop gained so far, as known on ``as_of``; "" where no figure is known."""
    said = worth_known(db, as_of=as_of)
    return str(said["sentence"]) if said else ""


def _worth(db: Session, as_of: date) -> str:
    """The same figure in short."""
    said = worth_known(db, as_of=as_of)
    if said is None:
        return ""
    measured = "measured" if said["basis"] == "holdout" else "model estimate"
    return (
        f"{said['gain']:+z,.0f} profit (90 % interval {said['low']:+z,.0f} to "
        f"{said['high']:+z,.0f}), {measured}."
    )


def _measured(rollout: RolloutSummary | None, budgets: Policy | None) -> str:
    """What the rollout under way has gained so far. An interval that is wider than all that was
    spent in its days says nothing, and its figures would only frighten."""
    if rollout is None or not rollout.measured:
        return ""
    last = rollout.measured[-1]
    spent = float(budgets.total) * max((last.on - last.since).days, 1) if budgets else 0.0
    if last.high - last.low > 2 * spent:
        return f"too early to tell since {day_text(last.since)}."
    early = " Too early to tell." if last.low < 0 < last.high else ""
    return (
        f"{last.gained:+z,.0f} {rollout.currency} since {day_text(last.since)} (interval valid at "
        f"every check {last.low:+z,.0f} to {last.high:+z,.0f}).{early}"
    )


def _latest(db: Session, head: Decision) -> LatestDecision:
    lines = budget_lines(db, decision_id=head.id)
    moved = any(line.daily_budget != line.previous_daily_budget for line in lines)
    gain = (head.expected_gain, head.gain_low, head.gain_high)
    return LatestDecision(
        head.kind,
        head.state,
        head.effective_from,
        DecisionPlaces.of(lines),
        gain if moved and head.training_key else None,
    )


def _budgets(db: Session, day: date) -> Policy | None:
    found = budgets_in_force(db, before=day)
    return found[0] if found else None


def _budgets_at_first(db: Session, inside: Sequence[Decision]) -> Policy | None:
    """What stood before the first decision in force of all; ``inside`` has the newest first."""
    begun = next((d for d in reversed(inside) if d.state == "in_force"), None)
    return policy(db, version=begun.previous_policy_version) if begun else None


def _moves(
    before: Policy | None, after: Policy | None, returns: Mapping[Cell, float]
) -> list[NetMove]:
    if before is None or after is None:
        return []
    was = before.as_dict()
    return [
        NetMove(cell.segment, cell.channel, was.get(cell, amount * 0), amount, returns.get(cell))
        for cell, amount in after.budgets
        if was.get(cell, amount * 0) != amount
    ]


def _alarms(db: Session, first: date, last: date) -> list[str]:
    """What the monitor said on each day on which it asked for something, a repetition once."""
    said = reversed([v for v in verdicts(db, before=last + timedelta(days=1)) if v.as_of >= first])
    days: dict[str, date] = {}
    for verdict in said:
        if verdict.drifted:
            days.setdefault(verdict.summary, verdict.as_of)
    return [f"{day}: {summary}" for summary, day in days.items()]


def _with_arms(loop: Loop, alarms: list[str], first: date, last: date) -> list[str]:
    """The alarms, and what is not learned from because its arms are broken: user-level tests until
    they are mended, days of this week of holdouts; what an alarm says already is not repeated."""
    said = " ".join(alarms)
    found = arm_findings(loop, last + timedelta(days=1))
    fresh = [one for one in found if one.broken and (one.last is None or one.last >= first)]
    return [
        *alarms,
        *(f"{one.sentence} Fix: {one.fix}." for one in fresh if one.sentence not in said),
    ]


def _steps(loop: Loop, db: Session, every: Sequence[Decision], day: date) -> tuple[str, ...]:
    """What waits for a person on the ``day`` of the message: approvals, another total, the budgets
    to be set where no platform is configured, and what is paused by hand."""
    waits = [
        f"decide on the budgets from {day_text(d.effective_from)}: liftloop approve {d.id} or "
        f"liftloop reject {d.id}"
        for d in every
        if d.state == "awaiting_approval"
    ]
    moves = (d for d in every if d.state == "in_force" and d.kind not in ("hold", "pause"))
    last = next(moves, None)
    is_due = last is not None and last.effective_from >= day - timedelta(days=1)
    if last is not None and is_due and not loop.settings.platforms.targets:
        waits.append(
            f"upload outbox/budgets-{last.effective_from}-{last.id}.csv by "
            f"{day_text(last.effective_from)}."
        )
    total = total_step(db, loop.settings)
    paused = [
        f"budgets are paused since {day_text(p.since.date())} by {p.actor}; liftloop resume lets "
        "them move."
        for p in active_pauses(db)
    ]
    return (*waits, *([total] if total else []), *paused)


def _links(loop: Loop, db: Session, head: Decision, last: date) -> list[Link]:
    page = loop.workspace.reports / f"decision-{head.as_of}-{head.id}.html"
    found = [link(loop, "Details", f"reports/{page.name}")] if page.is_file() else []
    found += act_links(loop, head)
    said = next(iter(verdicts(db, before=last + timedelta(days=1), limit=1)), None)
    if said is not None and said.report:
        found.append(link(loop, "Monitor", said.report))
    return [*found, *prefect_link()]
