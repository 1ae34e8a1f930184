"""Whether Prefect is told of a server that lasts: flow runs and events are recorded there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ADDRESS = "PREFECT_API_URL"


def server_named() -> bool:
    """Whether a server is named where Prefect looks for one: in the environment, in the active
    profile, or in a file of the present folder. Prefect is asked only where a file speaks of one:
    importing it takes a second."""
    if os.environ.get(ADDRESS):
        return True
    if "prefect" not in sys.modules and not _some_file_speaks_of_it():
        return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def _some_file_speaks_of_it() -> bool:
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    words = {
        profiles: ADDRESS,
        Path(".env"): "PREFECT_",
        Path("prefect.toml"): "=",
        Path("pyproject.toml"): "tool.prefect",
    }
    return any(word in _text(path) for path, word in words.items())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
