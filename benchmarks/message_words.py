"""How many words the messages of a workspace have, by kind, as they would be sent today.

uv run python benchmarks/message_words.py WORKSPACE   # such as that of liftloop demo --weeks 26

Every decision and week of the ledger is worded anew, and nothing is sent. Fails where a message has
more than 80 words, or names another gain or another change of a budget than the ledger has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from decimal import Decimal

from liftloop.adapters.ledger.decisions import budget_lines, decisions
from liftloop.adapters.ledger.records import session
from liftloop.core.policy import BudgetLine
from liftloop.reporting.messages.decision_message import decision_message
from liftloop.reporting.messages.message_parts import MOST_WORDS
from liftloop.reporting.messages.weekly_message import weekly_message
from tasks.context import Loop, open_loop
from tasks.report.announcement import announcement_of, returns_before
from tasks.report.weekly import week_of

CHANGE = re.compile(r"([+-][\d,]+\.\d\d)(?: [A-Z]{3} a day)? (?:to|from) ")


def messages_of(loop: Loop) -> Iterator[tuple[str, str, list[str]]]:
    """Kind, text and what is wrong with it, for each message."""
    with session(loop.engine, read_only=True) as db:
        for head in reversed(decisions(db)):
            lines = budget_lines(db, decision_id=head.id)
            announcement = announcement_of(loop, db, head, None, returns_before(loop, head))
            text = decision_message(announcement=announcement, lines=lines).text
            wrong = list(_other_changes(text, lines))
            if "Expected: " in text and head.training_key:
                gain = f"{head.expected_gain:+z,.0f} "
                wrong += [] if f"Expected: {gain}" in text else [f"the gain is {gain}"]
            yield head.kind, text, wrong
            week = week_of(loop, db, head.as_of)
            if week is not None:
                yield "weekly", weekly_message(week).text, []


def _other_changes(text: str, lines: list[BudgetLine]) -> Iterator[str]:
    known = {line.daily_budget - line.previous_daily_budget for line in lines}
    for amount in CHANGE.findall(text):
        if Decimal(amount.replace(",", "")) not in known:
            yield f"no budget changes by {amount}"


def main(workspace: str) -> int:
    """Print the words of each kind; 1 where a message breaks a rule."""
    counts: dict[str, list[int]] = {}
    broken = 0
    for kind, text, other in messages_of(open_loop(workspace)):
        words = len(text.split())
        counts.setdefault(kind, []).append(words)
        wrong = [*other, f"{words} words"] if words > MOST_WORDS else other
        if wrong:
            broken += 1
            print(f"{'; '.join(wrong)}:\n{text}\n")
    for kind, found in counts.items():
        print(f"{kind:10} {len(found):4} messages, {min(found)} to {max(found)} words")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
