"""accounts, sign-in, sign-out: who may do what, and who is asking."""

from __future__ import annotations

import sys
from decimal import Decimal
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
from liftloop.app.permissions import keep_token, token_of
from liftloop.core.access.roles import ALLOWED, TABLE, Role

NameArgument = Annotated[
    str, typer.Argument(help="The account's name; behind a proxy, as it names people.")
]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True)
    group.callback(epilog="Example: liftloop accounts")(accounts)
    group.command(epilog="Example: liftloop accounts add ana --role admin")(add)
    group.command(epilog="Example: liftloop accounts close ben")(close)
    group.command(epilog="Example: liftloop accounts password ana")(password)
    group.command(epilog="Example: liftloop accounts token nightly --days 90")(token)
    group.command(epilog="Example: liftloop accounts roles")(roles)
    app.add_typer(group, name="accounts")
    app.command("sign-in", epilog="Example: liftloop sign-in ana")(sign_in)
    app.command("sign-out", epilog="Example: liftloop sign-out")(sign_out)


def accounts(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Show who may sign in, and as what. Without accounts the workspace is open to whoever can
    reach it."""
    if not for_itself(context):
        return
    place = opened(workspace)
    from liftloop.core.policy import from_cents
    from tasks.context import open_loop
    from tasks.operate.access import listed

    columns = ("name", "role", "state", "approves up to", "locked until", "added by")
    rows = [
        (
            row.name,
            row.role,
            row.state,
            None if row.approve_limit_cents is None else from_cents(row.approve_limit_cents),
            row.locked_until and row.locked_until.isoformat(),
            row.created_by,
        )
        for row in listed(open_loop(place.root))
    ]
    if as_json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        show_table("Accounts", columns, rows)
    else:
        say(
            "No accounts: whoever can reach this workspace may do everything. The first account "
            "closes it: liftloop accounts add NAME --role admin"
        )


def add(
    name: NameArgument,
    role: Annotated[Role, typer.Option(help="What they may do: liftloop accounts roles.")],
    workspace: WorkspaceOption = Path("workspace"),
    approve_limit: Annotated[
        str | None,
        typer.Option(help="The most money a day that an approval of theirs may move."),
    ] = None,
    password_stdin: StdinOption = False,
    by: ByOption = "operator",
) -> None:
    """Add an account; the first one is an admin's, and closes the workspace to all others."""
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.access import NewAccount, add_person

    limit = None if approve_limit is None else _amount(approve_limit)
    new = NewAccount(name, role, _asked(password_stdin, twice=True), limit)
    say(add_person(open_loop(place.root), new, actor=by))


def close(
    name: NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
) -> None:
    """Close an account and end its sign-ins."""
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.access import close_account

    say(close_account(open_loop(place.root), name, actor=by))


def password(
    name: NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    password_stdin: StdinOption = False,
    by: ByOption = "operator",
) -> None:
    """Give an account another password."""
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.access import set_password

    say(set_password(open_loop(place.root), name, _asked(password_stdin, twice=True), actor=by))


def token(
    name: NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    days: Annotated[float, typer.Option(min=0.01, max=400, help="How long it lasts.")] = 90,
    by: ByOption = "operator",
) -> None:
    """Print a token for a program that acts as an account: LIFTLOOP_TOKEN. It is shown once."""
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.access import token_for

    say(token_for(open_loop(place.root), name, days=days, actor=by))


def roles(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """Show which role may do what."""
    if as_json:
        show_json({action.value: sorted(who) for action, who in ALLOWED.items()})
    else:
        say(TABLE.strip())


def sign_in(
    name: NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    password_stdin: StdinOption = False,
) -> None:
    """Sign in at this workspace, on this machine, for [access] session_hours."""
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.access import sign_in as begin

    loop = open_loop(place.root)
    keep_token(place.root, begin(loop, name, _asked(password_stdin)))
    say(f"Signed in as {name} for {loop.settings.access.session_hours:g} hours.")


def sign_out(workspace: WorkspaceOption = Path("workspace")) -> None:
    """End the sign-in on this machine."""
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.operate.access import sign_out as end

    end(open_loop(place.root), token_of(place.root))
    keep_token(place.root, None)
    say("Signed out.")


def _asked(from_stdin: bool, *, twice: bool = False) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=twice))


def _amount(text: str) -> Decimal:
    try:
        found = Decimal(text)
    except ArithmeticError:
        found = Decimal("NaN")
    if not found.is_finite():
        raise typer.BadParameter(f"{text!r} is no amount")
    return found
