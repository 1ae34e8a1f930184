"""Options every command shares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from liftloop.adapters.pasteable import pasteable
from liftloop.core.days import FIRST_DAY, LAST_DAY
from liftloop.core.errors import ConfigurationError
from liftloop.settings.workspace import Workspace

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="LIFTLOOP_WORKSPACE", help="The workspace's folder."),
]
ByOption = Annotated[
    str, typer.Option("--by", envvar="LIFTLOOP_ACTOR", help="Who acts, for the audit trail.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


_meant: list[Workspace] = []  # the workspace that printed commands mean, once one is known


def speak_of(workspace: Workspace) -> None:
    """Printed commands mean this workspace from here on."""
    _meant[:] = [workspace]


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print ``text``, with a line's end or without; commands in it can be pasted as they stand."""
    typer.echo(pasteable(text, *_meant), err=err, nl=nl)


def opened(folder: Path, *, flows: bool = False) -> Workspace:
    """The workspace in ``folder``, with the environment prepared for it, and for ``flows``.

    Raises
    ------
    ConfigurationError
        When ``folder`` is no workspace, or its configuration is broken.
    """
    from liftloop.app.environment import prepare
    from liftloop.settings.schema import load_settings

    workspace = Workspace(folder)
    speak_of(workspace)
    load_settings(workspace)  # a broken configuration is told before anything starts
    prepare(workspace, flows=flows)
    return workspace


def must_exist(*paths: Path | None) -> None:
    """Refuse files that are named and not there.

    Raises
    ------
    ConfigurationError
        For the first that does not exist.
    """
    for path in paths:
        if path is not None and not path.exists():
            raise ConfigurationError(f"{path} does not exist.", fix="correct the path.")


def for_itself(context: typer.Context) -> bool:
    """Whether a group of commands was called by its own name alone. Options given before one of its
    commands are refused: that command would not see them.

    Raises
    ------
    typer.BadParameter
        When options stand before the command.
    """
    command = context.invoked_subcommand
    if command is None:
        return True
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    given = [name for name, source in sources if source and source.name == "COMMANDLINE"]
    if given:
        option = {"as_json": "json"}.get(given[0], given[0].replace("_", "-"))
        words = f"write --{option} after the command: liftloop {context.info_name} {command} "
        raise typer.BadParameter(pasteable(f"{words}--{option} ..."))
    return False


def as_day(text: str) -> date:
    """A day from ``YYYY-MM-DD``, of the years that plans are made for."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2026-03-02") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise typer.BadParameter(f"{text} is not between {FIRST_DAY} and {LAST_DAY}")
    return day


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


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    total: Sequence[Any] | None = None,
) -> None:
    """Print rows as a table; numbers are right-aligned and never broken while there is room, and
    where the terminal is too narrow for lines between the columns, there are none, or a value has a
    line of its own. ``total`` is a last row, set apart."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    every = [*rows, total] if total is not None else list(rows)
    texts = [[pasteable(_cell(value), *_meant) for value in row] for row in every]
    console = Console(width=None, soft_wrap=False)
    places = range(len(columns))
    numeric = [_is_numeric(row[place] for row in rows) for place in places]
    cells = [[column, *(row[place] for row in texts)] for place, column in enumerate(columns)]
    least = [_least(said, whole=numeric[place]) for place, said in enumerate(cells)]
    table = Table(title=title, title_justify="left", header_style="bold")
    room = console.width - 3 * len(columns) - 1  # what lines and padding leave
    if sum(least) > room and sum(least) <= (bare := console.width - len(columns)):
        table.box, table.padding, room = None, (0, 1, 0, 0), bare
    if sum(least) > room:
        _show_blocks(title, columns, texts)
        return
    natural = [max(least[place], _natural(said[1:])) for place, said in enumerate(cells)]
    widths = _widths(least, natural, [_natural(said) for said in cells], room)
    for place, column in enumerate(columns):
        table.add_column(
            column,
            justify="right" if numeric[place] else "left",
            overflow="fold",
            width=widths[place],
        )
    for place, row in enumerate(texts):
        last = total is not None and place == len(rows)
        if last:
            table.add_section()
        table.add_row(*map(escape, row), style="bold" if last else None)
    console.print(table)


LONGEST_WORD = 28  # characters that are kept together; a longer word may be broken
EASY_LINE = 40  # characters of a long text that make a line one can read


def _is_numeric(values: Iterable[Any]) -> bool:
    found = [value for value in values if value not in ("", None)]
    return bool(found) and all(isinstance(value, int | float | Decimal) for value in found)


def _least(texts: Sequence[str], *, whole: bool) -> int:
    """The width a column needs (its head first) so that no word is broken, nor a number where it
    is ``whole``."""
    from rich.cells import cell_len

    words = texts[0].split() + (
        list(texts[1:]) if whole else [word for text in texts[1:] for word in text.split()]
    )
    return min(max(map(cell_len, words), default=0), LONGEST_WORD)


def _natural(texts: Sequence[str]) -> int:
    """The width of cells of which nothing is wrapped."""
    from rich.cells import cell_len

    return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def _show_blocks(title: str, columns: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
    """Rows one below the other, a line a value: for a terminal too narrow for columns."""
    typer.echo(title)
    for row in texts:
        typer.echo()
        for column, text in zip(columns, row, strict=True):
            if text:
                typer.echo(f"  {column}: {text}")


def _widths(
    least: Sequence[int], natural: Sequence[int], headed: Sequence[int], room: int
) -> list[int]:
    """What each column gets of ``room``: what it needs at least, then the widest one enough to be
    read with ease, then the others what their cells can use (``natural``), the widest one the rest;
    and then each what its head can use (``headed``)."""
    widths, spare = list(least), room - sum(least)
    order = sorted(range(len(widths)), key=lambda place: natural[place] - least[place])
    wishes = [(order[-1], min(natural[order[-1]], EASY_LINE))]
    wishes += [(place, natural[place]) for place in order]
    wishes += [(place, headed[place]) for place in order]
    for place, wish in wishes:
        more = min(max(wish - widths[place], 0), spare)
        widths[place] += more
        spare -= more
    return widths


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
