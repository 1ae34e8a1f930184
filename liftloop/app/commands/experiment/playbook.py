"""playbook: what was supposed, found and learned, and what happened outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperOption

from liftloop.app.options import (
    ByOption,
    JsonOption,
    WorkspaceOption,
    as_day,
    for_itself,
    opened,
    say,
    show_json,
    show_table,
)
from liftloop.app.permissions import GuardedGroup

if TYPE_CHECKING:
    from liftloop.reporting.history.playbook import PlaybookEntry


class SearchingGroup(GuardedGroup):
    """A group that takes words that name none of its commands as what ``--find`` is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        valued = {
            name
            for option in self.params
            if isinstance(option, TyperOption) and not option.is_flag
            for name in option.opts
        }
        words: list[str] = []
        options: list[str] = []
        takes = False
        for text in args:
            if takes or text.startswith("-"):
                takes = not takes and text in valued
                options.append(text)
            elif not words and text in self.commands:
                return list(super().parse_args(ctx, args))
            else:
                words.append(text)
        found = ["--find", " ".join(words)] if words else []
        return list(super().parse_args(ctx, [*found, *options]))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, subcommand_metavar="[WORDS] | [COMMAND]")
    group.callback(epilog="Example: liftloop playbook stock video --workspace shop")(playbook)
    group.command(
        epilog='Example: liftloop playbook note "Video was out of stock" --kind event '
        '--on 2026-03-02 --until 2026-03-05 --cell "north x video" --workspace shop'
    )(note)
    app.add_typer(group, name="playbook", cls=SearchingGroup)


def playbook(
    context: typer.Context,
    find: Annotated[
        str, typer.Option(metavar="WORDS", help="Only entries that have all these words.")
    ] = "",
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Show hypotheses, results, lessons and external events: notes, and what experiments supposed
    and found. Words after the command are looked for in all of them."""
    if not for_itself(context):
        return
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.playbook import playbook as entries_of

    found = entries_of(open_loop(place.root), find)
    if as_json:
        show_json([one.as_dict() for one in found])
    elif found:
        _show(found)
    else:
        say(f"No entry has {find!r}." if find else "No entry yet: liftloop playbook note.")


def _show(found: tuple[PlaybookEntry, ...]) -> None:
    from liftloop.reporting.history.playbook import COLUMNS

    show_table("Playbook, by day", COLUMNS, [one.row() for one in found])


def note(
    text: Annotated[str, typer.Argument(help="The note; it may not name a person.")],
    kind: Annotated[str, typer.Option(help="hypothesis, result, lesson or event.")],
    on: Annotated[
        str | None, typer.Option(metavar="DATE", help="Its day, or the first; default: today.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Its last day; default: the first.")
    ] = None,
    cell: Annotated[
        str, typer.Option(metavar="CELL", help='"north x video"; * is any segment or channel.')
    ] = "* x *",
    about: Annotated[
        str, typer.Option(metavar="ID", help="The decision, experiment or note it is about.")
    ] = "",
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
) -> None:
    """Write an entry: what you suppose, found, learned, or what happened outside (prices, stock,
    outages, promotions). Events are named beside what deviates on their days."""
    first = as_day(on) if on else None
    last = as_day(until) if until else None
    segment, x, channel = (part.strip() for part in cell.partition(" x "))
    if not (segment and x and channel):
        raise typer.BadParameter(f"--cell {cell!r}: write it as SEGMENT x CHANNEL, * for any")
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.playbook import NewNote, write_note

    loop = open_loop(place.root)
    new = NewNote(
        text=text,
        kind=kind,
        first=first or loop.today(),
        last=last,
        segment=segment,
        channel=channel,
        about=about,
    )
    say(f"Noted: {write_note(loop, new, actor=by)}. It can be cited by this id.")
