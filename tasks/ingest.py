"""Ingesting: the files that wait, each taken in, and the page that says how good they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.tasks import exponential_backoff

from liftloop.adapters.account_checks import refuse_renamed_money
from liftloop.adapters.archive import waiting_files
from liftloop.adapters.deliveries import (
    account_of,
    deliver,
    finish_pending,
    taking_in,
)
from liftloop.adapters.facts import last_dates
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.quality import quality_summary
from liftloop.adapters.rejudging import judge_again
from liftloop.adapters.summaries import DeliverySummary
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from tasks.arms import with_arm_notes
from tasks.context import open_loop
from tasks.events import FACTS_EVENT, tell


def _outside_trouble(task: object, run: object, state: object) -> bool:
    """Trying again helps against a database or a disk, never against a file or a setting."""
    try:
        state.result()  # type: ignore[attr-defined]
    except (OutsideServiceFailed, OSError):
        return True
    except Exception:
        return False
    return False


RETRIES = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(1),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _outside_trouble,
}


@task(name="find files")
def find_files(workspace: str, paths: Sequence[str] | None) -> list[str]:
    """The files to take in: those named, those in the folders named, or those in the inbox."""
    named = [Path(path) for path in paths] if paths else [open_loop(workspace).workspace.inbox]
    found: list[Path] = []
    for path in named:
        if not (path.exists() or path.is_symlink()):
            raise ConfigurationError(f"{path} does not exist.", fix="correct the path.")
        found += waiting_files(path) if path.is_dir() else [path]
    return [str(path) for path in dict.fromkeys(found)]


@task(name="finish what was cut short", **RETRIES)  # type: ignore[call-overload]
def finish_cut_short(workspace: str) -> list[str]:
    """Finish deliveries that a crash cut short; their ids."""
    loop = open_loop(workspace)
    with taking_in(loop.workspace):
        return list(finish_pending(loop.workspace, engine=loop.engine))


@task(name="judge again what waits for a setting", **RETRIES)  # type: ignore[call-overload]
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
    return judge_again(
        loop.workspace,
        engine=loop.engine,
        account=account,
        actor=loop.actor,
        received_at=loop.now(),
    )


@task(name="take in", task_run_name="take in {path}", **RETRIES)  # type: ignore[call-overload]
def take_in(workspace: str, path: str, options: ImportOptions | None) -> DeliverySummary:
    """One file through the quality gates, into the facts."""
    loop = open_loop(workspace)
    settings = loop.settings.account
    options = replace(
        options or ImportOptions(),
        default_segment=settings.segment or "",
        default_outcome_days=loop.settings.data.outcome_days or 0,
    )
    return deliver(
        loop.workspace, Path(path), engine=loop.engine, account=account_of(settings),
        options=options, actor=loop.actor, received_at=loop.now(),
    )  # fmt: skip


@task(name="check arms", **RETRIES)  # type: ignore[call-overload]
def note_arms(workspace: str, summaries: Sequence[DeliverySummary]) -> list[DeliverySummary]:
    """The summaries with what is broken about the tests and holdouts that they brought."""
    return with_arm_notes(open_loop(workspace), summaries)


@task(name="show quality")
def show_quality(workspace: str, summaries: Sequence[DeliverySummary]) -> str:
    """Leave the page of what came in; returns its text."""
    page = quality_summary(summaries, last_dates(open_loop(workspace).workspace))
    create_markdown_artifact(page, key="ingest-quality", description="What came in, and how good")
    return page


@task(name="tell of new facts")
def tell_of_facts(workspace: str, feeds: Sequence[str], rows: int) -> None:
    """Tell the event bus that ``rows`` rows were stored; the trigger of prefect.yaml runs
    ``monitor``."""
    tell(open_loop(workspace), FACTS_EVENT, feeds=sorted(set(feeds)), rows=rows)
