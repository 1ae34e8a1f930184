"""up and down: the loop as a service on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from liftloop.adapters.files.whole_files import private_folder
from liftloop.app.options import JsonOption, WorkspaceOption, opened, say, show_json
from liftloop.core.errors import Declined, OutsideServiceFailed
from liftloop.settings.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: liftloop up --detach --workspace shop")(up)
    app.command(epilog="Example: liftloop down --workspace shop")(down)


def up(
    workspace: WorkspaceOption = Path("workspace"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of Prefect's server.")] = 4200,
    dashboard_port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    dashboard: Annotated[bool, typer.Option(help="Serve the page as well.")] = True,
    collector_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Take single events in there as well.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once all is up; end it with down.")
    ] = False,
) -> None:
    """Start Prefect's server, the deployments, a worker and the page, and keep them running."""
    from liftloop.settings.schema import load_settings

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")  # runs tell what they came to
    place = opened(workspace)
    from liftloop.app.service.supervisor import Ports, serve

    if detach:
        _detach(place, sys.argv[1:])
        return
    streams = load_settings(place).streams.url or os.environ.get("LIFTLOOP_REDIS_URL")
    ports = Ports(port, dashboard_port if dashboard else None, collector_port)
    serve(place, ports, streams=bool(streams), say=say)


def _detach(place: Workspace, words: Sequence[str]) -> None:
    """Start ``up`` with the same words in a session of its own, and wait until all is up."""
    from liftloop.app.service import record

    if record.running(place) is not None:
        raise Declined("The service of this workspace runs already: liftloop down ends it.")
    log = place.logs / "up.log"
    private_folder(log.parent)
    stay = [word for word in words if word not in ("--detach", "-d")]
    command = [sys.executable, "-m", "liftloop.app.cli", *stay]
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    while process.poll() is None:
        known = record.last(place)
        if known is not None and known.supervisor == process.pid and known.ready:
            say(log.read_text(encoding="utf-8").strip())
            return
        time.sleep(0.3)
    words = log.read_text(encoding="utf-8").strip().splitlines()
    raise OutsideServiceFailed(
        "The service", words[-1] if words else "ended at once.", fix=f"read {log}."
    )


def down(
    workspace: WorkspaceOption = Path("workspace"),
    seconds: Annotated[
        float, typer.Option(min=1, help="How long to wait for it to end in order.")
    ] = 90.0,
    as_json: JsonOption = False,
) -> None:
    """End the service that up started for this workspace."""
    place = opened(workspace)
    from liftloop.app.service import record

    known = record.running(place)
    if known is None:
        record.forget(place)
        show_json({"ended": False}) if as_json else say("No service of this workspace runs.")
        return
    os.kill(known.supervisor, signal.SIGTERM)
    end = time.monotonic() + seconds
    while record.running(place) is not None:
        if time.monotonic() > end:
            raise OutsideServiceFailed(
                "The service",
                f"did not end within {seconds:.0f} s.",
                fix=f"look at process {known.supervisor}, and at the logs in {place.logs}.",
            )
        time.sleep(0.2)
    show_json({"ended": True}) if as_json else say("Ended.")
