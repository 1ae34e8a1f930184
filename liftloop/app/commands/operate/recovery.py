"""backup, restore, repair: what is there if something is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liftloop.app.options import ByOption, JsonOption, WorkspaceOption, opened, say, show_json

if TYPE_CHECKING:
    from liftloop.adapters.backup import Backup


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: liftloop backup /backups/shop.tar.gz --workspace shop")(backup)
    app.command(epilog="Example: liftloop restore /backups/shop.tar.gz --workspace shop")(restore)
    app.command(epilog="Example: liftloop repair --workspace shop")(repair)


def backup(
    target: Annotated[
        Path, typer.Argument(help="A new file (.tar.gz, .tgz or .tar), or a new folder.")
    ],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Copy the workspace, its ledger too, as one consistent whole; cycles may run meanwhile."""
    place = opened(workspace)
    from liftloop.adapters.backup import back_up

    _show(back_up(place, target), "is made", as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(help="What liftloop backup made.")],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Make the workspace of a backup again, in a new folder, and check it."""
    from liftloop.adapters.backup import restore as act
    from liftloop.app.environment import prepare
    from liftloop.app.options import must_exist

    must_exist(source)
    prepare(None)
    _show(act(source, workspace), "is restored", as_json=as_json)


def repair(
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
    as_json: JsonOption = False,
) -> None:
    """Bring facts, models and reports back to what the ledger recorded of them: facts from the
    archive, models by learning again. Where nothing is damaged, nothing is done."""
    place = opened(workspace)
    from tasks.evidence.repair import ATTENTION
    from tasks.evidence.repair import repair as act

    said = act(str(place.root), actor=by)
    if as_json:
        show_json(said)
    else:
        for sentence in said or ["Nothing is damaged; nothing was done."]:
            say(sentence)
    if any(sentence.startswith(ATTENTION) for sentence in said):
        raise typer.Exit(2)


def _show(made: Backup, done: str, *, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "place": str(made.place),
                "files": made.files,
                "bytes": made.size,
                "audit_entries": made.audit_entries,
                "audit_head": made.audit_head,
                "problems": list(made.problems),
            }
        )
    else:
        say(
            f"{made.place} {done}: {made.files:,} files, {made.size / 1e6:,.1f} MB, "
            f"{made.audit_entries:,} audit entries up to {made.audit_head[:12]}."
        )
        for problem in made.problems:
            say(f"Damaged: {problem}. Fix: run liftloop repair.")
    if made.problems:
        raise typer.Exit(1)
