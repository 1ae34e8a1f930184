"""ingest: what lies in the inbox, through the quality gates, into the facts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefect import flow

from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.summaries import DeliverySummary
from tasks.ingest import (
    find_files,
    finish_cut_short,
    judge_waiting,
    note_arms,
    show_quality,
    take_in,
    tell_of_facts,
)


@flow(name="ingest")
def ingest(
    workspace: str,
    paths: list[str] | None = None,
    options: ImportOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[DeliverySummary]:
    """Take in files or folders (default: the whole inbox), one after the other.

    A refused file stops no other. Taking a file in again changes nothing, and whatever an earlier
    run left half done is finished first. Rows in quarantine that keep the rules since ``[account]``
    was changed come back before anything else is taken in. New facts emit
    ``liftloop.facts.updated``. ``progress`` is told (files done, files in all).

    Returns one summary a delivery: those that came back from quarantine, then one a file, in the
    order of the files.
    """
    place = str(Path(workspace).resolve())
    files = find_files(place, paths)
    finished = finish_cut_short(place)
    summaries: list[DeliverySummary] = judge_waiting(place)
    for done, path in enumerate(files, start=1):
        summaries.append(take_in(place, path, options))
        if progress is not None:
            progress(done, len(files))
    summaries = note_arms(place, summaries)
    if summaries or finished:
        show_quality(place, summaries)
    fresh = [one for one in summaries if one.stored and not one.duplicate]
    if fresh or finished:
        tell_of_facts(place, [one.feed for one in fresh], sum(one.stored for one in fresh))
    return summaries
