"""review: how a month went, on one page."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from liftloop.reporting.pages.review_page import Review


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: liftloop review --month 2026-03 --workspace shop")(review)


def review(
    workspace: WorkspaceOption = Path("workspace"),
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="Default: the month of the last decision."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Review a month: what was gained, what came out otherwise than expected, what was learned,
    what is open, what waits, and what another objective would have decided. Writes a page."""
    day = _month(month) if month else None
    place = opened(workspace)
    from tasks.context import open_loop
    from tasks.report.review import review_of, write_review

    loop = open_loop(place.root)
    found = review_of(loop, day)
    page = write_review(loop, found)
    if as_json:
        show_json(found.as_dict() | {"page": page})
        return
    _show(found)
    say(f"The page: {place.root / page}")


def _month(text: str) -> date:
    try:
        return as_day(f"{text}-01")
    except typer.BadParameter:
        raise typer.BadParameter(f"{text!r} is not a month; write it as 2026-03") from None


def _show(found: Review) -> None:
    unit = found.currency
    say(f"{found.title}")
    say(f"Gained so far: {found.gained}")
    if found.decisions:
        show_table(
            "Decisions that moved money",
            ("decision", "from", f"expected {unit} a day", "what was measured"),
            [
                (
                    one.id,
                    one.effective_from.isoformat(),
                    f"{one.expected.mean:+z,.0f}" if one.expected else "",
                    one.realized.sentence(unit) if one.realized else "not measured",
                )
                for one in found.decisions
            ],
        )
    for title, lines in (
        ("Deviations", [one.sentence for one in found.deviations]),
        ("Lessons and results", [f"{one.text} [{one.id}]" for one in found.lessons]),
        ("Open questions", [f"{one.text} [{one.id}]" for one in found.questions]),
        ("What waits", [" ".join(filter(None, one)) for one in found.waiting]),
        ("With another objective", list(found.otherwise)),
    ):
        say(f"{title}:{'' if lines else ' nothing.'}")
        for line in lines:
            say(f"  {line}")
