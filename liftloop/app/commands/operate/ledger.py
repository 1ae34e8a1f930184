"""ledger: where it lives, and from SQLite to PostgreSQL and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    for_itself,
    opened,
    say,
    show_json,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        invoke_without_command=True,
        callback=ledger,
        epilog="Example: liftloop ledger --workspace shop",
    )
    group.command(
        epilog="Example: liftloop ledger copy --to postgresql://me@db/liftloop --workspace shop"
    )(copy)
    app.add_typer(group, name="ledger")


def ledger(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Where the ledger of a workspace lives, and how many rows it has."""
    if not for_itself(context):
        return
    place = opened(workspace)
    from liftloop.adapters.ledger.copy import rows_of
    from liftloop.adapters.ledger.engine import ledger_address, open_ledger
    from liftloop.settings.schema import load_settings

    url = str(load_settings(place).ledger_url)
    shown, rows = (
        ledger_address(url).render_as_string(hide_password=True),
        rows_of(open_ledger(url)),
    )
    if as_json:
        show_json({"ledger": shown, "rows": rows})
    else:
        say(f"{shown}: {sum(rows.values()):,} rows.")


def copy(
    to: Annotated[
        str,
        typer.Option(help="An empty database: postgresql://user@host/name, sqlite:////path/file."),
    ],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Copy the ledger into another database and compare the two; the workspace keeps using the old
    one until ledger_url or LIFTLOOP_LEDGER_URL names the new one."""
    place = opened(workspace)
    from liftloop.adapters.facts.deliveries import taking_in
    from liftloop.adapters.ledger.copy import copy_ledger
    from liftloop.adapters.ledger.engine import ledger_address, open_ledger
    from liftloop.app.service import record
    from liftloop.core.errors import Declined
    from liftloop.settings.schema import load_settings

    if record.running(place) is not None:
        raise Declined("The service of this workspace writes to the ledger: liftloop down ends it.")
    with taking_in(place):
        found = copy_ledger(open_ledger(str(load_settings(place).ledger_url)), to)
    shown = ledger_address(to).render_as_string(hide_password=True)
    if as_json:
        show_json(
            {
                "to": shown,
                "new": found.new,
                "rows": dict(found.rows),
                "audit_entries": found.audit_entries,
                "audit_head": found.audit_head,
            }
        )
        return
    total, tables = sum(found.rows.values()), sum(1 for count in found.rows.values() if count)
    say(
        f"{'Copied' if found.new else 'There already'}: {total:,} rows of {tables} tables, "
        f"{found.audit_entries:,} audit entries, final hash {found.audit_head[:12]}...; compared, "
        "and the same."
    )
    say(f'Use it from now on: ledger_url = "{shown}" in {place.config}, or LIFTLOOP_LEDGER_URL.')
