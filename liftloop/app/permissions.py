"""What right each command takes, and who is asking at the command line.

Where the workspace has accounts, a command runs for whoever signed in (``liftloop sign-in``, or a
token in ``LIFTLOOP_TOKEN``), and their name takes the place of ``--by``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from liftloop.core.access.roles import Action
from liftloop.settings.workspace import Workspace

# None: works on no workspace of others, is how one signs in, finds out why nothing works, or serves
# what asks each of its callers itself; `up` starts those again long after a sign-in has ended
COMMANDS: dict[str, Action | None] = {
    "init": None,
    "demo": None,
    "backtest": None,
    "doctor": None,
    "dashboard": None,
    "collect": None,
    "sign-in": None,
    "sign-out": None,
    "accounts": Action.VIEW,
    "accounts roles": Action.VIEW,
    "accounts add": Action.ACCOUNTS,
    "accounts close": Action.ACCOUNTS,
    "accounts password": Action.ACCOUNTS,
    "accounts token": Action.ACCOUNTS,
    "sources": Action.VIEW,
    "budgets": Action.VIEW,
    "budgets --put": Action.PROPOSE,
    "rollouts": Action.VIEW,
    "report": Action.VIEW,
    "targets": Action.VIEW,
    "quarantine": Action.VIEW,
    "quarantine list": Action.VIEW,
    "quarantine export": Action.DATA,
    "quarantine readmit": Action.DATA,
    "quarantine discard": Action.DATA,
    "experiments": Action.VIEW,
    "experiments suggest": Action.VIEW,
    "experiments show": Action.VIEW,
    "experiments start": Action.EXPERIMENT,
    "experiments stop": Action.EXPERIMENT,
    "experiments measure": Action.VIEW,
    "experiments measure --keep": Action.EXPERIMENT,
    "tests": Action.VIEW,
    "tests new": Action.VIEW,
    "tests new --start": Action.EXPERIMENT,
    "tests show": Action.VIEW,
    "tests read": Action.RUN,
    "tests fatigue": Action.VIEW,
    "tests add": Action.EXPERIMENT,
    "tests drop": Action.EXPERIMENT,
    "tests stop": Action.EXPERIMENT,
    "names": Action.VIEW,
    "names join": Action.DATA,
    "monitor": Action.RUN,
    "monitor ui": Action.VIEW,
    "audit": Action.VIEW,
    "audit verify": Action.VIEW,
    "audit sign": Action.SETTINGS,
    "replay": Action.WHAT_IF,
    "approve": Action.APPROVE,
    "reject": Action.APPROVE,
    "rollback": Action.ROLL_BACK,
    "rollback --model": Action.MODEL,
    "pause": Action.PAUSE,
    "resume": Action.PAUSE,
    "stop": Action.STOP_ALL,
    "what-if": Action.WHAT_IF,
    "what-if --propose": Action.PROPOSE,
    "ingest": Action.DATA,
    "cycle": Action.RUN,
    "up": Action.RUN,
    "down": Action.RUN,
    "deploy": Action.SETTINGS,
    "backup": Action.SETTINGS,
    "restore": Action.SETTINGS,
    "repair": Action.DATA,
    "ledger": Action.VIEW,
    "ledger copy": Action.SETTINGS,
    "forget": Action.PRIVACY,
    "retention": Action.PRIVACY,
    "changelog": Action.VIEW,
    "playbook": Action.VIEW,
    "playbook note": Action.NOTE,
    "review": Action.VIEW,
    "assistant": Action.VIEW,
}


def action_of(name: str, parameters: dict[str, Any]) -> Action | None:
    """The right that a command takes as it was called: with an option that does more, the option's.

    Raises
    ------
    KeyError
        When the command is not in the table.
    """
    for option, value in parameters.items():
        more = f"{name} --{option.replace('_', '-')}"
        if value and more in COMMANDS:
            return COMMANDS[more]
    return COMMANDS[name]


class GuardedCommand(TyperCommand):
    """A command that runs for those who may."""

    def invoke(self, context: Any) -> Any:
        ask(context)
        return super().invoke(context)


class GuardedGroup(TyperGroup):
    """A group that shows something by itself: then it asks as a command does."""

    def invoke(self, context: Any) -> Any:
        if "workspace" in context.params and not [*context._protected_args, *context.args]:
            ask(context)
        return super().invoke(context)


def ask(context: Any) -> None:
    """Refuse a command that whoever is asking may not run; put their name where ``--by`` stands.

    Raises
    ------
    NotAllowed
        When nobody signed in, or the role does not allow it.
    """
    names: list[str] = []  # the program's own may be of several words: its context has no parent
    at = context
    while at.parent is not None:
        names.insert(0, at.info_name)
        at = at.parent
    action = action_of(" ".join(names), context.params)
    folder = context.params.get("workspace")
    if action is None or folder is None or not Workspace(folder).config.is_file():
        return  # a folder that is no workspace is refused by the command itself
    from liftloop.core.access.roles import audit_name
    from liftloop.settings.schema import load_settings
    from tasks.operate.access import caller

    asking = caller(load_settings(Workspace(folder)), token=token_of(folder))
    given = context.params.get("by")
    was_given = context.get_parameter_source("by") if given is not None else None
    speaks_for = given if was_given is not None and was_given.name != "DEFAULT" else ""
    who = audit_name(asking, action, speaks_for=speaks_for or "")
    if given is not None:
        context.params["by"] = who
    context.obj = asking


def token_of(folder: Path) -> str:
    """The token of whoever runs this: ``LIFTLOOP_TOKEN``, or that of ``liftloop sign-in``."""
    return os.environ.get("LIFTLOOP_TOKEN") or _kept().get(str(folder.resolve()), "")


def keep_token(folder: Path, token: str | None) -> None:
    """Remember a token for a workspace, for this user of the machine alone; None: forget it."""
    kept = _kept()
    kept.pop(str(folder.resolve()), None)
    if token is not None:
        kept[str(folder.resolve())] = token
    place = _place()
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(kept), encoding="utf-8")
    part.replace(place)


def _kept() -> dict[str, str]:
    try:
        found = json.loads(_place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _place() -> Path:
    return Path(typer.get_app_dir("liftloop")) / "sign-ins.json"


def guard(app: typer.Typer) -> None:
    """Let every command of a program ask who runs it."""
    for command in app.registered_commands:
        command.cls = GuardedCommand
    for group in app.registered_groups:
        own = isinstance(group.cls, type) and issubclass(group.cls, GuardedGroup)
        group.cls = group.cls if own else GuardedGroup
        if group.typer_instance is not None:
            guard(group.typer_instance)
