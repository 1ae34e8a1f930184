"""What the loop earned week by week, what changed, who did it and what came of it; and the
experiments."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from liftloop.adapters.pasteable import pasteable
from liftloop.app.dashboard.acting import Visit
from liftloop.app.dashboard.caching import before_and_after
from liftloop.app.dashboard.wording import harmless, md, table_height
from liftloop.reporting.history.before_and_after import week_rows


def draw_experiments(visit: Visit) -> None:
    """Draw the experiments and lift tests, and how much each counts; then tests inside cells."""
    from liftloop.app.dashboard.variant_tests import draw_variant_tests

    _draw_lift_tests(visit)
    draw_variant_tests(visit)


def _draw_lift_tests(visit: Visit) -> None:
    from tasks.experiments.listing import listed_tests

    rows = listed_tests(str(visit.workspace.root))
    if not rows:
        words = "No experiment yet. The one worth most: `liftloop experiments suggest`"
        st.info(pasteable(words, visit.workspace, anywhere=True))
        return
    frame = experiment_table(rows)
    st.dataframe(frame, hide_index=True, height=table_height(len(frame)), placeholder="–")


def experiment_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """A row an experiment, as people read it."""
    names = {
        "experiment": "experiment",
        "channel": "channel",
        "segments": "segments",
        "design": "design",
        "start": "first day",
        "days": "days",
        "incremental_revenue": "incremental revenue",
        "low": "90 % from",
        "high": "to",
        "status": "status",
        "weight": "weight in the model",
        "why": "why",
    }
    frame = pd.DataFrame(rows, columns=list(names)).rename(columns=names)
    return harmless(frame, "experiment", "channel", "segments", "why")


def draw_history(visit: Visit) -> None:
    """Draw what the budgets in force earned beside the old ones; and what changed in data, models,
    settings, budgets and people, the last first."""
    _before_and_after(visit)
    st.header("What changed", anchor=False)
    from liftloop.reporting.history.changelog import COLUMNS
    from tasks.context import Loop
    from tasks.report.changelog import changelog

    changes = changelog(Loop(visit.workspace, visit.settings))
    kinds = sorted({change.kind.value for change in changes})
    chosen = st.pills("Of", kinds, selection_mode="multi", default=kinds)
    shown = [change for change in changes if change.kind.value in (chosen or kinds)]
    if not shown:
        st.caption("Nothing yet.")
        return
    account = visit.settings.account
    rows = [
        change.row(timezone=account.timezone, currency=account.currency)
        for change in reversed(shown)
    ]
    frame = harmless(pd.DataFrame(rows, columns=list(COLUMNS)), *COLUMNS)
    st.dataframe(frame, hide_index=True, height=table_height(len(frame)), placeholder="–")


def _before_and_after(visit: Visit) -> None:
    """Each week's profit: measured, predicted, and with the budgets left as they were."""
    from liftloop.app.dashboard.charts import before_after_chart, inked
    from liftloop.pipeline.plan.plan_budgets import outcome_words

    st.header("Before and after", anchor=False)
    found = before_and_after(visit)
    if found is None:
        st.caption("Nothing yet: it begins a week after the first decision that moves budgets.")
        return
    words = outcome_words(visit.settings)
    said = found.sentence(words)
    st.markdown(md(said))
    st.plotly_chart(
        inked(
            before_after_chart(found.weeks, decided=found.decided, words=words),
            theme=st.context.theme.type,
        ),
        alt=f"Incremental profit week by week with 90 % intervals. {said} The table has each week",
        config={"displayModeBar": False},
    )
    with st.expander("Each week"):
        frame = pd.DataFrame(week_rows(found.weeks, words))
        st.dataframe(frame, hide_index=True, height=table_height(len(frame)))
