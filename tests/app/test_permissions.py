"""Every command asks who runs it, and answers as the table of roles says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import flows
from liftloop.adapters.initialise import init_workspace
from liftloop.app.cli import app, program_with_help
from liftloop.app.permissions import COMMANDS, GuardedCommand, GuardedGroup, ask
from liftloop.core.access.roles import Action, Role, may
from liftloop.core.errors import NotAllowed
from tasks.context import open_loop
from tasks.operate.access import NewAccount, add_person, sign_in

PASSWORD = "correct horse"


def every_command() -> Iterator[tuple[str, Any]]:
    """Each command with its name of one or two words."""
    for name, command in program_with_help().commands.items():
        children = getattr(command, "commands", {})
        if not children or command.invoke_without_command:
            yield name, command
        for child, below in children.items():
            yield f"{name} {child}", below


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an account of every role, by the role's name."""
    root = tmp_path_factory.mktemp("access") / "shop"
    init_workspace(root)
    loop = open_loop(root)
    for role in sorted(Role, key=lambda role: role != Role.ADMIN):
        add_person(loop, NewAccount(role.value, role, PASSWORD), actor="setup")
    return root


@pytest.fixture(scope="module")
def tokens(shop: Path) -> dict[Role, str]:
    loop = open_loop(shop)
    return {role: sign_in(loop, role.value, PASSWORD) for role in Role}


def test_every_command_is_in_the_table_and_asks() -> None:
    commands = dict(every_command())
    named = {name.partition(" --")[0] for name in COMMANDS}
    assert named == set(commands)
    assert all(isinstance(c, GuardedCommand | GuardedGroup) for c in commands.values())


def called(name: str, shop: Path, **parameters: object) -> Any:
    """The context of a command as it was called."""
    at: Any = SimpleNamespace(parent=None, info_name="liftloop")
    for word in name.split():
        at = SimpleNamespace(parent=at, info_name=word)
    at.params = {"workspace": shop, **parameters}
    at.get_parameter_source = lambda _: SimpleNamespace(name="DEFAULT")
    return at


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", [name for name, action in COMMANDS.items() if action])
def test_role_by_command(
    name: str,
    role: Role,
    shop: Path,
    tokens: dict[Role, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIFTLOOP_TOKEN", tokens[role])
    action = COMMANDS[name]
    assert isinstance(action, Action)
    command, _, option = name.partition(" --")
    context = called(command, shop, by="operator", **({option: True} if option else {}))
    if may(role, action):
        ask(context)
        assert context.params["by"] == role.value
        assert (context.obj.name, context.obj.role) == (role.value, role)
    else:
        with pytest.raises(NotAllowed):
            ask(context)


@pytest.mark.parametrize("name", [name for name, action in COMMANDS.items() if action])
def test_nobody_runs_a_command_without_signing_in(
    name: str, shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIFTLOOP_TOKEN", raising=False)
    with pytest.raises(NotAllowed, match="Sign in first"):
        ask(called(name.partition(" --")[0], shop))
    monkeypatch.setenv("LIFTLOOP_TOKEN", "forged")
    with pytest.raises(NotAllowed, match="Sign in first"):
        ask(called(name.partition(" --")[0], shop))


def test_a_sign_in_at_the_terminal_names_who_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIFTLOOP_TOKEN", raising=False)
    root = tmp_path / "shop"
    init_workspace(root)

    def run(*words: str, typed: str = "") -> str:
        result = CliRunner().invoke(app, [*words, "--workspace", str(root)], input=typed)
        if isinstance(result.exception, NotAllowed):
            return f"refused: {result.exception}"
        assert result.exit_code == 0, result.output
        return result.output

    typed = f"{PASSWORD}\n"
    run("accounts", "add", "ana", "--role", "admin", "--password-stdin", typed=typed)
    assert "Sign in first" in run("stop")
    run("sign-in", "ana", "--password-stdin", typed=typed)
    kept = next(tmp_path.rglob("sign-ins.json"))
    assert kept.stat().st_mode & 0o077 == 0
    run("stop", "--reason", "tracking is down")
    run("resume", "--by", "ben")
    told = run("audit", "--json")
    assert '"ana"' in told and '"ben (entered by ana)"' in told
    run("sign-out")
    assert "Sign in first" in run("resume")


def test_no_parameter_of_a_flow_names_a_person() -> None:
    """A flow runs as the loop: what takes a person is done through the command line or page."""
    import importlib
    import pkgutil

    for module in pkgutil.iter_modules(flows.__path__):
        found = importlib.import_module(f"flows.{module.name}")
        for made in vars(found).values():
            if type(made).__name__ == "Flow":
                names = set(inspect.signature(made.fn).parameters)
                assert not names & {"actor", "by", "user", "approved_by"}, made.name
