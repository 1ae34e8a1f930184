"""The dashboard's part on the rollout under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from liftloop.app.dashboard.wording import day, guardrail_table, harmless, in_short, md, untold
from liftloop.core.rollout.state import ENDED
from liftloop.reporting.explain_guardrails import beyond_guardrails
from liftloop.reporting.rendering import render

if TYPE_CHECKING:
    from liftloop.app.dashboard.queries import RolloutView
    from liftloop.reporting.rollout_summary import RolloutSummary


def draw_rollout(rollout: RolloutView | None, *, enabled: bool, currency: str) -> None:
    """Draw where each plan is, what is at risk, measured and proven, what decides, and the
    history."""
    st.header("Rollout", anchor=False)
    if rollout is None or rollout.stage in ENDED:
        st.markdown(
            "None under way. New budgets reach as many segments as the allowance permits."
            if enabled
            else "Off: new budgets reach all segments at once (`[rollout] enabled`)."
        )
        if rollout is not None:
            st.markdown(_ending(rollout))
        return
    found = rollout.summary
    if found is not None:
        st.markdown(f"**{md(found.sentence)}**")
        _numbers(found)
    if len(rollout.transitions):
        newest = rollout.transitions.iloc[0]["reason"]
        st.markdown(md(beyond_guardrails(newest, found.verdicts if found else ())))
    if found is not None:
        if found.waves:
            st.markdown(wave_table(found))
            _evidence(found, currency=currency)
        if found.verdicts:
            st.markdown(guardrail_table(found.verdicts))
    with st.expander("History", expanded=found is None or not found.verdicts):
        st.dataframe(
            harmless(rollout.transitions, "reason")
            .replace({"from_stage": {"": "–"}})
            .rename(
                columns={"as_of": "day", "from_stage": "from", "to_stage": "to", "reason": "why"}
            ),
            hide_index=True,
            column_config={"why": st.column_config.TextColumn(width="large")},
        )


def _ending(rollout: RolloutView) -> str:
    """How the last rollout ended, why it was taken back, and until when no plan enters."""
    words = f"The last one began on {day(rollout.started_on)} and "
    if rollout.stage != "rolled_back":
        return f"{words}reached all segments on {day(rollout.since)}."
    found = rollout.summary
    why = ""
    if len(rollout.transitions):
        why = in_short(rollout.transitions.iloc[0]["reason"], found.verdicts if found else ())
    cooling = f" {md(found.cooldown_sentence)}" if found else ""
    return f"{words}was taken back on {day(rollout.since)}{f': {md(why)}' if why else '.'}{cooling}"


def _numbers(found: RolloutSummary) -> None:
    """What is at risk, measured and proven, a line each."""
    proven = [f"Gain proven on {proof.sentence(found.currency)}" for proof in found.proofs]
    lines = [*found.risk_sentences, *proven]
    if lines:
        st.markdown(render("dashboard/list.streamlit.j2", title="", sentences=lines))


def wave_table(found: RolloutSummary) -> str:
    """Which plan each wave has, as a Markdown table with nothing in it marked up."""
    return render("dashboard/waves.streamlit.j2", rollout=found)


def _evidence(found: RolloutSummary, *, currency: str) -> None:
    chart, words = st.columns([3, 2])
    with chart:
        _gain(found, currency=currency)
    with words:
        _sentences("What moves it forward", untold(found.would_go_on, found.verdicts))
        _sentences("What slows it", found.would_slow)
        _sentences("What takes it back", found.would_take_back)


def _gain(found: RolloutSummary, *, currency: str) -> None:
    import pandas as pd

    from liftloop.app.dashboard.charts import gain_chart, inked

    if not found.measured:
        st.caption("No result yet: waiting for delayed conversions.")
        return
    measured = pd.DataFrame(
        [
            {
                "day": day(m.on),
                "days": (m.on - found.started_on).days,
                "since": (m.since - found.started_on).days,
                "gained": m.gained,
                "low": m.low,
                "high": m.high,
            }
            for m in found.measured
        ]
    )
    last = found.measured[-1]
    st.plotly_chart(
        inked(
            gain_chart(measured, currency=currency, marks=found.marks),
            theme=st.context.theme.type,
        ),
        alt=f"Gain measured over the days, {currency}. Last check, {day(last.on)}: "
        f"{last.gained:+z,.0f}, between {last.low:+z,.0f} and {last.high:+z,.0f}.",
        config={"displayModeBar": False},
    )


def _sentences(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        st.markdown(render("dashboard/list.streamlit.j2", title=title, sentences=sentences))
