"""The command line: ``liftloop COMMAND``. Errors become one sentence and the contract's status."""

from __future__ import annotations

import sys

import typer

from liftloop.app.commands import (
    act,
    backtest,
    collect,
    data,
    experiments,
    loop,
    monitor,
    names,
    replay,
    service,
    setup,
    show,
    targets,
)
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
    loop,
    names,
    monitor,
    act,
    show,
    targets,
    backtest,
    replay,
    service,
):
    room.register(app)


def main() -> None:
    """The ``liftloop`` program."""
    try:
        app(standalone_mode=True)
    except LiftLoopError as error:
        typer.echo(f"liftloop: {error}", err=True)
        sys.exit(error.exit_status)
    except OSError as error:
        if error.filename is None:  # no file of the user's: ours to repair
            raise
        typer.echo(f"liftloop: {error.filename}: {error.strerror}. Fix: check the path, the "
                   "right to write there and the room on the disk.", err=True)  # fmt: skip
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("liftloop: stopped; run the same command again to go on.", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
