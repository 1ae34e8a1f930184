"""consume: what the streams hold, in batches, through the quality gates, into the facts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from liftloop.adapters.facts.summaries import DeliverySummary, summary_lines
from tasks.evidence.consume import show_lag, take_from_streams, tell_of_streamed
from tasks.evidence.ingest import finish_cut_short
from tasks.flow_runs import WorkspaceFolder, log, run_name

Seconds = Annotated[
    float | None,
    Field(gt=0, json_schema_extra={"description": "How long to read; empty: streams.run_seconds."}),
]
UntilIdle = Annotated[
    bool, Field(json_schema_extra={"description": "End as soon as the streams are read."})
]
Forever = Annotated[
    bool, Field(json_schema_extra={"description": "Begin again each time; for no schedule."})
]


@flow(name="consume", flow_run_name=run_name)
def consume(
    workspace: WorkspaceFolder,
    seconds: Seconds = None,
    until_idle: UntilIdle = True,
    forever: Forever = False,
) -> list[DeliverySummary]:
    """Take batches in until the streams are read (or, with ``until_idle`` off, for as long as a run
    may take); what is left over is the next run's.

    ``seconds`` bounds the run (default: ``streams.run_seconds``). ``forever`` begins again each
    time, for a process that is not scheduled. New facts emit ``liftloop.facts.updated`` now and
    then (``streams.tell_minutes``).

    Returns one summary a batch (of the last round).
    """
    place = str(Path(workspace).resolve())
    finish_cut_short(place)
    summaries = _round(place, seconds, until_idle and not forever)
    while forever:
        summaries = _round(place, seconds, False)
    return summaries


def _round(place: str, seconds: float | None, until_idle: bool) -> list[DeliverySummary]:
    summaries: list[DeliverySummary] = take_from_streams(place, seconds, until_idle)
    show_lag(place)
    tell_of_streamed(place, summaries)
    log(*summary_lines(summaries))
    return summaries
