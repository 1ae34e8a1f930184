"""Making a workspace."""

from __future__ import annotations

from pathlib import Path

from liftloop.adapters.ledger import upgrade
from liftloop.adapters.registry import create_registry
from liftloop.adapters.settings import load_settings
from liftloop.adapters.whole_files import write_whole
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import ConfigurationError


def default_configuration() -> str:
    """The commented configuration file of a new workspace."""
    return Path(__file__).with_name("default.toml").read_text(encoding="utf-8")


def init_workspace(root: Path) -> Workspace:
    """Make a workspace in ``root``, or complete one that is there; what exists stays as it is.

    The first time takes a few seconds: MLflow builds its database.

    Raises
    ------
    ConfigurationError
        If ``root`` is a file, holds something else, or cannot be written.
    """
    workspace = Workspace(root)
    _check(workspace)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not workspace.config.exists():
            write_whole(workspace.config, default_configuration().encode())
        for folder in workspace.folders:
            folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{root} cannot be made into a workspace: {error.strerror}.",
            fix="choose a folder that you may write.",
        ) from None
    upgrade(str(load_settings(workspace).ledger_url))
    create_registry(workspace)
    return workspace


def _check(workspace: Workspace) -> None:
    root = workspace.root
    if any(sign in str(root.resolve()) for sign in "?#%"):
        raise ConfigurationError(
            f"{root}: a database address cannot hold '?', '#' or '%'.",
            fix="choose a folder without them in its path.",
        )
    if root.exists() and not root.is_dir():
        raise ConfigurationError(f"{root} is a file.", fix="name a folder.")
    if not root.is_dir() or workspace.config.exists():
        return
    found = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    if found:
        raise ConfigurationError(
            f"{root} holds other things ({', '.join(found[:3])}{'...' if found[3:] else ''}) "
            "and is not a workspace; nothing was changed.",
            fix=f"choose a new folder, such as {root / 'workspace'}.",
        )
