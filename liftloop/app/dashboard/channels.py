"""Channels and segments: what they are given, what they return, and why not more; down to a cell's
curve and what the platform reports of its campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from liftloop.app.dashboard.acting import Visit
from liftloop.app.dashboard.caching import grounds, in_force
from liftloop.app.dashboard.charts import curve_chart, inked
from liftloop.app.dashboard.wording import harmless, md, table_height
from liftloop.core.curves.returns import (
    GROUPINGS,
    GroupReturn,
    curve_points,
    group_returns,
    next_unit,
)
from liftloop.core.policy import Cell
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.reporting.explain_moves import why_not_more
from liftloop.reporting.outcome_words import OutcomeWords

if TYPE_CHECKING:
    from tasks.report.returns import InForce

DAYS = 28  # of platform-reported figures
LEAST = 0.005  # a smaller share is said to be under 1 %


def draw_channels(visit: Visit) -> None:
    """Draw the tables, and the cell that is chosen."""
    now = in_force(visit)
    if now is None:
        st.info("No budgets yet: the first cycle proposes some.")
        return
    words, margin = outcome_words(visit.settings), visit.settings.budget.margin
    by = st.segmented_control("By", list(GROUPINGS), default="channel", required=True)
    groups = group_returns(
        now.curves, policy=now.policy, previous=now.previous, group=GROUPINGS[by or "channel"]
    )
    if now.curves is None:
        st.info("No response is known yet: what the budgets return is not predicted.")
    elif words.counted:
        st.markdown(f"Average and next: {words.return_label}, of all and of the next one.")
    else:
        st.markdown(
            f"Average: incremental revenue per {words.currency} of the budget. Next: what one more "
            f"{words.currency} a day returns. From {1 / margin:.2f} on it pays."
        )
    st.dataframe(
        returns_table(groups, words),
        hide_index=True,
        height=table_height(len(groups)),
        placeholder="–",
        column_config={
            f"{words.currency} a day": st.column_config.NumberColumn(format="localized")
        },
    )
    _cell(visit, now)


def returns_table(groups: list[GroupReturn], words: OutcomeWords) -> pd.DataFrame:
    """The groups as people read them, the largest budget first."""
    total = sum(float(group.spend) for group in groups) or 1.0
    rows = [
        {
            "name": group.name,
            f"{words.currency} a day": round(float(group.spend), 2),
            "share": f"{float(group.spend) / total:.0%}",
            "change": f"{_change(group):+.0%}" if group.previous > 0 else "new",
            "average": group.average and words.returns(group.average.mean),
            "90 % interval": group.average
            and words.interval(group.average.low, group.average.high),
            "next": None if group.marginal is None else words.returns(group.marginal),
        }
        for group in groups
    ]
    return harmless(pd.DataFrame(rows), "name")


def _change(group: GroupReturn) -> float:
    return float(group.spend / group.previous) - 1


def _cell(visit: Visit, now: InForce) -> None:
    """One cell: its curve with the budget before and now, why not more, and its campaigns."""
    words, margin = outcome_words(visit.settings), visit.settings.budget.margin
    st.header("One cell", anchor=False)
    cells = sorted(now.policy.cells)
    asked = st.query_params.get("cell", "")
    names = [f"{cell.segment} × {cell.channel}" for cell in cells]
    name = st.selectbox("Cell", names, index=names.index(asked) if asked in names else 0)
    cell = cells[names.index(name)]
    before, budget = (float(p.as_dict().get(cell, 0)) for p in (now.previous, now.policy))
    if now.curves is not None:
        curve = curve_points(now.curves, cell, most=2 * max(before, budget, 1.0))
        if curve is not None:
            st.plotly_chart(
                inked(
                    curve_chart(curve, before=before, now=budget, words=words),
                    theme=st.context.theme.type,
                ),
                alt=f"What {name} brings by daily budget, with its 90 % band; before "
                f"{before:,.0f}, now {budget:,.0f} {words.currency} a day",
                config={"displayModeBar": False},
            )
            unit = next_unit(curve, spend=budget, margin=margin)
            st.markdown(f"**Why not more?** {why_not_more(unit, margin=margin, words=words)}")
    _rests_on(visit, cell, _reason(visit, now.decision_id, cell))
    _campaigns(visit, cell)


def _reason(visit: Visit, decision_id: str, cell: Cell) -> str:
    """What the decision in force says of the cell; "" where it does not name it."""
    from liftloop.adapters.ledger.decisions import budget_lines
    from liftloop.adapters.ledger.records import open_ledger, session

    with session(open_ledger(str(visit.settings.ledger_url)), read_only=True) as db:
        lines = budget_lines(db, decision_id=decision_id)
    for line in lines:
        if (line.segment, line.channel) == (cell.segment, cell.channel):
            st.markdown(f"**The last decision:** {md(line.reason)}")
            return line.reason
    return ""


def _rests_on(visit: Visit, cell: Cell, reason: str) -> None:
    """What the recommendation rests on: evidence, rule, ensemble, and LightGBM's part."""
    from liftloop.reporting.explain_moves import binding_rule
    from liftloop.reporting.grounds import drivers, evidence_sentence, members

    found = grounds(visit)
    if found is None:
        return
    with st.expander("What it rests on", expanded=True):
        st.markdown(f"**Evidence:** {md(evidence_sentence(found, cell))}")
        rule = binding_rule(reason)
        st.markdown(f"**Rule that binds:** {md(rule) if rule else 'none'}")
        st.markdown(f"**Model:** {md(found.model)}")
        moves, of = drivers(found, cell)
        _shares("Its ensemble, by weight", members(found))
        _shares(of, moves)


def _shares(name: str, rows: Sequence[tuple[str, float]]) -> None:
    """A list of shares: it wraps on a telephone, and can be heard."""
    if rows:
        shares = (f"{share:.0%}" if share >= LEAST else "under 1%" for _, share in rows)
        lines = [f"- {share} {md(of)}" for share, (of, _) in zip(shares, rows, strict=True)]
        st.markdown("\n".join([f"**{md(name)}:**", "", *lines]))


def _campaigns(visit: Visit, cell: Cell) -> None:
    """What the platform reports of the cell's campaigns and creatives: attributed, not caused."""
    from liftloop.adapters.facts.read_facts import FactsPart, read_facts
    from liftloop.adapters.names.aliases import load_aliases

    keys, sums = ["campaign", "creative"], ["spend", "conversions", "revenue"]
    columns = ("date", "segment", "channel", *keys, *sums)
    facts = read_facts(
        visit.workspace,
        "performance",
        as_of=None,
        timezone=visit.settings.account.timezone,
        part=FactsPart(columns=columns, names=load_aliases(visit.workspace)),
    )
    facts = facts[(facts["segment"] == cell.segment) & (facts["channel"] == cell.channel)]
    if facts.empty:
        return
    facts = facts[(facts["date"].max() - facts["date"]).dt.days < DAYS]
    money = facts.assign(**{name: facts[name].astype(float) for name in sums})
    shown = money.groupby(keys, as_index=False)[sums].sum()
    if len(shown) == 1 and set(shown.iloc[0][keys]) == {"all"}:
        return
    st.markdown(
        f"**Campaigns and creatives, last {DAYS} days.** Reported by the platform: attributed "
        "revenue is not incremental revenue."
    )
    ordered = harmless(shown.sort_values("spend", ascending=False).round(2), *keys)
    st.dataframe(ordered, hide_index=True)
