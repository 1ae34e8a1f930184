"""The command line: ``liftloop COMMAND``. Errors become one sentence and the contract's status."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer

from liftloop.adapters.pasteable import pasteable, program
from liftloop.app.commands import (
    assistant,
    backtest,
    changelog,
    loop,
    monitor,
    replay,
    review,
    setup,
    show,
    sources,
    targets,
)
from liftloop.app.commands.experiment import experiments, playbook, variant_tests
from liftloop.app.commands.inputs import collect, data, names
from liftloop.app.commands.operate import (
    accounts,
    act,
    audit,
    deploy,
    ledger,
    privacy,
    recovery,
    service,
)
from liftloop.app.crash import log_threads, tell
from liftloop.app.options import say
from liftloop.app.permissions import guard
from liftloop.app.system_libraries import require_system_libraries
from liftloop.core.errors import LiftLoopError

app = typer.Typer(
    name="liftloop",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn what marketing spend really causes, move budgets to where the next unit of money "
    "earns most, and take back what does harm.",
)
for room in (
    setup,
    data,
    collect,
    experiments,
    variant_tests,
    sources,
    loop,
    names,
    monitor,
    act,
    accounts,
    show,
    changelog,
    playbook,
    review,
    assistant,
    audit,
    targets,
    backtest,
    recovery,
    privacy,
    replay,
    service,
    deploy,
    ledger,
):
    room.register(app)
guard(app)


def program_with_help() -> Any:
    """The program, whose help names commands as they can be pasted."""
    every = [typer.main.get_command(app)]
    for command in every:  # grows by the commands below each
        every += getattr(command, "commands", {}).values()
        command.help, command.epilog = (
            text and pasteable(text) for text in (command.help, command.epilog)
        )
        option: Any
        for option in command.params:
            if getattr(option, "help", None):
                option.help = pasteable(option.help)
    return every[0]


def main() -> None:
    """The ``liftloop`` program."""
    # Python 3.12 and later warn of escapes in other people's packages while compiling them.
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    log_threads()
    try:
        require_system_libraries()
        program_with_help()(prog_name=program())
    except LiftLoopError as error:
        say(f"liftloop: {error}", err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        typer.echo("liftloop: stopped; run the same command again to go on.", err=True)
        sys.exit(130)
    except Exception as error:
        sys.exit(tell(error))


if __name__ == "__main__":
    main()
