"""The dashboard's charts. Colours are told apart by colour-blind people (Okabe and Ito, 2008)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from liftloop.core.curves.returns import CurvePoints
from liftloop.core.inference.weekly_profit import WeekProfit
from liftloop.core.money.currencies import budget_unit
from liftloop.reporting.outcome_words import OutcomeWords

PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#8C6BB1",
)
INK = "#4a5260"
OTHER, OTHER_COLOUR = "all others", "#8A8A8A"
LABEL = 16  # letters of a name beside a chart: a telephone has room for two such names
MOST_TICKS, WEEK_MS = 6, 7 * 86_400_000  # a telephone has room for six days on an axis
MOST_CELLS = 40  # more rows than this and nobody reads them; the table has them all


def colours_of(spend: pd.DataFrame) -> dict[str, str]:
    """A colour a channel, by name; of many channels the largest spenders, the others grey."""
    largest = spend.groupby("channel")["spend"].sum().nlargest(len(PALETTE)).index
    return dict(zip(sorted(map(str, largest)), PALETTE, strict=False))


def spend_chart(
    spend: pd.DataFrame,
    *,
    colours: dict[str, str],
    currency: str,
    decided: Sequence[date] = (),
) -> go.Figure:
    """Spend a day, stacked by channel, with a line where budgets were ``decided`` that moved.

    Parameters
    ----------
    spend
        date, channel, spend in the account's currency.
    """
    named = spend.assign(
        channel=spend["channel"].astype(str).where(spend["channel"].isin(list(colours)), OTHER)
    )
    days = named.pivot_table(index="date", columns="channel", values="spend", aggfunc="sum")
    days = days.asfreq("D").fillna(0.0)  # a day without a report is a gap to be seen
    figure = go.Figure()
    for channel in sorted(days.columns, key=lambda name: (name == OTHER, name)):
        figure.add_scatter(
            x=days.index,
            y=days[channel],
            name=plain(channel),
            stackgroup="spend",
            mode="lines",
            line={"width": 0.5, "color": colours.get(channel, OTHER_COLOUR)},
            hovertemplate="%{y:,.0f} " + currency,
        )
    first = days.index.min()
    for day in decided:
        if pd.Timestamp(day) >= first:
            figure.add_vline(
                x=pd.Timestamp(day), line={"dash": "dot", "width": 1, "color": OTHER_COLOUR}
            )
    high = 320 + 16 * max(len(days.columns) - 4, 0)  # on a telephone each name has its own line
    figure.update_layout(hovermode="x unified", yaxis_title=f"{currency} a day", **_layout(high))
    figure.update_yaxes(tickformat=",.0f", rangemode="tozero")
    return figure


def return_chart(
    budgets: pd.DataFrame, *, colours: dict[str, str], currency: str, margin: float = 1.0
) -> go.Figure:
    """Predicted incremental revenue per unit of budget with its 90 % interval, a row a cell.

    Cells with the largest budgets come first; at most ``MOST_CELLS`` are drawn.

    Parameters
    ----------
    margin
        Profit per unit of revenue before the spend: a cell pays from 1 / ``margin`` on.
    """
    known = budgets.dropna(subset=["per_unit"])
    known = known.assign(budget=known["daily_budget"].astype(float))
    known = known.nlargest(MOST_CELLS, "budget").sort_values("budget")
    # rows are placed by number: two long names that are cut alike stay two rows
    known = known.assign(place=range(len(known)))
    amount = ":,.0f" if budget_unit(currency) == 1 else ":,.2f"
    figure = go.Figure()
    for channel, rows in known.groupby("channel", sort=True):
        figure.add_scatter(
            x=rows["per_unit"],
            y=rows["place"],
            mode="markers",
            marker={"size": 9, "color": colours.get(str(channel), OTHER_COLOUR)},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (rows["per_unit_high"] - rows["per_unit"]).fillna(0.0),
                "arrayminus": (rows["per_unit"] - rows["per_unit_low"]).fillna(0.0),
                "thickness": 1.6,
                "width": 3,
            },
            text=[
                f"{plain(s)} × {plain(c)}"
                for s, c in zip(rows["segment"], rows["channel"], strict=True)
            ],
            customdata=rows[["budget", "per_unit_low", "per_unit_high"]],
            hovertemplate=(
                "%{text}<br>%{x:.2f} per unit (90 %: %{customdata[1]:.2f} to %{customdata[2]:.2f})"
                "<br>budget %{customdata[0]" + amount + "} " + currency + " a day<extra></extra>"
            ),
        )
    figure.add_vline(
        x=1 / margin,
        line={"dash": "dot", "color": OTHER_COLOUR, "width": 1.5},
        annotation={"text": "break-even", "yanchor": "bottom"},
        annotation_position="top",
    )
    figure.update_layout(
        xaxis_title=f"incremental revenue per {currency} of budget",
        showlegend=False,  # each row names its channel
        **_layout(110 + 22 * len(known)),
    )
    figure.update_layout(margin_t=26)  # room for the word break-even
    figure.update_yaxes(
        tickvals=list(known["place"]),
        ticktext=[
            f"{plain(s, LABEL)} × {plain(c, LABEL)}"
            for s, c in zip(known["segment"], known["channel"], strict=True)
        ],
        range=[-0.7, len(known) - 0.3],
        zeroline=False,
    )
    figure.update_xaxes(rangemode="tozero", tickformat=".1f")
    return figure


def gain_chart(
    measured: pd.DataFrame, *, currency: str, marks: Sequence[tuple[int, str]]
) -> go.Figure:
    """The gain measured over the days of a rollout with its bounds, and the days of steps that
    matter. Where counting started anew (``since`` changes) the line is broken.

    Parameters
    ----------
    measured
        day (a word), days (since the start), since, gained, low, high: account currency.
    """
    edge = {"width": 1, "color": "rgba(86, 180, 233, 0.8)"}  # seen on white and on black
    figure = go.Figure()
    for number, (_, some) in enumerate(measured.groupby("since", sort=True)):
        first = number == 0
        figure.add_scatter(
            x=some["days"],
            y=some["high"],
            mode="lines",
            line=edge,
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=some["days"],
            y=some["low"],
            mode="lines",
            line=edge,
            fill="tonexty",
            fillcolor="rgba(86, 180, 233, 0.25)",
            name="95 % interval, valid at every check",
            hoverinfo="skip",
            showlegend=first,
        )
        figure.add_scatter(
            x=some["days"],
            y=some["gained"],
            mode="lines+markers",
            name="measured gain",
            line={"color": PALETTE[0], "width": 2},
            showlegend=first,
            customdata=some[["day", "low", "high"]],
            hovertemplate="%{customdata[0]}: %{y:+,.0f} (%{customdata[1]:+,.0f} to "
            "%{customdata[2]:+,.0f})<extra></extra>",
        )
        if len(some) == 1:  # a band of one day has no width: its ends are drawn
            one = some.iloc[0]
            figure.data[-1].update(
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [one["high"] - one["gained"]],
                    "arrayminus": [one["gained"] - one["low"]],
                    "color": "#56B4E9",
                    "thickness": 1.6,
                }
            )
    figure.add_hline(y=0, line={"color": OTHER_COLOUR, "width": 1.5})
    latest = max([7, *measured["days"], *(day for day, _ in marks)])
    for day, word in marks:
        late = day > 0.8 * latest  # a word at the right edge stands left of its line
        figure.add_vline(
            x=day,
            line={"color": OTHER_COLOUR, "dash": "dot", "width": 1},
            annotation={"text": plain(word), "xanchor": "right" if late else "left"},
            annotation_position="top left" if late else "top right",
        )
    figure.update_layout(
        xaxis_title="days since the start", yaxis_title=f"measured gain, {currency}", **_layout(340)
    )
    figure.update_yaxes(tickformat="+,.0f")
    figure.update_xaxes(range=[-0.02 * latest, 1.03 * latest])
    return figure


def before_after_chart(
    weeks: Sequence[WeekProfit], *, decided: Sequence[date], words: OutcomeWords
) -> go.Figure:
    """Incremental profit of each week: measured with its 90 % interval, predicted, and the 90 %
    band of the budgets left as they were; a line where budgets were ``decided`` that moved."""
    unit = words.worth if words.counted else 1.0
    days = [week.first for week in weeks]

    def amounts(values: Sequence[float | None]) -> list[float | None]:
        return [None if value is None else value / unit for value in values]

    figure = go.Figure()
    edge = {"width": 1, "color": "rgba(138, 138, 138, 0.7)"}
    for end, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=days,
            y=amounts([getattr(week.left, end) for week in weeks]),
            mode="lines",
            line=edge,
            fill=fill,
            fillcolor="rgba(138, 138, 138, 0.25)",
            name="budgets left as they were (90 %)",
            showlegend=fill is not None,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=days,
        y=amounts([week.predicted for week in weeks]),
        mode="lines",
        line={"color": PALETTE[1], "width": 2, "dash": "dash"},
        name="predicted",
        hovertemplate="predicted %{y:+,.0f}<extra></extra>",
    )
    known = [week for week in weeks if week.measured is not None]
    mean, low, high = (
        amounts([getattr(week.measured, name) for week in known])
        for name in ("mean", "low", "high")
    )
    figure.add_scatter(
        x=[week.first for week in known],
        y=mean,
        mode="lines+markers",
        line={"color": PALETTE[0], "width": 2},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [(h or 0.0) - (m or 0.0) for h, m in zip(high, mean, strict=True)],
            "arrayminus": [(m or 0.0) - (n or 0.0) for n, m in zip(low, mean, strict=True)],
            "thickness": 1.4,
            "width": 3,
        },
        name="measured (90 %)",
        hovertemplate="%{x|%-d %b %Y}: measured %{y:+,.0f}<extra></extra>",
    )
    for day in decided:
        figure.add_vline(
            x=pd.Timestamp(day), line={"dash": "dot", "width": 1, "color": OTHER_COLOUR}
        )
    figure.update_layout(
        xaxis_title="week from; dotted: budgets moved",
        yaxis_title=f"{words.gain_label} a week",
        **_layout(360),
    )
    figure.update_yaxes(tickformat="+,.0f")
    apart = -(-len(weeks) // MOST_TICKS) * WEEK_MS
    figure.update_xaxes(tick0=days[0], dtick=apart, tickformat="%-d %b<br>%Y")
    return figure


def inked(figure: go.Figure, *, theme: str | None) -> go.Figure:
    """The figure with words on its axes dark enough to read where the page is light: Streamlit's
    own are too pale there (WCAG AA asks for 4.5 to 1)."""
    if theme == "light":
        words = {"tickfont_color": INK, "title_font_color": INK}
        figure.update_xaxes(**words)
        figure.update_yaxes(**words)
        figure.update_annotations(font_color=INK)
    return figure


def plain(name: str, most: int = 40) -> str:
    """A name as text of at most ``most`` letters, left out in the middle: names that begin alike
    often end differently. Plotly takes HTML and, between dollar signs, mathematics."""
    cut = name
    if len(name) > most:
        head, tail = most // 2, (most - 1) // 2
        cut = f"{name[:head]}…{name[-tail:]}"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace("$", "&#36;")


def _layout(height: int) -> dict[str, object]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }


def curve_chart(curve: CurvePoints, *, before: float, now: float, words: OutcomeWords) -> go.Figure:
    """A cell's incremental revenue (or conversions, where they are counted) by daily budget with
    its 90 % band, and the budget before and now as points on it."""
    unit = words.worth if words.counted else 1.0
    of = "conversions" if words.counted else f"revenue, {words.currency}"
    figure = go.Figure()
    band = "rgba(68, 119, 170, 0.18)"
    figure.add_scatter(
        x=[*curve.spend, *curve.spend[::-1]],
        y=[*(curve.high / unit), *(curve.low[::-1] / unit)],
        fill="toself",
        fillcolor=band,
        line={"width": 0},
        hoverinfo="skip",
        name="90 % interval",
    )
    figure.add_scatter(
        x=curve.spend,
        y=curve.mean / unit,
        mode="lines",
        line={"color": PALETTE[0]},
        name="predicted",
    )
    for name, budget, symbol in (("before", before, "circle-open"), ("now", now, "circle")):
        figure.add_scatter(
            x=[budget],
            y=[float(np.interp(budget, curve.spend, curve.mean)) / unit],
            mode="markers",
            marker={"size": 12, "symbol": symbol, "color": PALETTE[0]},
            name=name,
        )
    figure.update_layout(
        xaxis_title=f"budget, {words.currency} a day",
        yaxis_title=f"incremental {of} a day",
        **_layout(380),
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0})
    return figure
