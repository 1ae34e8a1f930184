"""The first page: what needs a person, what is in force, what is on trial, and data health."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import streamlit as st

from liftloop.adapters.pasteable import pasteable
from liftloop.app.dashboard.acting import Visit, act_on_all, act_on_notice, who
from liftloop.app.dashboard.caching import audit_verdict, last_day_known, ledger_view, state_of
from liftloop.app.dashboard.caching import spend as spend_of
from liftloop.app.dashboard.rollout import draw_rollout
from liftloop.app.dashboard.wording import (
    ACTS,
    budget_table,
    counted,
    day,
    decision_table,
    in_short,
    md,
    move_table,
    spend_words,
    table_height,
    unjudged,
    whole,
)
from liftloop.core.money.currencies import amount_words
from liftloop.reporting.status import Status, StatusKind, status_of
from liftloop.settings.schema import Settings
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.delta_generator import DeltaGenerator

    from liftloop.adapters.audit.trail import AuditVerdict
    from liftloop.adapters.ledger.tables import Decision
    from liftloop.app.dashboard.queries import DashboardView
    from liftloop.reporting.outcome_words import OutcomeWords

INCREMENTAL = "Incremental: revenue that would not exist without the spend."
STAGES = (
    "canary: the newest plan; ramp: an earlier plan of the rollout; incumbent: the budgets before "
    "it; full: every segment has the same plan; rolled back: the plans were taken back."
)
ROWS = {
    "received": "received",
    "stored": "stored",
    "superseded": "replaced by later reports",
    "quarantined": "in quarantine",
}
REFRESHED, CHECKING = "30s", "2s"  # how often an open page looks for news
PERIODS = {"4 weeks": 28, "13 weeks": 91, "26 weeks": 182, "all": 0}


def draw_today(visit: Visit) -> None:
    """Draw the page, what a person has to do first; the first screen is drawn before anything of
    the facts is read, and looks for news by itself."""
    workspace, settings = visit.workspace, visit.settings
    audit = audit_verdict(visit)
    st.session_state["drawn"] = (state_of(visit), audit)
    every = REFRESHED if audit is not None else CHECKING
    st.fragment(_first_screen, run_every=every)(visit)
    from liftloop.app.dashboard.charts import colours_of

    view = ledger_view(visit)
    currency = settings.account.currency
    if view.deliveries.empty:
        st.info(
            "No facts yet. Put feed files (performance, holdout, sales) into the inbox "
            f"`{workspace.inbox}`, then run a cycle:\n\n"
            + pasteable("```\nliftloop cycle\n```", workspace, anywhere=True)
        )
    spend = spend_of(visit)
    colours = colours_of(spend)
    if len(spend):
        moved = view.decisions[view.decisions["cells_moved"] > 0]
        _spend(spend, list(moved["effective_from"]), colours=colours, currency=currency)
    _budgets(view, workspace, settings, colours=colours, currency=currency)
    draw_rollout(view.rollout, enabled=settings.rollout.enabled, currency=currency)
    _decisions(view, settings, currency=currency)
    _health(view, audit, workspace)


def _first_screen(visit: Visit) -> None:
    """The status and the tiles. Where something changed since the page was drawn, somebody acted
    or the sign-in ended, the whole page is drawn anew."""
    audit = audit_verdict(visit)
    news = (state_of(visit), audit) != st.session_state.get("drawn")
    if news or "said" in st.session_state or who(visit.settings) is None:
        st.rerun()
    view = ledger_view(visit)
    problem = "" if audit is None or audit.intact else audit.problem
    _status(visit, status_of(replace(view.situation, audit_problem=problem)))
    account = visit.settings.account
    last = last_day_known(visit)
    _headline(view, audit, currency=account.currency, timezone=account.timezone, last=last)


COLOURS = {
    StatusKind.NEEDS_YOU: "red",
    StatusKind.STUCK: "orange",
    StatusKind.TESTING: "blue",
    StatusKind.WELL: "green",
}


def _status(visit: Visit, status: Status) -> None:
    """Whether somebody has to do something, and what; each notice with what acts on it."""
    with st.container(border=True):
        st.badge(status.kind.value, color=COLOURS[status.kind])  # type: ignore[arg-type]
        if not status.notices:
            st.markdown(f"**{md(status.sentence)}**")
        for number, notice in enumerate(status.notices):
            words = f"**{md(notice.sentence)}**" if number == 0 else md(notice.sentence)
            st.markdown(words)
            act_on_notice(visit, notice)
        act_on_all(visit)


def _headline(
    view: DashboardView,
    audit: AuditVerdict | None,
    *,
    currency: str,
    timezone: str,
    last: date | None,
) -> None:
    head = view.in_force
    facts = f"spend known up to {day(last)}" if last else "no spend known"
    since = f"budgets in force from {day(head.effective_from)}" if head else "nothing decided yet"
    st.caption(f"All money in {currency}, days in {md(timezone)} · {facts} · {since}")
    if view.situation.judged_total:
        st.markdown(f"**The total:** {md(view.situation.judged_total)}")
    total, earned, gain, trail = st.columns(4)
    budgets = view.budgets
    spent = sum(budgets["daily_budget"]) if head else 0
    _tile(
        total,
        f"Total budget, {currency} a day",
        amount_words(spent, currency) if head else "–",
        f"{len(budgets)} cells (segment × channel)" if head else None,
    )
    words = view.situation.words
    predicted = budgets["expected"].sum(min_count=1) if head else float("nan")
    if words.counted:
        count = predicted / words.worth
        _tile(
            earned,
            "Predicted incremental conversions a day",
            f"{count:,.1f}" if count > 0 else "–",
            f"{float(spent) / count:,.2f} {currency} each" if spent and count > 0 else None,
        )
    else:
        _tile(
            earned,
            f"Predicted revenue, {currency} a day",
            whole(predicted),
            f"{predicted / float(spent):.2f} per {currency}" if spent and predicted > 0 else None,
            help=INCREMENTAL,
        )
    moved = head is not None and head.policy_version != head.previous_policy_version
    _tile(
        gain,
        f"Last decision's gain, {words.gain_label} a day",
        words.gain(head.expected_gain) if head and moved else "–",
        _interval(head, words) if head and moved else ("it keeps the budgets" if head else None),
        help="Expected, against the budgets in force before it.",
    )
    _tile(trail, "Audit trail", *_trail_words(audit))
    if view.worth:
        st.markdown(f"**Gained so far:** {md(view.worth)}")


def _trail_words(audit: AuditVerdict | None) -> tuple[str, str | None]:
    """The audit trail's tile: what was found, and of how many entries."""
    if audit is None:
        return "…", "being checked"
    entries = audit.entries
    found = ("intact" if entries else "–") if audit.intact else "BROKEN"
    return found, counted(entries, "entry", "entries") if entries else "no entry yet"


