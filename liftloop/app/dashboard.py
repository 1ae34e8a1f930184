"""The dashboard: one page on how the loop stands. ``liftloop dashboard --workspace DIR``.

Streamlit runs this file as a script. It reads, and never writes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from liftloop.adapters.settings import Settings, load_settings
from liftloop.adapters.workspace import Workspace
from liftloop.app.dashboard_rollout import draw_rollout
from liftloop.app.dashboard_words import budget_table, day, decision_table, md, move_table, whole
from liftloop.core.errors import LiftLoopError

if TYPE_CHECKING:
    import pandas as pd

    from liftloop.adapters.tables import Decision
    from liftloop.app.dashboard_queries import DashboardView

PERIODS = {"4 weeks": 28, "13 weeks": 91, "26 weeks": 182, "all": 0}


def launch(workspace: Path, *, port: int = 8501, headless: bool = False) -> int:
    """Serve the page on this machine until interrupted; returns the server's exit status.

    Nothing calls home: Streamlit's usage statistics are off, and the page needs no network.
    """
    command = [
        sys.executable, "-m", "streamlit", "run", str(Path(__file__).resolve()),
        f"--server.port={port}",
        "--server.address=localhost",
        f"--server.headless={str(headless).lower()}",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
        "--client.toolbarMode=minimal",
        "--client.showErrorDetails=none",
    ]  # fmt: skip
    surroundings = os.environ | {"LIFTLOOP_WORKSPACE": str(workspace.resolve())}
    server = subprocess.Popen(command, env=surroundings)
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0


def page(root: Path) -> None:
    """Draw the page for the workspace in ``root``."""
    st.set_page_config(page_title="LiftLoop", page_icon="🔁", layout="wide")
    workspace = Workspace(root)
    name, refresh = st.columns([6, 1], vertical_alignment="bottom")
    name.title(f"LiftLoop · {md(root.resolve().name)}", anchor=False)
    refresh.button("Refresh", width="stretch")
    if not workspace.config.is_file():
        st.info(
            f"There is no workspace in `{root}` yet. Make one:\n\n"
            f"```\nliftloop init --workspace {root}\n```"
        )
        return
    try:
        _draw(workspace, load_settings(workspace))
    except LiftLoopError as error:
        st.error(md(str(error)))


def _draw(workspace: Workspace, settings: Settings) -> None:
    from liftloop.app.dashboard_charts import colours_of
    from liftloop.app.dashboard_queries import look, spend_by_day

    spend = spend_by_day(workspace, timezone=settings.account.timezone)
    view = look(settings)
    currency = settings.account.currency
    last = spend["date"].max().date() if len(spend) else None
    _headline(view, currency=currency, timezone=settings.account.timezone, last=last)
    if view.deliveries.empty:
        st.info(
            "No facts yet. Put feed files (performance, holdout, sales) into the inbox "
            f"`{workspace.inbox}`, then run a cycle:\n\n"
            f"```\nliftloop cycle --workspace {workspace.root}\n```"
        )
    _waiting(view)
    colours = colours_of(spend)
    if last is not None:
        _spend(spend, colours=colours, currency=currency)
    _budgets(view, settings, colours=colours, currency=currency)
    draw_rollout(view.rollout, enabled=settings.rollout.enabled, currency=currency)
    _decisions(view, settings, currency=currency)
    _health(view, workspace)


def _headline(view: DashboardView, *, currency: str, timezone: str, last: date | None) -> None:
    head = view.in_force
    facts = f"spend known up to {day(last)}" if last else "no spend known"
    since = f"budgets in force since {day(head.effective_from)}" if head else "nothing decided yet"
    st.caption(f"All money in {currency}, days in {md(timezone)} · {facts} · {since}")
    total, earned, gain, trail = st.columns(4)
    budgets = view.budgets
    spent = f"{sum(budgets['daily_budget']):,.2f}" if head else "–"
    total.metric(f"Total budget, {currency} a day", spent, border=True)
    predicted = budgets["expected"].sum(min_count=1) if head else float("nan")
    earned.metric(
        f"Predicted revenue, {currency} a day",
        whole(predicted),
        border=True,
        help="Incremental: revenue that would not exist without the spend.",
    )
    moved = head is not None and head.policy_version != head.previous_policy_version
    gain.metric(
        f"Last decision's gain, {currency} profit a day",
        f"{head.expected_gain:+,.0f}" if head and moved else "–",
        delta=_interval(head) if head and moved else ("it keeps the budgets" if head else None),
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Expected, against the budgets in force before it.",
    )
    trail.metric(
        "Audit trail",
        "intact" if view.audit.intact else "BROKEN",
        delta=f"{view.audit.entries:,} entries",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def _interval(head: Decision) -> str:
    return f"90 %: {head.gain_low:+,.0f} to {head.gain_high:+,.0f}"


def _waiting(view: DashboardView) -> None:
    for row in view.waiting.itertuples():
        st.warning(
            f"**Waits for your approval:** budgets from {day(row.effective_from)}. {md(row.reason)}"
            f"\n\n`liftloop approve {row.id}` or `liftloop reject {row.id}`"
        )


def _spend(spend: pd.DataFrame, *, colours: dict[str, str], currency: str) -> None:
    from liftloop.app.dashboard_charts import spend_chart

    title, choice = st.columns([3, 2], vertical_alignment="bottom")
    title.subheader("Spend by channel", anchor=False)
    period = choice.segmented_control(
        "Period", list(PERIODS), default="13 weeks", label_visibility="collapsed"
    )
    days = PERIODS[period or "all"]
    last = spend["date"].max()
    shown = spend[(last - spend["date"]).dt.days < days] if days else spend
    st.plotly_chart(
        spend_chart(shown, colours=colours, currency=currency),
        alt="Spend a day, stacked by channel",
        config={"displayModeBar": False},
    )


def _budgets(
    view: DashboardView,
    settings: Settings,
    *,
    colours: dict[str, str],
    currency: str,
) -> None:
    from liftloop.app.dashboard_charts import MOST_CELLS, return_chart

    st.subheader("Budgets in force", anchor=False)
    if view.in_force is None:
        if len(view.deliveries):
            st.info("Nothing decided yet. The first cycle proposes budgets: `liftloop cycle`")
        else:
            st.caption("None yet.")
        return
    table, chart = st.columns([3, 2])
    with table:
        st.dataframe(
            budget_table(view.budgets, currency=currency),
            hide_index=True,
            height=min(640, 37 + 35 * len(view.budgets)),
            placeholder="–",
        )
    with chart:
        if view.budgets["per_unit"].notna().any():
            st.plotly_chart(
                return_chart(view.budgets, colours=colours, currency=currency),
                alt="Predicted return per cell with its 90 % interval",
                config={"displayModeBar": False},
            )
        else:
            st.caption("No response is known yet, so nothing is predicted.")
    if len(view.budgets) > MOST_CELLS:
        st.caption(f"The chart shows the {MOST_CELLS} largest cells, the table all.")


def _decisions(view: DashboardView, settings: Settings, *, currency: str) -> None:
    from liftloop.adapters.ledger import open_ledger, session
    from liftloop.app.dashboard_queries import moves_frame

    st.subheader("Last decisions", anchor=False)
    if view.decisions.empty:
        st.caption("None yet.")
        return
    newest = view.decisions.iloc[0]
    st.markdown(f"**{day(newest['effective_from'])}:** {md(newest['reason'])}")
    st.dataframe(
        decision_table(view.decisions, currency=currency),
        hide_index=True,
        column_config={"why": st.column_config.TextColumn(width="large")},
    )
    moving = view.decisions[view.decisions["cells_moved"] > 0]
    if moving.empty:
        return
    last = moving.iloc[0]
    with st.expander(f"The moves of {day(last['effective_from'])}", expanded=True):
        with session(open_ledger(str(settings.ledger_url)), read_only=True) as db:
            moves = moves_frame(db, str(last["id"]))
        st.dataframe(
            move_table(moves, currency=currency),
            hide_index=True,
            column_config={"why": st.column_config.TextColumn(width="large")},
        )


def _health(view: DashboardView, workspace: Workspace) -> None:
    quality, drift, audit = st.columns(3)
    with quality:
        st.subheader("Data quality", anchor=False)
        if view.deliveries.empty:
            st.caption("Nothing delivered yet.")
        else:
            counts = view.deliveries[["received", "stored", "superseded", "quarantined"]].sum()
            words = " · ".join(f"{name} {int(count):,}" for name, count in counts.items())
            st.markdown(f"Rows of the last {len(view.deliveries)} files: {words}")
            if view.open_quarantine:
                st.warning(
                    f"{view.open_quarantine:,} rows in quarantine: `liftloop quarantine` shows why."
                )
            else:
                st.success("No row in quarantine.")
    with drift:
        st.subheader("Drift", anchor=False)
        verdict = view.verdict
        if verdict is None:
            st.caption("Not looked yet.")
        else:
            (st.warning if verdict.drifted else st.success)(md(verdict.summary))
            report = f" · report: `{workspace.root / verdict.report}`" if verdict.report else ""
            st.caption(f"As of {day(verdict.as_of)}{report}")
    with audit:
        st.subheader("Audit trail", anchor=False)
        if view.audit.intact:
            st.success(f"Intact: {view.audit.entries:,} entries, each sealed by the next.")
            st.caption(f"Final hash `{view.audit.final_hash[:16]}…`")
        else:
            st.error(f"Broken at entry {view.audit.first_broken}: {md(view.audit.problem)}")


if __name__ == "__main__":
    page(Path(os.environ.get("LIFTLOOP_WORKSPACE", "workspace")))
