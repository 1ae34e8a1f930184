"""Optuna's studies: one journal file each, so that a killed tuning goes on where it stopped."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liftloop.adapters.locks import exclusive
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    from optuna.storages import JournalStorage


log = logging.getLogger(__name__)


class _Lock:
    """Optuna's own locks outlive a killed holder by half a minute; ours do not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held = ExitStack()

    def acquire(self) -> bool:
        self.held.enter_context(exclusive(self.path, what="The tuning study"))
        return True

    def release(self) -> None:
        self.held.close()


def study_storage(workspace: Workspace, *, key: str = "studies") -> JournalStorage:
    """The storage of the study (or studies) under ``key``, for ``optuna.create_study``."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = workspace.registry / "studies" / f"{key}.journal"
    lock = workspace.locks / f"study-{key}.lock"
    journal.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(lock, what="The tuning study"):
        _mend(journal)
    held = cast(Any, _Lock(lock))  # Optuna asks for two methods, and its base class is private
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=held))


def _mend(journal: Path) -> None:
    """Cut off a last line that a kill left unfinished, and put a journal aside that is damaged
    otherwise: Optuna would choke on either for good. Tuning then begins anew."""
    if not journal.exists():
        return
    written = journal.read_bytes()
    whole = written.rfind(b"\n") + 1
    if whole < len(written):
        with journal.open("r+b") as file:
            file.truncate(whole)
    if not _is_sound(written[:whole]):
        aside = journal.with_suffix(".damaged")
        journal.replace(aside)
        log.warning("the tuning study %s is damaged: it is now %s", journal.name, aside.name)


def damaged_studies(workspace: Workspace) -> list[Path]:
    """Journals that Optuna could not read; an unfinished last line is none of them."""
    found = []
    for journal in sorted((workspace.registry / "studies").glob("*.journal")):
        written = journal.read_bytes()
        if not _is_sound(written[: written.rfind(b"\n") + 1]):
            found.append(journal)
    return found


def mend_studies(workspace: Workspace) -> list[Path]:
    """Put damaged journals aside; where they were."""
    damaged = damaged_studies(workspace)
    for journal in damaged:
        with exclusive(workspace.locks / f"study-{journal.stem}.lock", what="The tuning study"):
            _mend(journal)
    return damaged


def _is_sound(written: bytes) -> bool:
    try:
        return all(isinstance(json.loads(line), dict) for line in written.splitlines())
    except (ValueError, RecursionError):
        return False
