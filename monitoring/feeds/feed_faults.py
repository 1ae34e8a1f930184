"""A feed that is late, doubled, stale, in another unit, or whose holdout is broken, and which cells
depend on it.

What is usual for a feed is what its own reference weeks show: its lag, how complete it is, how its
columns go together. So a thin feed is not late, and a fault looks the same in ten rows or a
thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arms.checks import check_holdout
from liftloop.core.arms.findings import ArmFinding
from liftloop.core.arrays import Array
from monitoring.causes.cause import Finding
from monitoring.feeds.fault import Affected, Cells, FaultConfig, fault, label_of
from monitoring.panel import Watched, days_of, mean_of

KEYS = {"performance": ["campaign", "creative"], "holdout": ["stratum"]}
TWINS = {
    "performance": ["date", "segment", "channel", "spend", "impressions", "clicks", "revenue"],
    "holdout": ["date", "segment", "channel", "arm", "users", "revenue", "revenue_sq"],
}


def repeated_rows(
    frames: Mapping[str, pd.DataFrame], seen: Watched, rule: FaultConfig
) -> Iterator[Finding]:
    """The same figures under another campaign, creative or stratum: a delivery taken in twice."""
    begin = pd.Timestamp(seen.as_of) - timedelta(days=rule.recent_days)
    for feed, keys in KEYS.items():
        frame = frames[feed]
        columns = [c for c in TWINS[feed] if c in frame.columns]
        if frame.empty or not any(key in frame.columns for key in keys):
            continue
        when = days_of(frame["date"])
        inside = (when >= begin - timedelta(days=28)) & (when < pd.Timestamp(seen.as_of))
        near = frame.loc[inside.to_numpy(), columns].reset_index(drop=True)
        money = pd.to_numeric(near["revenue"], errors="coerce").fillna(0) != 0
        twin = near.duplicated(keep=False) & money
        late = (when[inside.to_numpy()] >= begin).to_numpy()
        if not late.any():
            continue
        before = float(twin[~late].mean()) if (~late).any() else 0.0
        places = near.assign(twin=twin).loc[late].groupby(["segment", "channel"])["twin"].mean()
        hit = np.zeros((len(seen.segments), len(seen.channels)), dtype=bool)
        for cell, share in places.items():
            segment, channel = cast(tuple[str, str], cell)
            if share >= rule.repeated and before < rule.repeated / 2:
                hit[seen.segments.index(str(segment)), seen.channels.index(str(channel))] = True
        if hit.any():
            share = float(twin[late].mean())
            spending = np.asarray(np.isfinite(seen.performance["spend"]).any(axis=0))
            label = label_of(seen, hit, spending)
            words = (
                f"{feed} of {label} holds the same figures twice in {share:.0%} of its last rows."
            )
            start = seen.days - rule.recent_days
            part = Affected(feed, label, hit)
            yield fault(seen, part, "doubled", words, start, share=share)


def stale(seen: Watched, rule: FaultConfig) -> Iterator[Finding]:
    """Figures that repeat those of the day before: a delivery that did not move on."""
    tables = {
        "performance": np.stack([seen.performance[c] for c in ("spend", "impressions", "revenue")]),
        "holdout": np.stack([seen.arm_revenue, seen.arm_conversions, seen.arm_revenue]),
        "sales": np.stack([seen.sold, seen.orders, seen.sold])[:, :, :, None],
    }
    for feed, values in tables.items():
        both = np.isfinite(values[0, 1:]) & np.isfinite(values[0, :-1]) & (values[0, 1:] != 0)
        same = (values[:, 1:] == values[:, :-1]).all(axis=0) & both
        usual = same[: seen.reference - 1].sum() / max(both[: seen.reference - 1].sum(), 1)
        recent = slice(-3, None)
        hit = (same[recent].sum(axis=0) >= 2) & (
            same[recent].sum(axis=0) * 2 > both[recent].sum(axis=0)
        )
        if hit.any() and usual < 0.05:
            label = label_of(seen, hit, np.isfinite(values[0]).any(axis=0))
            words = f"{feed} of {label} repeats the figures of the day before."
            start = seen.days - 3
            part = Affected(feed, label, hit)
            yield fault(seen, part, "stale", words, start, share=float(hit.mean()))


LEAST_DAYS = 3  # of the recent ones: a day's late batch ends by itself
ON_PURPOSE = (
    "If the share was changed on purpose, deliver the days since then under another stratum."
)


def broken_arms(
    frames: Mapping[str, pd.DataFrame], seen: Watched, rule: FaultConfig
) -> Iterator[Finding]:
    """Cells whose holdout is broken in the last ``rule.recent_days`` days, one finding a check.

    Older stretches are only left out of what is learned: the days since teach again.
    """
    holdout = frames.get("holdout")
    if holdout is None or holdout.empty:
        return
    begin = seen.as_of - timedelta(days=rule.recent_days)
    known = np.asarray(np.isfinite(seen.users).any(axis=0))
    groups: dict[str, list[ArmFinding]] = {}
    for one in check_holdout(holdout, as_of=seen.as_of):
        assert one.first is not None and one.last is not None  # a holdout's findings have days
        recent = (one.last - max(one.first, begin)).days + 1
        if recent >= LEAST_DAYS and one.segment in seen.segments and one.channel in seen.channels:
            groups.setdefault(one.check, []).append(one)
    for check, found in groups.items():
        hit = np.zeros(known.shape, dtype=bool)
        for one in found:
            hit[seen.segments.index(one.segment), seen.channels.index(one.channel)] = True
        first = min(one.first for one in found if one.first is not None)
        rest = len({(one.segment, one.channel) for one in found}) - 1
        cells = "cell" if rest == 1 else "cells"
        more = f" The same holds for {rest} more {cells}." if rest else ""
        words = f"{found[0].sentence}{more} {ON_PURPOSE}"
        start = seen.days - (seen.as_of - first).days
        worst = max(float(one.numbers["z"]) for one in found)
        part = Affected("holdout", label_of(seen, hit, known), hit)
        yield fault(seen, part, f"arms ({check})", words, start, z=worst)


SUREST = 0.98  # no feed is surer than this to have a row
Present = NDArray[np.bool_]  # (day, segment, channel)
# what goes up and down together unless a unit changes: (name, above, below)
RATIOS = (
    ("spend of performance", "spend", "impressions"),
    ("clicks of performance", "clicks", "impressions"),
    ("revenue of performance", "revenue", "conversions"),
    ("conversions of performance", "conversions", "clicks"),
)
CLAIMED = "conversions of performance"
# ratios of things that are counted: few of them vary by large factors by themselves
COUNTED = {
    "clicks of performance": "clicks",
    CLAIMED: "conversions",
}


def faults(
    frames: Mapping[str, pd.DataFrame], seen: Watched, config: FaultConfig | None = None
) -> list[Finding]:
    """Every fault of the feeds performance, holdout and sales, the widest first."""
    rule = config or FaultConfig()
    found = [
        *_late(frames, seen, rule),
        *_units(seen, rule),
        *repeated_rows(frames, seen, rule),
        *stale(seen, rule),
        *broken_arms(frames, seen, rule),
    ]
    return sorted(found, key=lambda one: -len(one.cells))


# -- late -------------------------------------------------------------------------------------


def usual_lag(frame: pd.DataFrame) -> int:
    """Days between a row's day and its report that 19 of 20 rows keep, at least 1; 1 where the feed
    does not say when it was reported."""
    if "reported_at" not in frame.columns or frame.empty:
        return 1
    told = pd.to_datetime(frame["reported_at"], utc=True, errors="coerce").dt.tz_localize(None)
    lag = (told - days_of(frame["date"])).dt.total_seconds() / 86_400
    lag = lag[np.isfinite(lag) & (lag < 60)]
    return max(int(np.ceil(lag.quantile(0.95) - 1e-9)), 1) if len(lag) else 1


def _late(
    frames: Mapping[str, pd.DataFrame], seen: Watched, rule: FaultConfig
) -> Iterator[Finding]:
    performance, holdout = np.isfinite(seen.performance["spend"]), np.isfinite(seen.users)
    sold = np.isfinite(seen.sold)[:, :, None]
    for feed, there, sibling in (
        ("performance", performance, holdout),
        ("holdout", holdout, performance),
        ("sales", sold, np.zeros_like(sold)),
    ):
        if not there[: seen.reference].any():
            continue
        due = seen.days - max(usual_lag(frames[feed]) - 1, 0)
        rows = _Rows(feed, there, sibling, due)
        told = np.zeros(there.shape[1:], dtype=bool)
        known = np.asarray(there[: seen.reference].any(axis=0))
        for group, label in _groups(seen, known, wide=feed != "sales"):
            if told[group].all():
                continue
            found = _gap(seen, rows, group, rule) or _holes(seen, rows, group, rule)
            if found is not None:
                told |= group
                words, start, numbers = found
                part = Affected(feed, label, group)
                yield fault(seen, part, "late", words.format(label), start, **numbers)


Found = tuple[str, int, dict[str, float]] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Which rows of a ``feed`` and of its ``sibling`` are there, (day, segment, channel); ``due``:
    how many of the days should have reported by now."""

    feed: str
    there: Present
    sibling: Present
    due: int