def _tile(
    place: DeltaGenerator, label: str, value: str, note: str | None, *, help: str = ""
) -> None:
    """A figure with a quiet note below it; all tiles of a row are equally high."""
    place.metric(
        label,
        value,
        note,
        delta_color="off",
        delta_arrow="off",
        border=True,
        help=help or None,
        height="stretch",
    )


def _interval(head: Decision, words: OutcomeWords) -> str:
    return f"90 %: {words.gain(head.gain_low)} to {words.gain(head.gain_high)}"


def _spend(
    spend: pd.DataFrame, decided: list[date], *, colours: dict[str, str], currency: str
) -> None:
    from liftloop.app.dashboard.charts import inked, spend_chart

    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"
    ):
        st.header("Spend by channel", anchor=False, width="content")
        period = st.segmented_control(
            "Period", list(PERIODS), default="13 weeks", label_visibility="collapsed"
        )
    days = PERIODS[period or "all"]
    last = spend["date"].max()
    shown = spend[(last - spend["date"]).dt.days < days] if days else spend
    st.plotly_chart(
        inked(
            spend_chart(shown, colours=colours, currency=currency, decided=decided),
            theme=st.context.theme.type,
        ),
        alt=spend_words(shown, currency=currency),
        config={"displayModeBar": False},
    )


