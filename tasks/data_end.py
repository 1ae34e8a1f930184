"""Where data end: past data, and the day that a question about them is meant for."""

from __future__ import annotations

from datetime import date, timedelta

from liftloop.adapters.facts.read_facts import last_dates
from tasks.context import Loop, view
from tasks.evidence.freshness import DAILY

OLD_DAYS = 14  # after so many days without facts a question is about the past, not about today


def last_day(loop: Loop) -> date | None:
    """The last day with facts of a feed that has rows of every day; events count as sales. None
    where there are none."""
    found = last_dates(loop.workspace)
    return max((day for f in (*DAILY, "events") if (day := found.get(f)) is not None), default=None)


def ended_long_ago(loop: Loop, as_of: date, *, command: str) -> str:
    """A sentence where data end long before ``as_of``, with the ``command`` of ``liftloop`` that
    asks of the day after them; "" where they do not."""
    last = last_day(loop)
    if last is None or (as_of - last).days <= OLD_DAYS:
        return ""
    return (
        f"Data end on {last}, {(as_of - last).days:,} days before {as_of}: there is nothing "
        "recent to decide on. Deliver newer files (liftloop ingest), or ask as of the day after "
        f"the data: liftloop {command} --as-of {last + timedelta(days=1)}."
    )


def planning_day(loop: Loop, as_of: date | None) -> tuple[date, str]:
    """(the day to plan for, a sentence that names it where it is not the one to be expected).

    It is ``as_of`` where given, else today, and where data ended long ago the day after them: a
    plan for today from old data would plan from nothing.
    """
    if as_of is not None:
        return as_of, ""
    today, last = loop.today(), last_day(loop)
    if last is None or (today - last).days <= OLD_DAYS:
        return today, ""
    following = last + timedelta(days=1)
    if not len(view(loop, following, ("performance",))["performance"]):
        return today, ""  # what was reported only later was not known then
    return following, (
        f"Data end on {last}; planning for {following}. Say --as-of to plan another day."
    )