def _gap(seen: Watched, told: _Rows, group: Cells, rule: FaultConfig) -> Found:
    """Whether the group's last days are missing, and not by chance: by how complete its days are,
    or because the sibling feed told of the same cell-days, as the two always do together."""
    rows, due = told.there[:, group], told.due
    last = int(np.flatnonzero(rows.any(axis=1)).max(initial=-1))
    gap = due - 1 - last
    if gap < rule.late_days:
        return None
    early, other = rows[: seen.reference], told.sibling[:, group]
    empty = float((1 - np.minimum(early.mean(axis=0), SUREST)).prod()) ** gap
    both = float((early & other[: seen.reference]).sum())
    together = both / max(float(other[: seen.reference].sum()), 1.0)
    alone = (1 - min(together, SUREST)) ** float(other[due - gap : due].sum())
    if min(empty, alone) >= rule.chance:
        return None
    words = f"{told.feed} of {{}} is {gap} days late (last day {seen.day(last)})."
    return words, last + 1, {"days": gap}


def _holes(seen: Watched, told: _Rows, group: Cells, rule: FaultConfig) -> Found:
    """Whether the last two weeks lack many of the rows that are usual."""
    there, due = told.there, told.due
    usual = there[: seen.reference][:, group].mean(axis=0)
    expected, recent = float(usual.sum()), float(there[due - 14 : due][:, group].sum()) / 14
    spread = np.sqrt(expected * max(1 - float(usual.mean()), 1 - SUREST) / 14)
    if recent >= rule.complete * expected or expected - recent <= 6 * spread:
        return None
    share = recent / expected
    words = f"{told.feed} of {{}} lacks {1 - share:.0%} of its usual rows in the last two weeks."
    return words, due - 14, {"share": share}


