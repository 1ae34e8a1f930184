"""Small charts as inline SVG: no script, no outside request, readable in print and in the dark.

Colours come from the page's style sheet by class, so that a chart follows the reader's theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]
LETTER = 5.8  # width of a tick's letter in the drawing's own units, rounded up


def compact(amount: float) -> str:
    """A number as a person writes it on an axis: 1,250 or 12k or 3.4M; a dash when unknown."""
    if not math.isfinite(amount):
        return "–"
    size = abs(amount)
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            shown = amount / (1e3 if unit == "k" else limit)
            return f"{shown:.3g}{unit}" if abs(shown) < 999.5 else f"{shown:,.0f}{unit}"
    if size >= 100:
        return f"{amount:,.0f}"
    return f"{amount:.3g}"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers inside [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot area and the scales that map numbers into it."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 320.0
    height: float = 190.0
    left: float = 44.0
    bottom: float = 26.0
    top: float = 8.0
    right: float = 10.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixel position of a point, held inside the drawing."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        across, up = (min(max(v, -0.05), 1.05) for v in (across, up))
        return (
            self.left + across * (self.width - self.left - self.right),
            self.height - self.bottom - up * (self.height - self.bottom - self.top),
        )

    def path(self, points: Points) -> str:
        return " ".join(f"{px:.1f},{py:.1f}" for px, py in (self.at(*p) for p in points))

    def line(self, points: Points, kind: str) -> str:
        return f'<polyline class="{kind}" points="{self.path(points)}"/>'

    def band(self, low: Points, high: Points) -> str:
        return f'<polygon class="band" points="{self.path([*high, *reversed(low)])}"/>'

    def level(self, y: float, kind: str) -> str:
        return self.line([(self.x[0], y), (self.x[1], y)], kind)

    def axes(self, *, x_label: str = "", y_label: str = "") -> str:
        parts = []
        for tick in ticks(*self.y):
            x0, y = self.at(self.x[0], tick)
            x1, _ = self.at(self.x[1], tick)
            text = compact(tick) if tick else "0"
            parts.append(
                f'<line class="grid" x1="{x0:.1f}" x2="{x1:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            parts.append(f'<text class="tick end" x="{x0 - 6:.1f}" y="{y + 3.5:.1f}">{text}</text>')
        for tick in ticks(*self.x, count=4):
            x, y = self.at(tick, self.y[0])
            words = compact(tick)
            # A number in the middle of its tick would be cut where the tick is at the edge.
            x = min(x, self.width - LETTER * len(words) / 2)
            parts.append(f'<text class="tick mid" x="{x:.1f}" y="{y + 14:.1f}">{words}</text>')
        if x_label:
            x, y = self.at(self.x[1], self.y[0])
            parts.append(
                f'<text class="tick end" x="{x:.1f}" y="{y - 5:.1f}">{escape(x_label)}</text>'
            )
        if y_label:
            parts.append(f'<text class="tick" x="2" y="10">{escape(y_label)}</text>')
        return "".join(parts)

    def svg(self, body: str, *, title: str) -> str:
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(title)}"><title>{escape(title)}</title>{body}</svg>'
        )


def response_chart(
    *,
    spend: Sequence[float],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    current: float,
    planned: float,
    title: str,
    currency: str = "",
) -> str:
    """A response curve with its band; a ring where the cell stood, a dot where it goes. Both axes
    are money a day in ``currency``."""

    def height_at(x: float) -> float:
        for k in range(1, len(spend)):
            if x <= spend[k]:
                width = (spend[k] - spend[k - 1]) or 1.0
                return mean[k - 1] + (mean[k] - mean[k - 1]) * (x - spend[k - 1]) / width
        return mean[-1]

    top = max(*high, 1e-9)
    unit = f", {currency}" if currency else ""
    frame = Frame(
        (min(spend), max(*spend, current, planned, 1e-9)), (min(0.0, *low), top * 1.05), top=20.0
    )
    marks = []
    for x, kind, radius in ((current, "was", 4.5), (planned, "goes", 4.5)):
        px, py = frame.at(x, height_at(x))
        marks.append(f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="{radius}"/>')
    body = (
        frame.axes(x_label=f"spend a day{unit}", y_label=f"incremental revenue a day{unit}")
        + frame.band(list(zip(spend, low, strict=True)), list(zip(spend, high, strict=True)))
        + frame.line(list(zip(spend, mean, strict=True)), "curve")
        + "".join(marks)
    )
    return frame.svg(body, title=title)


def gain_chart(
    *,
    days: Sequence[float],
    since: Sequence[float],
    gained: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    title: str,
    marks: Sequence[tuple[float, str]] = (),
    narrow: bool = False,
) -> str:
    """The gain measured over the days of a rollout, account currency, with its always-valid bounds.

    Parameters
    ----------
    days
        Of each check, since the rollout began; ascending.
    since
        The day that a check's gain is counted from: where it changes, counting started anew and
        the line is broken.
    marks
        (day, word) of steps to be named.
    narrow
        Drawn for a telephone, where the broad drawing's words would be half as large.
    """
    reach = max(1.15 * max(abs(v) for v in (*gained, *low[-3:], *high[-3:])), 1.0)
    latest = max(*days, *(day for day, _ in marks), 7.0)
    width, height = (340.0, 260.0) if narrow else (680.0, 280.0)
    frame = Frame(
        (0.0, latest), (-reach, reach), width=width, height=height, left=52, top=34, right=52
    )
    ends = f"{gained[-1]:+z,.0f}"
    end_x, end_y = frame.at(days[-1], gained[-1])
    words_x = min(end_x + 7, width - LETTER * len(ends))
    body = (
        frame.axes(x_label="days since the start")
        + frame.level(0.0, "zero")
        + "".join(
            _stretch(
                frame,
                [k for k, first in enumerate(since) if first == start],
                days,
                gained,
                low,
                high,
            )
            for start in sorted(set(since))
        )
        + _marks(frame, marks)
        + f'<text class="tick" x="{words_x:.1f}" y="{end_y - 7:.1f}">{ends}</text>'
    )
    return frame.svg(body, title=title)


def _stretch(
    frame: Frame,
    which: Sequence[int],
    days: Sequence[float],
    gained: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
) -> str:
    """The checks whose gain is counted from the same day: band, line and a dot each."""

    def points(values: Sequence[float]) -> Points:
        return [(days[k], values[k]) for k in which]

    first = which[0]
    alone = frame.line([(days[first], low[first]), (days[first], high[first])], "curve")
    dots = "".join(
        f'<circle class="look" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        for x, y in (frame.at(*point) for point in points(gained))
    )
    return (
        frame.band(points(low), points(high))
        + (alone if len(which) == 1 else "")
        + frame.line(points(gained), "curve")
        + dots
    )


def _marks(frame: Frame, marks: Sequence[tuple[float, str]]) -> str:
    """A vertical line through the plot for each mark, its word above; a word that would run into
    the one before stands a line higher."""
    parts, busy, raised = [], -math.inf, False
    for day, word in sorted(marks, key=lambda mark: mark[0]):
        x, bottom = frame.at(day, frame.y[0])
        _, top = frame.at(day, frame.y[1])
        length = LETTER * len(word)
        begin = min(x, frame.width - length)
        raised = begin < busy and not raised
        busy = begin + length
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
            f'<text class="tick" x="{begin:.1f}" y="{top - (20 if raised else 8):.1f}">'
            f"{escape(word)}</text>"
        )
    return "".join(parts)


def change_bar(change: float, largest: float) -> str:
    """A bar to the right for more money, to the left for less, in proportion to the largest."""
    width = 44.0 * (abs(change) / largest if largest > 0 else 0.0)
    x = 48.0 if change >= 0 else 48.0 - width
    kind = "more" if change >= 0 else "less"
    return (
        '<svg class="bar" viewBox="0 0 96 12" aria-hidden="true">'
        '<line class="grid" x1="48" x2="48" y1="0" y2="12"/>'
        f'<rect class="{kind}" x="{x:.1f}" y="1.5" width="{max(width, 0.5):.1f}" height="9" '
        'rx="1.5"/>'
        "</svg>"
    )
