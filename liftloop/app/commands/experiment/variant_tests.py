"""tests: short tests of creatives, bids or audiences inside a cell."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zlib import crc32

import typer

from liftloop.app.options import (
    ByOption,
    JsonOption,
    WorkspaceOption,
    as_day,
    for_itself,
    opened,
    say,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    pass

tests = typer.Typer(
    invoke_without_command=True,
    help="Show the tests inside cells; plan and start, show, read or stop one.",
)
NameArgument = Annotated[str, typer.Argument(help="What the test is called.")]
METRICS = ("conversions", "revenue", "profit")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    tests.callback(epilog="Example: liftloop tests --workspace shop")(listed)
    tests.command(
        "new",
        epilog="Example: liftloop tests new hero --segments 'north;south' --channel social "
        "--variants 'old;new' --hypothesis 'A face sells more than a product.' "
        "--smallest 0.1 --start 2026-03-02 --workspace shop",
    )(new)
    tests.command("show", epilog="Example: liftloop tests show hero --workspace shop")(show)
    tests.command("read", epilog="Example: liftloop tests read --as-of 2026-03-09")(read)
    tests.command(
        "fatigue", epilog="Example: liftloop tests fatigue --refresh-cost 400 --workspace shop"
    )(fatigue)
    tests.command("stop", epilog="Example: liftloop tests stop hero --reason 'the offer ended'")(
        stop
    )
    tests.command(
        "add", epilog="Example: liftloop tests add hero --variant summer --workspace shop"
    )(add)
    tests.command(
        "drop", epilog="Example: liftloop tests drop hero --variant old-2 --workspace shop"
    )(drop)
    app.add_typer(tests, name="tests")


def listed(
    context: typer.Context,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Show the tests inside cells, or plan and start, show, read or stop one."""
    if not for_itself(context):
        return
    place = opened(workspace)
    from tasks.variant_tests.listing import listed_tests

    rows = listed_tests(str(place.root))
    if as_json:
        show_json(rows)
    elif rows:
        columns = ("test", "channel", "segments", "state", "days", "shares", "reading")
        show_table(
            "Tests inside cells, the newest first",
            columns,
            [[row[c] for c in columns] for row in rows],
        )
    else:
        say("No test is known. liftloop tests new plans and starts one.")


def new(
    name: NameArgument,
    channel: Annotated[str, typer.Option(help="The channel inside which it runs.")],
    variants: Annotated[
        str, typer.Option(help="The variants, ; between; the first is the one compared with.")
    ],
    hypothesis: Annotated[str, typer.Option(help="What you suppose, in a sentence.")],
    workspace: WorkspaceOption = Path("workspace"),
    segments: Annotated[
        str | None, typer.Option(help="Its segments, ; between; default: all of the channel.")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="What is to grow: conversions, revenue (a unit) or profit (a unit of spend)."
        ),
    ] = "conversions",
    smallest: Annotated[
        float, typer.Option(help="The smallest relative effect worth acting on: 0.05 is 5 %.")
    ] = 0.05,
    assigned_by: Annotated[
        str, typer.Option(help="What is assigned at random: user, geo or time.")
    ] = "user",
    acting: Annotated[
        str,
        typer.Option(
            help="split: the shares follow what is learned; even: only a winner moves them."
        ),
    ] = "split",
    delay_days: Annotated[
        int, typer.Option(min=0, max=60, help="Days until a unit's outcomes are complete.")
    ] = 0,
    ads: Annotated[
        str, typer.Option(help="What the platform calls each variant (ad ids), ; between.")
    ] = "",
    start: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Start it on this day; without: only show the plan."),
    ] = None,
    days: Annotated[int, typer.Option(min=7, max=365, help="It runs at most so long.")] = 56,
    by: ByOption = "operator",
    as_json: JsonOption = False,
) -> None:
    """Plan a test: how long it takes, what it costs, what it collides with. With --start it is
    recorded and its shares go to the outbox."""
    place = opened(workspace)
    from liftloop.core.variant_tests.plan import Acting, AssignedBy, VariantTest
    from liftloop.reporting.variant_tests import expected_rows, metric_named, shares_words
    from tasks.context import open_loop
    from tasks.variant_tests.planning import plan_test, segments_of
    from tasks.variant_tests.runs import start_test

    _one_of("--metric", metric, METRICS)
    _one_of("--assigned-by", assigned_by, tuple(kind.value for kind in AssignedBy))
    _one_of("--acting", acting, tuple(kind.value for kind in Acting))
    loop = open_loop(place.root)
    first = as_day(start) if start else loop.today() + timedelta(days=1)
    test = VariantTest(
        name=name.strip(),
        hypothesis=hypothesis,
        segments=_names(segments or "") or segments_of(loop, channel),
        channel=channel,
        variants=_names(variants),
        metric=metric_named(metric),
        smallest_effect=smallest,
        start=first,
        last=first + timedelta(days=days - 1),
        assigned_by=AssignedBy(assigned_by),
        acting=Acting(acting),
        delay_days=delay_days,
        ads=_names(ads),
        seed=crc32(f"{name}{first}".encode()),
    )
    plan = plan_test(str(place.root), test)
    started = None
    if start:
        started = start_test(str(place.root), plan.test, design=plan.design_values, actor=by)
    if as_json:
        show_json(
            {
                **plan.test.as_dict(),
                "design": plan.design_values,
                "sentences": list(plan.sentences),
                "shares": (started.shares if started else plan.test.first_shares).as_dict(),
                "file": started.file if started else None,
            }
        )
        return
    for sentence in plan.sentences:
        say(sentence)
    if started is None:
        say(f"Nothing is recorded yet: the same with --start {first} starts it.")
        return
    words = "Started" if started.is_new else "Started already"
    say(
        f"{words}: {name}, {first} to {test.last} at most. Set these shares on the platform: "
        f"{shares_words(started.shares)} (outbox/{started.file})."
    )
    say(expected_rows(test))


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise typer.BadParameter(f"{option} {value!r}: use {', '.join(known)}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def show(
    name: NameArgument, workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False
) -> None:
    """Show one test: what was supposed, how it reads from day to day, and what came of it."""
    place = opened(workspace)
    from tasks.variant_tests.listing import shown_test

    found = shown_test(str(place.root), name)
    if as_json:
        show_json(found)
        return
    _say_plan(found)
    show_table(
        "Its reviews",
        ("day", "verdict", "shares", "reading"),
        [
            [one["as_of"], one["verdict"], one["shares"], one["sentence"]]
            for one in found["reviews"]
        ],
    )


