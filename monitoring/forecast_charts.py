"""Charts of a forecast against what was measured, over the days that they are about."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from evidently.legacy.model.widget import BaseWidgetInfo
from evidently.legacy.renderers.html_widgets import plotly_figure

MEASURED, PREDICTED, ERROR = "measured", "foretold", "standard_error"  # names in kept reports
DAY, GROUPS = "day", ("channel", "segment")
Z90 = 1.6449
MOST_LINES = 12


def by_week(
    title: str, value: Callable[[pd.DataFrame], float], rows: pd.DataFrame, begin: pd.Timestamp
) -> list[BaseWidgetInfo]:
    """The value of all rows, and of each channel and each segment (at most 12, the largest), over
    the weeks, named by their first day; the dotted line is where the current weeks begin."""
    return [_by_week(title, value, rows, begin, group) for group in GROUPS]


def _by_week(
    title: str,
    value: Callable[[pd.DataFrame], float],
    rows: pd.DataFrame,
    begin: pd.Timestamp,
    group: str,
) -> BaseWidgetInfo:
    figure = go.Figure()
    sizes = rows.groupby(group)[PREDICTED].sum().sort_values(ascending=False)
    parts = [("all", rows), *((n, rows[rows[group] == n]) for n in sizes.index[:MOST_LINES])]
    for name, mine in parts:
        weeks = {day: value(week) for day, week in mine.groupby(DAY)}
        figure.add_scatter(
            x=list(weeks),
            y=list(weeks.values()),
            mode="lines+markers",
            name=str(name),
            line={"width": 3 if name == "all" else 1},
        )
    figure.add_vline(x=begin, line_dash="dot")
    figure.update_xaxes(title="week from", type="date")
    return plotly_figure(title=f"{title}, by week and {group}", figure=figure)


def calibration_chart(rows: pd.DataFrame, begin: pd.Timestamp) -> BaseWidgetInfo:
    """What was measured over what was predicted since ``begin``: a point for each cell."""
    figure, most = go.Figure(), 0.0
    for name, mine in rows[rows[DAY] >= begin].groupby("channel"):
        cells = mine.groupby("segment").agg(
            predicted=(PREDICTED, "mean"),
            measured=(MEASURED, "mean"),
            error=(ERROR, lambda e: Z90 * float(np.sqrt((e**2).sum())) / len(e)),
        )
        most = max(most, float(cells[["predicted", "measured"]].to_numpy().max()))
        figure.add_scatter(
            x=cells["predicted"],
            y=cells["measured"],
            error_y={"array": cells["error"], "thickness": 1},
            text=list(cells.index),
            mode="markers",
            name=str(name),
        )
    figure.add_scatter(
        x=[0, most], y=[0, most], mode="lines", name="as predicted", line={"dash": "dot"}
    )
    figure.update_xaxes(title="predicted, money a day")
    figure.update_yaxes(title="measured, money a day, with 90 % interval")
    title = f"Calibration: each segment and channel since {begin:%d %b %Y}"
    return plotly_figure(title=title, figure=figure)
