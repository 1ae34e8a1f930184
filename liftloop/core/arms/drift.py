"""Days on which a holdout's arms are not what they usually are.

Who is withheld is drawn at random once, so the control arm's share of users stays what it was, up
to chance. Its log ratio to the treated arm is compared with its own median, over windows of 1 day
up to half of the days: a scan in the manner of Olshen and Venkatraman (2004), "Circular binary
segmentation", Biostatistics 5. Users come back, so neighbouring days are alike: how much a window
varies follows from how much a day does and how much of that is new each day (a first-order
autoregression), both measured on the cell's own days by medians, as a stretch that is off must not
hide itself. Days are never held to vary less than independent users do.

The means of covariates from before (``x_`` columns) may differ between the arms by chance, and go
on doing so as the same users come back. So they are held against the spread between users as if
each week saw the same people, and their changes are looked for as those of the ratio are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array, Index, Mask, coded, days_of, joined

ALPHA = 0.0005  # chance that a look names any of the sound cells' days
LEAST_DAYS = 10  # known days below which there is no usual ratio
LEAST_SHIFT = 0.02  # of the log ratio, that matters
LEAST_SHIFT_OF_DAYS = 0.05  # the same for one or two days: a late batch of one arm
FEW_DAYS = 3
LENGTHS = (1, 2, 3, 5, 7, 10, 14, 20, 28, 42, 56, 84, 126, 182)
MARGIN = 1.05  # on the threshold, for a spread that is itself an estimate
MOST_STRETCHES = 20  # of one cell
LEAST_DIFFERENCE = 0.05  # of a covariate's mean, that matters
STEADY = 0.05  # days that vary this little, in standard deviations, are those of a fixed panel
STEP = 0.3  # what a panel may change by at once, when some of its users are replaced
MOST_MEMORY = 0.995
FIRST_LOOK = 0.7  # of the threshold
CELLS_ALIKE = 4  # cells from which what is usual for them counts for each
BEYOND_OTHERS = 2.0  # times the others' spread that a stretch of days can feign
TO_NORMAL = 0.6744897501960817  # median of |z|
WEEK = 7


@dataclass(frozen=True, slots=True)
class ArmDrift:
    """A stretch of days of a cell's holdout that is broken.

    Attributes
    ----------
    first, last : both included
    covariate : the column that differs; "" where it is the ratio of users
    value, usual : the control share of users then and usually; of a covariate, the treated and the
        control arm's mean
    z : how far out, in standard deviations
    """

    segment: str
    channel: str
    stratum: str
    first: date
    last: date
    value: float
    usual: float
    z: float
    covariate: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Arms:
    """Days x series; nan where not both arms are known. ``x``: by name, treated and control."""

    start: np.datetime64
    names: tuple[tuple[str, str, str], ...]
    treated: Array
    control: Array
    spread: Array
    x: dict[str, tuple[Array, Array]]

    def day(self, index: int) -> date:
        return date.fromisoformat(str(self.start)) + timedelta(days=int(index))


def drifts(holdout: pd.DataFrame, *, as_of: date) -> tuple[ArmDrift, ...]:
    """Every broken stretch before ``as_of``, by cell and day.

    Parameters
    ----------
    holdout
        The feed. Each segment, channel and stratum is compared with its own past.
    """
    arms = _laid_out(holdout, as_of)
    if arms is None:
        return ()
    found = [*_ratios(arms), *_covariates(arms)]
    return tuple(sorted(found, key=lambda d: (d.segment, d.channel, d.stratum, d.first)))


def _laid_out(holdout: pd.DataFrame, as_of: date) -> _Arms | None:
    day = days_of(holdout["date"])
    users = holdout["users"].to_numpy(dtype=np.float64)
    arm = holdout["arm"]
    inside = (day < np.datetime64(as_of, "D")) & (users > 0)
    inside &= arm.isin(("treated", "control")).to_numpy()
    if not inside.any():
        return None
    rows = holdout if inside.all() else holdout[inside]
    day, users, control = day[inside], users[inside], (arm == "control").to_numpy()[inside]
    strata = rows["stratum"] if "stratum" in rows else pd.Series("all", index=rows.index)
    parts = [coded(rows["segment"]), coded(rows["channel"]), coded(strata)]
    series = joined(*((codes, len(names)) for codes, names in parts))
    which, place = np.unique(series, return_inverse=True)
    sizes = [len(names) for _, names in parts]
    levels = np.unravel_index(which, sizes)
    names = tuple(
        zip(
            *([str(names[i]) for i in at] for (_, names), at in zip(parts, levels, strict=True)),
            strict=True,
        )
    )
    start = day.min()
    shape = (int((day.max() - start).astype(int)) + 1, len(which))
    where = (day - start).astype(np.intp) * shape[1] + place

    def spread_out(values: Array, mine: Mask) -> Array:
        table = np.full(shape[0] * shape[1], np.nan)
        table[where[mine]] = values[mine]
        return table.reshape(shape)

    both = [spread_out(users, ~control), spread_out(users, control)]
    known = np.isfinite(both[0]) & np.isfinite(both[1])
    both = [np.where(known, table, np.nan) for table in both]
    covariates = [c for c in rows.columns if str(c).startswith("x_")]
    x = {}
    for name in covariates:
        values = pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=np.float64)
        x[str(name)] = (spread_out(values, ~control), spread_out(values, control))
    spread = _spread_of_users(rows, users, place, shape[1]) if x else np.zeros(shape[1])
    return _Arms(start, names, both[0], both[1], spread, x)


def _spread_of_users(rows: pd.DataFrame, users: Array, series: Index, count: int) -> Array:
    """Standard deviation over mean of a user-day's revenue, by series; 1 at least."""
    revenue = rows["revenue"].to_numpy(dtype=np.float64)
    squares = rows["revenue_sq"].to_numpy(dtype=np.float64)
    known = np.isfinite(revenue) & np.isfinite(squares)
    sums = [
        np.bincount(series[known], weights=values[known], minlength=count)
        for values in (users, revenue, squares)
    ]
    mean = sums[1] / np.maximum(sums[0], 1.0)
    variance = np.maximum(sums[2] / np.maximum(sums[0], 1.0) - mean**2, 0.0)
    ratio = np.sqrt(variance) / np.maximum(np.abs(mean), 1e-300)
    return np.asarray(np.clip(ratio, 1.0, 1e6))


