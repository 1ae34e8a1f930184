"""collect: the HTTP door for single events."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import WorkspaceOption, opened, say
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from liftloop.settings.workspace import Workspace

TOKEN_VARIABLE = "LIFTLOOP_COLLECTOR_TOKEN"
SHORTEST_TOKEN = 16
DRAIN_SECONDS = 20
IDLE_SECONDS = 10  # of a connection on which no request is going on
OWN_FILES = 64  # that the process itself has open


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop collect --port 8400 --workspace shop")(collect)


def collect(
    workspace: WorkspaceOption = Path("workspace"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8400,
    host: Annotated[str, typer.Option(help="0.0.0.0: reachable from outside.")] = "127.0.0.1",
    insecure_local: Annotated[
        bool, typer.Option(help="No token, for trying it out; on this machine alone.")
    ] = False,
) -> None:
    """Take single events in over HTTP: POST /events, JSON or JSON lines, with a bearer token.

    A request is acknowledged (202) when its rows are on the disk; liftloop ingest takes them in.
    The token is in LIFTLOOP_COLLECTOR_TOKEN, or in the file that collector.token_file names.
    """
    place = opened(workspace)
    tokens = () if insecure_local else tokens_of(place)
    if insecure_local and not _is_local(host):
        raise ConfigurationError(
            f"Without a token the collector listens on this machine alone, not on {host}.",
            fix=f"set {TOKEN_VARIABLE}, or leave out --host.",
        )
    _serve(place, host=host, port=port, tokens=tokens)


def tokens_of(place: Workspace) -> tuple[str, ...]:
    """The tokens that open the door: several while one is being replaced by the next.

    Raises
    ------
    ConfigurationError
        When there is none, or one that could be guessed.
    """
    from liftloop.settings.schema import load_settings

    named = load_settings(place).collector.token_file
    text = os.environ.get(TOKEN_VARIABLE) or (named.read_text(encoding="utf-8") if named else "")
    tokens = tuple(text.replace(",", " ").split())
    if not tokens or min(map(len, tokens)) < SHORTEST_TOKEN:
        problem = "is too short" if tokens else "is needed"
        raise ConfigurationError(
            f"A token of at least {SHORTEST_TOKEN} characters {problem}.",
            fix=f"export {TOKEN_VARIABLE}=$(openssl rand -hex 32), or try --insecure-local.",
        )
    return tokens


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _open_files() -> int:
    """How many files and connections this process may have open: as many as it may ask for."""
    if sys.platform == "win32":
        return 8192
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


def _serve(place: Workspace, *, host: str, port: int, tokens: tuple[str, ...]) -> None:
    import uvicorn

    from liftloop.adapters.streams.journal import Journal
    from liftloop.app.collector.server import FEED, create_app, limited
    from liftloop.settings.schema import load_settings

    limits = load_settings(place).collector
    most = min(limits.max_connections, _open_files() - OWN_FILES)
    journal = Journal(place, FEED, round(limits.segment_mb * 1_000_000), limits.segment_seconds)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(journal, limits, tokens),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="on",
            http=limited(most, patience=IDLE_SECONDS),
            limit_concurrency=most + 1,
            ws="none",
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    journal.open()  # what is wrong is said in our words, before the server starts
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # once the server has ended by it
    say(f"Collecting on http://{host}:{port}/events. End it with Ctrl-C.")
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        journal.close()
    if not server.started:
        raise OutsideServiceFailed(
            "The collector", f"it could not listen on {host}:{port}.", fix="take another --port."
        )
    say("Collecting has ended; what was taken is in the inbox.")
