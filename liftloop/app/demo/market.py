"""``liftloop demo``: a small market with a known truth, and the real loop running on it.

The market's feeds go into the inbox as files, the cycles are the production flow, and the budgets
that the market spends are read from the outbox: nothing is short-circuited.

The market lives in dates of its own, since its noise is drawn by date; what it reports is moved by
whole weeks, so that the last decision takes effect on the latest Monday and facts end yesterday.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pandas as pd

from liftloop.adapters import clock
from liftloop.adapters.files.outbox import read_budgets
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.initialise import default_configuration, init_workspace
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.app.demo.report import (
    DemoSummary,
    Expectation,
    covered_cells,
    market_report,
    total_moves,
)
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import BudgetLine, Cell
from liftloop.markets.families import DemoMarket
from liftloop.markets.scoring import compare
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

CYCLE_DAYS = 7
MARKER = "demo.json"

RunCycle = Callable[[Path, date], object]
Ingest = Callable[[Path], object]
Say = Callable[[str], None]


def run_demo(
    workspace_root: Path,
    *,
    weeks: int,
    seed: int,
    say: Say,
    run_cycle: RunCycle | None = None,
    ingest: Ingest | None = None,
) -> DemoSummary:
    """Run ``weeks`` weekly cycles on the demo market and tell what came of it.

    The same seed and weeks in the same folder go on where an interrupted demo stopped, on the
    dates that it began with.

    Parameters
    ----------
    run_cycle
        What runs one cycle, (workspace, as of); by default the production flow.
    ingest
        What takes the inbox in at the end, so that facts reach up to yesterday; by default the
        production step.

    Raises
    ------
    ConfigurationError
        If the folder holds another demo or a workspace of somebody's own.
    """
    today = clock.now().date()
    workspace, first = _open(Workspace(workspace_root), weeks=weeks, seed=seed, today=today)
    cycle = run_cycle or _production_cycle
    market = DemoMarket(seed)
    later = first - market.start
    days = (market.start - min(market.history()["sales"]["date"])).days
    say(
        f"A market of {len(market.constants.segments)} segments x "
        f"{len(market.constants.channels)} channels that spends "
        f"{market.total_daily_budget:,.2f} a day, with {days // 7} weeks of history. "
        f"Workspace: {workspace_root}"
    )
    _put(workspace, _moved(market.history(), later), name="history")
    lines: Sequence[BudgetLine] = ()
    why: dict[Cell, str] = {}
    budgets = market.incumbent
    for week in range(weeks):
        day = first + timedelta(days=CYCLE_DAYS * week)
        cycle(workspace.root, day)
        lines = exported(workspace, day) or lines
        budgets = budgets_of(lines) if lines else budgets
        why |= reasons_of(lines)
        say(_week(week, weeks, day, lines))
        feeds = _moved(market.step(budgets, CYCLE_DAYS), later)
        _put(workspace, {feed: _before(rows, today) for feed, rows in feeds.items()}, name=str(day))
    (ingest or _production_ingest)(workspace.root)
    summary = _sum_up(workspace, market, lines, why, weeks=weeks, seed=seed)
    say("\n" + summary.text)
    return summary


def run_hillstrom_demo(file: Path, workspace_root: Path, say: Say) -> str:
    """The same on a real randomized e-mail test; see :mod:`liftloop.app.demo.hillstrom`."""
    from liftloop.app.demo.hillstrom import run

    return run(file, workspace_root, say)


def first_day_of(weeks: int, *, today: date) -> date:
    """The day of the first of ``weeks`` weekly cycles, the last of which is on the latest Monday;
    the market's weeks begin on Mondays, too."""
    monday = today - timedelta(days=today.weekday())
    return monday - timedelta(days=CYCLE_DAYS * (weeks - 1))


def _open(workspace: Workspace, *, weeks: int, seed: int, today: date) -> tuple[Workspace, date]:
    """Make the demo's workspace, or find the one of an interrupted demo; and its first day."""
    marker = workspace.root / MARKER
    wanted = {"market": "DemoMarket", "seed": seed, "weeks": weeks}
    if workspace.config.exists() and not marker.exists():
        raise ConfigurationError(
            f"{workspace.root} is a workspace of your own; the demo would mix its facts into it.",
            fix="name a new folder: liftloop demo --workspace demo-2",
        )
    first = first_day_of(weeks, today=today)
    if marker.exists():
        begun = json.loads(marker.read_text(encoding="utf-8"))
        first = date.fromisoformat(begun.pop("first_day", str(DemoMarket.constants.start)))
        if begun != wanted:
            raise ConfigurationError(
                f"{workspace.root} holds another demo ({json.dumps(begun, sort_keys=True)}).",
                fix="delete that folder, or name a new one: liftloop demo --workspace demo-2",
            )
    workspace.root.mkdir(parents=True, exist_ok=True)
    marked = json.dumps({**wanted, "first_day": str(first)}, sort_keys=True)
    write_whole(marker, marked.encode())
    if not workspace.config.exists():
        total = DemoMarket.constants.total_daily_budget
        settings = default_configuration().replace('#total = "100000.00"', f'total = "{total}"')
        write_whole(workspace.config, settings.encode())
    return init_workspace(workspace.root), first


