"""Figures of the house: whose parameters are counted."""

import ast

from benchmarks.house import parameters

COMMANDS = """
def register(app):
    app.command(epilog="Example")(start)
    for name, command in (("stop", stop), ("show", show)):
        app.command(name)(command)

def start(a, b): ...
def stop(a): ...
def show(a): ...
def helper(a, b, *, c): ...
class Kept:
    def of(self, a): ...
"""


def test_registered_commands_are_not_counted() -> None:
    assert list(parameters(ast.parse(COMMANDS))) == [("register", 1), ("helper", 3), ("of", 1)]
