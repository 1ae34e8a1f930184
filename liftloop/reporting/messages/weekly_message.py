"""The week in one message, and an alarm in another: for people who read nothing else. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from liftloop.reporting.messages.decision_message import DecisionPlaces
from liftloop.reporting.messages.message_parts import compose, with_moves_that_fit
from liftloop.reporting.messages.moves import Moves, NetMove
from liftloop.reporting.messages.slack_blocks import Link, Words
from liftloop.reporting.outcome_words import OutcomeWords

TOP_CELLS = 3


@dataclass(frozen=True, slots=True)
class LatestDecision:
    """The decision of the day. ``gain`` and its 90 % interval are profit a day over the budgets
    before; None where nothing moves, or nothing could be estimated."""

    kind: str
    state: str
    effective_from: date
    places: DecisionPlaces
    gain: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What happened in the week up to and with ``last``.

    Attributes
    ----------
    latest : its last decision; None where nothing was decided
    moves : cells whose budget is another one than a week ago
    cells : how many there are in all
    steps : what waits for a person, one sentence each, the most urgent first
    alarms : what was told of the data in this week, the newest last
    events : what people noted of days of this week, in their words; the first stands for all
    measured : what the rollout under way has measured so far; "" where there is nothing
    worth : what the loop gained so far; "" where no figure is known
    audit_head : the hash of the audit trail's last entry, carried out of the ledger
    """

    last: date
    currency: str
    latest: LatestDecision | None
    moves: Sequence[NetMove]
    cells: int
    steps: Sequence[str] = ()
    alarms: Sequence[str] = ()
    events: Sequence[str] = ()
    measured: str = ""
    worth: str = ""
    links: Sequence[Link] = ()
    audit_head: str = ""
    outcome: OutcomeWords | None = None


def weekly_message(week: Week) -> Words:
    """The week for a marketer: what moved, what it should bring, the next step, and what was gained
    so far."""
    unmoved = week.cells - len(week.moves)
    return with_moves_that_fit(
        lambda most: compose(
            "week.txt.j2",
            week=week,
            moves=Moves.of(week.moves, most=most, unmoved=unmoved),
            outcome=week.outcome or OutcomeWords(week.currency),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One trouble, as the triage found it.

    Attributes
    ----------
    cause : in the triage's words, such as "broken feed"
    sentence : what was seen, with its numbers
    pauses : whether cells are paused until it is over; else the model is trained anew
    cells : (segment, channel) of the cells that depend on it; empty where it concerns all
    everyone : whether these are all cells there are
    waiting : why the training it asks for waits; "" where it does not
    """

    cause: str
    sentence: str
    since: date | None
    pauses: bool
    cells: Sequence[tuple[str, str]] = ()
    everyone: bool = False
    waiting: str = ""
    links: Sequence[Link] = ()


def alarm_message(alarm: Alarm) -> Words:
    """An alarm: what was seen, what the loop does about it, and the next step."""
    return compose("alarm.txt.j2", alarm=alarm, named=alarm.cells[:TOP_CELLS])


def disagreement_message(lines: Sequence[str], *, links: Sequence[Link] = ()) -> Words:
    """Feeds that disagree with each other, the budgets or their past: the first of what was seen,
    that nothing is paused for it, and the next step."""
    return compose("disagreement.txt.j2", lines=lines, links=links)
