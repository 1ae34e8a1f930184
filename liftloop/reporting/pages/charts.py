"""Small charts as inline SVG: no script, no outside request, readable in print and in the dark.

What is drawn where is computed here; ``templates/pages/chart.html.j2`` writes the shapes. Colours
come from the page's style sheet by class, so that a chart follows the reader's theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from liftloop.reporting.rendering import render, signed

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
class Line:
    """A straight line; ``kind`` is its class in the style sheet, positions are pixels."""

    shape: ClassVar = "line"
    kind: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points; the outline of an area where it is ``closed``."""

    shape: ClassVar = "path"
    kind: str
    points: Points
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A circle around (``x``, ``y``)."""

    shape: ClassVar = "dot"
    kind: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Label:
    """Words at (``x``, ``y``)."""

    shape: ClassVar = "label"
    x: float
    y: float
    words: str
    kind: str = "tick"


Shape = Line | Path | Dot | Label


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

    def line(self, points: Points, kind: str) -> Path:
        return Path(kind, [self.at(*point) for point in points])

    def band(self, low: Points, high: Points) -> Path:
        return Path("band", [self.at(*point) for point in (*high, *reversed(low))], closed=True)

    def level(self, y: float, kind: str) -> Path:
        return self.line([(self.x[0], y), (self.x[1], y)], kind)

    def axes(self, *, x_label: str = "", y_label: str = "") -> list[Shape]:
        shapes: list[Shape] = []
        for tick in ticks(*self.y):
            x0, y = self.at(self.x[0], tick)
            x1, _ = self.at(self.x[1], tick)
            shapes.append(Line("grid", x0, y, x1, y))
            shapes.append(Label(x0 - 6, y + 3.5, compact(tick) if tick else "0", "tick end"))
        for tick in ticks(*self.x, count=4):
            x, y = self.at(tick, self.y[0])
            words = compact(tick)
            # A number in the middle of its tick would be cut where the tick is at the edge.
            x = min(x, self.width - LETTER * len(words) / 2)
            shapes.append(Label(x, y + 14, words, "tick mid"))
        if x_label:
            x, y = self.at(self.x[1], self.y[0])
            shapes.append(Label(x, y - 5, x_label, "tick end"))
        if y_label:
            shapes.append(Label(2, 10, y_label))
        return shapes

    def svg(self, shapes: Sequence[Shape], *, title: str) -> Markup:
        return Markup(render("pages/chart.html.j2", frame=self, shapes=shapes, title=title))


@dataclass(frozen=True, slots=True)
class CurveSamples:
    """A response curve at ``spend``, ascending, account currency a day: incremental revenue a day,
    its ``mean`` and the bounds of its interval, each as long."""

    spend: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def response_chart(
    samples: CurveSamples,
    *,
    current: float,
    planned: float,
    title: str,
    currency: str = "",
) -> Markup:
    """A response curve with its band; a ring where the cell stood, a dot where it goes. Both axes
    are money a day in ``currency``."""
    spend, mean, low, high = samples.spend, samples.mean, samples.low, samples.high

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
    shapes = [
        *frame.axes(x_label=f"spend a day{unit}", y_label=f"incremental revenue a day{unit}"),
        frame.band(list(zip(spend, low, strict=True)), list(zip(spend, high, strict=True))),
        frame.line(list(zip(spend, mean, strict=True)), "curve"),
        Dot("was", *frame.at(current, height_at(current)), radius=4.5),
        Dot("goes", *frame.at(planned, height_at(planned)), radius=4.5),
    ]
    return frame.svg(shapes, title=title)


@dataclass(frozen=True, slots=True)
class GainChecks:
    """The gain measured at each check of a rollout; all of one length, at least 1.

    Attributes
    ----------
    days
        Of each check, since the rollout began; ascending.
    since
        The day that a check's gain is counted from: where it changes, counting started anew and
        the line is broken.
    gained, low, high
        Profit gained since then and its bounds, account currency.
    """

    days: Sequence[float]
    since: Sequence[float]
    gained: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def gain_chart(
    checks: GainChecks,
    *,
    title: str,
    marks: Sequence[tuple[float, str]] = (),
    narrow: bool = False,
) -> Markup:
    """The gain measured over the days of a rollout, account currency, with its always-valid bounds.

    Parameters
    ----------
    marks
        (day, word) of steps to be named.
    narrow
        Drawn for a telephone, where the broad drawing's words would be half as large.
    """
    days, gained = checks.days, checks.gained
    reach = max(1.15 * max(abs(v) for v in (*gained, *checks.low[-3:], *checks.high[-3:])), 1.0)
    latest = max(*days, *(day for day, _ in marks), 7.0)
    width, height = (340.0, 260.0) if narrow else (680.0, 280.0)
    frame = Frame(
        (0.0, latest), (-reach, reach), width=width, height=height, left=52, top=34, right=52
    )
    ends = signed(gained[-1])
    end_x, end_y = frame.at(days[-1], gained[-1])
    words_x = min(end_x + 7, width - LETTER * len(ends))
    shapes = [*frame.axes(x_label="days since the start"), frame.level(0.0, "zero")]
    for start in sorted(set(checks.since)):
        which = [k for k, first in enumerate(checks.since) if first == start]
        shapes += _stretch(frame, which, checks)
    shapes += [*_marks(frame, marks), Label(words_x, end_y - 7, ends)]
    return frame.svg(shapes, title=title)


def _stretch(frame: Frame, which: Sequence[int], checks: GainChecks) -> list[Shape]:
    """The checks whose gain is counted from the same day: band, line and a dot each."""
    days, gained, low, high = checks.days, checks.gained, checks.low, checks.high

    def points(values: Sequence[float]) -> Points:
        return [(days[k], values[k]) for k in which]

    first = which[0]
    alone = frame.line([(days[first], low[first]), (days[first], high[first])], "curve")
    return [
        frame.band(points(low), points(high)),
        *([alone] if len(which) == 1 else []),
        frame.line(points(gained), "curve"),
        *(Dot("look", *frame.at(*point), radius=2.6) for point in points(gained)),
    ]


def _marks(frame: Frame, marks: Sequence[tuple[float, str]]) -> list[Shape]:
    """A vertical line through the plot for each mark, its word above; a word that would run into
    the one before stands a line higher."""
    shapes: list[Shape] = []
    busy, raised = -math.inf, False
    for day, word in sorted(marks, key=lambda mark: mark[0]):
        x, bottom = frame.at(day, frame.y[0])
        _, top = frame.at(day, frame.y[1])
        length = LETTER * len(word)
        begin = min(x, frame.width - length)
        raised = begin < busy and not raised
        busy = begin + length
        shapes.append(Line("mark", x, top, x, bottom))
        shapes.append(Label(begin, top - (20 if raised else 8), word))
    return shapes


@dataclass(frozen=True, slots=True)
class ChangeBar:
    """A bar in a drawing 96 wide: to the right of the middle for more money, to the left for less
    (``kind`` is ``more`` or ``less``)."""

    kind: str
    x: float
    width: float


def change_bar(change: float, largest: float) -> ChangeBar:
    """The bar of a change, in proportion to the largest."""
    width = 44.0 * (abs(change) / largest if largest > 0 else 0.0)
    return (
        ChangeBar("more", 48.0, max(width, 0.5))
        if change >= 0
        else ChangeBar("less", 48.0 - width, max(width, 0.5))
    )
