"""experiments: the lift tests the loop knows, and the one to run next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    as_day,
    opened,
    show_json,
    show_table,
)

experiments = typer.Typer(
    invoke_without_command=True, help="Show the lift tests the loop knows, or suggest the next one."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    experiments.callback(epilog="Example: liftloop experiments --workspace shop")(listed)
    experiments.command(
        "suggest", epilog="Example: liftloop experiments suggest --weeks 4 --workspace shop"
    )(suggest)
    app.add_typer(experiments, name="experiments")


def listed(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Show the lift tests run elsewhere that the loop knows, or suggest the next one."""
    if context.invoked_subcommand is not None:
        return
    place = opened(workspace)
    from tasks.experiments import listed_tests

    rows = listed_tests(str(place.root))
    if as_json:
        show_json(rows)
        return
    if not rows:
        typer.echo("No lift test is known: deliver an `experiments` feed (liftloop ingest).")
        return
    show_table(
        "Lift tests run elsewhere, and how much each counts in the model in force",
        ("experiment", "channel", "segments", "start", "end", "spend_delta", "incremental_revenue",
         "standard_error", "counts with error", "age, days", "weight"),
        [
            (*(row[name] for name in tuple(row)[:8]),
             None if row["error_used"] is None else float(f"{row['error_used']:.4g}"),
             row["age_days"], None if row["weight"] is None else f"{row['weight']:.0%}")
            for row in rows
        ],
    )  # fmt: skip
    for row in rows:
        if row["conflict"]:
            typer.echo(f"{row['experiment']} counts little: {row['conflict']}")


def suggest(
    workspace: WorkspaceOption = Path("workspace"),
    weeks: Annotated[
        int | None, typer.Option(min=2, max=8, help="How long the test lasts; default: the best.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Know only what was reported before this day.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Suggest the next lift test: what its answer is worth, what it costs, and its power."""
    place = opened(workspace)
    from tasks.experiments import FEED_COLUMNS, suggest_tests

    found = suggest_tests(str(place.root), as_of=as_day(as_of) if as_of else None, weeks=weeks)
    if as_json:
        show_json({"sentence": found.sentence, "tests": found.as_dicts()})
        return
    show_table(
        "Lift tests to choose from, the one worth most first (totals of the test)",
        ("channel", "segments", "change", "weeks", "spend", "expected effect", "standard error",
         "seen at 80 %", "power", "measured by", "worth", "costs"),
        [
            (test.channel, ", ".join(test.segments),
             "off" if test.change <= -1 else f"{test.change:+z.0%}", test.weeks,
             round(test.spend_delta), round(test.expected_effect), round(test.standard_error),
             round(test.detectable), f"{test.power:.0%}", test.measured_by,
             None if test.value is None else round(test.value),
             None if test.cost is None else round(test.cost))
            for test in found.tests
        ],
    )  # fmt: skip
    typer.echo(found.sentence)
    typer.echo("Report its result as a row of the experiments feed (liftloop ingest):")
    typer.echo(FEED_COLUMNS)
    typer.echo(found.row(found.tests[0]))
