"""ingest, quarantine: what came in."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from liftloop.app.options import (
    ByOption,
    JsonOption,
    WorkspaceOption,
    for_itself,
    must_exist,
    opened,
    say,
    show_json,
    show_table,
)
from liftloop.core.errors import ConfigurationError

quarantine = typer.Typer(
    invoke_without_command=True,
    help="Rows that broke a rule: show, export, mend, re-admit or discard them.",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: liftloop ingest exports/google.csv --spread --workspace shop")(
        ingest
    )
    quarantine.callback(epilog="Example: liftloop quarantine --workspace shop")(all_of_it)
    for name, words, command in (
        ("list", "--feed sales", listed),
        ("export", "mend.csv", export),
        ("readmit", "mend.csv", readmit),
        ("discard", '--rule spend_not_negative --because "test rows"', discard),
    ):
        example = f"Example: liftloop quarantine {name} {words} --workspace shop"
        quarantine.command(name, epilog=example)(command)
    app.add_typer(quarantine, name="quarantine")


def ingest(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; default: the inbox.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    feed: Annotated[str | None, typer.Option(help="The feed, where the name does not say.")] = None,
    importer: Annotated[
        str | None,
        typer.Option(help="google_ads, meta, tiktok, pinterest, shopify, stripe, ga4..."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option("--map", help="A mapping file for any other table.")
    ] = None,
    spread: Annotated[
        bool, typer.Option(help="Spread rows that span several days evenly over them.")
    ] = False,
    segment: Annotated[str, typer.Option(help="The segment, where an export has none.")] = "all",
    channel: Annotated[
        str | None, typer.Option(help="The channel, where an export has none.")
    ] = None,
    account: Annotated[str, typer.Option(help="The ad account, where an export has none.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="The file replaces all rows of its account-days.")
    ] = False,
    beside: Annotated[
        bool, typer.Option("--beside", help="The file adds to what is stored of its days.")
    ] = False,
    decimal: Annotated[
        Literal["comma", "point"] | None,
        typer.Option(help="How the file writes decimals, where its numbers do not say."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only rows with COLUMN=VALUE (or COLUMN!=VALUE)."),
    ] = None,
    parts: Annotated[
        list[str] | None,
        typer.Option(help="A column whose rows are parts of a whole: add them."),
    ] = None,
    day_order: Annotated[
        str, typer.Option(help="day-first or month-first, for days such as 09/01/2026.")
    ] = "",
    outcome_days: Annotated[
        int,
        typer.Option(
            min=0,
            help="User-level tests: over how many days outcomes and cost count.",
            show_default=False,
        ),
    ] = 0,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A Python file that registers more importers.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take files in through the quality gates. Delivering the same file twice changes nothing."""
    must_exist(*(paths or ()), mapping, *(plugin or ()))
    stands = _stands(replace, beside, "a file that replaces all rows of its account-days")
    place = opened(workspace)
    from liftloop.adapters.facts.summaries import summary_lines
    from liftloop.adapters.importers import ImportOptions
    from liftloop.adapters.importers.tables.dayorder import checked_order
    from liftloop.adapters.prefect_server import server_named
    from liftloop.app.environment import flow_settings
    from liftloop.app.progress import progress_bar
    from tasks.evidence import ingest as steps

    run: Any
    if server_named():
        from flows.ingest import ingest as run
    else:
        from tasks.evidence.ingest import ingest as run

    options = ImportOptions(
        feed=feed,
        importer=importer,
        mapping=mapping,
        spread=spread,
        segment=segment,
        channel=channel,
        account=account,
        stands=stands,
        decimal=decimal or "",
        where=tuple(where or ()),
        parts=tuple(name.strip().lower() for name in parts or ()),
        day_order=checked_order(day_order),
        outcome_days=outcome_days,
        plugins=tuple(plugin or ()),
    )
    with flow_settings(), progress_bar("Taking in files") as progress:
        steps.progress.set(progress)
        summaries = run(str(place.root), [str(path) for path in paths or ()] or None, options)
    if as_json:
        show_json([summary.as_dict() for summary in summaries])
    elif not summaries:
        looked = f"no files in {', '.join(map(str, paths))}" if paths else "the inbox is empty"
        say(f"Nothing to take in: {looked}.")
    else:
        for line in summary_lines(summaries):
            say(line)
        if any(summary.waiting for summary in summaries):
            say("What is in quarantine, and how to mend it: liftloop quarantine")
    if not all(summary.is_taken_in for summary in summaries):
        raise typer.Exit(2)


def _stands(replace: bool, beside: bool, whole: str) -> Literal["", "replace", "beside"]:
    if replace and beside:
        raise ConfigurationError(
            "--replace and --beside contradict each other.",
            fix=f"use --replace for {whole}, --beside for what adds to it.",
        )
    return "replace" if replace else "beside" if beside else ""


FeedOption = Annotated[str | None, typer.Option(help="Only rows of this feed.")]


LimitOption = Annotated[int, typer.Option(min=1, max=10_000_000, help="Rows to show.")]


def _must_be_a_feed(feed: str | None) -> None:
    from liftloop.core.feeds.declared import FEEDS

    if feed is not None and feed not in FEEDS:
        raise ConfigurationError(
            f"There is no feed {feed!r}.", fix=f"use one of {', '.join(FEEDS)}."
        )


