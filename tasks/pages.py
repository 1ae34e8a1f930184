"""A decision as Markdown, for the flow run's artifact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from liftloop.adapters.decisions import budget_lines
from liftloop.adapters.ledger import session
from liftloop.core.currencies import amount_words
from liftloop.core.policy import BudgetLine
from tasks.context import Loop


def decision_markdown(loop: Loop, shown: dict[str, Any]) -> str:
    """The decision's reason and its table, the largest moves first."""
    if shown["id"] is None:
        return f"# No decision\n\n{plain(shown['reason'])}\n"
    with session(loop.engine, read_only=True) as db:
        lines = budget_lines(db, decision_id=shown["id"])
    lines.sort(key=lambda line: -abs(line.daily_budget - line.previous_daily_budget))
    currency = loop.settings.account.currency
    total = sum(line.daily_budget for line in lines)
    head = [
        f"# {shown['kind'].replace('_', ' ').capitalize()}: {shown['id']} ({shown['state']})",
        "",
        plain(shown["reason"]),
        "",
        f"Total a day: {amount_words(Decimal(total), currency)} {currency}.",
        "",
        "| segment | channel | before | a day | change | stage | expected (90 %) | why |",
        "|---|---|---:|---:|---:|---|---|---|",
    ]
    return "\n".join([*head, *(_row(line, currency) for line in lines), ""])


def _row(line: BudgetLine, currency: str) -> str:
    change = line.daily_budget - line.previous_daily_budget
    expected = "no estimate"
    if line.expected_incremental_revenue is not None:
        expected = (
            f"{line.expected_incremental_revenue:,.0f} "
            f"({line.expected_low:,.0f} to {line.expected_high:,.0f})"
        )
    cells = (
        plain(line.segment),
        plain(line.channel),
        amount_words(line.previous_daily_budget, currency),
        amount_words(line.daily_budget, currency),
        amount_words(change, currency, signed=True),
        line.stage,
        expected,
        plain(line.reason),
    )
    return "| " + " | ".join(cells) + " |"


def plain(text: str) -> str:
    """A name or sentence that can neither break a Markdown table nor smuggle HTML in."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
