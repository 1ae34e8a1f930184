"""experiments: those the loop knows, suggesting, starting, stopping and measuring one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liftloop.app.options import (
    ByOption,
    JsonOption,
    WorkspaceOption,
    as_day,
    must_exist,
    opened,
    say,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from liftloop.core.experiments.design import Experiment
    from tasks.experiments.runs import ExperimentPromise
    from tasks.experiments.suggest import Suggested

experiments = typer.Typer(
    invoke_without_command=True,
    help="Show all experiments and lift tests; suggest, start, stop or measure one.",
)
NameArgument = Annotated[str, typer.Argument(help="What the experiment is called.")]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="Know only what was reported before this day.")
]
WeeksOption = Annotated[
    int | None, typer.Option(min=2, max=26, help="How long the test lasts; default: the best.")
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, help="Draws segments or weeks; default: from the plan.")
]
DESIGNS = ("geo", "switch-back")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    experiments.callback(epilog="Example: liftloop experiments --workspace shop")(listed)
    experiments.command(
        "suggest", epilog="Example: liftloop experiments suggest --weeks 4 --workspace shop"
    )(suggest)
    experiments.command(
        "start",
        epilog="Example: liftloop experiments start video-off --channel video --workspace shop",
    )(start)
    experiments.command("show", epilog="Example: liftloop experiments show video-off")(show)
    experiments.command(
        "stop", epilog="Example: liftloop experiments stop video-off --reason 'stock ran out'"
    )(stop)
    experiments.command(
        "measure",
        epilog="Example: liftloop experiments measure video-off --channel video --segments "
        "'north;south' --start 2026-03-02 --end 2026-03-29 --keep --workspace shop",
    )(measure)
    app.add_typer(experiments, name="experiments")


def listed(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Show all experiments and lift tests, or suggest, start, stop or measure one."""
    if context.invoked_subcommand is not None:
        return
    place = opened(workspace)
    from tasks.experiments.listing import listed_tests

    rows = listed_tests(str(place.root))
    if as_json:
        show_json(rows)
        return
    if not rows:
        say(
            "No lift test is known. liftloop experiments suggest plans one, liftloop experiments "
            "start begins it; one that was run elsewhere comes as an `experiments` feed (liftloop "
            "ingest)."
        )
        return
    show_table(
        "Experiments and lift tests, and how much each counts in the model in force",
        (
            "experiment",
            "channel",
            "segments",
            "design",
            "start",
            "days",
            "spend",
            "effect",
            "90 % interval",
            "status",
            "weight",
        ),
        [
            (
                row["experiment"],
                row["channel"],
                row["segments"].replace(";", ", "),
                row["design"],
                row["start"],
                row["days"],
                _money(row["spend_delta"]),
                _money(row["incremental_revenue"]),
                None if row["low"] is None else f"{row['low']:+z,.0f} to {row['high']:+z,.0f}",
                row["status"],
                None if row["weight"] is None else f"{row['weight']:.0%}",
            )
            for row in rows
        ],
    )
    for row in rows:
        if row["why"]:
            say(f"{row['experiment']}: {row['why']}")
        if row["conflict"]:
            say(f"{row['experiment']} counts little: {row['conflict']}")


def _money(value: float | None) -> str | None:
    return None if value is None else f"{value:+z,.0f}"


