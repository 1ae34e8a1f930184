"""cycle: the loop, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import JsonOption, WorkspaceOption, as_day, opened, say, show_json

AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="DATE", help="Know only what was reported before this day."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop cycle --as-of 2026-03-02 --workspace shop")(cycle)


def cycle(
    workspace: WorkspaceOption = Path("workspace"),
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ingest, monitor, train, reallocate, roll out, report: all of it, in order, once."""
    place = opened(workspace, flows=True)
    from flows.cycle import cycle as run
    from liftloop.app.environment import flow_settings
    from tasks.context import open_loop
    from tasks.data_end import ended_long_ago

    with flow_settings():
        summary = run(str(place.root), as_day(as_of) if as_of else None)
    old = ended_long_ago(open_loop(place.root), summary.as_of, command="cycle")
    if as_json:
        show_json(summary.as_dict() | ({"data_end": old} if old else {}))
    else:
        say("\n".join(filter(None, (summary.text, old))))
    if summary.refused or summary.held:
        raise typer.Exit(2)
    if summary.waiting:
        raise typer.Exit(3)
    if summary.declined:
        raise typer.Exit(1)
