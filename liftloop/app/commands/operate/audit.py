"""audit: the sealed trail, shown, exported, verified and signed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    for_itself,
    opened,
    say,
    show_json,
    show_table,
)

audit = typer.Typer(
    invoke_without_command=True,
    help="Verify the audit trail, entry by entry, and show or export it. Exit status 1 if broken.",
)
KnownHashOption = Annotated[
    str | None, typer.Option(help="A hash noted earlier: it must still be in the trail.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    audit.callback(epilog="Example: liftloop audit --export trail.csv --workspace shop")(shown)
    for command in (verify, sign):
        example = f"Example: liftloop audit {command.__name__} --workspace shop"
        audit.command(epilog=example)(command)
    app.add_typer(audit, name="audit")


def shown(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    export: Annotated[
        Path | None, typer.Option(help="Write the whole trail to this file (.csv or .json).")
    ] = None,
    known_hash: KnownHashOption = None,
    last: Annotated[int, typer.Option(min=1, help="Entries to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Verify the audit trail, entry by entry, and show or export it. Exit status 1 if broken."""
    if not for_itself(context):
        return
    if export is not None and export.suffix not in (".csv", ".json"):
        raise typer.BadParameter(f"{export.name}: name the file .csv or .json")
    _must_be_whole(known_hash)
    place = opened(workspace)
    from liftloop.app import views

    verdict, entries = views.audit(place, known_hash=known_hash, last=last)
    if export is not None:
        views.export_audit(place, export)
    if as_json:
        show_json({"verdict": verdict, "entries": entries})
    else:
        from liftloop.reporting.history.audit_words import COLUMNS, audit_row
        from liftloop.settings.schema import load_settings

        zone = load_settings(place).account.timezone
        if entries:
            show_table(
                f"Audit trail, the last entries (times in {zone})",
                COLUMNS,
                [audit_row(entry, timezone=zone) for entry in entries],
            )
        say(verdict["sentence"])
        if export is not None:
            say(f"Written: {export}")
    _leave(verdict)


def verify(
    workspace: WorkspaceOption = Path("workspace"),
    known_hash: KnownHashOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the trail against itself, the ledger's amounts and counts, and every head of it that
    lies outside: outbox files, messages, signature, anchor file. Exit status 1 if broken."""
    _must_be_whole(known_hash)
    place = opened(workspace)
    from liftloop.app import views

    verdict, _ = views.audit(place, known_hash=known_hash, last=1)
    show_json(verdict) if as_json else say(verdict["sentence"])
    _leave(verdict)


def sign(workspace: WorkspaceOption = Path("workspace")) -> None:
    """Sign the head of the trail and add it to the anchor file, as [audit] in the configuration
    says. Every decision does it by itself."""
    place = opened(workspace)
    from liftloop.settings.schema import load_settings
    from tasks.context import open_loop
    from tasks.operate.audit_notes import anchor

    audit = load_settings(place).audit
    if audit.key_file is None and audit.anchor is None:
        say("Nothing to do: [audit] in the configuration names neither key_file nor anchor.")
        return
    new = anchor(open_loop(place.root))
    say("The head of the trail is anchored." if new else "The head is anchored already.")


def _must_be_whole(known_hash: str | None) -> None:
    if known_hash is not None and not re.fullmatch("[0-9a-f]{64}", known_hash):
        raise typer.BadParameter(
            f"{known_hash!r} is no whole hash: it has 64 digits and letters a to f, as audit "
            "prints it"
        )


def _leave(verdict: dict[str, Any]) -> None:
    if not verdict["intact"]:
        raise typer.Exit(1)