def _groups(seen: Watched, known: Cells, *, wide: bool) -> Iterator[tuple[Cells, str]]:
    """Sets of cells that a fault may hit together, the widest first, with their names."""
    yield known, "all cells" if wide else "all segments"
    if wide:
        for c, name in enumerate(seen.channels):
            mask = np.zeros_like(known)
            mask[:, c] = known[:, c]
            if mask.any():
                yield mask, name
    for s, name in enumerate(seen.segments):
        mask = np.zeros_like(known)
        mask[s] = known[s]
        if mask.any():
            yield mask, name
    if wide:
        for s, c in np.argwhere(known):
            mask = np.zeros_like(known)
            mask[s, c] = True
            yield mask, f"{seen.segments[s]} x {seen.channels[c]}"


# -- units ------------------------------------------------------------------------------------


def _units(seen: Watched, rule: FaultConfig) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {
            name: ("performance", np.log(seen.performance[top]) - np.log(seen.performance[bottom]))
            for name, top, bottom in RATIOS
        }
        logs["revenue of holdout"] = (
            "holdout",
            np.log(seen.arm_revenue) - np.log(seen.arm_conversions),
        )
        logs["revenue of sales"] = ("sales", (np.log(seen.sold) - np.log(seen.orders))[:, :, None])
    own_move = _own_move(seen)
    for name, (feed, ratio) in logs.items():
        known = np.isfinite(ratio[: seen.reference]).any(axis=0)
        finite = np.where(np.isfinite(ratio), ratio, np.nan)
        apart = finite - mean_of(finite[: seen.reference], 0)
        if name == CLAIMED:
            apart = np.sign(apart) * np.maximum(np.abs(apart) - own_move, 0.0)
        if name in COUNTED:
            apart = _beyond_chance(apart, seen.performance[COUNTED[name]])
        recent = apart[-rule.recent_days :]
        far = np.abs(recent) >= np.log(rule.factor)
        hit = far.any(axis=0) & known
        if not hit.any():
            continue
        # the last reports decide: what was mended since is no fault any more
        last = np.abs(_last(apart)) >= np.log(rule.factor)
        hit &= last
        if not hit.any():
            continue
        moved = float(np.nanmedian(recent[:, hit][far[:, hit]]))
        label = label_of(seen, hit, known)
        start = int(
            np.flatnonzero((np.abs(apart[:, hit]) >= np.log(rule.factor)).any(axis=1)).min()
        )
        words = f"{name} ({label}) is {_times(moved)} what it was: its unit changed."
        part = Affected(feed, label, hit)
        yield fault(seen, part, "unit", words, start, factor=float(np.exp(moved)))


