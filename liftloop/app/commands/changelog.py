"""changelog: what changed, who changed it, why, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    as_day,
    opened,
    say,
    show_json,
    show_table,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: liftloop changelog --since 2026-03-01 --kind budgets --workspace shop"
    )(changelog)


def changelog(
    workspace: WorkspaceOption = Path("workspace"),
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only what was recorded on DATE or later.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Only changes of data, model, settings, budgets or people."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show in order what changed in data sources, models, settings, budgets and accounts: who did
    it, why, and what came of it."""
    day = as_day(since) if since else None
    place = opened(workspace)
    from liftloop.reporting.history.changelog import COLUMNS, Kind
    from tasks.context import open_loop
    from tasks.report.changelog import changelog as changes_of

    if kind is not None and kind not in list(Kind):
        raise typer.BadParameter(f"--kind is {', '.join(Kind)}, not {kind!r}")
    loop = open_loop(place.root)
    account = loop.settings.account
    found = changes_of(loop, since=day, kind=Kind(kind) if kind else None)
    if as_json:
        show_json([one.as_dict(currency=account.currency) for one in found])
    elif not found:
        say("Nothing changed." if since or kind else "Nothing changed yet: liftloop ingest, cycle.")
    else:
        rows = [one.row(timezone=account.timezone, currency=account.currency) for one in found]
        show_table(f"What changed (times in {account.timezone})", COLUMNS, rows)
