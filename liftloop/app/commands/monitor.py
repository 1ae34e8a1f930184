"""monitor: why the last weeks differ from those before, and ``monitor ui`` for the reports."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    as_day,
    for_itself,
    opened,
    say,
    show_json,
)

AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="DATE", help="Know only what was reported before this day."),
]
PortOption = Annotated[int, typer.Option("--port", help="Where the reports are served.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Why the last weeks differ from those before, and what that asks for.",
        epilog="Example: liftloop monitor --as-of 2026-03-02 --workspace shop",
        invoke_without_command=True,
    )
    group.callback()(monitor)
    group.command("ui", epilog="Example: liftloop monitor ui --workspace shop")(ui)
    app.add_typer(group, name="monitor")


def monitor(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the last weeks with the weeks before, say why they differ, and write the reports."""
    if not for_itself(context):
        return
    place = opened(workspace)
    from liftloop.adapters.prefect_server import server_named
    from liftloop.app.environment import flow_settings
    from tasks.context import open_loop
    from tasks.data_end import ended_long_ago

    run: Any
    if server_named():
        from flows.monitor import monitor as run
    else:
        from tasks.monitor.monitor import monitor as run
    with flow_settings():
        verdict = run(str(place.root), as_day(as_of) if as_of else None)
    day = date.fromisoformat(verdict["as_of"])
    old = ended_long_ago(open_loop(place.root), day, command="monitor")
    if "--as-of" in verdict["summary"]:  # it says so itself
        old = ""
    if as_json:
        show_json(verdict | ({"data_end": old} if old else {}))
    else:
        say("\n".join(filter(None, (*words_of(verdict, place.root), old))))


def words_of(verdict: dict[str, Any], root: Path) -> list[str]:
    """The verdict for a terminal: the main cause, what else was found, and where to read more."""
    lines = [verdict["summary"]]
    lines += [f"  also {f['cause']}: {f['sentence']}" for f in verdict["findings"][1:]]
    lines += [f"  note: {note}" for note in verdict["noted"]]
    if waiting := verdict["told"].get("waiting"):
        lines.append(waiting)
    lines.append(verdict["health"])
    lines += [f"  feeds: {line}" for line in verdict["consistency"]]
    if verdict["report"]:
        lines.append(f"Report: {root / verdict['report']}")
    return lines


def ui(workspace: WorkspaceOption = Path("workspace"), port: PortOption = 8000) -> None:
    """Serve Evidently's reports of all runs on this machine, until Ctrl-C."""
    place = opened(workspace)
    from liftloop.adapters.registry.evidently_store import evidently_folder, put_damaged_aside

    folder = evidently_folder(place)
    if not folder.is_dir():
        say("There are no reports yet: run liftloop monitor first.", err=True)
        raise typer.Exit(1)
    for path in put_damaged_aside(place):  # one of them would keep all the others from being shown
        say(f"Put aside, it cannot be read: {path}", err=True)
    say(f"Reports on http://127.0.0.1:{port} (Ctrl-C ends it).")
    program = [sys.executable, "-m", "monitoring.evidently_ui"]
    program += [str(folder.resolve()), str(port)]
    raise typer.Exit(subprocess.call(program, env={**os.environ, "DO_NOT_TRACK": "1"}))
