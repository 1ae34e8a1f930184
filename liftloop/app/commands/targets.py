"""targets: whom to reach by the user-level tests, and what that is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    must_exist,
    opened,
    show_json,
    show_table,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop targets --share 0.3 --out reach.csv --workspace shop")(
        targets
    )


def targets(
    workspace: WorkspaceOption = Path("workspace"),
    out: Annotated[
        Path | None,
        typer.Option(help="Write the users to a CSV file, the greatest predicted uplift first."),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(help="Score new users: unit_id and the covariates as in the units feed."),
    ] = None,
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Reach this share of the users.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Reach as many users as this much money pays for.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Only this test.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show whom to reach by the user-level tests: the rule, what it is worth, whom it would harm.

    Without --share or --budget all are reached for whom it pays: budget.margin x predicted uplift
    of revenue is above what reaching a user cost in the test.
    """
    must_exist(users)
    if share is not None and budget is not None:
        raise typer.BadParameter("give --share or --budget, not both")
    place = opened(workspace)
    from liftloop.pipeline.targets import HowMany
    from liftloop.reporting.targets import SEGMENT_COLUMNS, segment_rows, target_lines
    from tasks.targets import as_dict, find_targets, write_targets

    report = find_targets(
        str(place.root),
        users=users,
        how_many=HowMany(share, budget),
        experiment=experiment,
        channel=channel,
    )
    rows = write_targets(report, out) if out is not None else 0
    if as_json:
        show_json(as_dict(report))
    else:
        for one in report.lists:
            for line in target_lines(one.targets, currency=report.currency, margin=report.margin):
                typer.echo(line)
            for sentence in one.outcomes:
                typer.echo(f"  Guarded outcome: {sentence}")
            if not one.targets.refused and len(one.targets.segments) > 1:
                show_table(
                    f"By segment, each measured by itself ({report.currency})",
                    SEGMENT_COLUMNS,
                    segment_rows(one.targets, margin=report.margin),
                )
            typer.echo()
        if len(report.lists) > 1:
            typer.echo(
                "Channels of one experiment were tested one at a time: reach a user by the one "
                "with the higher predicted uplift."
            )
        typer.echo(
            "Promised values were measured on users that the model had not seen"
            + ("; they hold for new users like those of the test." if report.new_users else ".")
        )
        if out is not None:
            typer.echo(f"{rows:,} rows: {out}")
    if report.lists and all(one.targets.refused for one in report.lists):
        raise typer.Exit(1)
