"""Planted cases for the triage: what happened is known, the monitor has to say it.

Each case is the base market on its status quo for four weeks after ``start``, with one thing
planted: in the world (season, promotion, mix, response) by a market whose nature changes, or in
what is told of it (late, duplicated, another unit) by changing the feeds that come out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from liftloop.app.backtest.known import empty_feed
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket
from liftloop.settings.schema import Model, Settings
from monitoring.causes.cause import Cause, Triage
from tasks.model.learning import learn_from_holdout

KINDS = (
    "none",
    "season",
    "promotion",
    "late feed",
    "duplicated feed",
    "unit change",
    "mix shift",
    "response down 40 %",
    "response up",
    "single-channel change",
)
WEEKS = 4
CELL = ["segment", "channel"]


@dataclass(frozen=True, slots=True)
class Plant:
    """What changes from ``onset`` on: effects by channel (C,), organic revenue and sizes by segment
    (S,); ``yearly`` is the height of a season that comes every year."""

    onset: date
    effects: Any = 1.0
    organic: Any = 1.0
    until: date = date.max
    sizes: Any = None
    yearly: float = 0.0


class PlantedMarket(HillMarket):
    """The base market, in which something happens."""

    def __init__(self, seed: int, *, plant: Plant, constants: HillConstants | None = None) -> None:
        self.plant = plant
        super().__init__(seed, constants=constants)

    def response(self, spend: np.ndarray) -> np.ndarray:
        usual = super().response(spend)
        return np.asarray(usual * self._season() ** 0.5 * self._now(self.plant.effects))

    def _pass_organic_day(self, day: int) -> np.ndarray:
        usual = super()._pass_organic_day(day)
        return np.asarray(usual * self._season() * self._now(self.plant.organic))

    def _now(self, factor: Any) -> Any:
        return factor if self.plant.onset <= self._today < self.plant.until else 1.0

    def _season(self) -> float:
        """A wave of six weeks that begins at the onset's day of the year, every year."""
        if not self.plant.yearly:
            return 1.0
        phase = ((self._today - self.plant.onset).days % 364) / 42
        return 1.0 + self.plant.yearly * float(np.sin(np.pi * min(phase, 1.0)) ** 2)

    def shift_sizes(self) -> None:
        """Users, organic revenue and the room for spend move between segments."""
        factor, nature = self.plant.sizes, self._nature
        size = nature.size * factor / (nature.size * factor).sum()
        ratio = size / nature.size
        self._nature = replace(
            nature,
            size=size,
            users=np.round(nature.users * ratio),
            saturation=nature.saturation * ratio[:, None],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A market's history and champion, shared by its cases."""

    market: HillMarket
    history: Mapping[str, pd.DataFrame]
    curves: ResponseCurves


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The facts as known on ``as_of``, and what was planted."""

    kind: str
    seed: int
    frames: Mapping[str, pd.DataFrame]
    curves: ResponseCurves
    as_of: date
    channel: str = ""
    about: str = ""

    def right(self, verdict: Triage) -> bool:
        """Whether the verdict names what was planted."""
        if self.kind == "none":
            return not verdict.alarm
        main = verdict.main
        if main is None:
            return False
        cause = {
            "season": Cause.SEASON,
            "promotion": Cause.EVENT,
            "late feed": Cause.FEED,
            "duplicated feed": Cause.FEED,
            "unit change": Cause.FEED,
            "mix shift": Cause.MIX,
        }.get(self.kind, Cause.RESPONSE)
        if main.cause is not cause:
            return False
        if cause is Cause.FEED:
            names = {
                "late feed": ("late", "unsound"),
                "duplicated feed": ("doubled", "stale"),
                "unit change": ("unit",),
            }
            return main.name in names[self.kind]
        if self.kind == "single-channel change":
            changed = [f for f in verdict.findings if f.cause is Cause.RESPONSE]
            return [f.subjects for f in changed] == [(self.channel,)] and main.name == self.about
        if cause is Cause.RESPONSE:
            return main.name == ("down" if "down" in self.kind else "up")
        return True


def base_of(seed: int, market: type[HillMarket] = HillMarket, **given: Any) -> Base:
    """A market lived to ``start``, and the champion that its history trains."""
    made = market(seed, **given)
    history = made.history()
    return Base(made, history, curves_of(history, made.start))


def curves_of(facts: Mapping[str, pd.DataFrame], as_of: date) -> ResponseCurves:
    """What a training on these facts learns."""
    frames = {**facts, **{feed: empty_feed(feed) for feed in ("experiments", "units")}}
    settings = Settings(model=Model(tuning_trials=0, threads=1, draws=100))
    return learn_from_holdout(settings, frames, as_of=as_of, for_registry=False).curves


def lived(base: Base, market: HillMarket, days: int) -> dict[str, pd.DataFrame]:
    """History and ``days`` more on the status quo."""
    after = market.step(market.incumbent, days)
    return joined(base.history, after)


def joined(*parts: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {feed: pd.concat([p[feed] for p in parts], ignore_index=True) for feed in parts[0]}


def planted(base: Base, plant: Plant) -> PlantedMarket:
    """The base's market, as it stands at ``start``, with something about to happen."""
    market = copy.deepcopy(base.market)
    market.__class__ = PlantedMarket
    market.plant = plant  # type: ignore[attr-defined]
    return market  # type: ignore[return-value]


def known(frames: Mapping[str, pd.DataFrame], as_of: date) -> dict[str, pd.DataFrame]:
    """Rows reported before ``as_of``, as the loop would know them."""
    limit = pd.Timestamp(as_of, tz="UTC")
    return {
        f: t[(t["reported_at"] < limit).to_numpy()].reset_index(drop=True)
        for f, t in frames.items()
    }


def make_case(kind: str, seed: int, base: Base) -> Case:
    """One case; its details are drawn from the seed and kind."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    market, days = base.market, 7 * WEEKS
    as_of = market.start + timedelta(days=days)
    onset = as_of - timedelta(days=int(rng.integers(12, 25)))
    segments, channels = market.constants.shape
    told: dict[str, Any] = {}
    if kind == "season":
        height = float(rng.uniform(0.25, 0.45)) * float(rng.choice([1, 1, -0.7]))
        base = base_of(
            seed,
            PlantedMarket,
            plant=Plant(onset, yearly=height),
            constants=replace(HillConstants(), history_days=420),
        )
        frames = lived(base, base.market, days)
    elif kind == "promotion":
        frames = _promotion(base, onset, as_of, rng)
    elif kind == "mix shift":
        sizes = np.exp(rng.normal(0, 0.5, segments))
        market = planted(base, Plant(onset, sizes=sizes))
        first = market.step(market.incumbent, (onset - market.start).days)
        market.shift_sizes()
        frames = joined(base.history, first, market.step(market.incumbent, (as_of - onset).days))
    elif kind in ("response down 40 %", "response up", "single-channel change"):
        factor = 0.6 if "down" in kind else float(rng.uniform(1.4, 1.7))
        effects = np.full(channels, factor)
        if kind == "single-channel change":
            down = bool(rng.random() < 0.6)
            one = int(rng.integers(channels))
            effects = np.ones(channels)
            effects[one] = 0.6 if down else factor
            told = {"channel": market.constants.channels[one], "about": "down" if down else "up"}
        frames = lived(base, planted(base, Plant(onset, effects=effects)), days)
    else:
        frames = lived(base, copy.deepcopy(base.market), days)
        if kind != "none":
            spoil = {"late feed": _late, "duplicated feed": _double, "unit change": _unit}[kind]
            frames, about = spoil(frames, as_of, rng)
            told = {"about": about}
    return Case(kind, seed, known(frames, as_of), base.curves, as_of, **told)


def _promotion(base: Base, onset: date, as_of: date, rng: np.random.Generator) -> dict[str, Any]:
    """Organic revenue is up on the days of x_promotion, response a little; half of the time in half
    of the segments; half of the time it had happened before."""
    segments = base.market.constants.segments
    where = np.ones(len(segments), dtype=bool)
    if rng.random() < 0.5:
        where = np.isin(
            np.arange(len(segments)), rng.permutation(len(segments))[: len(segments) // 2]
        )
    height, lasting = float(rng.uniform(1.25, 1.5)), int(rng.integers(8, 25))
    until = min(onset + timedelta(days=lasting), as_of)
    plant = Plant(
        onset, effects=1.0 + (height - 1) / 4, organic=np.where(where, height, 1.0), until=until
    )
    frames = lived(base, planted(base, plant), 7 * WEEKS)
    sales = frames["sales"]
    names = set(np.array(segments)[where])
    on = (sales["date"] >= onset) & (sales["date"] < until) & sales["segment"].isin(names)
    return {**frames, "sales": sales.assign(x_promotion=on.astype(float))}


def _somewhere(frame: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.Series, str]:
    """All rows, those of a channel or those of a segment."""
    axis = str(rng.choice(["all", *(c for c in ("channel", "segment") if c in frame.columns)]))
    if axis == "all":
        return pd.Series(True, index=frame.index), "all"
    one = str(rng.choice(sorted(frame[axis].unique())))
    return frame[axis] == one, one


def _late(
    frames: dict[str, pd.DataFrame], as_of: date, rng: np.random.Generator
) -> tuple[dict[str, pd.DataFrame], str]:
    feed = str(rng.choice(["performance", "holdout", "sales"]))
    frame = frames[feed]
    where, name = _somewhere(frame, rng)
    days = int(rng.integers(5, 10))
    gone = where & (frame["date"] >= as_of - timedelta(days=days))
    return {**frames, feed: frame[~gone]}, f"{feed} {name} {days} days"


def _double(
    frames: dict[str, pd.DataFrame], as_of: date, rng: np.random.Generator
) -> tuple[dict[str, pd.DataFrame], str]:
    """The last days come again under another name, or the day before's figures come again."""
    feed = str(rng.choice(["performance", "holdout", "sales"]))
    frame = frames[feed]
    where, name = _somewhere(frame, rng)
    days = int(rng.integers(4, 9))
    if feed == "sales":  # its key has no name to differ in: the figures of one day come again
        begin = as_of - timedelta(days=days)
        figures = frame[frame["date"] == begin].set_index("segment")
        stale = where & (frame["date"] > begin)
        made = frame.copy()
        for column in ("orders", "revenue"):
            made.loc[stale, column] = frame.loc[stale, "segment"].map(figures[column])
        return {**frames, feed: made}, f"{feed} {name} stale {days} days"
    late = where & (frame["date"] >= as_of - timedelta(days=days))
    column = "campaign" if feed == "performance" else "stratum"
    again = frame[late].assign(**{column: "copy"})
    return {
        **frames,
        feed: pd.concat([frame, again], ignore_index=True),
    }, f"{feed} {name} {days} days"


def _unit(
    frames: dict[str, pd.DataFrame], as_of: date, rng: np.random.Generator
) -> tuple[dict[str, pd.DataFrame], str]:
    columns = (
        ("performance", "spend"),
        ("performance", "revenue"),
        ("sales", "revenue"),
        ("holdout", "revenue"),
        ("performance", "impressions"),
    )
    feed, column = columns[int(rng.integers(5))]
    factor = float(rng.choice([100.0, 0.01, 1000.0, 0.001]))
    if column == "impressions":
        factor = 0.001  # in thousands
    frame = frames[feed]
    where, name = _somewhere(frame, rng)
    late = where & (frame["date"] >= as_of - timedelta(days=int(rng.integers(3, 9))))
    made = frame.copy()
    made[column] = made[column].astype(float).where(~late, made[column] * factor)
    if (feed, column) == ("holdout", "revenue"):
        made["revenue_sq"] = made["revenue_sq"].where(~late, made["revenue_sq"] * factor**2)
    return {**frames, feed: made}, f"{feed} {column} {name} x {factor:g}"


def tenth(case: Case, share: float = 0.1) -> Case:
    """A random share of the cell-days of performance and holdout; both arms of a cell-day stay or
    go together. Sales, one row a segment-day, stay."""
    rng = np.random.default_rng([case.seed, KINDS.index(case.kind), 7])
    names = case.frames["performance"][["date", *CELL]]
    names = pd.concat([names, case.frames["holdout"][["date", *CELL]]]).drop_duplicates()
    kept = pd.MultiIndex.from_frame(names[rng.random(len(names)) < share])
    frames = dict(case.frames)
    for feed in ("performance", "holdout"):
        inside = pd.MultiIndex.from_frame(frames[feed][["date", *CELL]]).isin(kept)
        frames[feed] = frames[feed][inside].reset_index(drop=True)
    return replace(case, frames=frames)
