"""Options every command shares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from liftloop.adapters.settings import load_settings
from liftloop.adapters.workspace import Workspace

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="LIFTLOOP_WORKSPACE", help="The workspace's folder."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def opened(folder: Path, *, flows: bool = False) -> Workspace:
    """The workspace in ``folder``, with the environment prepared for it, and for ``flows``.

    Raises
    ------
    ConfigurationError
        When ``folder`` is no workspace, or its configuration is broken.
    """
    from liftloop.app.environment import prepare

    workspace = Workspace(folder)
    load_settings(workspace)  # a broken configuration is told before anything starts
    prepare(workspace, flows=flows)
    return workspace


def as_day(text: str) -> date:
    """A day from ``YYYY-MM-DD``."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2026-03-02") from None


def plain(value: Any) -> Any:
    """What JSON writes for values it does not know: amounts as strings, instants as ISO 8601."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")


def show_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    typer.echo(json.dumps(value, default=plain, indent=2, ensure_ascii=False))


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as a table; numbers are right-aligned."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(
            isinstance(row[index], int | float | Decimal) or row[index] in ("", None)
            for row in rows
        )
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    Console(width=None, soft_wrap=False).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
