"""init, doctor, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.adapters.workspace import Workspace
from liftloop.app.options import JsonOption, WorkspaceOption, show_json

MARK = {True: "ok", False: "MEND", None: "note"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: liftloop init --workspace shop")(init)
    app.command(epilog="Example: liftloop doctor --workspace shop")(doctor)
    app.command(epilog="Example: liftloop demo --weeks 8 --seed 1")(demo)


def init(workspace: WorkspaceOption = Path("workspace")) -> None:
    """Make a workspace: one folder that holds everything, with a commented configuration."""
    from liftloop.adapters.initialise import init_workspace
    from liftloop.app.environment import prepare

    prepare(None)
    existed = Workspace(workspace).config.is_file()
    place = init_workspace(workspace)
    typer.echo(
        f"{place.root} is {'in order' if existed else 'ready'}. "
        f"Its settings: {place.config}. Put feed files into {place.inbox}, then:\n"
        f"  liftloop cycle --workspace {place.root}"
    )


def doctor(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """Check the installation, the workspace and each outside service; say how to mend things."""
    from liftloop.adapters.diagnosis import diagnose
    from liftloop.app.environment import prepare

    prepare(None)
    place = Workspace(workspace)
    findings = diagnose(place if place.root.exists() else None)
    if place.root.exists():
        from tasks.consistency import consistency_of

        findings += consistency_of(place)
    if as_json:
        show_json(
            [{"check": f.check, "ok": f.ok, "detail": f.detail, "fix": f.fix} for f in findings]
        )
    else:
        for finding in findings:
            typer.echo(f"{MARK[finding.ok]:>4}  {finding.check}: {finding.detail}")
            if finding.fix and finding.ok is not True:
                typer.echo(f"      -> {finding.fix}")
        if not place.root.exists():
            typer.echo(f"note  workspace: {workspace} does not exist; liftloop init makes it")
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


def demo(
    workspace: WorkspaceOption = Path("demo-workspace"),
    hillstrom: Annotated[
        Path | None,
        typer.Option(help="Run on the real Hillstrom e-mail test in this file instead."),
    ] = None,
    weeks: Annotated[int, typer.Option(min=3, max=52, help="Weekly cycles to run.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Which simulated market.")] = 1,
) -> None:
    """Show the whole loop: a market with a known truth, weekly cycles, and what was captured."""
    from liftloop.app.environment import flow_settings, prepare

    place = Workspace(workspace)
    prepare(place, flows=True)
    from flows import cycle  # noqa: F401  loads while the server starts
    from liftloop.app import demo as show

    with flow_settings():
        if hillstrom is not None:
            show.run_hillstrom_demo(hillstrom, workspace_root=place.root, say=typer.echo)
        else:
            show.run_demo(place.root, weeks=weeks, seed=seed, say=typer.echo)
