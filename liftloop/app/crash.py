"""What a program says when something fails that no command foresaw: one sentence, a status of its
own, and the traceback in a log."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from liftloop.adapters.prefect_password import CLIENT, SERVER
from liftloop.app.options import say
from liftloop.settings.workspace import Workspace

DEFECT, OUTSIDE, USAGE = 4, 3, 2
LARGEST_LOG = 1_000_000  # bytes; a longer one begins anew, and the one before is kept beside it
_FULL = ("No space left on device", "disk is full", "Disk quota exceeded", "os error 28")
_DAMAGED = ("malformed", "not a database")
_MACHINE = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EROFS: ("the disk is read-only", "make it writable"),
    errno.EIO: ("the disk does not answer", "check the disk"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open", "close other programs"),
    errno.ENOMEM: ("the memory is not enough", "close other programs"),
}


def tell(error: Exception) -> int:
    """Say what failed in one sentence on stderr; the exit status."""
    words, status = explained(error)
    if status == DEFECT:
        place = log(error)
        where = f"The details are in {place}" if place else "No log could be written"
        words = (
            f"a defect of LiftLoop's own ({words}). {where}; please report it. Nothing is half "
            "done: the same command goes on from here."
        )
    say(f"liftloop: {words}", err=True)
    return status


def explained(error: BaseException) -> tuple[str, int]:
    """What failed and the exit status: 2 for a file of the user's, 3 for the machine or a program
    beside ours, else 4."""
    for one in _chain(error):
        said = (str(one).strip().splitlines() or [""])[0][:300]
        if isinstance(one, OSError) and one.errno in _MACHINE:
            problem, fix = _MACHINE[one.errno]
            at = f" ({one.filename})" if one.filename else ""
            return f"{problem}{at}. Fix: {fix}, then run the same command again.", OUTSIDE
        if any(sign in str(one) for sign in _FULL):
            return "the disk is full. Fix: free some space, then run it again.", OUTSIDE
        if isinstance(one, UnicodeEncodeError) and "surrogates" in one.reason:
            return "a name in the command is not UTF-8. Fix: write it in UTF-8.", USAGE
        if isinstance(one, MemoryError):
            return "the memory is not enough. Fix: close other programs, or give it more.", OUTSIDE
        if _of_database(one) and any(sign in said for sign in _DAMAGED):
            fix = "liftloop doctor says which one"
            return f"a database of the workspace is damaged ({said}). Fix: {fix}.", OUTSIDE
        package = type(one).__module__.split(".")[0]
        answer = getattr(getattr(one, "response", None), "status_code", 0)
        if package in ("httpx", "prefect") and answer in (401, 403):
            fix = f"set {CLIENT} to what the server's {SERVER} is"
            return f"Prefect's server wants another password. Fix: {fix}.", OUTSIDE
        if package in ("httpx", "httpcore"):
            fix = "check PREFECT_API_URL and that its server runs (liftloop doctor)"
            problem = said or type(one).__name__
            return f"Prefect's server does not answer ({problem}). Fix: {fix}.", OUTSIDE
    if isinstance(error, OSError) and error.filename is not None:
        fix = "check the path, the right to write there and the room on the disk"
        return f"{error.filename}: {error.strerror}. Fix: {fix}.", USAGE
    said = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__, DEFECT


def _of_database(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) or type(error).__module__.startswith("sqlalchemy")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that led to it."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def log(error: BaseException) -> Path | None:
    """Add the traceback to the workspace's log of errors, or to one in the folder for temporary
    files where there is none; None where neither can be written."""
    text = "".join(traceback.format_exception(error))
    words = sys.argv[1:]
    command = "forget ..." if "forget" in words else " ".join(words)  # its argument is a person
    entry = f"--- {datetime.now(UTC).isoformat(timespec='seconds')} liftloop {command}\n{text}\n"
    for folder in (_logs(), Path(tempfile.gettempdir()) / f"liftloop-{os.getuid()}"):
        try:
            if folder is not None:
                return _write(folder / "errors.log", entry)
        except OSError:
            continue
    return None


def _write(place: Path, entry: str) -> Path:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.exists() and place.stat().st_size > LARGEST_LOG:
        place.replace(place.with_name(f"{place.name}.1"))
    handle = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(entry)
    return place.resolve()


def _logs() -> Path | None:
    """The folder for logs of the workspace that the command line names."""
    words = sys.argv[1:]
    named = os.environ.get("LIFTLOOP_WORKSPACE", "workspace")
    for place, word in enumerate(words):
        if word in ("--workspace", "-w") and place + 1 < len(words):
            named = words[place + 1]
        elif word.startswith("--workspace="):
            named = word.partition("=")[2]
    workspace = Workspace(Path(named))
    return workspace.logs if workspace.config.is_file() else None


def log_threads() -> None:
    """Threads that end by an error go to the log, too, and not to the terminal."""

    def told(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None:
            log(failed.exc_value)

    threading.excepthook = told
