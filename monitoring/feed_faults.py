"""A feed that is late, doubled, stale or in another unit, and which cells depend on it.

What is usual for a feed is what its own reference weeks show: its lag, how complete it is, how its
columns go together. So a thin feed is not late, and a fault looks the same in ten rows or a
thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.arm_faults import broken_arms
from monitoring.causes import Finding
from monitoring.fault import Cells, FaultConfig, fault, label_of
from monitoring.repeated_rows import repeated_rows, stale
from monitoring.watched import Array, Watched, days_of, mean_of

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
        told = np.zeros(there.shape[1:], dtype=bool)
        known = there[: seen.reference].any(axis=0)
        for group, label in _groups(seen, known, wide=feed != "sales"):
            if told[group].all():
                continue
            found = _gap(seen, feed, there, sibling, group, due, rule) or _holes(
                seen, feed, there, group, due, rule
            )
            if found is not None:
                told |= group
                words, start, numbers = found
                yield fault(seen, feed, "late", label, group, words.format(label), start, **numbers)


Found = tuple[str, int, dict[str, float]] | None


def _gap(
    seen: Watched, feed: str, there: Present, sibling: Present, group: Cells, due: int,
    rule: FaultConfig,
) -> Found:  # fmt: skip
    """Whether the group's last days are missing, and not by chance: by how complete its days are,
    or because the sibling feed told of the same cell-days, as the two always do together."""
    rows = there[:, group]
    last = int(np.flatnonzero(rows.any(axis=1)).max(initial=-1))
    gap = due - 1 - last
    if gap < rule.late_days:
        return None
    early, other = rows[: seen.reference], sibling[:, group]
    empty = float((1 - np.minimum(early.mean(axis=0), SUREST)).prod()) ** gap
    both = float((early & other[: seen.reference]).sum())
    together = both / max(float(other[: seen.reference].sum()), 1.0)
    alone = (1 - min(together, SUREST)) ** float(other[due - gap : due].sum())
    if min(empty, alone) >= rule.chance:
        return None
    words = f"{feed} of {{}} is {gap} days late (last day {seen.day(last)})."
    return words, last + 1, {"days": gap}


def _holes(
    seen: Watched, feed: str, there: Present, group: Cells, due: int, rule: FaultConfig
) -> Found:
    """Whether the last two weeks lack many of the rows that are usual."""
    usual = there[: seen.reference][:, group].mean(axis=0)
    expected, recent = float(usual.sum()), float(there[due - 14 : due][:, group].sum()) / 14
    spread = np.sqrt(expected * max(1 - float(usual.mean()), 1 - SUREST) / 14)
    if recent >= rule.complete * expected or expected - recent <= 6 * spread:
        return None
    share = recent / expected
    words = f"{feed} of {{}} lacks {1 - share:.0%} of its usual rows in the last two weeks."
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
            "holdout", np.log(seen.arm_revenue) - np.log(seen.arm_conversions))  # fmt: skip
        logs["revenue of sales"] = ("sales", (np.log(seen.sold) - np.log(seen.orders))[:, :, None])
    own_move = _own_move(seen)
    for name, (feed, ratio) in logs.items():
        known = np.isfinite(ratio[: seen.reference]).any(axis=0)
        finite = np.where(np.isfinite(ratio), ratio, np.nan)
        apart = finite - mean_of(finite[: seen.reference], 0)
        if name == CLAIMED:
            apart = np.sign(apart) * np.maximum(np.abs(apart) - own_move, 0.0)
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
        yield fault(seen, feed, "unit", label, hit, words, start, factor=float(np.exp(moved)))


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