def exported(workspace: Workspace, day: date) -> Sequence[BudgetLine]:
    """The budgets in the outbox that take effect on ``day``, as an ad platform would read them."""
    files = sorted(workspace.outbox.glob(f"budgets-{day}-*.csv"), key=lambda p: p.stat().st_mtime)
    return read_budgets(files[-1]) if files else ()


def budgets_of(lines: Sequence[BudgetLine]) -> pd.DataFrame:
    """The lines as a market takes them: segment, channel, daily_budget."""
    return pd.DataFrame(
        [(line.segment, line.channel, line.daily_budget) for line in lines],
        columns=["segment", "channel", "daily_budget"],
    )


def reasons_of(lines: Sequence[BudgetLine]) -> dict[Cell, str]:
    """Why each cell moved that did move."""
    return {
        Cell(line.segment, line.channel): line.reason
        for line in lines
        if line.daily_budget != line.previous_daily_budget
    }


def _put(workspace: Workspace, feeds: dict[str, pd.DataFrame], *, name: str) -> None:
    """Put feeds into the inbox, each a file that appears whole. One that was taken in already
    counts as a duplicate and changes nothing."""
    for feed, frame in feeds.items():
        if frame.empty:
            continue
        text = frame.to_csv(index=False, lineterminator="\n")
        write_whole(workspace.inbox / f"{feed}-{name}.csv", text.encode())


def _moved(feeds: Mapping[str, pd.DataFrame], later: timedelta) -> dict[str, pd.DataFrame]:
    """The feeds on dates that are so much later."""
    return {
        feed: rows.assign(
            date=[day + later for day in rows["date"]], reported_at=rows["reported_at"] + later
        )
        for feed, rows in feeds.items()
    }


def _before(rows: pd.DataFrame, today: date) -> pd.DataFrame:
    """The rows of days that are over: nobody delivers facts of tomorrow."""
    return rows[[day < today for day in rows["date"]]]


def _production_ingest(root: Path) -> object:
    from tasks.evidence.ingest import ingest

    return ingest(str(root))


def _production_cycle(root: Path, day: date) -> object:
    from flows.cycle import cycle

    return cycle(str(root), day)


def _week(week: int, weeks: int, day: date, lines: Sequence[BudgetLine]) -> str:
    title = f"Week {week + 1} of {weeks}, from {day:%d %b %Y}"
    changes = [line.daily_budget - line.previous_daily_budget for line in lines]
    moved = sum((abs(change) for change in changes), Decimal(0)) / 2
    if not moved or lines[0].effective_from != day:
        words = "the budgets stay as they are"
    else:
        count = sum(change != 0 for change in changes)
        words = f"{moved:,.2f} a day moved between {count} cells"
    first = sorted({line.segment for line in lines if line.stage == "canary"})
    if first:
        words += f"; the newest plan is in {', '.join(first)}"
    return f"{title}: {words}."


def _sum_up(
    workspace: Workspace,
    market: DemoMarket,
    lines: Sequence[BudgetLine],
    why: Mapping[Cell, str],
    *,
    weeks: int,
    seed: int,
) -> DemoSummary:
    settings = load_settings(workspace)
    comparison = compare(
        market,
        lambda: DemoMarket(seed),
        cycles=weeks,
        cycle_days=CYCLE_DAYS,
        max_step=settings.budget.max_step,
    )
    truth = market.truth()
    last = truth[truth["date"] >= market.start + timedelta(days=CYCLE_DAYS * (weeks - 1))]
    revenue = last.groupby(["segment", "channel"], as_index=False)["incremental_revenue"]
    earned = cast(pd.DataFrame, revenue.mean())
    moves = total_moves(market.incumbent, lines or _unmoved(market), why=why)
    summary = DemoSummary(weeks, seed, comparison, moves, *covered_cells(moves, earned))
    text = market_report(
        summary,
        expectation=_last_expectation(str(settings.ledger_url)),
        currency=settings.account.currency,
        workspace=str(workspace.root),
    )
    return replace(summary, text=text)


def _unmoved(market: DemoMarket) -> list[BudgetLine]:
    return [
        BudgetLine(
            "",
            "",
            market.start,
            row.segment,
            row.channel,
            row.daily_budget,
            row.daily_budget,
            "incumbent",
            None,
            None,
            None,
            "Never moved.",
            "",
        )
        for row in cast(Iterable[Any], market.incumbent.itertuples())
    ]


def _last_expectation(ledger_url: str) -> Expectation | None:
    """What the last decision that moved money was expected to bring."""
    with session(open_ledger(ledger_url), read_only=True) as db:
        moved = (
            one
            for one in decisions(db, state="in_force")
            if one.policy_version != one.previous_policy_version
        )
        last = next(moved, None)
        if last is None:
            return None
        return Expectation(last.expected_gain, last.gain_low, last.gain_high, last.reason)
