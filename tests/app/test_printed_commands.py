"""Commands that the program prints can be pasted as they stand."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import typer

import liftloop
from liftloop.adapters.pasteable import BELOW, COMMANDS
from liftloop.app.cli import app
from liftloop.app.commands.operate import act
from liftloop.settings.workspace import Workspace

ROOT = Path(liftloop.__file__).resolve().parents[1]


def test_the_commands_that_are_looked_for_are_those_of_the_program() -> None:
    """Where this fails, add the command in liftloop/adapters/pasteable.py."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert sorted(COMMANDS) == sorted(commands)
    below = {name: getattr(one, "commands", {}) for name, one in commands.items()}
    assert {name: tuple(sorted(found)) for name, found in below.items() if found} == BELOW
    for one in commands.values():
        for command in (one, *getattr(one, "commands", {}).values()):
            assert any("--workspace" in option.opts for option in command.params), command.name


def test_all_commands_print_through_the_one_function() -> None:
    for path in Path(act.__file__).parents[1].rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        echoes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "echo"]
        assert not echoes, f"{path.name}:{echoes[0].lineno}: print by liftloop.app.options.say"


def printed(*words: str, place: Path) -> str:
    environment = {**os.environ, "COLUMNS": "400"} | {"UV_RUN_RECURSION_DEPTH": "1"}
    environment.pop("LIFTLOOP_WORKSPACE", None)
    done = subprocess.run(
        [sys.executable, "-m", "liftloop.app.cli", *words],
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_printed_command_runs_as_it_is_pasted(busy_workspace: Workspace, tmp_path: Path) -> None:
    """The decision that waits, named by an error, is listed by the command the error names."""
    place = busy_workspace.root
    said = printed("approve", "d-nine", "--workspace", place.name, place=place.parent)
    start = f"uv run --project {shlex.quote(str(ROOT))} liftloop "
    command = re.search(rf"{re.escape(start)}(budgets .*?--decisions)", said)
    assert command is not None, said
    assert "d-three" in printed(*shlex.split(command[1]), place=place.parent)


def test_help_names_commands_as_they_are_pasted(tmp_path: Path) -> None:
    said = printed("rollback", "--help", place=tmp_path)
    named = re.findall(r"(\w+ \S+ \S+ \S+ )?liftloop (?:rollback|budgets)", said)
    assert len(named) >= 3  # usage, example, an option
    assert set(named) == {f"uv run --project {ROOT} "}
