"""deploy: the loop's deployments on a Prefect server of one's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import JsonOption, WorkspaceOption, opened, say, show_json
from liftloop.core.errors import ConfigurationError

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")  # Prefect refuses some others in names


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop deploy --workspace shop")(deploy)


def deploy(
    workspace: WorkspaceOption = Path("workspace"),
    name: Annotated[
        str | None,
        typer.Option(help="What they are called: cycle/NAME. Default: the workspace's folder."),
    ] = None,
    pool: Annotated[
        str, typer.Option(help="The work pool; made, for processes, unless it is there.")
    ] = "liftloop",
    as_json: JsonOption = False,
) -> None:
    """Register the deployments of a workspace on the Prefect server that PREFECT_API_URL names.

    Again changes nothing. Several workspaces fit on one server: each has deployments, schedules and
    triggers of its own. A worker then runs them: prefect worker start --pool liftloop.
    """
    from liftloop.settings.schema import load_settings

    place = opened(workspace)
    from liftloop.adapters.prefect_server import server_named
    from liftloop.app.service import deploying

    path = place.root.resolve()
    called = name or path.name
    if not server_named():
        raise ConfigurationError(
            "No Prefect server is named.",
            fix="prefect config set PREFECT_API_URL=http://HOST:4200/api; or liftloop up, which "
            "runs one for this workspace.",
        )
    if not PLAIN.fullmatch(called):
        raise ConfigurationError(
            f"Deployments cannot be called {called!r}.",
            fix="give a name of letters, digits, dots, dashes and underscores: --name shop.",
        )
    deploying.refuse_taken(called, path)
    environment = {**os.environ, "LIFTLOOP_WORKSPACE": str(path)}
    deploying.deploy(environment, name=called, pool=pool)
    streams = load_settings(place).streams.url or os.environ.get("LIFTLOOP_REDIS_URL")
    deploying.read_streams(bool(streams), name=called)
    deploying.watch_for_lost_runs()
    if as_json:
        show_json({"name": called, "workspace": str(path), "pool": pool})
        return
    say(f"Deployed {path}: cycle/{called} and the others, on work pool {pool}.")
    say(f"They run while a worker does: prefect worker start --pool {pool}")
