"""Run a command of ours in this process and die by SIGKILL at its n-th write.

Used as a program: ``python harness.py LOG KILL_AT -- liftloop arguments``. Every write the
process makes is seen where all of them pass: SQL commits, renames, Delta commits. Each counts twice,
just before and just after it takes effect. ``LOG`` gets one line a point; with ``KILL_AT`` 0
nothing is killed, so that the log lists the points there are. The product has no hook for this.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOG = Path(sys.argv[1])
KILL_AT = int(sys.argv[2])
_reached = 0


def point(name: str) -> None:
    """A point where the world outside is about to change, or has just changed."""
    global _reached  # noqa: PLW0603
    _reached += 1
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"{_reached}\t{name}\n")
    if _reached == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, attribute: str, describe: Callable[..., str | None]) -> None:
    """Make ``owner.attribute`` pass a point before and after, where ``describe`` names it."""
    real = getattr(owner, attribute)

    def seen(*args: Any, **kwargs: Any) -> Any:
        name = describe(*args, **kwargs)
        if name is None:
            return real(*args, **kwargs)
        point(f"before {name}")
        outcome = real(*args, **kwargs)
        point(f"after {name}")
        return outcome

    setattr(owner, attribute, seen)


def _in_workspace(path: object) -> str | None:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    root = os.environ["LIFTLOOP_KILL_ROOT"]
    here = str(Path(text).absolute())
    if not here.startswith(root) or f"{root}/prefect" in here or "__pycache__" in here:
        return None
    return here.removeprefix(root).lstrip("/")


def watch() -> None:
    """Set the points: commits of the ledger and the registry, renames, Delta commits."""
    import deltalake
    import deltalake.table
    import deltalake.writer
    from sqlalchemy.engine.default import DefaultDialect

    from liftloop.adapters import facts

    def commit(_dialect: Any, connection: Any) -> str | None:
        inner = getattr(connection, "dbapi_connection", connection)
        if not getattr(inner, "in_transaction", False):
            return None
        row = inner.execute("PRAGMA database_list").fetchone()
        place = _in_workspace(row[2]) if row and row[2] else None
        return f"commit {place}" if place else None

    around(DefaultDialect, "do_commit", commit)

    def rename(source: object, target: object, **_: Any) -> str | None:
        place = _in_workspace(target)
        return f"rename {place}" if place else None

    around(os, "replace", rename)
    around(os, "rename", rename)
    around(os, "link", rename)
    around(shutil, "move", rename)
    around(deltalake.table.TableMerger, "execute", lambda *_a, **_k: "merge into a Delta table")
    for module in (deltalake, deltalake.writer, facts):
        if hasattr(module, "write_deltalake"):
            around(module, "write_deltalake", lambda *a, **_k: f"write Delta table {a[0]}")


def main() -> None:
    watch()
    sys.argv = ["liftloop", *sys.argv[sys.argv.index("--") + 1 :]]
    from liftloop.app.cli import main as run

    run()


if __name__ == "__main__":
    main()