def suggest(
    workspace: WorkspaceOption = Path("workspace"),
    weeks: WeeksOption = None,
    as_of: AsOfOption = None,
    seed: SeedOption = None,
    calendar: Annotated[
        Path | None,
        typer.Option(help="CSV of days to leave out (date, segment or *, x_promotion, ...)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Suggest the next lift test: what its answer is worth, what it costs, and its power."""
    must_exist(calendar)
    place = opened(workspace)
    from tasks.experiments.results import FEED_COLUMNS, csv_line
    from tasks.experiments.suggest import suggest_tests

    day = as_day(as_of) if as_of else None
    found = suggest_tests(str(place.root), as_of=day, weeks=weeks, seed=seed, calendar=calendar)
    if as_json:
        placebo = found.placebo
        checked = None if placebo is None else {"tests": placebo.tests, "false": placebo.false}
        show_json({"sentence": found.sentence, "tests": found.as_dicts(), "placebo": checked})
        return
    show_table(
        "Lift tests to choose from, the one worth most first (totals of the test)",
        (
            "channel",
            "segments",
            "change",
            "weeks",
            "spend",
            "expected effect",
            "standard error",
            "seen at 80 %",
            "power",
            "measured by",
            "worth",
            "costs",
        ),
        [
            (
                test.channel,
                ", ".join(test.segments),
                "off" if test.change <= -1 else f"{test.change:+z.0%}",
                test.weeks,
                round(test.spend_delta),
                round(test.expected_effect),
                round(test.standard_error),
                round(test.detectable),
                f"{test.power:.0%}",
                test.measured_by,
                None if test.value is None else round(test.value),
                None if test.cost is None else round(test.cost),
            )
            for test in found.tests
        ],
    )
    say(found.sentence)
    best = found.experiment(found.tests[0])
    say(f"liftloop experiments start {best.name} begins it. One run without LiftLoop is reported")
    say("as a row of the experiments feed (liftloop ingest):")
    say(csv_line(FEED_COLUMNS))
    say(found.row(found.tests[0]))


def start(
    name: NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    channel: Annotated[
        str | None, typer.Option(help="Whose spend is changed; default: the best answer's.")
    ] = None,
    segments: Annotated[
        str | None, typer.Option(help="Where, with ; between; default: drawn by the seed.")
    ] = None,
    design: Annotated[
        str | None, typer.Option(help="Of one you describe: geo or switch-back; default: geo.")
    ] = None,
    change: Annotated[
        str | None, typer.Option(help="How far: off, -50% or +30%; default: as suggested.")
    ] = None,
    first: Annotated[str | None, typer.Option("--start", help="The first day.")] = None,
    last: Annotated[str | None, typer.Option("--end", help="The last day.")] = None,
    weeks: WeeksOption = None,
    seed: SeedOption = None,
    as_of: AsOfOption = None,
    by: ByOption = "user",
    as_json: JsonOption = False,
) -> None:
    """Start an experiment: as suggested (NAME, or NAME and --channel), or as you describe it.

    You change the spend on the platforms; LiftLoop holds the budgets of the cells under test, and
    measures the experiment when it is over.
    """
    place = opened(workspace)
    from tasks.experiments.runs import start_experiment
    from tasks.experiments.suggest import suggest_tests

    day = as_day(as_of) if as_of else None
    if any(value is not None for value in (segments, change, first, last, design)):
        planned, promise = _described(
            str(place.root),
            name,
            channel=channel,
            segments=segments,
            design=design,
            change=change,
            first=first,
            last=last,
            weeks=weeks,
            seed=seed,
        )
    else:
        found = suggest_tests(str(place.root), as_of=day, weeks=weeks, seed=seed)
        planned, promise = _suggested(found, name, channel)
    told = start_experiment(str(place.root), planned, promise=promise, actor=by, on=day)
    if as_json:
        show_json({**planned.as_dict(), "sentence": told})
        return
    say(told)
    say(promise.hypotheses)


def _suggested(
    found: Suggested, name: str, channel: str | None
) -> tuple[Experiment, ExperimentPromise]:
    """The suggested test worth most, of a channel where one is named."""
    from liftloop.core.errors import UnknownName

    for test in found.tests:
        if channel in (None, test.channel):
            return found.experiment(test, name), found.promise(test)
    there = ", ".join(sorted({test.channel for test in found.tests}))
    raise UnknownName(f"No test of {channel} is suggested. Channels with one: {there}.")


def _described(
    workspace: str,
    name: str,
    *,
    channel: str | None,
    segments: str | None,
    first: str | None,
    **options: Any,
) -> tuple[Experiment, ExperimentPromise]:
    """The experiment that options describe, and what it is known to show."""
    from liftloop.core.experiments.design import GEO, SWITCH_BACK, Experiment
    from tasks.experiments.describe import describe_test, seed_of

    if options["last"] and options["weeks"]:
        raise typer.BadParameter("--end and --weeks both say how long it lasts: name one of them")
    missing = [
        f"--{option}"
        for option, value in (
            ("channel", channel),
            ("segments", segments),
            ("change", options["change"]),
            ("start", first),
            ("end", options["last"] or options["weeks"]),
        )
        if value is None
    ]
    if channel is None or segments is None or first is None or missing:
        raise typer.BadParameter(
            f"an experiment of your own needs {', '.join(missing)} as well (without --segments, "
            "--design, --change, --start and --end the suggested one is started)"
        )
    begin = as_day(first)
    weeks = options["weeks"]
    end = as_day(options["last"]) if options["last"] else begin + timedelta(days=7 * weeks - 1)
    design = options["design"] or "geo"
    if design not in DESIGNS:
        raise typer.BadParameter(f"--design is {' or '.join(DESIGNS)}, not {design!r}")
    described = Experiment(
        name,
        channel,
        as_segments(segments),
        SWITCH_BACK if design == SWITCH_BACK else GEO,
        as_change(options["change"]),
        begin,
        end,
        seed_of(name, begin) if options["seed"] is None else options["seed"],
    )
    return describe_test(workspace, described)


def as_segments(text: str) -> tuple[str, ...]:
    """The segments of a text, each once.

    >>> as_segments("south; north;")
    ('north', 'south')
    """
    names = tuple(sorted({part.strip() for part in text.split(";")} - {""}))
    if not names:
        raise typer.BadParameter(f"--segments {text!r} names no segment; write 'north;south'")
    return names


def as_change(text: str) -> float:
    """A share from "off", "-50%" or "+0.3".

    >>> as_change("off"), as_change("-50%"), as_change("+0.3")
    (-1.0, -0.5, 0.3)
    """
    word = text.strip().lower().replace(" ", "")
    if word == "off":
        return -1.0
    try:
        share = float(word.removesuffix("%")) / (100.0 if word.endswith("%") else 1.0)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no change; write off, -50% or +30%") from None
    if not -1.0 <= share <= 2.0 or share == 0:
        raise typer.BadParameter(f"{text} is not between -100% and +200%, or changes nothing")
    return share


def show(
    name: NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Show an experiment: its plan, what it can show, and what came of it."""
    place = opened(workspace)
    from tasks.experiments.listing import shown

    found = shown(str(place.root), name)
    if as_json:
        show_json(found)
        return
    promise, result = found["promise"], found["result"]
    far = "off" if found["change"] <= -1 else f"{found['change']:+.0%}"
    say(f"{found['name']}: {found['channel']} {far} in {', '.join(found['segments'])}")
    say(
        f"  design    {found['design']}, seed {found['seed']}"
        + (f", drawn from {promise['sets']} sets" if promise["sets"] > 1 else "")
    )
    changed = ", ".join(f"{first} to {last}" for first, last in found["changed"])
    say(
        f"  days      {found['start']} to {found['end']}, "
        f"{found['days_run']} of {found['days']} run"
    )
    say(f"  changed   {changed}")
    if found["washout_days"]:
        say(f"  wash-out  the first {found['washout_days']} days of a turn are not compared")
    say(f"  tests     {found['hypotheses']}")
    if promise["placebo_rate"] is not None:
        say(f"  checked   {promise['placebo_rate']:.0%} of tests of nothing on the past showed one")
    say(f"  state     {found['state']} (started by {found['by']}). {found['reason']}".rstrip())
    if result:
        say(f"  result    {result['sentence']}")


def stop(
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="Why it is stopped; it stays on record.")],
    workspace: WorkspaceOption = Path("workspace"),
    on: Annotated[
        str | None, typer.Option("--on", help="The first day without the change; default: today.")
    ] = None,
    by: ByOption = "user",
) -> None:
    """Stop an experiment before its last day; what was run is measured by the next cycle."""
    place = opened(workspace)
    from tasks.experiments.runs import stop_run

    day = as_day(on) if on else None
    say(stop_run(str(place.root), name, reason=reason, actor=by, on=day))


def measure(
    name: NameArgument,
    channel: Annotated[
        str | None, typer.Option(help="The channel whose spend was changed.")
    ] = None,
    segments: Annotated[
        str | None, typer.Option(help="Where it was changed, with ; between.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="The test's first day.")] = None,
    end: Annotated[str | None, typer.Option(help="The test's last day.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
    keep: Annotated[
        bool, typer.Option("--keep", help="Put the result into the inbox, for the next cycle.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a lift test from the sales of its segments: one that was started here by its name
    alone, any other by its channel, segments and days."""
    place = opened(workspace)
    from liftloop.core.experiments.design import GEO, Experiment
    from tasks.experiments.results import csv_line, measure_test
    from tasks.experiments.runs import recorded

    if channel and segments and start and end:
        where = as_segments(segments)
        test = Experiment(name, channel, where, GEO, -1.0, as_day(start), as_day(end), 0)
    else:
        known = recorded(str(place.root), name)
        if known is None:
            raise typer.BadParameter(
                f"no experiment {name} was started here: name --channel, --segments, --start and "
                "--end"
            )
        if any((channel, segments, start, end)):
            raise typer.BadParameter(
                f"{name} was started here and is measured by its name alone; another test needs "
                "--channel, --segments, --start and --end"
            )
        test = known
    found = measure_test(str(place.root), test, keep=keep)
    if as_json:
        show_json({**found.row(), "sentence": found.sentence})
        return
    say(found.sentence)
    if keep:
        say("It is in the inbox: the next cycle learns from it (liftloop cycle).")
    else:
        say("As a row of the experiments feed (--keep puts it into the inbox):")
        say(csv_line(found.row()))
        say(csv_line(found.row().values()))
