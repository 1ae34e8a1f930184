"""What people are told of a decision: as text and as Slack blocks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from liftloop.core.policy import BudgetLine, Cell
from liftloop.reporting.messages.message_parts import MessageParts, compose, with_moves_that_fit
from liftloop.reporting.messages.moves import Moves, NetMove
from liftloop.reporting.messages.slack_blocks import Link, Words
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.reporting.rendering import day, macro


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What is to be told of a decision besides its lines.

    Attributes
    ----------
    gain, gain_low, gain_high
        Profit per day against the budgets in force before, in the account's currency, with its
        90 % interval; None where nothing could be estimated.
    todo
        Replaces the usual next step.
    total
        The next step for a total that waits for approval.
    judged_total
        What the present total is worth at its margin.
    waiting
        What a day costs that a plan waits, held or for approval.
    asked
        Who has to decide on a plan that waits for approval, by when and why.
    copies
        The roles that are told beside.
    returns
        What each extra unit of money returned in a cell, at its budget before.
    links
        Where more is to be read or done.
    audit_head
        The hash of the audit trail's last entry, which the message carries out of the ledger.
    outcome
        How gains are said; None: in the currency.
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
    todo: str = ""
    total: str = ""
    judged_total: str = ""
    waiting: str = ""
    asked: str = ""
    copies: str = ""
    returns: Mapping[Cell, float] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    audit_head: str = ""
    outcome: OutcomeWords | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a person has to approve or reject it."""
        return self.state == "awaiting_approval"

    @property
    def needs_nobody(self) -> bool:
        """Whether nothing is to be set anywhere."""
        return self.state == "rejected" or self.kind in ("hold", "pause")


@dataclass(frozen=True, slots=True)
class DecisionPlaces:
    """The ``segments`` in which a decision's budgets move: those on trial, else all; and whether
    its budgets are ``everywhere``."""

    segments: tuple[str, ...]
    everywhere: bool

    @classmethod
    def of(cls, lines: Sequence[BudgetLine]) -> DecisionPlaces:
        """Those of a decision's lines."""
        moved = [line for line in lines if line.daily_budget != line.previous_daily_budget]
        trial = [line for line in moved if line.stage == "canary"] or moved
        return cls(
            tuple(dict.fromkeys(line.segment for line in trial)),
            everywhere=not any(line.stage in ("canary", "ramp") for line in lines),
        )


def decision_message(*, announcement: Announcement, lines: Sequence[BudgetLine]) -> Words:
    """A decision for a marketer: what moves, what it should bring, and the next step."""
    cells = [
        NetMove(
            line.segment,
            line.channel,
            line.previous_daily_budget,
            line.daily_budget,
            announcement.returns.get(Cell(line.segment, line.channel)),
        )
        for line in lines
    ]
    is_back = announcement.kind == "roll_back"  # its reason needs the room
    return with_moves_that_fit(
        lambda most: compose(
            "decision.txt.j2",
            decision=announcement,
            places=DecisionPlaces.of(lines),
            moves=Moves.of(cells, most=1 if is_back else most),
            outcome=announcement.outcome or OutcomeWords(announcement.currency),
        )
    )


def headline(kind: str, state: str, lines: Sequence[BudgetLine], effective_from: date) -> str:
    """A decision in one line, as its message begins: "New budgets from 2 March 2026"."""
    places = DecisionPlaces.of(lines)
    found = macro("messages/parts.txt.j2", "headline", kind, state, places, day(effective_from))
    return " ".join(found.split())


def notice(*, title: str, paragraphs: Sequence[str]) -> Words:
    """A message of a title and a few paragraphs."""
    message = MessageParts()
    message.title(title)
    for paragraph in paragraphs:
        message.paragraph(paragraph)
    return message.words
