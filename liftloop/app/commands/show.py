"""budgets, rollouts, report, dashboard: what the loop did, and why."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

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


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: liftloop budgets --workspace shop --json")(budgets)
    app.command(epilog="Example: liftloop rollouts --workspace shop")(rollouts)
    app.command(epilog="Example: liftloop report --workspace shop")(report)
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
    by: ByOption = "operator",
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
    must_exist(put, calendar)
    if weeks is None and (calendar is not None or shift):
        raise typer.BadParameter("--shift and --calendar belong to a preview: add --weeks 13")
    if put is None and start is not None:
        raise typer.BadParameter("--from is the first day of --set FILE: name the file, too")
    place = opened(workspace)
    if weeks is not None:
        _preview(place.root, weeks=weeks, shift=shift, calendar=calendar, as_json=as_json)
        return
    from liftloop.app import views

    if put is not None:
        from tasks.operate.budget_acts import set_budgets

        day = as_day(start) if start else None
        say(set_budgets(str(place.root), put, start=day, actor=by))
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
        words = (
            "No budgets were decided yet: liftloop cycle decides, liftloop budgets --set FILE "
            "sets them."
        )
        show_json(None) if as_json else say(words)
        return
    says, wanted = views.total_in_force(place)
    if as_json:
        show_json({**head, "total_says": says, "budgets": lines})
        return
    from liftloop.settings.schema import load_settings

    settings = load_settings(place)
    currency = settings.account.currency
    for sentence in says:
        say(sentence)
    _show_budgets(head, lines, currency=currency)
    total = sum((Decimal(line["daily_budget"]) for line in lines), Decimal(0))
    gap = _gap(wanted, total, currency)
    if gap and settings.budget.total_is != "ceiling":
        say(gap)


def _gap(wanted: Decimal | None, total: Decimal, currency: str) -> str:
    """How the set total differs from the budgets in force, in a sentence; "" where it does not."""
    if wanted is None or wanted == total:
        return ""
    from liftloop.core.money.currencies import amount_words

    gap = amount_words(abs(wanted - total), currency)
    return (
        f"The total is set to {amount_words(wanted, currency)} a day: {gap} "
        f"{'more' if wanted > total else 'less'} than these budgets."
    )


def _show_budgets(head: dict[str, Any], lines: list[dict[str, Any]], *, currency: str) -> None:
    """The budgets with their total. A reason that holds for every cell is said once, below."""
    reasons = {line["reason"] for line in lines}
    once = len(reasons) == 1 and len(lines) > 1
    rows: list[list[Any]] = [
        [
            line["segment"],
            line["channel"],
            Decimal(line["daily_budget"]),
            Decimal(line["previous_daily_budget"]),
            line["stage"].replace("_", " "),
            _whole(line["expected_incremental_revenue"]),
            _interval(line["expected_low"], line["expected_high"]),
            *([] if once else [line["reason"]]),
        ]
        for line in lines
    ]
    known = [row[5] for row in rows if row[5] is not None]
    total = ["total", "", sum(row[2] for row in rows), sum(row[3] for row in rows), ""]
    total += [sum(known) if known else None, "", *([] if once else [""])]
    show_table(
        f"Budgets in force from {head['effective_from']} ({head['id']}), {currency} a day",
        (
            "segment",
            "channel",
            "budget a day",
            "before",
            "stage",
            "expected incremental revenue a day",
            "90 % interval",
            *([] if once else ["why"]),
        ),
        rows,
        total=total,
    )
    if once:
        say(f"Why, for all cells: {reasons.pop()}")


def _whole(amount: Any) -> int | None:
    return None if amount is None else round(float(amount))


def _interval(low: Any, high: Any) -> str:
    return "" if low is None or high is None else f"{_whole(low):,} to {_whole(high):,}"


def _preview(root: Path, *, weeks: int, shift: float, calendar: Path | None, as_json: bool) -> None:
    from liftloop.core.horizon.words import named_moves
    from tasks.decision.horizon import PREVIEW, preview_horizon

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
                *(
                    round(value)
                    for value in (period.revenue.mean, period.revenue.low, period.revenue.high)
                ),
                named_moves(period.policy, before=before),
            )
        )
        before = period.policy
    show_table(
        f"Plan of {weeks} weeks, amounts a day",
        ("from", "total", "demand", "expected", "low", "high", "largest changes"),
        rows,
    )
    say(found.plan.sentence)
    for sentence in found.held:
        say(sentence)
    say(found.note)
    say(PREVIEW)


def rollouts(
    workspace: WorkspaceOption = Path("workspace"),
    steps: Annotated[
        bool, typer.Option(help="Add the history: every step with its reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show each rollout: which plan is in force where, what is at risk, what was measured and
    proven, and what would move it forward, slow it or take it back."""
    place = opened(workspace)
    from liftloop.app import views
    from liftloop.reporting.rollout_text import rollout_lines

    if as_json:
        show_json(views.rollouts(place))
        return
    found = views.rollout_summaries(place)
    if not found:
        say("No rollout yet.")
    for rollout_id, one in found:
        for line in rollout_lines(rollout_id, one, steps=steps):
            say(line)


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
        show_json(None) if as_json else say(words)
    elif as_json:
        show_json(found)
    else:
        say(found["text"])
        if found["worth"] and "Gained so far" not in found["text"]:
            say(f"Gained so far: {found['worth']['sentence']}")
        for title, page in zip(found["page_titles"], found["pages"], strict=True):
            say(f"{title}: {page}")


def dashboard(
    workspace: WorkspaceOption = Path("workspace"),
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    headless: Annotated[bool, typer.Option(help="Open no browser.")] = False,
) -> None:
    """Serve the page of spend, budgets and predicted returns on this machine."""
    place = opened(workspace)
    from liftloop.app.dashboard.page import launch

    launch(place.root, port=port, headless=headless)
