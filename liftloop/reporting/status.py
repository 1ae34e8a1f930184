"""Does somebody have to do something? One status, one sentence, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from liftloop.core.curves.gain import Estimate
from liftloop.reporting.outcome_words import OutcomeWords


class StatusKind(StrEnum):
    """``NEEDS_YOU``: a person has to act. ``STUCK``: nothing can move, and no act is waiting for
    that. ``TESTING``: a plan is on trial. ``WELL``: nothing to do."""

    NEEDS_YOU = "needs you"
    STUCK = "stuck"
    TESTING = "testing"
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to know: a sentence, and the command that acts on it ("" where none does).
    ``subject`` names what it is about for who offers buttons: a decision's id."""

    kind: StatusKind
    sentence: str
    command: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class WaitingPlan:
    """A decision that waits for approval. ``days`` it has waited, of ``within`` that it may;
    ``gain`` is its expected profit a day."""

    id: str
    effective_from: date
    reason: str
    gain: Estimate
    days: int
    within: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A plan under trial: how many of the segments have it, and what it is expected to earn
    a day."""

    segments: int
    of_segments: int
    gain: Estimate | None
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What the ledger says today.

    Attributes
    ----------
    audit_problem
        What is wrong with the trail; "" where it is whole.
    pauses
        (cells in words, since, by, reason, command that lifts it).
    paused_cells, cells
        How many cells may not move, of how many.
    alarm
        What the monitor warns of; "".
    held
        Why the last plan is not in force although nobody has to approve it; "".
    taken_back
        How a rollout ended that was taken back after the last plan went in force; "".
    proposed_total
        The total that waits for a person, as a sentence; "".
    judged_total
        What the total is worth at its margin, a sentence; "" where it was not judged.
    is_known
        Whether a response is known: whether anything can be predicted.
    """

    words: OutcomeWords
    has_facts: bool
    in_force_from: date | None
    audit_problem: str = ""
    waiting: Sequence[WaitingPlan] = ()
    pauses: Sequence[tuple[str, date, str, str, str]] = ()
    paused_cells: int = 0
    cells: int = 0
    alarm: str = ""
    held: str = ""
    taken_back: str = ""
    proposed_total: str = ""
    judged_total: str = ""
    quarantined: int = 0
    trial: Trial | None = None
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Status:
    """``sentence`` answers "do I have to do something?"; ``notices`` are all that was found, what a
    person has to do first."""

    kind: StatusKind
    sentence: str
    notices: tuple[Notice, ...]


def status_of(now: Situation) -> Status:
    """The status of a situation. What needs a person comes before what is stuck, and that before
    what is on trial."""
    notices = (*_needs(now), *_stuck(now), *_trial(now))
    order = list(StatusKind)
    notices = tuple(sorted(notices, key=lambda notice: order.index(notice.kind)))
    if notices:
        more = len(notices) - 1
        also = f" And {more} more below." if more else ""
        return Status(notices[0].kind, f"{notices[0].sentence}{also}", notices)
    since = f" Budgets in force since {_day(now.in_force_from)}." if now.in_force_from else ""
    return Status(StatusKind.WELL, f"Nothing to do.{since}", ())


def _needs(now: Situation) -> list[Notice]:
    kind = StatusKind.NEEDS_YOU
    found = []
    if now.audit_problem:
        words = f"The audit trail is broken: {now.audit_problem}"
        found.append(Notice(kind, words, "liftloop audit verify"))
    for plan in now.waiting:
        found.append(
            Notice(
                kind,
                f"Budgets from {_day(plan.effective_from)} wait for your approval: expected "
                f"{_gain(plan.gain, now.words)}. {_wait_words(plan, now.words)}",
                f"liftloop approve {plan.id}",
                plan.id,
            )
        )
    if now.proposed_total:
        found.append(Notice(kind, now.proposed_total))
    if not now.has_facts:
        words = "No data yet: put your exports into the inbox and run a cycle."
        found.append(Notice(kind, words, "liftloop ingest FILE"))
    elif now.in_force_from is None:
        found.append(Notice(kind, "Nothing is decided yet: run a cycle.", "liftloop cycle"))
    if now.quarantined:
        rows = "1 row is" if now.quarantined == 1 else f"{now.quarantined:,} rows are"
        words = f"{rows} in quarantine and not learned from."
        found.append(Notice(kind, words, "liftloop quarantine list"))
    return found


def _stuck(now: Situation) -> list[Notice]:
    kind = StatusKind.STUCK
    found = []
    for cells, since, by, reason, command in now.pauses:
        why = f": {reason}" if reason else ""
        share = f" ({now.paused_cells} of {now.cells} cells)" if now.cells else ""
        words = f"Paused since {_day(since)} by {by}: {cells}{share}{why}."
        found.append(Notice(kind, words, command))
    if now.taken_back:
        found.append(Notice(kind, now.taken_back, "liftloop rollouts"))
    if now.held:
        found.append(Notice(kind, now.held, "liftloop report"))
    if now.alarm:
        found.append(Notice(kind, now.alarm, "liftloop monitor"))
    if now.has_facts and now.in_force_from and not now.is_known:
        words = (
            "No response is known yet, so nothing is predicted. The cheapest experiment that "
            "changes it is in liftloop experiments suggest."
        )
        found.append(Notice(kind, words, "liftloop experiments suggest"))
    return found


def _trial(now: Situation) -> list[Notice]:
    trial = now.trial
    if trial is None:
        return []
    some = f"{trial.segments} of {trial.of_segments}"
    everywhere = trial.segments == trial.of_segments
    where = f"the new budgets are in {'all' if everywhere else some} segments"
    gain = "" if trial.gain is None else f"; expected {_gain(trial.gain, now.words)}"
    if trial.is_paused:
        words = f"The rollout is paused: {where}{gain}."
        return [Notice(StatusKind.STUCK, words, "liftloop resume --rollout")]
    return [Notice(StatusKind.TESTING, f"Nothing to do while it is tested: {where}{gain}.")]


def _wait_words(plan: WaitingPlan, words: OutcomeWords) -> str:
    left = plan.within - plan.days
    costs = plan.gain.mean > 0
    cost = f"A day of waiting costs about {words.gain(plan.gain.mean)}. " if costs else ""
    if left <= 0:
        return f"{cost}It has waited too long and is withdrawn by the next cycle."
    return f"{cost}It is withdrawn in {left} {'day' if left == 1 else 'days'}."


def _gain(gain: Estimate, words: OutcomeWords) -> str:
    """A gain a day with its interval: "+247 EUR profit a day (90 % interval +8 to +499)"."""
    return (
        f"{words.gain(gain.mean)} {words.gain_label} a day (90 % interval {words.gain(gain.low)} "
        f"to {words.gain(gain.high)})"
    )


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