def all_of_it(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    feed: FeedOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """Rows that broke a rule: show, export, mend and re-admit them. Without a command, show."""
    if for_itself(context):
        listed(workspace=workspace, feed=feed, limit=limit, as_json=as_json)


def listed(
    workspace: WorkspaceOption = Path("workspace"),
    feed: FeedOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the open rows and the rules they broke."""
    _must_be_a_feed(feed)
    place = opened(workspace)
    from liftloop.adapters.facts.quarantine import open_counts, open_rows
    from liftloop.app.views import engine_of

    engine = engine_of(place)
    found = open_rows(engine, feed=feed, limit=limit).to_dict("records")
    counts = open_counts(engine)
    if as_json:
        show_json({"counts": counts, "rows": found})
        return
    if not found:
        say(f"The quarantine has no {feed} rows." if feed else "The quarantine is empty.")
        return
    show_table(
        "Rows in quarantine",
        ("delivery", "row", "feed", "file", "rules", "row as received"),
        [tuple(row.values()) for row in found],
    )
    for name, rules in counts.items():
        said = ", ".join(f"{rule} {rows:,}" for rule, rows in rules.items())
        say(f"{name}: {said}")
    say(
        "Mend them: liftloop quarantine export mend.csv, then liftloop quarantine readmit. "
        "Rows that are wrong for good: liftloop quarantine discard"
    )


def export(
    path: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    workspace: WorkspaceOption = Path("workspace"),
    feed: FeedOption = None,
) -> None:
    """Write the open rows to a CSV file, to be mended there."""
    _must_be_a_feed(feed)
    place = opened(workspace)
    from liftloop.adapters.facts.quarantine import export_rows
    from liftloop.app.views import engine_of

    rows = export_rows(engine_of(place), path, feed=feed)
    if not rows:
        say(f"Nothing to mend: no row is in quarantine. {path} has the header alone.")
        return
    said = "1 row" if rows == 1 else f"{rows:,} rows"
    again = f"liftloop quarantine readmit {shlex.quote(str(path))}"
    say(f"{said} written to {path}. Mend them there, then: {again}")


def readmit(
    path: Annotated[
        Path | None,
        typer.Argument(help="The mended export; without it, all open rows are judged again."),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    feed: FeedOption = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="The rows replace stored ones that report the same money."),
    ] = False,
    beside: Annotated[
        bool, typer.Option("--beside", help="The rows add to what is stored of their days.")
    ] = False,
    by: ByOption = "operator",
    as_json: JsonOption = False,
) -> None:
    """Judge rows again, mended or under a changed configuration; those that pass are stored."""
    _must_be_a_feed(feed)
    must_exist(path)
    stands = _stands(replace, beside, "rows that stand for what tells the same money")
    place = opened(workspace)
    from liftloop.adapters.doctor.account_checks import refuse_renamed_money
    from liftloop.adapters.facts.deliveries import account_of
    from liftloop.adapters.facts.quarantine import open_counts
    from liftloop.adapters.facts.readmission import readmit as act
    from liftloop.adapters.facts.recording import Intake
    from liftloop.adapters.facts.rejudging import judge_again
    from liftloop.adapters.facts.summaries import summary_lines
    from liftloop.app.views import engine_of
    from liftloop.settings.schema import load_settings

    engine = engine_of(place)
    account = account_of(load_settings(place).account)
    intake = Intake(place, engine, account, by)
    refuse_renamed_money(place, engine=engine, account=account, actor=by)
    found = []
    if path is None:
        found += judge_again(intake, feed=feed)
    found += act(intake, mended=path, feed=feed, stands=stands)
    if as_json:
        show_json([summary.as_dict() for summary in found])
        return
    for line in summary_lines(found):
        say(line)
    waiting = bool(open_counts(engine))
    if found and waiting:
        say("Other rows are still in quarantine: liftloop quarantine")
    elif not found and not waiting:
        say("Nothing to re-admit: the quarantine is empty.")
    elif not found:
        say(
            "Nothing was re-admitted: no open row keeps the rules. liftloop quarantine says what "
            "each one breaks."
        )


def discard(
    path: Annotated[
        Path | None, typer.Argument(help="An export: the rows it names. Or choose by options.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    feed: FeedOption = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that broke this rule.")] = None,
    delivery: Annotated[str | None, typer.Option(help="Only rows of this delivery.")] = None,
    because: Annotated[
        str, typer.Option(help="Why nothing of them is stored, for the audit trail.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: ByOption = "operator",
    as_json: JsonOption = False,
) -> None:
    """Close rows for good: nothing of them is ever stored. A row must be in all that is named."""
    _must_be_a_feed(feed)
    must_exist(path)
    if path is None and feed is None and rule is None and delivery is None:
        raise ConfigurationError(
            "Which rows?", fix="name them with --feed, --rule or --delivery, or by an export."
        )
    if not because.strip():
        raise ConfigurationError(
            "Rows are not discarded without a reason.", fix='say why: --because "TEXT".'
        )
    place = opened(workspace)
    from liftloop.adapters.facts.deliveries import taking_in
    from liftloop.adapters.facts.discarding import Wanted, chosen_rows
    from liftloop.adapters.facts.quarantine import discard_rows
    from liftloop.app.views import engine_of

    engine = engine_of(place)
    chosen = chosen_rows(engine, Wanted(feed, rule, delivery, path))
    if chosen.rows and not yes:
        if as_json or not sys.stdin.isatty():
            raise ConfigurationError(
                f"{chosen.sentence} Nobody confirmed it, and nothing was changed.",
                fix="add --yes to discard them.",
            )
        say(chosen.sentence)
        if not typer.confirm("Discard them?"):
            say("Nothing was changed.")
            raise typer.Exit(1)
    with taking_in(place):
        closed = discard_rows(engine, chosen.rows, actor=by, because=because.strip())
    if as_json:
        show_json({"discarded": closed})
    elif closed:
        rows = "1 row" if closed == 1 else f"{closed:,} rows"
        say(f"{rows} discarded: nothing of them is stored. Recorded by {by}: {because}")
    else:
        say("Nothing to discard: no open row is in all that is named.")
