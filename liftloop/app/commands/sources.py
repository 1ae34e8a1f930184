"""sources: what each channel's estimate rests on, and the test that would tell more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    as_day,
    opened,
    say,
    show_json,
    show_table,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop sources --workspace shop")(sources)


def sources(
    workspace: WorkspaceOption = Path("workspace"),
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Know only what was reported before this day.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is known of each channel, how surely, and what that rests on."""
    place = opened(workspace)
    from tasks.report.evidence_sources import evidence_sources

    found = evidence_sources(str(place.root), as_of=as_day(as_of) if as_of else None)
    words = found.words
    if as_json:
        show_json(
            {"sentence": found.sentence, "channels": [row.as_dict() for row in found.channels]}
        )
        return
    show_table(
        "What each channel returns per unit of spend, and how that is known",
        ("channel", "spend a day", words.return_label, "90 % interval", "rests on"),
        [
            (
                row.channel,
                round(row.spend),
                None if row.iroas is None else words.returns(row.iroas),
                None if row.low is None or row.high is None else words.interval(row.low, row.high),
                row.words,
            )
            for row in found.channels
        ],
    )
    tests = [row for row in found.channels if row.test is not None]
    if tests:
        say("The test that would tell most of each channel:")
    for row in tests:
        assert row.test is not None
        say(f"  {row.channel}: {row.test.act}, from {row.start}")
    say(found.sentence)
