"""What people are told of a decision, and of anything else in short: as text and as Slack blocks.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from liftloop.core.blocks import (
    Link,
    Words,
    bullets,
    clip,
    context,
    escape,
    fields,
    header,
    section,
    visible,
)
from liftloop.core.currencies import amount_words
from liftloop.core.policy import BudgetLine

__all__ = [
    "Announcement",
    "Words",
    "clip",
    "decision_message",
    "escape",
    "notice",
    "visible",
]

TOP_MOVES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What is to be told of a decision besides its lines.

    ``gain`` is profit per day against the budgets in force before, in the account's currency, with
    the ends of its 90 % interval; None where nothing could be estimated. ``reversal`` and ``todo``
    replace the usual sentences on what would take the budgets back, and who must do what.
    ``worth`` says what the loop gained so far; ``total`` is the total that waits for approval;
    ``links`` are where more is to be read;
    ``guardrails`` has a line for each that was asked.
    """

    decision_id: str
    kind: str
    state: str
    effective_from: date
    reason: str
    currency: str
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    reversal: str | None = None
    todo: str | None = None
    worth: str | None = None
    total: str | None = None
    links: tuple[Link, ...] = ()
    guardrails: tuple[str, ...] = ()


def decision_message(*, announcement: Announcement, lines: Sequence[BudgetLine]) -> Words:
    """A decision for a marketer: what moved and why, what it should bring, what would take it
    back, and who must do what."""
    title = _title(announcement)
    moves = _moves(lines, announcement.currency)
    total = sum((line.daily_budget for line in lines), Decimal(0))
    facts = [
        ("Expected", _expectation(announcement)),
        ("Total a day", f"{amount_words(total, announcement.currency)} {announcement.currency}"),
    ]
    closing = [
        *([("Another total", announcement.total)] if announcement.total else []),
        *([("Gained so far", announcement.worth)] if announcement.worth else []),
        ("What would take it back", announcement.reversal or _reversal(announcement)),
        ("Who does what", announcement.todo or _todo(announcement)),
    ]
    text = [title, announcement.reason, "", *moves, ""]
    text += [f"{name}: {words}" for name, words in facts + closing]
    if announcement.guardrails:
        text += ["What the guardrails say:", *(f"  {line}" for line in announcement.guardrails)]
    text += [f"{link.label}: {link.target}" for link in announcement.links]
    blocks = [header(title), section(announcement.reason)]
    if moves:
        blocks.append(bullets(moves))
    blocks.append(fields(facts))
    blocks += [section(f"{name}: {words}", bold=name) for name, words in closing]
    if announcement.guardrails:
        name = "What the guardrails say"
        blocks += [section(name, bold=name), bullets(announcement.guardrails)]
    blocks.append(context(f"Decision {announcement.decision_id}", announcement.links))
    return Words(visible("\n".join(text)), tuple(blocks))


def notice(*, title: str, paragraphs: Sequence[str]) -> Words:
    """A message of a title and a few paragraphs: a drift verdict, a refused file."""
    blocks = [header(title), *(section(paragraph) for paragraph in paragraphs[:45])]
    return Words(visible("\n".join([title, *paragraphs])), tuple(blocks))


def _title(a: Announcement) -> str:
    day = f"{a.effective_from:%d %B %Y}".lstrip("0")
    if a.state == "awaiting_approval":
        return f"Budgets from {day} wait for your approval"
    if a.state == "rejected":
        return f"The budgets proposed for {day} were rejected"
    return {
        "move": f"Budgets move from {day}",
        "hold": f"Budgets stay as they are on {day}",
        "promote": f"The newest plan reaches more segments from {day}",
        "roll_back": f"Budgets go back to what they were from {day}",
        "pause": f"Budget moves are paused from {day}",
    }.get(a.kind, f"Budgets from {day}: {a.kind}")


def _moves(lines: Sequence[BudgetLine], currency: str) -> list[str]:
    """The largest moves first, then how many more there are."""
    moved = [line for line in lines if line.daily_budget != line.previous_daily_budget]
    moved.sort(key=lambda line: -abs(line.daily_budget - line.previous_daily_budget))
    words = [_move(line, currency) for line in moved[:TOP_MOVES]]
    if not moved and lines:
        return [f"No budget moves: all {len(lines)} cells keep theirs."]
    rest, still = len(moved) - len(words), len(lines) - len(moved)
    if rest:
        words.append(f"and {rest} smaller {'move' if rest == 1 else 'moves'}")
    if still:
        words.append(f"{still} {'cell keeps its budget' if still == 1 else 'cells keep theirs'}")
    return words


def _move(line: BudgetLine, currency: str) -> str:
    change = line.daily_budget - line.previous_daily_budget
    share = f", {change / line.previous_daily_budget:+z.0%}" if line.previous_daily_budget else ""
    return (
        f"{clip(line.segment, 60)} x {clip(line.channel, 60)}: "
        f"{amount_words(line.previous_daily_budget, currency)} to "
        f"{amount_words(line.daily_budget, currency)} "
        f"{currency} a day ({amount_words(change, currency, signed=True)}{share}). {line.reason}"
    )


def _expectation(a: Announcement) -> str:
    if a.gain is None:
        return "no estimate"
    if a.gain == a.gain_low == a.gain_high == 0.0:
        return "nothing changes, so neither does the profit"
    words = f"{a.gain:+z,.0f} {a.currency} profit a day against the budgets before"
    if a.gain_low is None or a.gain_high is None:
        return words
    words += f"; in 9 of 10 cases between {a.gain_low:+z,.0f} and {a.gain_high:+z,.0f}"
    return words + (", so it may lose, too" if a.gain_low < 0 < a.gain_high else "")


def _reversal(a: Announcement) -> str:
    if a.state == "awaiting_approval":
        return "nothing is in force yet; without approval the budgets in force stay."
    if a.kind in ("hold", "pause"):
        return "the next cycle looks again, with newer evidence."
    if a.kind == "roll_back":
        return "nothing is on trial. A later plan starts anew once the cool-down is over."
    return (
        "new evidence that it loses profit: the loop then takes it back by itself. "
        "To take it back now: liftloop rollback"
    )


def _todo(a: Announcement) -> str:
    if a.state == "awaiting_approval":
        return (
            f"whoever approves budgets decides: liftloop approve {a.decision_id} or "
            f"liftloop reject {a.decision_id}"
        )
    if a.state == "rejected" or a.kind in ("hold", "pause"):
        return "nobody has to do anything."
    return (
        f"whoever runs the ad platforms sets the budgets of "
        f"outbox/budgets-{a.effective_from}-{a.decision_id}.csv by {a.effective_from}."
    )
