"""An alarm of the triage as the message people get."""

from __future__ import annotations

from liftloop.adapters.tables import MonitorVerdict
from liftloop.core.blocks import Words
from liftloop.core.weekly_message import Alarm, alarm_message, disagreement_message
from monitoring.causes import Act, Finding
from monitoring.telling import Telling
from tasks.context import Loop
from tasks.links import link, prefect_link
from tasks.reallocate import budgets_before


def alarm_of(loop: Loop, said: MonitorVerdict, found: Finding, told: Telling) -> tuple[str, Words]:
    """The message's kind and its words. One that asks a person to act is an ``alarm``, which quiet
    hours do not hold; a training starts by itself, so a ``finding`` can wait."""
    pauses = found.act is Act.PAUSE
    links = [link(loop, "Why the last weeks differ", said.report)] if said.report else []
    words = alarm_message(
        Alarm(
            cause=found.cause.value,
            sentence=found.sentence,
            since=found.since,
            pauses=pauses,
            cells=[(cell.segment, cell.channel) for cell in found.cells],
            everyone=_everyone(loop, said, found),
            waiting=told.waiting,
            links=[*links, *prefect_link()],
        )
    )
    return ("alarm" if pauses else "finding"), words


def _everyone(loop: Loop, said: MonitorVerdict, found: Finding) -> bool:
    """Whether a finding concerns every cell that has a budget."""
    policy, _ = budgets_before(loop, said.as_of, door="holdout")
    return policy is not None and set(policy.cells) <= set(found.cells)


def disagreement_of(loop: Loop, said: MonitorVerdict, lines: list[str]) -> Words:
    """What feeds disagree on, for whoever delivers them. It pauses nothing."""
    page = link(loop, "Why the last weeks differ", said.report) if said.report else None
    return disagreement_message(lines, links=[*([page] if page else []), *prefect_link()])
