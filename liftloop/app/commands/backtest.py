"""backtest: the loop on a simulated or replayed market whose truth is known to the scorer."""

from __future__ import annotations

import json
import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import JsonOption, plain, say, show_table
from liftloop.core.errors import ConfigurationError

EXAMPLE = (
    "Example: liftloop backtest --market liftloop.markets:HillMarket --weeks 26 --seeds 0-3 "
    "--out days.parquet"
)


class Switch(StrEnum):
    """on or off."""

    ON = "on"
    OFF = "off"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLE)(backtest)


def backtest(
    market: Annotated[
        str,
        typer.Option(
            metavar="MODULE:CLASS",
            help="The market's class; looked up on PYTHONPATH and in the current directory too.",
        ),
    ] = "liftloop.markets:HillMarket",
    weeks: Annotated[int, typer.Option(min=1, help="How long the loop is in control.")] = 26,
    seeds: Annotated[
        str, typer.Option(metavar="A-B", help="The seeds, both ends included; or one.")
    ] = "0-3",
    rollout: Annotated[
        Switch, typer.Option(help="on: canary segments first. off: a plan reaches all at once.")
    ] = Switch.OFF,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.parquet",
            help="One row per seed, date, segment, channel: budget in force and true revenue.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Also run the ROAS follower and the pooled curves.")
    ] = True,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes, one seed each (default: all cores).")
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            envvar="LIFTLOOP_WORKSPACE",
            help="Not needed: a backtest keeps everything in memory and touches no workspace.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the loop on a market with a known truth, by the production decision code.

    Shows what share of the possible improvement it captured (0: budgets never
    moved, 1: a planner who knows every curve), beside a planner held to the
    same steps, pooled curves, and a follower of platform ROAS.

    The market's `config` overrides the default configuration. LightGBM's
    parameters are searched only if that config asks for it (model.tuning_trials).
    A plan that needs a person's approval counts as not approved. What a seed
    shows does not depend on --jobs.
    """
    first, last = seed_range(seeds)
    if out is not None and out.suffix != ".parquet":
        raise ConfigurationError(f"{out} is no Parquet file.", fix="name it FILE.parquet.")
    if out is not None and out.is_dir():
        raise ConfigurationError(f"{out} is a folder.", fix="name a file.")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)  # before hours of work, not after
    from liftloop.app.backtest.market import find_market
    from liftloop.app.backtest.parallel import Job, run_seeds
    from liftloop.app.environment import prepare

    prepare(None)
    find_market(market)  # what is wrong with the name is told before processes start
    names = range(first, last + 1)
    asked = [Job(market, seed, weeks, rollout is Switch.ON, baselines) for seed in names]
    runs = []
    for run in run_seeds(asked, processes=jobs or os.cpu_count() or 1):
        runs.append(run)
        tell_progress(len(runs), len(asked), silent=as_json)
    runs.sort(key=lambda run: run.seed)
    from liftloop.app.backtest.summary import method_rows, seed_rows, write_days

    rows = write_days(runs, out) if out is not None else 0
    if as_json:
        for run in runs:
            say(json.dumps(run.as_dict(), default=plain, ensure_ascii=False))
        return
    title = f"{market}, {weeks} weeks, rollout {rollout.value}"
    show_table(title, *seed_rows(runs))
    show_table("Means over seeds ± standard error, against the status quo", *method_rows(runs))
    for line in remarks(runs):
        say(line)
    if out is not None:
        say(f"{out}: {rows:,} rows.")


def seed_range(text: str) -> tuple[int, int]:
    """The first and the last seed of ``A-B`` or ``A``."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", text)
    if found is None:
        raise typer.BadParameter(
            f"{text!r} names no seeds; write them as 0-19", param_hint="--seeds"
        )
    first = int(found[1])
    last = int(found[2]) if found[2] is not None else first
    if last < first:
        raise typer.BadParameter(f"{text!r} ends before it begins", param_hint="--seeds")
    return first, last


def remarks(runs: list) -> list[str]:  # type: ignore[type-arg]
    """What a table of means would hide: plans nobody approved, rows that were not stored."""
    told = []
    waits = sum(run.acts.get("waits", 0) for run in runs)
    if waits:
        told.append(
            f"{waits} plans waited for approval and were taken as not approved: nobody is asked in "
            "a backtest (budget.approve_above, approval.rules)."
        )
    lost = sum(run.received.quarantined + run.received.refused for run in runs)
    if lost:
        rows = sum(run.received.rows for run in runs)
        told.append(f"{lost:,} of {rows:,} rows were quarantined or refused.")
    if any(run.oracle is None for run in runs):
        told.append("The market does not say what budgets earn (`expected`): no oracle is shown.")
    return told


def tell_progress(done: int, of: int, *, silent: bool) -> None:
    """Say on a terminal how many seeds are done, on one line; a log gets none of it."""
    if not silent and sys.stderr.isatty():
        end = "\n" if done == of else ""
        say(f"\r{done} of {of} seeds", err=True, nl=False)
        say(end, err=True, nl=False)