def _budgets(
    view: DashboardView,
    place: Workspace,
    settings: Settings,
    *,
    colours: dict[str, str],
    currency: str,
) -> None:
    from liftloop.app.dashboard.charts import MOST_CELLS, inked, return_chart

    st.header("Budgets in force", anchor=False)
    if view.in_force is None:
        if len(view.deliveries):
            words = "Nothing decided yet. The first cycle proposes budgets: `liftloop cycle`"
            st.info(pasteable(words, place, anywhere=True))
        else:
            st.caption("None yet.")
        return
    st.dataframe(
        budget_table(view.budgets, currency=currency),
        hide_index=True,
        height=table_height(len(view.budgets)),
        column_config={
            "why": st.column_config.TextColumn(width="large"),
            "stage": st.column_config.TextColumn(help=STAGES),
            "predicted revenue a day": st.column_config.NumberColumn(help=INCREMENTAL),
        },
        placeholder="–",
    )
    if not view.budgets["per_unit"].notna().any():
        st.markdown("No response is known yet, so nothing is predicted.")
        return
    margin = settings.budget.margin
    many = len(view.budgets) > MOST_CELLS
    st.markdown(
        f"**What a unit of budget returns:** predicted incremental revenue per {currency} with its "
        "90 % interval, the largest budgets first"
        + (f" ({MOST_CELLS} of them; the table has all)" if many else "")
        + f". From {1 / margin:.2f} on a cell earns more than it costs."
    )
    st.plotly_chart(
        inked(
            return_chart(view.budgets, colours=colours, currency=currency, margin=margin),
            theme=st.context.theme.type,
        ),
        alt=f"Predicted incremental revenue per {currency} of budget, a row a cell, with its 90 % "
        "interval; the table above has the same figures",
        config={"displayModeBar": False},
    )


def _decisions(view: DashboardView, settings: Settings, *, currency: str) -> None:
    from liftloop.adapters.ledger.records import open_ledger, session
    from liftloop.app.dashboard.queries import moves_frame

    st.header("Last decisions", anchor=False)
    if view.decisions.empty:
        st.caption("None yet.")
        return
    newest = view.decisions.iloc[0]
    verdicts = view.rollout.summary.verdicts if view.rollout and view.rollout.summary else ()
    why = in_short(newest["reason"], verdicts)
    act = ACTS.get(newest["kind"], newest["kind"])
    st.markdown(f"**{day(newest['effective_from'])}, {md(act)}.** {md(why)}")
    st.dataframe(
        decision_table(view.decisions, words=view.situation.words),
        hide_index=True,
        height=table_height(len(view.decisions)),
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
            height=table_height(len(moves)),
            column_config={"why": st.column_config.TextColumn(width="large")},
        )


def _health(view: DashboardView, audit: AuditVerdict | None, workspace: Workspace) -> None:
    quality, drift, trail = st.columns(3)
    with quality:
        st.header("Data quality", anchor=False)
        if view.deliveries.empty:
            st.caption("Nothing delivered yet.")
        else:
            counts = view.deliveries[list(ROWS)].sum()
            words = " · ".join(
                f"{ROWS[str(name)]} {int(count):,}" for name, count in counts.items()
            )
            st.markdown(f"Rows of the last {len(view.deliveries)} files: {words}")
            if view.situation.quarantined:
                why = pasteable("`liftloop quarantine list`", workspace, anywhere=True)
                st.warning(f"{view.situation.quarantined:,} rows in quarantine: {why} shows why.")
            else:
                st.success("No row in quarantine.")
    with drift:
        st.header("What the data say", anchor=False)
        verdict = view.verdict
        if verdict is None:
            st.caption("Not looked yet.")
        else:
            unseen = unjudged(verdict.evidence)
            if verdict.drifted:
                st.warning(md(verdict.summary))
            elif unseen:  # what could not be compared is no all-clear
                st.info(md(unseen))
            else:
                st.success(md(verdict.summary))
            report = f" · open `{workspace.root / verdict.report}`" if verdict.report else ""
            st.markdown(f"As of {day(verdict.as_of)}{report}")
    with trail:
        _trail(audit)


def _trail(audit: AuditVerdict | None) -> None:
    st.header("Audit trail", anchor=False)
    if audit is None:
        st.caption("Being checked.")
    elif audit.intact and not audit.entries:
        st.caption("No entry yet.")
    elif audit.intact:
        told = counted(audit.entries, "entry", "entries")
        st.success(f"Intact: {told}, each sealed by the next.")
        st.markdown(f"Final hash `{audit.final_hash[:16]}…`")
    else:
        st.error(f"Broken at entry {audit.first_broken}: {md(audit.problem)}")
