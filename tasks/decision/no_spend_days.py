"""Days without spend, as contracts in the settings have them: kept in all segments at once,
whatever a rollout or a guardrail would say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from sqlmodel import Session

from liftloop.adapters.ledger.decisions import budgets_in_force, decisions
from liftloop.adapters.ledger.records import session
from liftloop.core.ids import canonical, key
from liftloop.core.policy import Cell
from liftloop.core.rollout.effective_policy import Settlement
from liftloop.core.rollout.transitions import roll_back
from liftloop.pipeline.plan.no_spend_days import no_spend_days
from liftloop.pipeline.rollout import cooldown_days
from tasks.context import Loop, open_loop
from tasks.decision.record_decision import DecisionContext, DecisionOutcome, record
from tasks.decision.running_rollout import ended_streams, running_rollout
from tasks.operate.manual_decisions import deciding
from tasks.step import step

WITHHELD = "withheld"  # in the evidence of the decisions that this makes


@step("keep days without spend")
def keep_no_spend_days(workspace: str, on: date) -> str | None:
    """The decision that takes the budgets of some cells to nothing on their first day without
    spend, or gives them back after the last; None where nothing is to do. A rollout under way ends
    there: what it measured is kept, and the next plan begins another one."""
    return keep_no_spend_days_once(open_loop(workspace), on)


def keep_no_spend_days_once(loop: Loop, on: date) -> str | None:
    """As of :func:`keep_no_spend_days`."""
    if not any(one.no_spend for one in loop.settings.budget.blackouts) and not _any_withheld(loop):
        return None
    with deciding(loop):
        return _keep(loop, on)


def _any_withheld(loop: Loop) -> bool:
    """Whether cells wait for their budgets, perhaps of days that the settings name no more."""
    with session(loop.engine, read_only=True) as db:
        return bool(withheld(db))


def _keep(loop: Loop, on: date) -> str | None:
    with session(loop.engine, read_only=True) as db:
        now, running = budgets_in_force(db, before=date.max), running_rollout(db)
        kept = withheld(db)
    if now is None or now[1].effective_from > on:
        return None  # what takes effect later is looked at on its day
    current, last = now
    found = no_spend_days(loop.settings, current, kept, on=on)
    if found is None:
        return None
    ends = (
        roll_back(
            running.state,
            now=on,
            cooldown_days=cooldown_days(loop.settings, ended_streams(loop), on),
            reason=found.reason,
            bar=False,
        )
        if running is not None
        else None
    )
    grounds = DecisionContext(
        on,
        key("no_spend", current.version, found.policy.version, on),
        current,
        last.training_key,
        last.facts,
        act="no_spend",
        words=found.reason,
        notes={
            WITHHELD: canonical(
                [[cell.segment, cell.channel, amount] for cell, amount in found.withheld.items()]
            )
        },
    )
    settled = Settlement("move", found.policy, {}, found.reason)
    return record(loop, grounds, DecisionOutcome(settled, (ends,) if ends else ())).id


def withheld(db: Session, *, at: datetime | None = None) -> Mapping[Cell, Decimal]:
    """What cells without spend get back, by the last decision on such days (made before ``at``)."""
    for one in decisions(db, state="in_force"):
        if at is not None and one.created_at >= at:
            continue
        said = json.loads(one.evidence).get(WITHHELD)
        if said is not None:
            rows = json.loads(said)
            return {Cell(segment, channel): Decimal(amount) for segment, channel, amount in rows}
    return {}
