"""Run commands of ours, each in a process of its own that dies by SIGKILL at its n-th write.

Used as a program that reads orders from its standard input, one JSON object a line: ``arguments``
of liftloop, ``root`` (the workspace), ``log``, ``out``, ``kill_at``, ``environment``. It has
everything imported and tried once already (``warming.py``) and forks for each order, so that a run
costs what it does, not what it imports; it answers with the run's status, -9 for a killed one.

Every write the run makes to the workspace is seen where all of them pass: SQL commits, renames and
removals of files, Delta tables and their commits, appends to Optuna's journal, MLflow's artifacts,
PUTs to a platform.
Each counts twice, just before and just after it takes effect. ``log`` gets one line a point; with
``kill_at`` 0 nothing is killed, so that the log lists the points there are. The product has no hook
for this.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parents[2]
ROOMS = [str(HERE / room) + os.sep for room in ("flows", "tasks", "liftloop")]
DOORS = ("engine.py", "ledger.py", "locks.py", "whole_files.py", "harness.py")
_order: dict[str, Any] = {}
_reached = 0


def point(name: str) -> None:
    """A point where the world outside is about to change, or has just changed."""
    global _reached  # noqa: PLW0603
    if not _order:
        return
    _reached += 1
    with Path(_order["log"]).open("a", encoding="utf-8") as log:
        log.write(f"{_reached}\t{name}\n")
    if _reached == _order["kill_at"]:
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


def step() -> str:
    """The function of ours that is at work: names a commit by what it is for."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(tuple(ROOMS)) and not path.endswith(DOORS):
            return frame.f_code.co_name
        frame = frame.f_back
    return "?"


def in_workspace(path: object) -> str | None:
    """The path inside the workspace, without what differs from run to run; None outside it."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    if not _order:  # not yet somebody's run
        return None
    root = Path(_order["root"])
    here = Path(text).absolute()
    if not here.is_relative_to(root) or here.is_relative_to(root / "prefect"):
        return None
    inside = here.relative_to(root)
    if inside.parts[:1] == ("archive",):  # its folders are named by content
        return f"archive of {inside.suffix}"
    return inside.parts[0] if len(inside.parts) < 2 else f"{inside.parts[0]}/{inside.suffix}"


def watch_sql() -> None:
    """Commits that changed a row; those of reading transactions are none."""
    from sqlalchemy.engine.default import DefaultDialect

    # The connection is kept beside its count: a new one must not come by the id of an old one.
    seen: dict[int, tuple[Any, int]] = {}

    def commit(_dialect: Any, connection: Any) -> str | None:
        inner = getattr(connection, "dbapi_connection", connection)
        if not getattr(inner, "in_transaction", False):
            return None
        changes = inner.total_changes
        row = inner.execute("PRAGMA database_list").fetchone()
        _, before = seen.get(id(inner), (None, 0))
        if before == changes or not row[2] or in_workspace(row[2]) is None:
            return None
        seen[id(inner)] = (inner, changes)
        return f"commit to {Path(row[2]).name} in {step()}"

    around(DefaultDialect, "do_commit", commit)


def watch_files() -> None:
    """Renames and removals."""

    def onto(source: object, target: object, **_: Any) -> str | None:
        place = in_workspace(target)
        return f"rename to {place} in {step()}" if place else None

    def gone(path: object, **_: Any) -> str | None:
        place = in_workspace(path)
        return f"removal from {place} in {step()}" if place else None

    for name in ("replace", "rename", "link"):
        around(os, name, onto)
    around(shutil, "move", onto)
    for name in ("unlink", "remove"):
        around(os, name, gone)


def watch_tables() -> None:
    """Delta Lake: the making of a table, its commits, and the middle of a write."""
    import deltalake

    from liftloop.adapters.facts import delta

    def what(table: Any, *_a: Any, **_k: Any) -> str:
        place = Path(str(getattr(table, "table_uri", table)).removeprefix("file://"))
        return f"{place.parent.name}/{place.name}"

    around(deltalake, "write_deltalake", lambda *a, **k: f"commit to facts {what(*a)}")
    around(deltalake.DeltaTable, "create", lambda *a, **k: f"making of facts {what(*a)}")
    real = delta._batches

    def batches(rows: Iterator[Any], schema: Any) -> Iterator[Any]:
        for batch in real(rows, schema):
            point("amid a write of facts")
            yield batch

    delta._batches = batches


def watch_models() -> None:
    """Optuna's journal and MLflow's artifacts, when they are first imported."""
    from mlflow import MlflowClient
    from optuna.storages.journal import JournalFileBackend

    around(JournalFileBackend, "append_logs", lambda *_a, **_k: "append to the study's journal")
    around(MlflowClient, "log_artifacts", lambda *_a, **_k: "copy of the model's files")


def watch_http() -> None:
    """PUTs to a platform's endpoint; killed after one, the answer is lost."""
    import httpx

    def put(_client: Any, request: Any, **_: Any) -> str | None:
        return f"PUT to a platform in {step()}" if request.method == "PUT" else None

    around(httpx.Client, "send", put)


def be_liftloop(order: dict[str, Any]) -> None:
    """In a new process: the command, watched, and then the end."""
    os.setsid()
    _order.update(order)
    os.environ.update(order["environment"])
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["liftloop", *order["arguments"]]
    from liftloop.app.cli import main as run

    run()


def obey(order: dict[str, Any]) -> int:
    """Carry one order out; the status it ended with, negative for a signal."""
    child = os.fork()
    if child == 0:
        be_liftloop(order)  # ends by SystemExit, which the interpreter's own end turns to a status
        sys.exit(0)
    _, ended = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # whatever it started is its group
    return os.waitstatus_to_exitcode(ended)


def main() -> None:
    """Import, watch, then carry out one order after the other."""
    from liftloop.app.environment import prepare

    prepare(None)
    for watch in (watch_sql, watch_files, watch_tables, watch_models, watch_http):
        watch()
    from tests.kill.warming import warm

    warm()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        print(obey(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
