"""Stretches of sales that are a broken feed: said at ingest, by doctor and in the decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.core.feeds.deliveries.empty_sales import empty_sentences, empty_stretches
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop, view

CHECK = "sales"


def empty_sales_words(loop: Loop, as_of: date) -> list[str]:
    """A sentence where sales known on ``as_of`` have such stretches; [] where they have none."""
    return empty_sentences(empty_stretches(view(loop, as_of, ["sales"])["sales"]))


def with_sales_notes(loop: Loop, summaries: Sequence[DeliverySummary]) -> list[DeliverySummary]:
    """The summaries, the last new one of ``sales`` with what is broken about the sales as they are
    now known."""
    noted = list(summaries)
    mine = [
        i for i, one in enumerate(noted) if one.feed == "sales" and one.stored and not one.duplicate
    ]
    if mine:
        words = empty_sales_words(loop, loop.today() + timedelta(days=1))
        last = noted[mine[-1]]
        noted[mine[-1]] = replace(last, notes=(*last.notes, *words))
    return noted


def sales_of(workspace: Workspace) -> list[DoctorFinding]:
    """Findings for the doctor, as of today; a look that fails is a finding, too."""
    try:
        loop = open_loop(workspace.root)
        words = empty_sales_words(loop, loop.today())
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [DoctorFinding(CHECK, None, f"they could not be checked: {said}")]
    fix = "deliver the sales of these days again"
    return [DoctorFinding(CHECK, None, one.rsplit(" Deliver", 1)[0], fix) for one in words]
