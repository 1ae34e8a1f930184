"""Commands in sentences, as they can be pasted into a shell.

Sentences name a command plainly (``liftloop approve d-1``), so that what is stored and sealed is
the same on every machine. Where people read them, :func:`pasteable` adds how the program is started
here and which workspace is meant.
"""

from __future__ import annotations

import html
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import liftloop
from liftloop.settings.workspace import Workspace

# The program's commands, and those below them; a test compares them with the program.
BELOW = {
    "accounts": ("add", "close", "password", "roles", "token"),
    "audit": ("sign", "verify"),
    "experiments": ("measure", "show", "start", "stop", "suggest"),
    "ledger": ("copy",),
    "monitor": ("ui",),
    "names": ("join",),
    "playbook": ("note",),
    "tests": ("add", "drop", "fatigue", "new", "read", "show", "stop"),
    "quarantine": ("discard", "export", "list", "readmit"),
}
COMMANDS = (
    "accounts",
    "approve",
    "assistant",
    "audit",
    "backtest",
    "backup",
    "budgets",
    "changelog",
    "collect",
    "cycle",
    "dashboard",
    "demo",
    "deploy",
    "doctor",
    "down",
    "experiments",
    "ingest",
    "forget",
    "init",
    "ledger",
    "monitor",
    "names",
    "pause",
    "playbook",
    "quarantine",
    "reject",
    "repair",
    "replay",
    "report",
    "restore",
    "resume",
    "retention",
    "review",
    "rollback",
    "rollouts",
    "sign-in",
    "sign-out",
    "sources",
    "stop",
    "targets",
    "tests",
    "up",
    "what-if",
)
ELSEWHERE = {"backtest", "demo"}  # they make workspaces of their own
DEFAULT = Path("workspace")
VARIABLE = "LIFTLOOP_WORKSPACE"

_NAMES = "|".join([f"{name} {one}" for name, below in BELOW.items() for one in below] + [*COMMANDS])
_AT_START = r"(?<![\w/.-])(?<!uv run )(?<!uvx )"
_COMMAND = re.compile(rf"(?P<run>\b[Rr]un )?{_AT_START}liftloop (?P<words>{_NAMES})(?![\w-])")
_PREFECT = re.compile(rf"{_AT_START}prefect (?=(?:config|deploy|server|worker) )")
_SYNC = re.compile(r"\buv sync(?: --extra (?P<extra>\w+))?")


def pasteable(
    text: str,
    workspace: Workspace | None = None,
    *,
    anywhere: bool = False,
    escape: Callable[[str], str] = str,
) -> str:
    """``text`` with its commands as they can be pasted.

    Parameters
    ----------
    workspace
        The one that commands without ``--workspace`` mean.
    anywhere
        Whether people read it elsewhere than in this shell: in a message or on a page.
    escape
        Applied to what is added, for text that is markup.
    """
    if not any(word in text for word in ("liftloop ", "prefect ", "uv sync")):
        return text
    start = program(anywhere=anywhere)
    meant = "" if workspace is None else _option(workspace, anywhere=anywhere)

    def whole(found: re.Match[str]) -> str:
        words = found["words"]
        after = re.split(r"\n|\bliftloop ", found.string[found.end() :], maxsplit=1)[0]
        told = "--workspace" in after or words in ELSEWHERE
        run = f"{found['run'].strip()}: " if found["run"] else ""
        return f"{run}{escape(start)} {words}" + ("" if told else escape(meant))

    text = _COMMAND.sub(whole, text)
    if start.startswith("uv "):
        return _PREFECT.sub(escape(f"{start.removesuffix('liftloop')}prefect "), text)
    return _SYNC.sub(lambda found: escape(_install(found["extra"])), text)


def pasteable_page(page: str, workspace: Workspace) -> str:
    """An HTML page with its commands as they can be pasted."""
    return pasteable(page, workspace, anywhere=True, escape=html.escape)


def program(*, anywhere: bool = False) -> str:
    """How the program is started: ``uv run liftloop`` from a checkout, ``liftloop`` where it is
    installed or the checkout's environment is active, its path where that is not on PATH."""
    checkout = Path(liftloop.__file__).resolve().parents[1]
    by_uv = "UV_RUN_RECURSION_DEPTH" in os.environ  # set by uv run, which also changes PATH
    on_path = shutil.which("liftloop") is not None
    if not (checkout / "pyproject.toml").is_file():
        started = Path(sys.argv[0])
        by_path = not on_path and started.name == "liftloop"
        return shlex.quote(str(started.absolute())) if by_path else "liftloop"
    if on_path and not by_uv:
        return "liftloop"
    inside = checkout in (here := Path.cwd().resolve(), *here.parents)
    project = "" if inside and not anywhere else f"--project {shlex.quote(str(checkout))} "
    return f"uv run {project}liftloop"


def _option(workspace: Workspace, *, anywhere: bool) -> str:
    root = workspace.root.resolve()
    if anywhere:
        return f" --workspace {shlex.quote(str(root))}"
    if Path(os.environ.get(VARIABLE) or DEFAULT).resolve() == root:
        return ""
    return f" --workspace {shlex.quote(str(workspace.root))}"


def _install(extra: str | None) -> str:
    """What brings the packages of an installed program up to its version."""
    wanted = f"liftloop[{extra}]" if extra else "liftloop"
    return f"pip install --upgrade {shlex.quote(wanted)}"
