"""The week as the ledger has it, gathered for its message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from sqlmodel import Session

from liftloop.adapters.decisions import budgets_in_force, decisions
from liftloop.adapters.ledger import policy, verdicts
from liftloop.adapters.rollouts import active_rollout
from liftloop.adapters.tables import Decision
from liftloop.adapters.worth_entries import worth_known
from liftloop.core.blocks import Link
from liftloop.core.policy import Policy
from liftloop.core.verdict_words import in_brief, step_verdicts
from liftloop.core.weekly_message import Act, NetMove, Week
from liftloop.reporting.rollout_summary import RolloutSummary
from tasks.arms import arm_findings
from tasks.context import Loop
from tasks.links import link, prefect_link
from tasks.rollout_summary import summary_of

NO_FIGURE = (
    "no figure yet. It is worked out at the beginning of each month, from the days since the loop "
    "began to decide."
)


def week_of(loop: Loop, db: Session, last: date) -> Week | None:
    """The seven days up to and with ``last``; None while nothing was ever decided."""
    first = last - timedelta(days=6)
    every = [d for d in decisions(db) if d.as_of <= last]
    if not every:
        return None
    inside = [d for d in reversed(every) if d.as_of >= first]
    before, after = _budgets(db, first), _budgets(db, last + timedelta(days=1))
    record = active_rollout(db)
    rollout = summary_of(db, record, loop.settings, until=last) if record else None
    return Week(
        first=first,
        last=last,
        currency=loop.settings.account.currency,
        acts=[_act(d) for d in inside],
        moves=_moves(before or _budgets_at_first(db, inside), after),
        cells=len(after.budgets) if after else 0,
        total=after.total if after else None,
        rollout=_rollout(rollout) if rollout else (),
        reversal=(rollout.take_back_brief,)
        if rollout and rollout.take_back_brief
        else _reversal(every),
        worth=gained(db, last) or NO_FIGURE,
        alarms=_with_arms(loop, _alarms(db, first, last), first, last),
        todo=_todo(loop, every, first),
        links=_links(loop, db, every, last),
    )


def gained(db: Session, as_of: date) -> str:
    """What the loop gained so far, as known on ``as_of``; "" where no figure is known."""
    said = worth_known(db, as_of=as_of)
    return str(said["sentence"]) if said else ""


def _rollout(one: RolloutSummary) -> tuple[str, ...]:
    """Where it is, what is at risk, what was measured, and what was proven."""
    proven = (f"Gain proven on {one.proofs[-1].sentence(one.currency)}",) if one.proofs else ()
    return (one.sentence, *one.risk_sentences[:2], *proven)


def _budgets(db: Session, day: date) -> Policy | None:
    found = budgets_in_force(db, before=day)
    return found[0] if found else None


def _budgets_at_first(db: Session, inside: Sequence[Decision]) -> Policy | None:
    """What stood before the first decision in force of all."""
    begun = next((d for d in inside if d.state == "in_force"), None)
    return policy(db, version=begun.previous_policy_version) if begun else None


def _moves(before: Policy | None, after: Policy | None) -> list[NetMove]:
    if before is None or after is None:
        return []
    was = before.as_dict()
    return [
        NetMove(cell.segment, cell.channel, was.get(cell, amount * 0), amount)
        for cell, amount in after.budgets
        if was.get(cell, amount * 0) != amount
    ]


def _act(d: Decision) -> Act:
    gain = (d.expected_gain, d.gain_low, d.gain_high) if d.training_key else None
    return Act(d.as_of, d.kind, d.state, in_brief(d.reason, step_verdicts(d.evidence)), gain)


def _reversal(every: Sequence[Decision]) -> tuple[str, ...]:
    if not any(d.state == "in_force" and d.kind in ("move", "promote") for d in every):
        return ()
    return (
        "nothing is on trial; the next cycle moves the budgets on if the evidence says so. "
        "To take the last move back: liftloop rollback.",
    )


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


def _todo(loop: Loop, every: Sequence[Decision], first: date) -> list[str]:
    """What waits for a person: approvals, and where no platform is configured the last budgets."""
    waits = [
        f"The budgets proposed for {d.effective_from} wait for whoever approves budgets: liftloop "
        f"approve {d.id} or liftloop reject {d.id}."
        for d in every
        if d.state == "awaiting_approval"
    ]
    moves = (d for d in every if d.state == "in_force" and d.kind not in ("hold", "pause"))
    last = next(moves, None)
    if last is not None and last.as_of >= first and not loop.settings.platforms.targets:
        waits.append(
            "Whoever runs the ad platforms: the budgets in force are those of "
            f"outbox/budgets-{last.effective_from}-{last.id}.csv."
        )
    return waits


def _links(loop: Loop, db: Session, every: Sequence[Decision], last: date) -> list[Link]:
    page = loop.workspace.reports / f"decision-{every[0].as_of}-{every[0].id}.html"
    found = [link(loop, "The last decision", f"reports/{page.name}")] if page.is_file() else []
    said = next(iter(verdicts(db, before=last + timedelta(days=1), limit=1)), None)
    if said is not None and said.report:
        found.append(link(loop, "Why the last weeks differ", said.report))
    return [*found, *prefect_link()]
