"""targets: whom to reach by the user-level tests, and what that is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    must_exist,
    opened,
    say,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from tasks.model.targets import TargetList


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
    from liftloop.core.targets import HowMany
    from tasks.model.targets import as_dict, find_targets, write_targets

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
            _show_list(one, currency=report.currency, margin=report.margin)
        if len(report.lists) > 1:
            say(
                "Channels of one experiment were tested one at a time: reach a user by the one "
                "with the higher predicted uplift."
            )
        say(
            "Promised values were measured on users that the model had not seen"
            + ("; they hold for new users like those of the test." if report.new_users else ".")
        )
        if out is not None:
            say(f"{rows:,} rows: {out}")
    if report.lists and all(one.targets.refused for one in report.lists):
        raise typer.Exit(1)


def _show_list(one: TargetList, *, currency: str, margin: float) -> None:
    """Show whom one list reaches, what it is worth, and whom it would harm."""
    from liftloop.reporting.targets import (
        SEGMENT_COLUMNS,
        hidden_sentence,
        segment_rows,
        target_lines,
    )

    for line in target_lines(one.targets, currency=currency, margin=margin):
        say(line)
    for sentence in one.outcomes:
        say(f"  Guarded outcome: {sentence}")
    if not one.targets.refused and len(one.targets.shown) > 1:
        show_table(
            f"By segment, each measured by itself ({currency})",
            SEGMENT_COLUMNS,
            segment_rows(one.targets, margin=margin),
        )
    if hidden := hidden_sentence(one.targets):
        say(f"  {hidden}")
    say()
