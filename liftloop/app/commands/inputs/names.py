"""names: which names are read as one, which look alike, and joining them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import (
    ByOption,
    JsonOption,
    WorkspaceOption,
    for_itself,
    opened,
    say,
    show_json,
    show_table,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True)
    group.callback(epilog="Example: liftloop names --workspace shop")(names)
    group.command(epilog="Example: liftloop names join Search search --as channel")(join)
    app.add_typer(group, name="names")


def names(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Show which segments' and channels' names are joined, and which look alike."""
    if not for_itself(context):
        return
    place = opened(workspace)
    from liftloop.adapters.names.aliases import load_aliases
    from liftloop.adapters.names.checks import doctor_on_names

    joined = [(e.kind, e.name, e.is_name) for e in load_aliases(place).entries]
    alike = [{"what": words, "fix": fix} for _, words, fix in doctor_on_names(place)]
    if as_json:
        rows = [dict(zip(("kind", "name", "is"), row, strict=True)) for row in joined]
        show_json({"joined": rows, "look_alike": alike})
        return
    if joined:
        show_table("Joined names", ("kind", "name", "is read as"), joined)
    for each in alike:
        say(f"{each['what']}; {each['fix']}.")
    if not joined and not alike:
        say("No names are joined, and none look alike.")


def join(
    name: Annotated[str, typer.Argument(help="The other name.")],
    is_name: Annotated[str, typer.Argument(metavar="IS", help="The name it is read as.")],
    kind: Annotated[
        str | None,
        typer.Option("--as", help="segment or channel; default: whichever has these names."),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
) -> None:
    """Read facts of one name as another's, from now on and for all feeds."""
    place = opened(workspace)
    from liftloop.adapters.ledger.records import session
    from liftloop.adapters.names.aliases import FILE, KINDS, join_names
    from liftloop.adapters.names.checks import names_as_read
    from tasks.context import open_loop
    from tasks.operate.audit_notes import note

    if kind is not None and kind not in KINDS:
        raise typer.BadParameter("--as is segment or channel")
    used = names_as_read(place)
    kinds = [k for k in KINDS if kind == k or (kind is None and is_name in used[k])]
    if not kinds:
        raise typer.BadParameter(
            f"no segment and no channel is called {is_name!r}: give the name that stays second, or "
            "say --as segment or --as channel"
        )
    loop = open_loop(place.root)
    known = loop.names
    with session(loop.engine) as db:
        joined = join_names(place, name, is_name, kinds=kinds, at=loop.now())
        for alias in joined.entries[len(known.entries) :]:
            said = {"kind": alias.kind, "name": alias.name, "is": alias.is_name}
            note(db, loop, "join_names", alias.name, actor=by, payload=said)
    say(
        f"Joined: the {' and '.join(kinds)} {name!r} is read as {is_name!r}, in all facts and "
        f"budgets, from the next command on. {FILE} has it; take the block out to undo it."
    )
