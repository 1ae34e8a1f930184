"""What a training found, drawn with Plotly for the registry. Frames in, figures out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from models.response.train import HoldoutModel
    from models.uplift.train import UnitsModel

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#9aa0a6"  # told apart by colour-blind eyes as well
MOST_PANELS = 12
CURRENCY = "account currency"  # the unit of money where its name is not told


def holdout_figures(model: HoldoutModel, *, currency: str = CURRENCY) -> dict[str, go.Figure]:
    """Response curves of the largest cells, and observed against fitted lifts. ``currency`` is
    written on every axis of money."""
    curves = model.tables()["curves"]
    return {
        "response_curves": curves_figure(curves, value="mean", currency=currency),
        "all_response_curves": every_curve_figure(curves, value="mean", currency=currency),
        "lifts": fitted_figure(model.fit.evidence, currency=currency),
    }


def units_figures(
    model: UnitsModel, *, currency: str = CURRENCY, minimum_group: int = 0
) -> dict[str, go.Figure]:
    """Effects with intervals, uplift calibration by decile, what drives uplift, curves.
    ``currency`` is written on every axis of money alone; smaller groups are left out."""
    frames = model.figures(minimum_group=minimum_group)
    found = {"effects": effects_figure(frames["effects"], currency=currency)}
    if not frames["calibration"].empty:
        found["calibration"] = calibration_figure(frames["calibration"])
    if not frames["importance"].empty:
        found["importance"] = importance_figure(frames["importance"])
    if not frames["curves"].empty:
        found["response_curves"] = curves_figure(
            frames["curves"], value="revenue", currency=currency
        )
        found["all_response_curves"] = every_curve_figure(
            frames["curves"], value="revenue", currency=currency
        )
    return found


def curves_figure(curves: pd.DataFrame, *, value: str, currency: str = CURRENCY) -> go.Figure:
    """Mean and 90 % band of revenue a day by spend, the largest cells first. Both axes are money a
    day in ``currency``; titles stand at the outer panels, as all panels share them."""
    from plotly.subplots import make_subplots

    sizes = curves.groupby(["segment", "channel"])["spend"].max().sort_values(ascending=False)
    shown = list(sizes.index[:MOST_PANELS])
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    titles = [f"{segment} x {channel}" for segment, channel in shown]
    figure = make_subplots(
        rows=lines,
        cols=columns,
        subplot_titles=titles,
        shared_xaxes=False,
        x_title=f"spend a day, {currency}",
        y_title=f"incremental revenue a day, {currency}",
    )
    for number, (segment, channel) in enumerate(shown):
        own = curves[(curves["segment"] == segment) & (curves["channel"] == channel)]
        place = {"row": number // columns + 1, "col": number % columns + 1}
        figure.add_scatter(x=own["spend"], y=own["high"], line_width=0, showlegend=False, **place)
        figure.add_scatter(
            x=own["spend"],
            y=own["low"],
            line_width=0,
            fill="tonexty",
            fillcolor="rgba(0,114,178,0.2)",
            showlegend=False,
            **place,
        )
        figure.add_scatter(x=own["spend"], y=own[value], line_color=BLUE, showlegend=False, **place)
    figure.update_layout(
        title="Incremental revenue a day by daily spend (band: 90 %)",
        height=260 * lines + 80,
        template="none",
    )
    return figure


def every_curve_figure(curves: pd.DataFrame, *, value: str, currency: str = CURRENCY) -> go.Figure:
    """One cell's curve with its 90 % band, chosen from a list of all cells, by name. Axes as of
    :func:`curves_figure`."""
    import plotly.graph_objects as go

    def rounded(values: pd.Series) -> list[float]:
        return [float(f"{one:.5g}") for one in values]

    choices = []
    for (segment, channel), own in curves.groupby(["segment", "channel"], sort=True):
        spend = rounded(own["spend"])
        shown = [rounded(own[name]) for name in ("high", "low", value)]
        choices.append((f"{segment} x {channel}", [spend] * 3, shown))
    _, spends, first = choices[0]
    figure = go.Figure(
        [
            go.Scatter(x=spends[0], y=first[0], line_width=0),
            go.Scatter(
                x=spends[1],
                y=first[1],
                line_width=0,
                fill="tonexty",
                fillcolor="rgba(0,114,178,0.2)",
            ),
            go.Scatter(x=spends[2], y=first[2], line_color=BLUE),
        ]
    )
    figure.update_layout(
        title="Incremental revenue a day by daily spend (band: 90 %)",
        xaxis_title=f"spend a day, {currency}",
        yaxis_title=f"incremental revenue a day, {currency}",
        showlegend=False,
        template="none",
        updatemenus=[
            {
                "buttons": [
                    {"label": label, "method": "restyle", "args": [{"x": x, "y": y}]}
                    for label, x, y in choices
                ],
                "x": 1,
                "xanchor": "right",
                "y": 1.12,
            }
        ],
    )
    return figure


def fitted_figure(evidence: pd.DataFrame, *, currency: str = CURRENCY) -> go.Figure:
    """Observed lifts against fitted ones, money a day in ``currency``."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for channel, own in evidence.groupby("channel", observed=True):
        figure.add_scatter(
            x=own["fitted"], y=own["lift"], mode="markers", name=str(channel), opacity=0.6
        )
    low, high = evidence["fitted"].min(), evidence["fitted"].max()
    figure.add_scatter(x=[low, high], y=[low, high], mode="lines", line_color=GREY, name="equal")
    figure.update_layout(
        title="Lifts, observed against fitted",
        xaxis_title=f"fitted incremental revenue a day, {currency}",
        yaxis_title=f"observed incremental revenue a day, {currency}",
        template="none",
    )
    return figure