def _beyond_chance(apart: Array, count: Array) -> Array:
    """What of a move of a ratio, in logarithms, is more than three standard errors of the count it
    rests on, by its own size and by the size it would have had without the move."""
    some = np.maximum(count, 1.0)
    usual = np.maximum(some * np.exp(-apart), 1.0)
    room = 3.0 * np.sqrt(1.0 / some + 1.0 / usual)
    return np.asarray(np.sign(apart) * np.maximum(np.abs(apart) - room, 0.0))


def _own_move(seen: Watched) -> Array:
    """How far budgets moved each cell, in logarithms: what spend, impressions and clicks moved
    alike. A unit changes one of them alone.

    Platforms claim some sales that would come anyway, so claims a click rise where spend falls, and
    the other way, by as much as spend at most.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.log(seen.performance[name]) for name in ("spend", "impressions", "clicks")]
    finite = [np.where(np.isfinite(one), one, np.nan) for one in logs]
    moves = np.array([one - mean_of(one[: seen.reference], 0) for one in finite])
    alike = np.abs(np.sign(moves).sum(axis=0)) == len(moves)
    return np.asarray(np.where(alike, np.abs(moves).min(axis=0), 0.0))


def _last(values: Array) -> Array:
    """Each cell's last known value, nan without one."""
    known = np.isfinite(values)
    place = len(values) - 1 - known[::-1].argmax(axis=0)
    last = np.take_along_axis(values, place[None], axis=0)[0]
    return np.asarray(np.where(known.any(axis=0), last, np.nan))


def _times(log: float) -> str:
    factor = float(np.exp(abs(log)))
    power = 10 ** round(np.log10(factor))
    said = power if abs(np.log(factor / power)) < 0.3 else round(factor)
    return f"{said:,} times" if log > 0 else f"one {said:,}th of"
