"""Weekly incremental profit of the budgets in force beside that of the budgets left as they were,
read from ledger, facts and the model in force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from liftloop.adapters.ledger.decisions import budget_lines, decisions
from liftloop.adapters.ledger.records import session
from liftloop.core.curves.gain import spends
from liftloop.core.inference.panels import Daily
from liftloop.core.inference.weekly_profit import DayProfit, weekly_profit
from liftloop.core.policy import BudgetLine
from liftloop.reporting.history.before_and_after import BeforeAndAfter
from tasks.context import Loop
from tasks.data_end import last_day
from tasks.model.curves import curves_of
from tasks.report.loop_value import daily_since, loop_start

WEEK = 7


def before_and_after(loop: Loop) -> BeforeAndAfter | None:
    """The whole weeks since the loop began; None where none is over, or no response is known."""
    since, last = loop_start(loop), last_day(loop)
    if since is None or last is None:
        return None
    until = last + timedelta(days=1)
    weeks = [
        (since.start + timedelta(days=n), since.start + timedelta(days=n + WEEK))
        for n in range(0, (until - since.start).days - WEEK + 1, WEEK)
    ]
    with session(loop.engine, read_only=True) as db:
        made = sorted(decisions(db, state="in_force"), key=lambda one: one.effective_from)
        lines = {one.id: budget_lines(db, decision_id=one.id) for one in made}
    curves = curves_of(loop, made[-1].training_key) if made else None
    if not weeks or curves is None:
        return None
    margin = loop.settings.budget.margin
    spent = spends(since.policy, curves)
    left = margin * curves.draw_revenue(spent).sum(axis=1) - float(spent.sum())
    daily = daily_since(loop, since, until=weeks[-1][1], as_of=max(loop.today(), until))
    decided = [DayProfit(one.effective_from, _predicted(lines[one.id], margin)) for one in made]
    found = weekly_profit(
        daily if isinstance(daily, Daily) else None,
        weeks=weeks,
        decided=decided,
        left=left,
        margin=margin,
    )
    moved = (
        one.effective_from for one in made if one.policy_version != one.previous_policy_version
    )
    return BeforeAndAfter(tuple(found), tuple(dict.fromkeys(moved)))


def _predicted(lines: Sequence[BudgetLine], margin: float) -> float | None:
    """Profit a day that was predicted of a decision's budgets; None where nothing was."""
    known = [
        margin * line.expected_incremental_revenue - float(line.daily_budget)
        for line in lines
        if line.expected_incremental_revenue is not None
    ]
    return sum(known) if known else None
