"""assistant: tools for an assistant, over standard input and output."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import typer

from liftloop.app.options import WorkspaceOption, opened
from liftloop.core.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop assistant --workspace shop")(assistant)


def assistant(workspace: WorkspaceOption = Path("workspace")) -> None:
    """Let an assistant look, and propose: a server of the Model Context Protocol (MCP) on standard
    input and output, for an MCP client to start (docs/assistant.md).

    It acts as whoever is signed in (liftloop sign-in, or LIFTLOOP_TOKEN), asks at every call what
    they may, and applies nothing: what it proposes waits for another person's approval.
    """
    place = opened(workspace)
    if find_spec("fastmcp") is None:
        raise ConfigurationError(
            "The assistant needs a package that is not installed.",
            fix="run: uv sync --extra assistant",
        )
    from liftloop.app.assistant.server import server_of

    server_of(place).run("stdio", show_banner=False, log_level="WARNING")
