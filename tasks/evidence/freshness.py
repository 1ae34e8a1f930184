"""Up to which day are there facts? Read for ``liftloop doctor``; it warns and pauses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.facts.read_facts import last_dates
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop

CHECK = "facts of"
DAILY = ("performance", "holdout", "sales")  # have rows of every day; the others come when they do
FIX = (
    "deliver newer files (liftloop ingest, or the inbox) before the next cycle: it moves no budget "
    "on late facts. To decide as of an earlier day: liftloop cycle --as-of DATE"
)


def freshness_of(workspace: Workspace) -> list[DoctorFinding]:
    """For each feed that was ever delivered, the last day there are facts of; a daily feed that is
    more than ``data.max_lag_days`` late today is a warning (``ok`` None). A look that fails is a
    finding, too."""
    try:
        loop = open_loop(workspace.root)
        lasts = last_dates(workspace)
        return list(_findings(lasts, loop.today(), limit=loop.settings.data.max_lag_days))
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [DoctorFinding(f"{CHECK} all feeds", None, f"their days could not be read: {words}")]


def _findings(lasts: dict[str, date | None], today: date, *, limit: int) -> Iterator[DoctorFinding]:
    for feed, last in lasts.items():
        check = f"{CHECK} {feed}"
        if last is None:
            continue
        if last >= today:
            yield DoctorFinding(check, True, f"up to {last}")
            continue
        known = [last]
        if feed == "sales":  # events stand in for sales that were not delivered
            known += [day for day in (lasts.get("events"),) if day is not None]
        late = (today - max(known)).days - 1  # the facts of a day are there on the day after
        if feed not in DAILY:
            yield DoctorFinding(check, True, f"up to {last}")
        elif late > limit:
            words = (
                f"the last day delivered is {last}, {late:,} days late on {today} "
                f"({limit} are allowed: data.max_lag_days)"
            )
            yield DoctorFinding(check, None, words, FIX)
        else:
            yield DoctorFinding(check, True, f"up to {last}")
