"""replay: a past decision, made again; what-if: the next plan under other settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liftloop.app.options import (
    ByOption,
    JsonOption,
    WorkspaceOption,
    opened,
    say,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from tasks.decision.replay import Replay

SHOWN = 20  # differences of one part; --json has them all


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop replay --workspace shop")(replay)
    app.command(epilog="Example: liftloop what-if --set 'budget.total=\"900\"'")(what_if)


def replay(
    decision: Annotated[
        str | None, typer.Argument(help="A decision's id (default: the last one).")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every decision, the last one first.")
    ] = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="Also train the model again that it rests on.")
    ] = False,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="What the plan would have been with this setting (can be given several times).",
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Make a past decision again from the facts, settings and model of then, and compare.

    Reads the facts at the versions the decision named, the settings as the
    sealed audit trail kept them, and of the ledger only what was known at that
    instant. Writes nothing. Exit status 1 where anything comes out otherwise, or
    it is older than the record a replay needs.
    """
    if every and decision is not None:
        raise typer.BadParameter("name a decision or ask for --all, not both")
    if change and (every or refit):
        raise typer.BadParameter("--set asks about one decision's plan, without --all or --refit")
    place = opened(workspace)
    if change:
        _otherwise(str(place.root), decision, change, as_json=as_json)
        return
    from tasks.decision.replay import decision_ids
    from tasks.decision.replay import replay as again

    ids: list[str | None] = [*decision_ids(str(place.root))] if every else [decision]
    found = [again(str(place.root), id, refit=refit) for id in ids]
    if as_json:
        show_json([each.as_dict() for each in found] if every else found[0].as_dict())
    else:
        for each in found:
            _show(each, brief=every)
    if not all(each.same for each in found):
        raise typer.Exit(1)


def what_if(
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting as it would be (can be given several times).",
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    propose: Annotated[
        bool, typer.Option("--propose", help="Take the plan with the changes to approval.")
    ] = False,
    by: ByOption = "operator",
    as_json: JsonOption = False,
) -> None:
    """Show what the next plan would be under other settings, and what it would earn. Nothing is
    applied; with --propose the plan waits for somebody's approval."""
    place = opened(workspace)
    from tasks.decision.what_if import what_next

    found = what_next(str(place.root), change or [])
    if as_json:
        show_json(found.as_dict())
    else:
        usual, changed = found.usual[1].as_dict(), found.changed[1].as_dict()
        show_table(
            f"The plan for {found.as_of} ({found.words.currency} a day)",
            ("segment", "channel", "in force", "next plan", "with the changes"),
            [
                (c.segment, c.channel, found.in_force.as_dict().get(c), usual.get(c), changed[c])
                for c in found.changed[1].cells
            ],
        )
        say(found.sentence)
    if propose:
        from tasks.operate.budget_acts import propose_next

        words = f"what-if ({' and '.join(found.changes)})"
        said = propose_next(str(place.root), found, source=words, actor=by)
        say(said, err=as_json)


def _otherwise(root: str, decision: str | None, change: list[str], *, as_json: bool) -> None:
    from tasks.decision.replay import last_planned
    from tasks.decision.what_if import what_if

    found = what_if(root, decision or last_planned(root), change)
    if as_json:
        show_json(found.as_dict())
        return
    if found.rows:
        show_table(
            f"Where the plan would differ ({found.currency} a day)",
            ("segment", "channel", "before", "planned then", "planned otherwise"),
            [(cell.segment, cell.channel, *amounts) for cell, *amounts in found.rows],
        )
    say(found.sentence)


def _show(found: Replay, *, brief: bool) -> None:
    if not brief:
        rows = [(check.name, check.verdict, check.sentence) for check in found.checks]
        show_table("Made again", ("part", "verdict", "what was found"), rows)
    for check in found.checks:
        for line in check.differences[:SHOWN]:
            say(f"  {check.name}: {line}")
        if len(check.differences) > SHOWN:
            say(f"  {check.name}: {len(check.differences) - SHOWN} more; see --json.")
    say(" ".join(filter(None, (found.sentence, found.software))))
