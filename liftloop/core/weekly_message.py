"""The week in one message, and an alarm in another: for people who read nothing else. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from liftloop.core.blocks import Link, Words, bullets, clip, context, header, section, visible
from liftloop.core.currencies import amount_words

TOP_MOVES, TOP_ACTS, TOP_CELLS = 6, 8, 6
NOBODY = "nobody has to do anything."


@dataclass(frozen=True, slots=True)
class NetMove:
    """A cell's budget a day at the beginning of the week and at its end."""

    segment: str
    channel: str
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class Act:
    """A decision of the week. ``gain`` and its 90 % interval are profit a day over the budgets
    before, None where nothing could be estimated."""

    day: date
    kind: str
    state: str
    reason: str
    gain: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What happened from ``first`` to ``last``, both included.

    Attributes
    ----------
    moves : cells whose budget is another one now
    cells : how many there are in all
    total : of the budgets in force a day; None before the first decision
    rollout : where a running rollout is, what is at risk and what was measured, a sentence each
    reversal : what would take the budgets back
    worth : what the loop gained so far
    alarms : what was told of the data in this week
    todo : what waits for a person, one sentence each
    """

    first: date
    last: date
    currency: str
    acts: Sequence[Act]
    moves: Sequence[NetMove]
    cells: int
    total: Decimal | None
    rollout: Sequence[str]
    reversal: Sequence[str]
    worth: str
    alarms: Sequence[str]
    todo: Sequence[str]
    links: Sequence[Link] = ()


def weekly_message(week: Week) -> Words:
    """The week for a marketer: what moved and why, what it should bring and what was gained so far,
    what would take it back, and who must do what."""
    title = f"LiftLoop, {_day(week.first)} to {_day(week.last)}"
    moved = f"{len(week.moves)} of {week.cells} cells have other budgets than a week ago"
    if week.total is not None:
        moved += f"; the total is {amount_words(week.total, week.currency)} {week.currency} a day"
    lists = [
        ("What moved", [f"{moved}.", *_moves(week)]),
        ("Why", [_act(act, week.currency) for act in _shown(week.acts)] or ["Nothing decided."]),
        ("What the data say", list(week.alarms) or ["No alarm in this week."]),
    ]
    if week.rollout:
        lists.insert(2, ("Rollout", list(week.rollout)))
    paragraphs = [
        ("Gained so far", week.worth),
        ("What would take it back", " ".join(week.reversal) or "nothing is on trial."),
        ("Who does what", " ".join(week.todo) or NOBODY),
    ]
    text, blocks = [title], [header(title)]
    for name, lines in lists:
        text += ["", f"{name}:", *(f"  {line}" for line in lines)]
        blocks += [section(name, bold=name), bullets(lines[:10])]
    text.append("")
    for name, words in paragraphs:
        text.append(f"{name}: {words}")
        blocks.append(section(f"{name}: {words}", bold=name))
    text += [f"{link.label}: {link.target}" for link in week.links]
    blocks.append(context("Every number is from the ledger.", week.links))
    return Words(visible("\n".join(text)), tuple(blocks))


def _shown(acts: Sequence[Act]) -> Sequence[Act]:
    return acts[-TOP_ACTS:]


def _moves(week: Week) -> list[str]:
    ordered = sorted(week.moves, key=lambda move: -abs(move.after - move.before))
    words = [
        f"{clip(m.segment, 60)} x {clip(m.channel, 60)}: "
        f"{amount_words(m.before, week.currency)} to "
        f"{amount_words(m.after, week.currency)} {week.currency} a day "
        f"({amount_words(m.after - m.before, week.currency, signed=True)})"
        for m in ordered[:TOP_MOVES]
    ]
    rest = len(ordered) - len(words)
    return [*words, f"and {rest} smaller"] if rest else words


def _act(act: Act, currency: str) -> str:
    name = {"awaiting_approval": "waits for approval", "rejected": "rejected"}.get(
        act.state, act.kind.replace("_", " ")
    )
    words = f"{act.day}, {name}: {clip(act.reason, 400)}"
    if act.gain is None or act.kind in ("hold", "pause", "roll_back"):
        return words
    mean, low, high = act.gain
    if f"{mean:+z,.0f}" in act.reason:  # a plan's own sentence says it
        return words
    return (
        f"{words} Expected: {mean:+z,.0f} {currency} profit a day (in 9 of 10 cases between "
        f"{low:+z,.0f} and {high:+z,.0f})."
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
    """An alarm: what was seen, what the loop does about it, what ends it, and who must do what."""
    title = f"{alarm.cause[:1].upper()}{alarm.cause[1:]}: " + (
        "budgets that depend on it stay" if alarm.pauses else "the model is trained anew"
    )
    seen = alarm.sentence + (f" It began about {alarm.since}." if alarm.since else "")
    paragraphs = [
        ("What LiftLoop does", _response(alarm)),
        ("What would end it", _end(alarm)),
        ("Who does what", _who(alarm)),
    ]
    text = [title, seen, *(f"{name}: {words}" for name, words in paragraphs)]
    text += [f"{link.label}: {link.target}" for link in alarm.links]
    blocks = [header(title), section(seen)]
    blocks += [section(f"{name}: {words}", bold=name) for name, words in paragraphs]
    blocks.append(context("It is told once while it stands.", alarm.links))
    return Words(visible("\n".join(text)), tuple(blocks))


def disagreement_message(lines: Sequence[str], *, links: Sequence[Link] = ()) -> Words:
    """Feeds that disagree with each other, the budgets or their past: what was seen, a line each,
    that nothing is paused for it, and who should compare them with their sources."""
    title = "Feeds disagree: budgets move on"
    paragraphs = [
        ("What LiftLoop does", "it says so and pauses nothing; a feed that is broken is an alarm."),
        ("What would end it", "feeds that agree again, or weeks in which this is the usual."),
        ("Who does what", "whoever delivers the feeds named compares them with their sources."),
    ]
    text = [title, *lines, *(f"{name}: {words}" for name, words in paragraphs)]
    text += [f"{link.label}: {link.target}" for link in links]
    blocks = [header(title), bullets(lines)]
    blocks += [section(f"{name}: {words}", bold=name) for name, words in paragraphs]
    blocks.append(context("It is told once while it stands.", links))
    return Words(visible("\n".join(text)), tuple(blocks))


def _response(alarm: Alarm) -> str:
    if not alarm.pauses:
        return alarm.waiting or (
            "it trains the model on the newest facts; the new model takes over only if it passes "
            "its examination. Until then the budgets follow the present one."
        )
    named = [f"{clip(s, 60)} x {clip(c, 60)}" for s, c in alarm.cells[:TOP_CELLS]]
    rest = len(alarm.cells) - len(named)
    more = f" and {rest} more" if rest else ""
    whose = f" ({', '.join(named)}{more})" if named else ""
    others = "" if alarm.everyone else "; all others move on"
    does = f"the cells that depend on it{whose} keep their budgets{others}."
    return f"{does} {alarm.waiting}".strip()


def _end(alarm: Alarm) -> str:
    if alarm.pauses:
        return (
            "rows that are complete and right again: the next look at the data finds them, and the "
            "cells move again by themselves."
        )
    return "weeks in which the response is as the model in force foretells it."


def _who(alarm: Alarm) -> str:
    if alarm.pauses:
        return (
            "whoever delivers this feed sends the missing or wrong rows again (rows that were "
            "right may come twice; that changes nothing)."
        )
    return f"{NOBODY} Who knows of a reason, such as a new price or creative, tells the analyst."


def _day(day: date) -> str:
    return f"{day:%d %B %Y}".lstrip("0")