def effects_figure(effects: pd.DataFrame, *, currency: str = CURRENCY) -> go.Figure:
    """Average effects per user with 95 % intervals, one panel an outcome; revenue is in
    ``currency``."""
    from plotly.subplots import make_subplots

    outcomes = list(dict.fromkeys(effects["outcome"]))
    figure = make_subplots(rows=1, cols=len(outcomes), subplot_titles=outcomes)
    for number, outcome in enumerate(outcomes, start=1):
        own = effects[effects["outcome"] == outcome]
        figure.add_scatter(
            x=own["ate"],
            y=own["channel"] + ", " + own["segment"],
            mode="markers",
            error_x={"type": "data", "array": own["high"] - own["ate"]},
            marker_color=BLUE,
            showlegend=False,
            row=1,
            col=number,
        )
        figure.add_vline(x=0, line_color=GREY, row=1, col=number)
        unit = f", {currency}" if outcome == "revenue" else ""
        figure.update_xaxes(title_text=f"{outcome} per user{unit}", row=1, col=number)
    figure.update_layout(
        title="Effect per user (95 % interval)",
        template="none",
        height=200 + 30 * effects.groupby("outcome").size().max(),
    )
    return figure


def calibration_figure(calibration: pd.DataFrame) -> go.Figure:
    """Predicted against observed uplift by decile."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for (channel, outcome), own in calibration.groupby(["channel", "outcome"]):
        figure.add_scatter(
            x=own["predicted"],
            y=own["observed"],
            mode="markers+lines",
            name=f"{channel}, {outcome}",
            error_y={"type": "data", "array": 1.96 * own["standard_error"]},
        )
    figure.update_layout(
        title="Uplift by decile, predicted against observed (95 %)",
        xaxis_title="predicted uplift per user",
        yaxis_title="observed uplift per user",
        template="none",
    )
    return figure


def importance_figure(importance: pd.DataFrame) -> go.Figure:
    """Mean absolute SHAP value of the features that drive uplift most."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for (channel, outcome), own in importance.groupby(["channel", "outcome"]):
        best = own.nlargest(MOST_PANELS, "mean_abs_shap")
        figure.add_bar(
            x=best["mean_abs_shap"],
            y=best["feature"],
            orientation="h",
            name=f"{channel}, {outcome}",
        )
    figure.update_layout(
        title="What drives uplift (mean |SHAP|)",
        xaxis_title="mean |SHAP| value, in units of the outcome",
        yaxis_title="feature",
        template="none",
        barmode="group",
    )
    return figure
