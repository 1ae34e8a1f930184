"""The password of the Prefect server that ``liftloop up`` runs for a workspace.

Whoever reaches Prefect's API may have the worker run any command, so it never runs without one.
"""

from __future__ import annotations

import os
import secrets

from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.locks import exclusive
from liftloop.settings.workspace import Workspace

SERVER, CLIENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
_USER = "liftloop"


def prefect_password(workspace: Workspace) -> str:
    """The password of the workspace, as Prefect wants it (``user:secret``); made where there is
    none yet. Others lose the right to read the file, should they have it."""
    with exclusive(workspace.locks / "password.lock", what="Making Prefect's password"):
        known = stored_password(workspace)
        if known is None:
            known = new_password()
            write_whole(workspace.prefect_password, known.encode(), private=True)
        elif workspace.prefect_password.stat().st_mode & 0o077:
            workspace.prefect_password.chmod(0o600)
    return known


def stored_password(workspace: Workspace) -> str | None:
    """The password in the workspace's file, or None where there is no file."""
    try:
        return workspace.prefect_password.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def new_password() -> str:
    return f"{_USER}:{secrets.token_urlsafe(32)}"


def own_password() -> str | None:
    """The password that the user's environment gives the server and its clients, if it does."""
    return os.environ.get(SERVER) or os.environ.get(CLIENT) or None


def as_environment(password: str) -> dict[str, str]:
    """What a server, and the programs that speak to it, must see."""
    return {SERVER: password, CLIENT: password}
