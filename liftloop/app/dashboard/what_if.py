"""What the next plan would be under another total, floors and caps; and taking it to approval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from liftloop.adapters.files.spreadsheet import disarmed, rearmed
from liftloop.app.dashboard.acting import Visit, perform
from liftloop.app.dashboard.wording import harmless, md, table_height
from liftloop.core.access.roles import Action, who_may
from liftloop.core.errors import LiftLoopError
from liftloop.core.money.currencies import amount_words
from liftloop.reporting.budget_terms import terms_in_words
from liftloop.settings.budget import GroupSettings
from liftloop.settings.schema import Settings

if TYPE_CHECKING:
    from tasks.decision.what_if import NextPlan


def draw_what_if(visit: Visit) -> None:
    """Draw the form, and the plan that was asked for last."""
    if not visit.may(Action.WHAT_IF):
        st.info(f"This takes {who_may(Action.WHAT_IF)}.")
        return
    st.markdown("What would the next plan be, and what would it earn? Nothing is applied.")
    channels = sorted({cell.channel for cell in visit.cells()})
    if not channels:
        st.info("No budgets yet: the first cycle proposes some.")
        return
    settings, approved = planning(visit)
    currency = settings.account.currency
    if approved:
        st.markdown(f"Approved beside the configuration file, and in force: {md(approved)}.")
    with st.form("what if"):
        total, step = st.columns(2)
        amount = total.number_input(
            f"Total, {currency} a day (empty: {_total_now(settings)})",
            min_value=0.0,
            value=None,
            format="%.2f",
        )
        percent = step.number_input(
            f"Most that a cell moves in a cycle, % (empty: {settings.budget.max_step:.0%})",
            min_value=0.0,
            max_value=100.0,
            value=None,
            format="%.1f",
        )
        st.markdown(f"Floors and caps of channels, {currency} a day for all segments together")
        limits = st.data_editor(
            bounds_of(settings.budget.groups, channels),
            hide_index=True,
            disabled=["channel"],
            placeholder="–",
            key="limits",
        )
        asked = st.form_submit_button("Show the plan", type="primary")
    if asked:
        _ask(visit, changes_of(amount, limits, settings.budget.groups, percent=percent))
    plan = st.session_state.get("next plan")
    if plan is not None:
        _draw(visit, plan)


def _total_now(settings: Settings) -> str:
    total = settings.budget.total
    return "as it is" if total is None else amount_words(total, settings.account.currency)


def planning(visit: Visit) -> tuple[Settings, str]:
    """The settings that plans are made with, and what of them was approved in the place of those
    in the file, in words."""
    from tasks.context import Loop
    from tasks.decision.budget_terms import planning_settings, terms_of

    settings = planning_settings(Loop(visit.workspace, visit.settings))
    terms = terms_of(visit.settings, settings)
    return settings, terms_in_words(terms, settings.account.currency)


def bounds_of(groups: Sequence[GroupSettings], channels: Sequence[str]) -> pd.DataFrame:
    """Floor and cap of each channel, as they were asked for on this page and approved."""
    own = {group.name: group for group in groups}
    rows = []
    for channel in channels:
        group = own.get(_group_name(channel))
        cap = group.maximum if group is not None else None
        rows.append(
            {
                "channel": disarmed(channel),
                "floor": float(group.minimum) if group is not None and group.minimum else None,
                "cap": None if cap is None else float(cap),
            }
        )
    return pd.DataFrame(rows).astype({"floor": "float64", "cap": "float64"})


def _group_name(channel: str) -> str:
    return f"what if: {channel}"


def changes_of(
    total: float | None,
    limits: pd.DataFrame,
    groups: Sequence[GroupSettings] = (),
    *,
    percent: float | None = None,
) -> list[str]:
    """Changes of settings, as ``liftloop what-if --set`` takes them; the ``groups`` of the settings
    stay beside the floors and caps of channels, which take the place of those asked for before."""
    changes = [] if total is None else [f'budget.total = "{Decimal(str(total)):.2f}"']
    if percent is not None:
        changes.append(f"budget.max_step = {percent / 100:.4f}")
    rows = limits.to_dict("records")
    asked = {_group_name(rearmed(str(row["channel"]))) for row in rows}
    before = [group for group in groups if group.name in asked]
    rules = []
    for row in rows:
        names = {"floor": "minimum", "cap": "maximum"}
        bounds = {
            name: f"{Decimal(str(row[n])):.2f}" for n, name in names.items() if pd.notna(row[n])
        }
        if bounds:
            channel = rearmed(str(row["channel"]))
            rules.append(_inline({"name": _group_name(channel), "channels": [channel], **bounds}))
    if rules or before:
        own = [
            _inline(group.model_dump(mode="json")) for group in groups if group.name not in asked
        ]
        changes.append(f"budget.groups = [{', '.join([*own, *rules])}]")
    return changes


def _inline(values: Mapping[str, Any]) -> str:
    """An inline table of TOML: of texts, numbers and lists of texts JSON's notation is TOML's."""
    said = (f"{name} = {json.dumps(v)}" for name, v in values.items() if v is not None)
    return f"{{ {', '.join(said)} }}"


def _ask(visit: Visit, changes: list[str]) -> None:
    from tasks.decision.what_if import what_next

    st.session_state.pop("next plan", None)
    try:
        with st.spinner("Planning…"):
            st.session_state["next plan"] = what_next(str(visit.workspace.root), changes)
    except LiftLoopError as error:
        st.error(md(str(error)))


def _draw(visit: Visit, plan: NextPlan) -> None:
    st.markdown(f"**{md(plan.sentence)}**")
    now, usual, changed = (
        plan.in_force.as_dict(),
        plan.usual[1].as_dict(),
        plan.changed[1].as_dict(),
    )
    rows: list[dict[str, Any]] = [
        {
            "segment": cell.segment,
            "channel": cell.channel,
            "in force": float(now.get(cell, 0)),
            "next plan": float(usual.get(cell, 0)),
            "with the changes": float(changed[cell]),
            "difference": float(changed[cell] - usual.get(cell, Decimal(0))),
        }
        for cell in plan.changed[1].cells
    ]
    frame = pd.DataFrame(rows).sort_values("difference", key=lambda c: -c.abs(), kind="stable")
    frame = harmless(frame, "segment", "channel")
    cents = st.column_config.NumberColumn(format="%.2f")
    amounts = [name for name in frame.columns if name not in ("segment", "channel")]
    st.dataframe(
        frame,
        hide_index=True,
        height=table_height(len(frame)),
        column_config=dict.fromkeys(amounts, cents),
    )
    if not visit.may(Action.PROPOSE):
        st.caption(f"To take it to approval takes {who_may(Action.PROPOSE)}.")
        return
    st.text_input("Reason", key="what-if reason", max_chars=500, placeholder="for the audit trail")
    st.button(
        "Take this to approval",
        on_click=perform,
        args=(visit, Action.PROPOSE, lambda actor, why: _propose(visit, plan, actor, why)),
        kwargs={"reason": "what-if reason"},
    )


def _propose(visit: Visit, plan: NextPlan, actor: str, why: str) -> str:
    from tasks.operate.budget_acts import propose_next

    source = f"a what-if plan ({why})"
    return propose_next(str(visit.workspace.root), plan, source=source, actor=actor)