def _say_plan(found: dict[str, Any]) -> None:
    plan = found["plan"]
    say(f"{found['test']} ({found['state']}): {plan['hypothesis']}")
    variants, segments = " against ".join(plan["variants"]), ", ".join(plan["segments"])
    say(
        f"{variants} in {plan['channel']}, {segments}; {plan['metric']}; {plan['start']} to "
        f"{plan['last']} at most."
    )
    if found["reason"]:
        say(found["reason"])


def read(
    workspace: WorkspaceOption = Path("workspace"),
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Know only what was reported before this day.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read the tests that run, and bring their shares to the outbox; the cycle does so as well."""
    place = opened(workspace)
    from tasks.context import open_loop, resolve
    from tasks.variant_tests.review import review_running_tests

    folder, day = resolve(str(place.root), as_day(as_of) if as_of else None)
    if day > open_loop(folder).today():
        raise typer.BadParameter(f"{day} is still to come: nothing is known of it")
    found = review_running_tests(folder, day)
    if as_json:
        show_json([one.as_dict() for one in found])
        return
    for one in found:
        say(f"{one.test}: {one.sentence}" + (f" See outbox/{one.file}." if one.file else ""))
    if not found:
        say("No test runs.")


VariantOption = Annotated[str, typer.Option(help="The variant's name.")]


def add(
    name: NameArgument,
    variant: VariantOption,
    ad: Annotated[str, typer.Option(help="What the platform calls it (an ad id).")] = "",
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
) -> None:
    """Let a variant join a running test: it starts with what its siblings earn, and a protected
    share for two weeks."""
    place = opened(workspace)
    from tasks.variant_tests.runs import change_test

    say(change_test(str(place.root), name, variant=variant, ad=ad, actor=by))


def drop(
    name: NameArgument,
    variant: VariantOption,
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
) -> None:
    """Let a variant leave a running test; its share goes to the others."""
    place = opened(workspace)
    from tasks.variant_tests.runs import change_test

    say(change_test(str(place.root), name, variant=variant, gone=True, actor=by))


def stop(
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")],
    workspace: WorkspaceOption = Path("workspace"),
    by: ByOption = "operator",
) -> None:
    """Stop a test; its variants keep their shares."""
    place = opened(workspace)
    from tasks.variant_tests.runs import stop_test

    say(stop_test(str(place.root), name, reason=reason, actor=by))


def fatigue(
    workspace: WorkspaceOption = Path("workspace"),
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Know only what was reported before this day.")
    ] = None,
    days: Annotated[int, typer.Option(min=21, max=365, help="Days that are looked at.")] = 90,
    refresh_cost: Annotated[
        float, typer.Option(min=0, help="What a new version of a creative costs.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Show which creatives tire: a response that falls with their own exposure, beside siblings of
    the channel; when a refresh pays, and which cap would."""
    place = opened(workspace)
    from liftloop.reporting.tired_creatives import COLUMNS, row_of, values_of
    from tasks.context import open_loop
    from tasks.variant_tests.fatigue import tired_creatives

    loop = open_loop(place.root)
    day = as_day(as_of) if as_of else loop.today()
    found = tired_creatives(loop, as_of=day, days=days, refresh_cost=refresh_cost)
    if as_json:
        show_json([values_of(one) for one in found])
    elif found:
        show_table("Creatives, those that tire first", COLUMNS, [row_of(one) for one in found])
        say("By the platforms' own counts, each creative beside the others of its channel.")
    else:
        say("No channel has two creatives that were shown enough (performance feed, creative).")
