"""budgets, rollouts, report, audit, dashboard: what the loop did, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from liftloop.app.options import (
    JsonOption,
    WorkspaceOption,
    as_day,
    opened,
    show_json,
    show_table,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: liftloop budgets --workspace shop --json")(budgets)
    app.command(epilog="Example: liftloop rollouts --workspace shop")(rollouts)
    app.command(epilog="Example: liftloop report --workspace shop")(report)
    app.command(epilog="Example: liftloop audit --export trail.csv --workspace shop")(audit)
    app.command(epilog="Example: liftloop dashboard --port 8501 --workspace shop")(dashboard)


def budgets(
    workspace: WorkspaceOption = Path("workspace"),
    decisions: Annotated[bool, typer.Option(help="List all decisions instead.")] = False,
    put: Annotated[
        Path | None,
        typer.Option("--set", help="Put the budgets of a CSV file in force."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="The first day of --set; default: tomorrow.")
    ] = None,
    by: Annotated[str, typer.Option("--by", envvar="LIFTLOOP_ACTOR")] = "operator",
    weeks: Annotated[
        int | None, typer.Option(min=1, max=104, help="Preview the plan of so many weeks instead.")
    ] = None,
    shift: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="--weeks: share of a week's total that other weeks may get."
        ),
    ] = 0.0,
    calendar: Annotated[
        Path | None,
        typer.Option(help="--weeks: CSV of known days ahead: date, segment (* for all), x_..."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the budgets in force with what they are expected to earn, set them by hand, or preview
    the weeks to come."""
    place = opened(workspace)
    if weeks is not None:
        _preview(place.root, weeks=weeks, shift=shift, calendar=calendar, as_json=as_json)
        return
    from liftloop.app import views

    if put is not None:
        from tasks.acts import set_budgets

        day = as_day(start) if start else None
        typer.echo(set_budgets(str(place.root), put, start=day, actor=by))
        return
    if decisions:
        found = views.decisions(place)
        rows = [
            (d["id"], d["effective_from"], d["kind"], d["state"], d["policy_version"], d["reason"])
            for d in found
        ]
        columns = ("decision", "from", "kind", "state", "policy", "reason")
        show_json(found) if as_json else show_table("Decisions, the last one first", columns, rows)
        return
    head, lines = views.budgets_in_force(place)
    if head is None:
        show_json(None) if as_json else typer.echo("No budgets were decided yet: liftloop cycle.")
        return
    if as_json:
        show_json({**head, "budgets": lines})
        return
    show_table(
        f"Budgets in force from {head['effective_from']} ({head['id']})",
        ("segment", "channel", "a day", "before", "stage", "expected", "low", "high", "why"),
        [
            (
                line["segment"],
                line["channel"],
                line["daily_budget"],
                line["previous_daily_budget"],
                line["stage"],
                line["expected_incremental_revenue"],
                line["expected_low"],
                line["expected_high"],
                line["reason"],
            )
            for line in lines
        ],
    )


def _preview(root: Path, *, weeks: int, shift: float, calendar: Path | None, as_json: bool) -> None:
    from liftloop.core.horizon_words import named_moves
    from tasks.horizon import PREVIEW, preview_horizon

    found = preview_horizon(str(root), weeks=weeks, shift=shift, calendar=calendar)
    if as_json:
        show_json(found.as_dict())
        return
    before, rows = found.incumbent, []
    for period in found.plan.periods:
        rows.append(
            (
                period.start.isoformat(),
                period.policy.total,
                round(period.demand, 2),
                *(round(value) for value in
                  (period.revenue.mean, period.revenue.low, period.revenue.high)),
                named_moves(period.policy, before=before),
            )
        )  # fmt: skip
        before = period.policy
    show_table(
        f"Plan of {weeks} weeks, amounts a day",
        ("from", "total", "demand", "expected", "low", "high", "largest changes"),
        rows,
    )
    typer.echo(found.plan.sentence)
    for sentence in found.held:
        typer.echo(sentence)
    typer.echo(found.note)
    typer.echo(PREVIEW)


def rollouts(
    workspace: WorkspaceOption = Path("workspace"),
    steps: Annotated[bool, typer.Option(help="List every step, also of ended rollouts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show each rollout: stage, segments, evidence, guardrails, what would promote it, what would
    roll it back, and the money at risk."""
    place = opened(workspace)
    from liftloop.app import views
    from liftloop.app.rollout_words import rollout_lines

    found = views.rollouts(place)
    if as_json:
        show_json(found)
        return
    if not found:
        typer.echo("No rollout yet.")
    for one in found:
        for line in rollout_lines(one, steps=steps):
            typer.echo(line)


def report(
    workspace: WorkspaceOption = Path("workspace"),
    day: Annotated[
        str | None, typer.Option("--as-of", metavar="DATE", help="Default: the last decision.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last decision's message, and say where its page lies."""
    place = opened(workspace)
    from liftloop.app import views

    found = views.last_report(place, as_day(day) if day else None)
    if found is None:
        words = (
            f"Nothing was decided for {day}. liftloop budgets --decisions lists what was."
            if day
            else "Nothing was decided yet: liftloop cycle."
        )
        show_json(None) if as_json else typer.echo(words)
    elif as_json:
        show_json(found)
    else:
        typer.echo(found["text"])
        if found["worth"] and "Gained so far" not in found["text"]:
            typer.echo(f"Gained so far: {found['worth']['sentence']}")
        for title, page in zip(found["page_titles"], found["pages"], strict=True):
            typer.echo(f"{title}: {page}")


def audit(
    workspace: WorkspaceOption = Path("workspace"),
    export: Annotated[
        Path | None, typer.Option(help="Write the whole trail to this file (.csv or .json).")
    ] = None,
    known_hash: Annotated[
        str | None, typer.Option(help="A hash noted earlier: it must still be in the trail.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="Entries to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Verify the audit trail, entry by entry, and show or export it. Exit status 1 if broken."""
    place = opened(workspace)
    from liftloop.app import views

    verdict, entries = views.audit(place, known_hash=known_hash, last=last)
    if export is not None:
        views.export_audit(place, export)
    if as_json:
        show_json({"verdict": verdict, "entries": entries})
    else:
        show_table(
            "Audit trail, the last entries",
            ("no", "at", "who", "act", "subject", "says"),
            [
                (e["sequence"], e["at"], e["actor"], e["act"], e["subject"], _says(e["payload"]))
                for e in entries
            ],
        )
        typer.echo(verdict["sentence"])
        if export is not None:
            typer.echo(f"Written: {export}")
    if not verdict["intact"]:
        raise typer.Exit(1)


def _says(payload: str) -> str:
    said = json.loads(payload)
    words = said.get("reason") or said.get("summary") or ", ".join(map(str, said.values()))
    return str(words)[:160]


def dashboard(
    workspace: WorkspaceOption = Path("workspace"),
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    headless: Annotated[bool, typer.Option(help="Open no browser.")] = False,
) -> None:
    """Serve the page of spend, budgets and predicted returns on this machine."""
    place = opened(workspace)
    from liftloop.app.dashboard import launch

    launch(place.root, port=port, headless=headless)