# -- ratio of users --------------------------------------------------------------------------


def _ratios(arms: _Arms) -> Iterator[ArmDrift]:
    known = np.isfinite(arms.treated)
    treated, control = (np.where(known, t, 1.0) for t in (arms.treated, arms.control))
    noise = np.sqrt(1 / treated + 1 / control)
    series = _Series.of(np.log(control / treated), noise, known, least=1.0)
    for s, here, z in _stretches(series, shift=(LEAST_SHIFT, LEAST_SHIFT_OF_DAYS)):
        share = control[here, s].sum() / (control[here, s] + treated[here, s]).sum()
        usual = float(1 / (1 + np.exp(-series.usual[s])))
        yield ArmDrift(
            *arms.names[s], arms.day(here[0]), arms.day(here[-1]), float(share), usual, z
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """A figure by days and series (n, k): how far each day is ``off`` its ``usual`` (k,), in
    standard deviations of a day of independent users (``noise``), where it is ``known``.

    ``deviation`` (k,) is the standard deviation of a day in that unit, ``memory`` (k,) the
    correlation of neighbouring days, ``steady`` (k,) whether the same panel is seen each day.
    """

    off: Array
    noise: Array
    known: Mask
    usual: Array
    deviation: Array
    memory: Array
    steady: Mask
    least: float

    @classmethod
    def of(cls, figure: Array, noise: Array, known: Mask, *, least: float) -> _Series:
        """``least``: the standard deviation of a day is never held to be less."""
        judged = known.sum(axis=0) >= LEAST_DAYS
        usual = _median(figure, known & judged)
        off = np.where(known & judged, (figure - usual) / noise, 0.0)
        spread = _median(np.abs(off), known & judged) / TO_NORMAL
        pairs = known[1:] & known[:-1] & judged
        fresh = _median(np.abs(np.diff(off, axis=0)), pairs) / TO_NORMAL / np.sqrt(2)
        count = known.sum(axis=0)
        deviation, new = spread, fresh * (1 + 1.5 / np.sqrt(np.maximum(count, 1)))
        if judged.sum() >= CELLS_ALIKE:
            others = float(np.median(spread[judged]))
            deviation = np.maximum(others, spread / BEYOND_OTHERS)
            new = np.minimum(new, max(float(np.median(fresh[judged])), least * STEADY))
        deviation = np.maximum(deviation, least)
        memory = np.clip(1 - (new / deviation) ** 2, 0.0, MOST_MEMORY)
        steady = (spread < STEADY) & (fresh < STEADY)
        return cls(off, noise, known, usual, deviation, memory, steady, least)

    @property
    def judged(self) -> Index:
        return np.flatnonzero(self.known.sum(axis=0) >= LEAST_DAYS)

    def spread(self, s: int, length: int) -> float:
        """Of the standardized sum of so many days, in the unit of one independent day."""
        if self.steady[s]:
            return max(self.least if self.least >= 1 else 0.0, STEP * math.sqrt(length))
        r, n = float(self.memory[s]), length
        alike = 2 * r / (1 - r) * (1 - (1 - r**n) / (n * (1 - r)))  # neighbours, counted by lag
        return float(self.deviation[s]) * math.sqrt(1 + alike)


def _median(values: Array, known: Mask) -> Array:
    """Median over the known days by series, 0 where none is: (n, k) to (k,)."""
    if len(known) and known.all():
        return np.asarray(np.median(values, axis=0))
    found = np.zeros(values.shape[1])
    some = known.any(axis=0)
    found[some] = np.nanmedian(np.where(known, values, np.nan)[:, some], axis=0)
    return found


def _limit(days: int, series: int) -> float:
    from scipy.special import ndtri

    tests = max(days * len(LENGTHS) * series, 1)
    return float(-MARGIN * ndtri(ALPHA / 2 / tests))


def _stretches(
    series: _Series, *, shift: tuple[float, float]
) -> Iterator[tuple[int, Index, float]]:
    """Every stretch of days that is off: its series, its known days and how far out it is.

    Parameters
    ----------
    shift
        What matters, in the figure's unit: of a stretch, and of one or two days.
    """
    judged = series.judged
    for s in _suspects(series, judged):
        days = np.flatnonzero(series.known[:, s])  # closed up: gaps are no days
        limit = _limit(len(days), len(judged))
        off, noise = series.off[days, s], series.noise[days, s]
        lengths = [length for length in LENGTHS if length <= len(days) / 2]
        spread = {length: series.spread(int(s), length) for length in lengths}
        side, size = np.zeros(len(days), dtype=int), np.zeros(len(days))
        for _ in range(MOST_STRETCHES):
            found = _clearest(off, noise, side == 0, spread, limit, shift)
            if found is None:
                break
            a, b, z = found
            fresh = np.arange(a, b)[side[a:b] == 0]
            side[fresh], size[fresh] = int(np.sign(off[fresh].sum())), z
        edges = np.flatnonzero(np.diff(np.concatenate([[0], side, [0]])))
        for first, end in pairwise(edges):
            if side[first]:
                yield int(s), days[first:end], float(size[first:end].max())


def _suspects(series: _Series, judged: Index) -> Index:
    """The judged series that may have such a stretch: a first look at all of them at once, with
    gaps counted as days."""
    if not len(judged):
        return judged
    sums, count = (
        np.concatenate([np.zeros((1, len(judged))), np.cumsum(table[:, judged], axis=0)])
        for table in (series.off, series.known)
    )
    limit = FIRST_LOOK * _limit(int(count[-1].max()), len(judged))
    near = np.zeros(len(judged), dtype=bool)
    for length in LENGTHS:
        if length > len(series.off) / 2:
            break
        wide = np.array([series.spread(int(s), length) for s in judged])
        days = np.maximum(count[length:] - count[:-length], 1)
        size = np.abs(sums[length:] - sums[:-length]) / np.sqrt(days) / wide
        near |= (size > limit).any(axis=0)
    return judged[near]


def _clearest(
    off: Array,
    noise: Array,
    free: Mask,
    spread: dict[int, float],
    limit: float,
    shift: tuple[float, float],
) -> tuple[int, int, float] | None:
    z = np.where(free, off, 0.0)
    sums, moved = (np.concatenate([[0.0], np.cumsum(v)]) for v in (z, z * noise))
    count = np.concatenate([[0], np.cumsum(free)])
    best: tuple[int, int, float] | None = None
    for length, wide in spread.items():
        days = count[length:] - count[:-length]
        size = np.abs(sums[length:] - sums[:-length]) / np.sqrt(np.maximum(days, 1)) / wide
        mean = np.abs(moved[length:] - moved[:-length]) / np.maximum(days, 1)
        least = shift[0] if length >= FEW_DAYS else shift[1]
        size = np.where((days > 0) & (mean >= least), size, 0.0)
        a = int(size.argmax())
        if size[a] > limit and (best is None or size[a] > best[2]):
            best = a, a + length, float(size[a])
    return None if best is None else _edged(best, z, sums)


def _edged(found: tuple[int, int, float], z: Array, sums: Array) -> tuple[int, int, float]:
    """The stretch with the edges that make it clearest, each moved by its length at most."""
    a, b, size = found
    length = b - a
    starts = np.arange(max(a - length, 0), b)
    ends = np.arange(a + 1, min(b + length, len(z)) + 1)
    days = ends[None, :] - starts[:, None]
    clear = np.abs(sums[ends][None, :] - sums[starts][:, None]) / np.sqrt(np.maximum(days, 1))
    i, j = np.unravel_index(np.where(days > 0, clear, -1.0).argmax(), clear.shape)
    return int(starts[i]), int(ends[j]), size


# -- covariates ------------------------------------------------------------------------------


def _covariates(arms: _Arms) -> Iterator[ArmDrift]:
    """Stretches on which a covariate's means differ too much for chance, or changed too much."""
    for name, (treated, control) in arms.x.items():
        known = np.isfinite(treated) & np.isfinite(control) & np.isfinite(arms.treated)
        if not known.any():
            continue
        scale = _scale_of(treated, control, known, arms.spread)
        users = [np.where(known, n, 1.0) for n in (arms.treated, arms.control)]
        noise = np.sqrt(1 / users[0] + 1 / users[1])
        apart = np.where(known, treated - control, 0.0) / scale
        far = _weeks_apart(apart, noise, known, len(arms.x))
        series = _Series.of(apart, noise, known, least=STEP)
        for s, here, z in _stretches(series, shift=(0.0, 0.0)):
            far[here, s] = np.maximum(far[here, s], z)
        least = LEAST_DIFFERENCE * _middle(treated, control, known)
        for s in map(int, np.flatnonzero((far > 0).any(axis=0))):
            usual = series.usual[s] * scale[s]
            for here in _runs(far[:, s] > 0, known[:, s]):
                means = float(treated[here, s].mean()), float(control[here, s].mean())
                now = means[0] - means[1]
                if max(abs(now), abs(now - usual)) >= least[s]:
                    days = arms.day(here[0]), arms.day(here[-1])
                    yield ArmDrift(*arms.names[s], *days, *means, float(far[here, s].max()), name)


def _middle(treated: Array, control: Array, known: Mask) -> Array:
    """The mean over days and arms by series, without its sign; never 0."""
    total = np.where(known, treated + control, 0.0).sum(axis=0) / 2
    return np.asarray(np.maximum(np.abs(total) / np.maximum(known.sum(axis=0), 1), 1e-300))


def _scale_of(treated: Array, control: Array, known: Mask, spread: Array) -> Array:
    """What a covariate's standard deviation between users is at most, by series: as far from its
    mean as revenue is from its own, and no less than its spread over cells and days."""
    inside = np.concatenate([treated[known], control[known]])
    middle = _middle(treated, control, known)
    scale = np.maximum(spread * middle, inside.std())
    if inside.min() >= 0 and inside.max() <= 1:  # perhaps a share of users
        scale = np.maximum(scale, np.sqrt(middle * np.maximum(1 - middle, 0.0)))
    return np.asarray(np.maximum(scale, 1e-300))


def _weeks_apart(apart: Array, noise: Array, known: Mask, covariates: int) -> Array:
    """How far out each day's week is, in standard deviations of one draw of users; 0 where chance
    may do that, (n, k)."""
    from scipy.special import ndtri

    weeks = (len(known) - 1 - np.arange(len(known))) // WEEK
    days = np.zeros((int(weeks.max()) + 1, known.shape[1]))
    total, chance = days.copy(), days.copy()
    for table, values in ((days, known), (total, apart), (chance, noise)):
        np.add.at(table, weeks, np.where(known, values, 0.0))
    z = np.divide(np.abs(total), chance, out=np.zeros_like(total), where=chance > 0)
    limit = -MARGIN * ndtri(ALPHA / 2 / max(int((days > 0).sum()) * covariates, 1))
    return np.asarray(np.where((z > limit)[weeks] & known, z[weeks], 0.0))


def _runs(off: Mask, known: Mask) -> Iterator[Index]:
    """Known days that are off, by stretches between known days that are not."""
    days = np.flatnonzero(known)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], off[days].astype(int), [0]])))
    yield from (days[a:b] for a, b in edges.reshape(-1, 2))
