"""The dashboard's part on the rollout under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from liftloop.app.dashboard_words import day, guardrail_table, md

if TYPE_CHECKING:
    from liftloop.app.dashboard_queries import RolloutView
    from liftloop.core.rollout_story import Story


def draw_rollout(rollout: RolloutView | None, *, enabled: bool, currency: str) -> None:
    """Stage, segments, money at risk, bounds over time, guardrails, what decides, and the steps."""
    st.subheader("Rollout", anchor=False)
    if rollout is None:
        st.caption(
            "None under way. New budgets go to a few segments first."
            if enabled
            else "Off: new budgets reach all segments at once (`[rollout] enabled`)."
        )
        return
    story = rollout.story
    following = story.exposed if story and story.exposed else dict.fromkeys(rollout.canary)
    names, control = ", ".join(map(md, following)), ", ".join(map(md, rollout.control))
    live = f", day {story.days_live}" if story else ""
    stage = rollout.stage.replace("_", " ").capitalize()
    st.markdown(
        f"**{stage}** since {day(rollout.started_on)}{live} · "
        f"new budgets in: {names or '–'} · compared with: {control or '–'}"
    )
    if len(rollout.transitions):
        st.markdown(md(rollout.transitions.iloc[0]["reason"]))
    if story:
        _evidence(story, currency=currency)
    with st.expander("Its steps", expanded=not (story and story.verdicts)):
        st.dataframe(
            rollout.transitions.replace({"from_stage": {"": "–"}}).rename(
                columns={"as_of": "day", "from_stage": "from", "to_stage": "to", "reason": "why"}
            ),
            hide_index=True,
            column_config={"why": st.column_config.TextColumn(width="large")},
        )


def _evidence(story: Story, *, currency: str) -> None:
    chart, risk = st.columns([3, 2])
    with chart:
        _bounds(story)
    with risk:
        if story.money:
            st.markdown(f"**Money at risk, {currency}**\n\n{md(story.money.sentence)}")
        _sentences("What would promote it", story.would_promote)
        _sentences("What would roll it back", story.would_roll_back)
    if story.verdicts:
        st.table(guardrail_table(story.verdicts))  # unlike a data frame it wraps its sentences


def _bounds(story: Story) -> None:
    import pandas as pd

    from liftloop.app.dashboard_charts import bounds_chart

    if not story.looks:
        st.caption("No look has evidence yet: carry-over and late conversions settle first.")
        return
    looks = pd.DataFrame([
        {"day": day(look.day), "in_force": look.in_force, "effect": look.effect, "low": look.low,
         "high": look.high}
        for look in story.looks
    ])  # fmt: skip
    st.plotly_chart(
        bounds_chart(looks, margin=story.margin or 0.0, marks=story.marks),
        alt="Incremental profit of the exposed segments over the days, with its bounds",
        config={"displayModeBar": False},
    )


def _sentences(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        items = "\n".join(f"- {md(sentence)}" for sentence in sentences)
        st.markdown(f"**{title}**\n\n{items}")
