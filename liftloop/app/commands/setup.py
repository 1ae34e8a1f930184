"""init, doctor, demo."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liftloop.adapters.pasteable import pasteable
from liftloop.app.options import JsonOption, WorkspaceOption, must_exist, say, show_json, speak_of
from liftloop.core.errors import ConfigurationError
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    from liftloop.adapters.doctor.findings import DoctorFinding

MARK, WARN = {True: "ok", False: "MEND", None: "note"}, "warn"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Example: liftloop init --currency GBP --timezone Europe/London --workspace shop"
    )(init)
    app.command(epilog="Example: liftloop doctor --workspace shop")(doctor)
    app.command(epilog="Example: liftloop demo --weeks 8 --seed 1")(demo)


def init(
    workspace: WorkspaceOption = Path("workspace"),
    currency: Annotated[
        str | None, typer.Option(help="The account's currency, as GBP. Default: USD.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Its time zone, as Europe/London. Default: UTC.")
    ] = None,
    segment: Annotated[
        str | None,
        typer.Option(help="The segment of exports that have neither a segment nor a country."),
    ] = None,
    first: Annotated[
        Path | None,
        typer.Option("--from", help="Read currency and time zone out of this export."),
    ] = None,
) -> None:
    """Make a workspace: one folder that holds everything, with a commented configuration.

    On a terminal it asks for what is neither given nor in the file of --from.
    """
    from liftloop.adapters.initialise import (
        AccountChoice,
        check_currency,
        check_timezone,
        init_workspace,
    )
    from liftloop.app.environment import prepare
    from liftloop.settings.schema import load_settings

    must_exist(first)
    currency = None if currency is None else check_currency(currency)
    timezone = None if timezone is None else check_timezone(timezone)
    existed = Workspace(workspace).config.is_file()
    notes: tuple[str, ...] = ()
    if first is not None:
        from liftloop.adapters.files.first_file import account_of_file

        read = account_of_file(first, currency=currency, timezone=timezone)
        currency, timezone, notes = read.currency, read.timezone, read.notes
    if not existed and sys.stdin.isatty():
        currency, timezone, segment = _asked(currency, timezone, segment)
    prepare(None)
    speak_of(Workspace(workspace))
    place = init_workspace(workspace, AccountChoice(currency, timezone, segment or None))
    account = load_settings(place).account
    said = f"currency {account.currency}, time zone {account.timezone}"
    if account.segment:
        said += f", segment {account.segment}"
    say(f"{place.root} is {'in order' if existed else 'ready'}: {said}.")
    for note in notes:
        say(f"  {note}")
    say(f"Its settings: {place.config}.")
    guessed = [
        name for name, value in (("currency", currency), ("timezone", timezone)) if value is None
    ]
    if not existed and guessed:
        say(
            f"Nobody said the account's {' and '.join(guessed)}: correct the default there, under "
            "[account], before the first file."
        )
    if first is not None:
        say(f"Next:\n  liftloop ingest {shlex.quote(str(first))}")
    else:
        say(f"Put feed files into {place.inbox}, then:\n  liftloop cycle")


def _asked(
    currency: str | None, timezone: str | None, segment: str | None
) -> tuple[str, str, str | None]:
    """Currency, time zone and segment as the person at the terminal says them."""
    from liftloop.adapters.initialise import check_currency, check_timezone

    def valid(check: Callable[[str], str]) -> Callable[[str], str]:
        def checked(text: str) -> str:
            try:
                return check(text)
            except ConfigurationError as error:
                raise typer.BadParameter(str(error)) from None

        return checked

    if currency is None:
        currency = typer.prompt(
            "Currency of the account", default="USD", value_proc=valid(check_currency)
        )
    if timezone is None:
        timezone = typer.prompt(
            "Its time zone (as Europe/London)", default="UTC", value_proc=valid(check_timezone)
        )
    if segment is None:
        segment = typer.prompt(
            "Segment of exports that have neither a segment nor a country (as UK)", default="all"
        )
    return currency, timezone, None if segment.strip() in ("", "all") else segment.strip()


def doctor(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Check the installation, the workspace and each outside service; say how to mend things.

    A line marked MEND must be mended (exit status 1), one marked warn should be looked at. A
    folder that was named and is no workspace is bad usage (exit status 2).
    """
    from liftloop.app.environment import prepare

    prepare(None)
    place = Workspace(workspace)
    speak_of(place)
    source = context.get_parameter_source("workspace")
    named = source is not None and source.name != "DEFAULT"
    findings, of_facts = _findings(place, named=named)
    if as_json:
        show_json(
            [
                {"check": f.check, "ok": f.ok, "detail": f.detail, "fix": pasteable(f.fix, place)}
                for f in findings
            ]
        )
    else:
        for line in _lines(findings, of_facts):
            say(line)
    if not place.config.is_file() and (named or place.root.exists()):
        raise typer.Exit(2)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


