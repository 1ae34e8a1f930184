"""What the flows share: parameters with their checks and descriptions, which are in the schema of
every deployment, the names of runs, and what runs log."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field

from liftloop.core.errors import LiftLoopError
from tasks.context import resolve
from tasks.step import in_flow_run


def _described(words: str) -> dict[str, Any]:
    """Prefect overwrites a field's own description with the docstring's, but not this."""
    return {"description": words}


WorkspaceFolder = Annotated[
    str,
    Field(
        min_length=1,
        json_schema_extra=_described("The workspace's folder; an absolute path for a deployment."),
    ),
]
AsOf = Annotated[
    date | None,
    Field(
        json_schema_extra=_described(
            "Know only what was reported before this day; empty: today, in the account's zone."
        )
    ),
]
Source = Annotated[
    Literal["holdout", "units"],
    Field(
        json_schema_extra=_described(
            "The evidence to learn from: lifts of randomized arms, or user-level tests."
        )
    ),
]
Reason = Annotated[
    str,
    Field(
        max_length=2000, json_schema_extra=_described("Why, for the audit trail and the messages.")
    ),
]
Alone = Annotated[
    bool,
    Field(
        json_schema_extra=_described(
            "Whether other deployments are to go on from here; a cycle does all steps itself."
        )
    ),
]


def run_name() -> str:
    """The name of the run that begins: its flow and the day it is about, as `cycle 2026-02-23`."""
    from prefect.runtime import flow_run

    given = flow_run.parameters
    try:
        place = given["workspace"] if "workspace" in given else given["workspaces"][0]
        _, day = resolve(place, given.get("as_of"))
    except LiftLoopError:  # the flow itself says what is wrong
        return str(flow_run.flow_name)
    return f"{flow_run.flow_name} {day}"


def log(*sentences: str) -> None:
    """Log what a step came to with the flow run, at INFO; outside of a run nothing happens."""
    if not in_flow_run():
        return
    from prefect.logging import get_run_logger

    logger = get_run_logger()
    for sentence in sentences:
        if sentence:
            logger.info(sentence)
