"""A decision as Markdown, for the flow run's artifact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from liftloop.adapters.ledger.decisions import budget_lines, decision
from liftloop.adapters.ledger.records import session
from liftloop.core.policy import BudgetLine
from liftloop.reporting.messages.decision_message import headline
from liftloop.reporting.rendering import render
from tasks.context import Loop


def decision_markdown(loop: Loop, shown: dict[str, Any]) -> str:
    """The decision's reason and its table, the largest moves first."""
    lines: list[BudgetLine] = []
    title = ""
    if shown["id"] is not None:
        with session(loop.engine, read_only=True) as db:
            lines = budget_lines(db, decision_id=shown["id"])
            found = decision(db, id=shown["id"])
        assert found is not None
        title = headline(found.kind, found.state, lines, found.effective_from)
    lines.sort(key=lambda line: -abs(line.daily_budget - line.previous_daily_budget))
    return render(
        "markdown/decision.md.j2",
        title=title,
        shown=shown,
        lines=lines,
        total=sum((line.daily_budget for line in lines), Decimal(0)),
        currency=loop.settings.account.currency,
    )