def _findings(place: Workspace, *, named: bool) -> tuple[list[DoctorFinding], list[DoctorFinding]]:
    """What the doctor finds, and those of it that are about what the facts say. Without a
    workspace, which need not be there yet unless it was named, only what is outside of it."""
    from liftloop.adapters.doctor.diagnosis import diagnose
    from liftloop.adapters.doctor.findings import DoctorFinding

    if not place.config.is_file() and not any(folder.is_dir() for folder in place.folders):
        exists = place.root.exists()
        words = "is not a workspace (it has no liftloop.toml)" if exists else "does not exist"
        ok = False if named or exists else None
        fix = "make one: liftloop init"
        return [*diagnose(None), DoctorFinding("workspace", ok, f"{place.root} {words}", fix)], []
    found = diagnose(place)
    if not place.config.is_file():
        return found, []
    from tasks.evidence.arms import arms_of
    from tasks.evidence.freshness import freshness_of
    from tasks.evidence.sales_gaps import sales_of
    from tasks.monitor.consistency import consistency_of, skipped_parts_of

    of_facts = [
        *freshness_of(place),
        *consistency_of(place),
        *sales_of(place),
        *arms_of(place),
        *skipped_parts_of(place),
    ]
    return [*found, *of_facts], of_facts


def _lines(findings: Sequence[DoctorFinding], of_facts: Sequence[DoctorFinding]) -> Iterator[str]:
    """The findings for a terminal; one way to mend several that follow each other is said once.
    What the facts say is a warning where there is something to do about it."""
    marks = [WARN if f.ok is None and f.fix and f in of_facts else MARK[f.ok] for f in findings]
    for place, (finding, mark) in enumerate(zip(findings, marks, strict=True)):
        yield f"{mark:>4}  {finding.check}: {finding.detail}"
        following = findings[place + 1].fix if place + 1 < len(findings) else ""
        if finding.fix and finding.ok is not True and finding.fix != following:
            yield f"      -> {finding.fix}"
    broken, warned = marks.count(MARK[False]), marks.count(WARN)
    said = f"{broken} to mend" if broken else "Nothing to mend"
    yield f"{said}, {warned} to look at." if warned else f"{said}."


def demo(
    workspace: WorkspaceOption = Path("demo-workspace"),
    hillstrom: Annotated[
        Path | None,
        typer.Option(help="Run on the real Hillstrom e-mail test in this file instead."),
    ] = None,
    weeks: Annotated[int, typer.Option(min=3, max=52, help="Weekly cycles to run.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Which simulated market.")] = 1,
) -> None:
    """Show the whole loop: a market with a known truth, weekly cycles, and what was captured."""
    from liftloop.app.environment import flow_settings, prepare

    place = Workspace(workspace)
    speak_of(place)
    prepare(place, flows=True)
    from flows import cycle  # noqa: F401  loads while the server starts
    from liftloop.app.demo import market as show

    with flow_settings():
        if hillstrom is not None:
            show.run_hillstrom_demo(hillstrom, workspace_root=place.root, say=say)
        else:
            show.run_demo(place.root, weeks=weeks, seed=seed, say=say)
