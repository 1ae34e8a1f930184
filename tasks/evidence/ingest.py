"""Ingesting: the files that wait, each taken in, and the page that says how good they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import cast

from liftloop.adapters.doctor.account_checks import refuse_renamed_money
from liftloop.adapters.facts.archived_deliveries import finish_pending
from liftloop.adapters.facts.deliveries import (
    account_of,
    deliver,
    taking_in,
)
from liftloop.adapters.facts.read_facts import last_dates
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.rejudging import judge_again
from liftloop.adapters.facts.summaries import DeliverySummary, quality_summary
from liftloop.adapters.files.archive import waiting_files
from liftloop.adapters.importers import ImportOptions
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from tasks.context import Loop, open_loop
from tasks.events import FACTS_EVENT, tell
from tasks.evidence.arms import with_arm_notes
from tasks.evidence.sales_gaps import with_sales_notes
from tasks.step import Retries, leave_page, step


def _outside_trouble(error: BaseException) -> bool:
    """Trying again helps against a database or a disk, never against a file or a setting."""
    return isinstance(error, OutsideServiceFailed | OSError)


OUTSIDE_TROUBLE = Retries((1, 2, 4), jitter=0.5, only=_outside_trouble)
# Called with (files done, files in all) as files are taken in; set by who shows it.
progress: ContextVar[Callable[[int, int], None] | None] = ContextVar("progress", default=None)


def ingest(
    workspace: str,
    paths: Sequence[str] | None = None,
    options: ImportOptions | None = None,
    *,
    alone: bool = True,
) -> list[DeliverySummary]:
    """Take in files or folders (default: the whole inbox), one after the other.

    A refused file stops no other. Taking a file in again changes nothing, and whatever an earlier
    run left half done is finished first. Rows in quarantine that keep the rules since ``[account]``
    was changed come back before anything else is taken in. ``alone``: no cycle goes on from here,
    so that new facts start ``monitor``.

    Returns one summary a delivery: those that came back from quarantine, then one a file, in the
    order of the files.
    """
    place = str(Path(workspace).resolve())
    files = find_files(place, paths)
    finished = finish_cut_short(place)
    summaries = judge_waiting(place)
    show_progress = progress.get()
    for done, path in enumerate(files, start=1):
        summaries.append(take_in(place, path, options))
        if show_progress is not None:
            show_progress(done, len(files))
    summaries = note_arms(place, summaries)
    if summaries or finished:
        show_quality(place, summaries)
    fresh = [one for one in summaries if one.stored and not one.duplicate]
    if fresh or finished:
        feeds = [cast(str, one.feed) for one in fresh]  # of stored rows the feed is known
        rows = sum(one.stored for one in fresh)
        tell_of_facts(place, feeds, rows, alone=alone)
    return summaries


@step("find files")
def find_files(workspace: str, paths: Sequence[str] | None) -> list[str]:
    """The files to take in: those named, those in the folders named, or those in the inbox."""
    named = [Path(path) for path in paths] if paths else [open_loop(workspace).workspace.inbox]
    found: list[Path] = []
    for path in named:
        if not (path.exists() or path.is_symlink()):
            raise ConfigurationError(f"{path} does not exist.", fix="correct the path.")
        found += waiting_files(path) if path.is_dir() else [path]
    return [str(path) for path in dict.fromkeys(found)]


def intake_of(loop: Loop) -> Intake:
    """The workspace as it takes deliveries in."""
    settings = loop.settings
    account, consent = account_of(settings.account), settings.privacy.consent
    return Intake(loop.workspace, loop.engine, account, loop.actor, consent)


@step("finish what was cut short", retries=OUTSIDE_TROUBLE)
def finish_cut_short(workspace: str) -> list[str]:
    """Finish deliveries that a crash cut short; their ids."""
    loop = open_loop(workspace)
    with taking_in(loop.workspace):
        return list(finish_pending(loop.workspace, engine=loop.engine))


@step("judge again what waits for a setting", retries=OUTSIDE_TROUBLE)
def judge_waiting(workspace: str) -> list[DeliverySummary]:
    """Take rows out of quarantine that keep the rules since ``[account]`` was changed.

    Raises
    ------
    ConfigurationError
        When the account's currency was changed and stored rows are in another one.
    """
    loop = open_loop(workspace)
    account = account_of(loop.settings.account)
    refuse_renamed_money(loop.workspace, engine=loop.engine, account=account, actor=loop.actor)
    return judge_again(intake_of(loop), received_at=loop.now())


@step("take in", run_name="take in {path}", retries=OUTSIDE_TROUBLE)
def take_in(workspace: str, path: str, options: ImportOptions | None) -> DeliverySummary:
    """One file through the quality gates, into the facts."""
    loop = open_loop(workspace)
    options = replace(
        options or ImportOptions(),
        default_segment=loop.settings.account.segment or "",
        default_outcome_days=loop.settings.data.outcome_days or 0,
        without_revenue=loop.settings.outcome.unit == "conversions",
    )
    return deliver(intake_of(loop), Path(path), options=options, received_at=loop.now())


@step("check arms", retries=OUTSIDE_TROUBLE)
def note_arms(workspace: str, summaries: Sequence[DeliverySummary]) -> list[DeliverySummary]:
    """The summaries with what is broken about the tests, holdouts and sales that they brought."""
    loop = open_loop(workspace)
    return with_sales_notes(loop, with_arm_notes(loop, summaries))


@step("show quality")
def show_quality(workspace: str, summaries: Sequence[DeliverySummary]) -> str:
    """Leave the page of what came in; returns its text."""
    page = quality_summary(summaries, last_dates(open_loop(workspace).workspace))
    leave_page(
        page, workspace=workspace, key="ingest-quality", description="What came in, and how good"
    )
    return page


@step("tell of new facts")
def tell_of_facts(workspace: str, feeds: Sequence[str], rows: int, *, alone: bool = True) -> None:
    """Tell the event bus that ``rows`` rows were stored; the trigger of prefect.yaml runs
    ``monitor`` where they came ``alone``, not in a cycle."""
    tell(open_loop(workspace), FACTS_EVENT, alone=alone, feeds=sorted(set(feeds)), rows=rows)
