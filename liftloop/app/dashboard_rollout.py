"""The dashboard's part on the rollout under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from liftloop.app.dashboard_words import (
    day,
    guardrail_table,
    in_short,
    md,
    untold,
)
from liftloop.core.rollout_state import ENDED
from liftloop.core.verdict_words import beyond_guardrails

if TYPE_CHECKING:
    from liftloop.app.dashboard_queries import RolloutView
    from liftloop.core.rollout_story import Story


def draw_rollout(rollout: RolloutView | None, *, enabled: bool, currency: str) -> None:
    """Stage, segments, money at risk, bounds over time, guardrails, what decides, and the steps."""
    st.header("Rollout", anchor=False)
    if rollout is None or rollout.stage in ENDED:
        st.markdown(
            "None under way. New budgets go to a few segments first."
            if enabled
            else "Off: new budgets reach all segments at once (`[rollout] enabled`)."
        )
        if rollout is not None:
            st.markdown(_ending(rollout))
        return
    story = rollout.story
    following = story.exposed if story and story.exposed else dict.fromkeys(rollout.canary)
    names, control = ", ".join(map(md, following)), ", ".join(map(md, rollout.control))
    live = f" (day {story.days_live})" if story else ""
    stage = rollout.stage.replace("_", " ").capitalize()
    st.markdown(
        f"**{stage}** since {day(rollout.since)} · rollout begun {day(rollout.started_on)}{live} · "
        f"new budgets in: {names or '–'} · compared with: {control or '–'}"
    )
    verdicts = story.verdicts if story else ()
    if len(rollout.transitions):
        said = beyond_guardrails(rollout.transitions.iloc[0]["reason"], verdicts)
        st.markdown(md(said))
    if story:
        _evidence(story, currency=currency)
    with st.expander("Its steps", expanded=not verdicts):
        st.dataframe(
            rollout.transitions.replace({"from_stage": {"": "–"}}).rename(
                columns={"as_of": "day", "from_stage": "from", "to_stage": "to", "reason": "why"}
            ),
            hide_index=True,
            column_config={"why": st.column_config.TextColumn(width="large")},
        )


def _ending(rollout: RolloutView) -> str:
    """How the last rollout ended, and why it was taken back."""
    told = f"The last one began on {day(rollout.started_on)} and "
    if rollout.stage != "rolled_back":
        return f"{told}reached all segments on {day(rollout.since)}."
    verdicts = rollout.story.verdicts if rollout.story else ()
    why = ""
    if len(rollout.transitions):
        why = in_short(rollout.transitions.iloc[0]["reason"], verdicts)
    return f"{told}was rolled back on {day(rollout.since)}{f': {md(why)}' if why else '.'}"


def _evidence(story: Story, *, currency: str) -> None:
    chart, risk = st.columns([3, 2])
    with chart:
        _bounds(story)
    with risk:
        if story.money:
            st.markdown(f"**Money at risk, {currency}**\n\n{md(story.money.sentence)}")
        _sentences("What would promote it", untold(story.would_promote, story.verdicts))
        _sentences("What would roll it back", story.would_roll_back)
    if story.verdicts:
        st.markdown(guardrail_table(story.verdicts))


def _bounds(story: Story) -> None:
    import pandas as pd

    from liftloop.app.dashboard_charts import bounds_chart, inked

    if not story.looks:
        st.caption("No look has evidence yet: carry-over and late conversions settle first.")
        return
    looks = pd.DataFrame([
        {"day": day(look.day), "in_force": look.in_force, "effect": look.effect, "low": look.low,
         "high": look.high}
        for look in story.looks
    ])  # fmt: skip
    st.plotly_chart(
        inked(
            bounds_chart(looks, margin=story.margin or 0.0, marks=story.marks),
            theme=st.context.theme.type,
        ),
        alt="Incremental profit of the exposed segments over the days. Last look, "
        f"{looks['day'].iloc[-1]}: {looks['effect'].iloc[-1]:+z.0%}, between "
        f"{looks['low'].iloc[-1]:+z.0%} and {looks['high'].iloc[-1]:+z.0%}.",
        config={"displayModeBar": False},
    )


def _sentences(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        items = "\n".join(f"- {md(sentence)}" for sentence in sentences)
        st.markdown(f"**{title}**\n\n{items}")
