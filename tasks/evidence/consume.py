"""Consuming: batches from the streams into the facts, and how far the streams are behind."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.logging import get_run_logger

from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.streams.consumer import consume
from liftloop.adapters.streams.health import lag_page, lags
from liftloop.adapters.streams.telling import to_tell
from tasks.context import open_loop
from tasks.events import FACTS_EVENT, tell
from tasks.evidence.ingest import OUTSIDE_TROUBLE, intake_of
from tasks.step import leave_page, step


@step("take from streams", retries=OUTSIDE_TROUBLE)
def take_from_streams(
    workspace: str, seconds: float | None, until_idle: bool
) -> list[DeliverySummary]:
    """Batches into the facts, for ``seconds`` or as the settings say; one summary a batch."""
    loop = open_loop(workspace)
    bounded = loop.settings.streams.run_seconds if seconds is None else seconds
    consumed = consume(
        intake_of(loop), loop.settings.streams, seconds=bounded, until_idle=until_idle
    )
    return consumed.summaries


@step("show lag")
def show_lag(workspace: str) -> str:
    """Leave the page of how far the streams are behind, and log it; returns its text."""
    found = lags(open_loop(workspace).settings)
    for one in found:
        get_run_logger().info(one.sentence)
    page = lag_page(found)
    leave_page(
        page, workspace=workspace, key="stream-lag", description="How far the streams are behind"
    )
    return page


@step("tell of streamed facts")
def tell_of_streamed(workspace: str, summaries: Sequence[DeliverySummary]) -> None:
    """Tell the event bus of new facts, now and then: each telling starts a monitoring run."""
    loop = open_loop(workspace)
    due = to_tell(
        loop.workspace, summaries, now=loop.now(), minutes=loop.settings.streams.tell_minutes
    )
    if due is not None:
        tell(loop, FACTS_EVENT, feeds=due[0], rows=due[1])
