"""ingest: what lies in the inbox, through the quality gates, into the facts."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from liftloop.adapters.facts.summaries import DeliverySummary, summary_lines
from liftloop.adapters.importers import ImportOptions
from tasks.evidence.ingest import ingest as take_all_in
from tasks.flow_runs import Alone, WorkspaceFolder, log, run_name

Paths = Annotated[
    list[str] | None,
    Field(json_schema_extra={"description": "Files or folders; empty: the whole inbox."}),
]
Options = Annotated[
    ImportOptions | None,
    Field(json_schema_extra={"description": "What is said about the files; as liftloop ingest."}),
]


@flow(name="ingest", flow_run_name=run_name)
def ingest(
    workspace: WorkspaceFolder,
    paths: Paths = None,
    options: Options = None,
    alone: Alone = True,
) -> list[DeliverySummary]:
    """As of :func:`tasks.evidence.ingest.ingest`. New facts emit ``liftloop.facts.updated``."""
    summaries = take_all_in(workspace, paths, options, alone=alone)
    log(*summary_lines(summaries) or ["Nothing to take in."])
    return summaries
