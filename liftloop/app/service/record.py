"""Who runs the service of a workspace, and where its server answers.

The supervisor holds a lock for as long as it lives, so that a record left by a killed one deceives
nobody, and a process that got its number by chance is never taken for it.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.locks import exclusive
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """``supervisor`` and the values of ``processes`` are process numbers. ``own_password``: the
    server has one that the user gave it, not the workspace's."""

    supervisor: int
    api: str
    dashboard: str
    processes: dict[str, int]
    ready: bool = False
    own_password: bool = False


def hold(workspace: Workspace) -> AbstractContextManager[None]:
    """Be the one supervisor of the workspace while the block runs.

    Raises
    ------
    OutsideServiceFailed
        If another one is.
    """
    return exclusive(_lock(workspace), what="The service of this workspace", timeout=0.0)


def running(workspace: Workspace) -> ServiceRecord | None:
    """The record of the service, if one runs now."""
    record = last(workspace)
    if record is None:
        return None
    try:
        with hold(workspace):
            return None
    except OutsideServiceFailed:
        return record


def last(workspace: Workspace) -> ServiceRecord | None:
    """The record the last supervisor left, whether it lives or not."""
    try:
        return ServiceRecord(**json.loads(_place(workspace).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write(workspace: Workspace, record: ServiceRecord) -> None:
    """Tell other programs of this workspace where the service is."""
    write_whole(_place(workspace), json.dumps(asdict(record), indent=1).encode())


def forget(workspace: Workspace) -> None:
    """Remove the record: the service has ended."""
    _place(workspace).unlink(missing_ok=True)


def _place(workspace: Workspace) -> Path:
    return workspace.root / "service.json"


def _lock(workspace: Workspace) -> Path:
    return workspace.locks / "service.lock"
