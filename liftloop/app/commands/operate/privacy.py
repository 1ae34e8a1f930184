"""forget, retention: persons and old rows leave the workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liftloop.app.options import ByOption, JsonOption, WorkspaceOption, opened, say, show_json

if TYPE_CHECKING:
    from liftloop.adapters.privacy.forgetting import Receipt


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog='Example: liftloop forget customer-4711 --reason "request of 3 May" --workspace shop'
    )(forget)
    app.command(epilog="Example: liftloop retention --workspace shop")(retention)


def forget(
    unit_id: Annotated[
        str,
        typer.Argument(
            help="The person's unit_id as it was delivered; -: read it from standard input."
        ),
    ],
    workspace: WorkspaceOption = Path("workspace"),
    reason: Annotated[
        str, typer.Option(help="Why, for the audit trail; it may not name the person.")
    ] = "",
    by: ByOption = "operator",
    as_json: JsonOption = False,
) -> None:
    """Remove a person from facts, their earlier versions, archive, quarantine, predictions and
    logs, and print a receipt. Rows of the person that are delivered later are left out."""
    place = opened(workspace)
    from liftloop.adapters.privacy.forgetting import forget_unit
    from liftloop.app.views import engine_of

    id = sys.stdin.readline() if unit_id == "-" else unit_id
    receipt = forget_unit(place, id.strip(), engine=engine_of(place), actor=by, reason=reason)
    if as_json:
        show_json(receipt.as_dict() | {"complete": receipt.is_complete})
    else:
        _show(receipt)
    if not receipt.is_complete:
        raise typer.Exit(1)


def retention(
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
    as_json: JsonOption = False,
) -> None:
    """Remove the rows that are older than [privacy.retention] keeps their feed. Each cycle does."""
    place = opened(workspace)
    from tasks.evidence.retention import retain

    expired = retain(str(place.root), actor=by)
    if as_json:
        show_json([one.as_dict() for one in expired])
        return
    for one in expired:
        say(one.sentence)
    if not expired:
        say("Nothing is older than its feed is kept.")


def _show(receipt: Receipt) -> None:
    if receipt.before:
        say(f"Nothing of this person is left: removed before, on {receipt.before}.")
    elif not receipt.removed and not receipt.left:
        say("Nothing of this person was found. Rows that come later are left out.")
    else:
        say("The person was removed. Rows that come later are left out.")
    for name, count in receipt.removed.items():
        say(f"  {name}: {count:,}")
    for name, count in receipt.versions.items():
        say(f"  versions of {name} that hold fewer rows now: {count:,}")
    say(f"Receipt: {receipt.unit} in the audit trail, {receipt.at}, by {receipt.by}.")
    if not receipt.is_searched:
        say(
            "The id is short or a small number, so texts (logs, pages, messages) were not searched "
            "for it: it could be any count or amount."
        )
    for name in receipt.waiting:
        say(f"Waits to be taken in, without the person: {name}")
    for name in receipt.left:
        say(f"Still names the person, and has to be cleaned by hand: {name}")
