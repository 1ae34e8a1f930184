"""Lifts, daily spend and lift tests, arranged as the arrays a response fit works on.

Money is measured in units of a cell's *size* (what an average cell of its segment spends), so that
neither the currency nor the size of a segment changes what is learned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array, Index, cell_places, days_of
from liftloop.core.policy import Cell
from models.lift.imputed_spend import CELL


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """A lift test run elsewhere: for ``days`` days the cells at ``where`` spent ``actual`` a day
    instead of ``otherwise`` (in units of size), which earned ``gain`` in all, in money, with
    ``standard_error``; ``weight`` is its faded weight.

    ``portion`` of what each cell earns counts, of any sign. Not ``randomized``: seen in sales
    (``models.lift.sales_experiments``). ``spend_change`` is the signed money of the test as it was
    reported (0: worked out from what was recorded)."""

    name: str
    where: Index
    actual: Array
    otherwise: Array
    days: float
    gain: float
    standard_error: float
    weight: float
    last: int
    portion: Array | float = 1.0
    randomized: bool = True
    spend_change: float = 0.0


@dataclass(frozen=True, slots=True)
class Conflict:
    """A lift test that contradicts the reported spend or all other evidence, and how, in words.
    ``reported_error`` is its standard error as reported, ``standard_error`` the one it counts with
    (account currency)."""

    experiment: str
    reported_error: float
    standard_error: float
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """What platforms claimed, M cell-periods: place as in :class:`Evidence`; ``weight`` fades;
    ``demand`` as there.

    Nothing depends on the level of a channel's claims: ``claimed`` is in units of the cell's size
    times ``unit`` (n_channels,), what the channel claims per unit of spend; ``sold`` by the whole
    segment is scaled to the same mean as the channel's claims.
    """

    cell: Index
    first: Index
    last: Index
    claimed: Array
    sold: Array
    weight: Array
    unit: Array
    demand: Array | None = None

    def only(self, keep: NDArray[np.bool_]) -> Claims:
        names = ["cell", "first", "last", "claimed", "sold", "weight"]
        names += ["demand"] if self.demand is not None else []
        return replace(self, **{name: getattr(self, name)[keep] for name in names})


@dataclass(frozen=True, slots=True, eq=False)
class SalesPanel:
    """Weekly sales of all segments, whitened and compressed to K rows of unit noise
    (``models.lift.sales_panel``): each is ``observed`` (K,), and expected to be the sum over cells
    and weeks of ``rows`` (K, W, S) of the cell's segment, times ``scale`` (C,), times what the cell
    earns in units of its size. ``first``, ``last`` (W,) place the weeks in ``spend``; ``column``
    (C,) is each cell's segment in ``rows``, -1 without sales."""

    first: Index
    last: Index
    rows: Array
    observed: Array
    column: Index
    scale: Array


@dataclass(frozen=True, slots=True, eq=False)
class Breaks:
    """Per channel, the row of ``spend`` at which its response jumped, or its claims did (-1:
    never)."""

    response: Index
    claims: Index

    @property
    def any(self) -> bool:
        return bool((self.response >= 0).any() or (self.claims >= 0).any())


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All evidence of a fit. N observed cell-periods, C cells, T days.

    ``spend`` (T, C) is in units of ``size`` (C,). ``cell``, ``first``, ``last`` (N,) place an
    observed lift: its cell, first and last row of ``spend``. ``lift``, ``noise`` (N,) are per day,
    in units of size; ``weight`` (N,) fades with age. ``row`` is its row in the lifts' frame.
    ``claims`` are what platforms claim; of channels without lifts (not ``calibrated``) only a prior
    says what a claim is worth. ``panel`` are the sales that speak of such channels. ``breaks``
    where a channel's response jumped; None while nobody looked. ``demand`` (N,) is by what each
    lift's season multiplied the response; None: by nothing known. ``conflicts`` are lift tests that
    contradict what else is recorded (``models.lift.conflicting_tests``).
    """

    cells: tuple[Cell, ...]
    segments: tuple[str, ...]
    channels: tuple[str, ...]
    segment_of: Index
    channel_of: Index
    size: Array
    spend: Array
    cell: Index
    first: Index
    last: Index
    lift: Array
    noise: Array
    weight: Array
    row: Index
    tests: tuple[Test, ...]
    ignored_tests: int
    claims: Claims | None = None
    breaks: Breaks | None = None
    demand: Array | None = None
    conflicts: tuple[Conflict, ...] = ()
    panel: SalesPanel | None = None

    @property
    def calibrated(self) -> NDArray[np.bool_]:
        """Which channels have randomized lifts (n_channels,)."""
        return np.isin(np.arange(len(self.channels)), self.channel_of[self.cell])

    @property
    def rests_on_claims(self) -> bool:
        """Whether of some channel claims are known and no lift."""
        if self.claims is None:
            return False
        return bool((~self.calibrated[self.channel_of[self.claims.cell]]).any())

    def before(self, row: int) -> Evidence:
        """The evidence whose periods end before row ``row`` of ``spend``."""
        claims = self.claims.only(self.claims.last < row) if self.claims else None
        tests = tuple(test for test in self.tests if test.last < row)
        return replace(self._only(self.last < row), claims=claims, tests=tests)

    def faded(self, fade_per_day: float) -> Evidence:
        """The same with weights that fade at another rate; lift tests keep theirs."""
        rows = len(self.spend) - 1
        claims = self.claims
        if claims is not None:
            claims = replace(claims, weight=np.exp(-fade_per_day * (rows - claims.last)))
        return replace(self, weight=np.exp(-fade_per_day * (rows - self.last)), claims=claims)

    def randomized(self) -> Evidence:
        """The evidence without what was only seen in sales."""
        return replace(self, tests=tuple(test for test in self.tests if test.randomized))

    def since(self, row: int) -> Evidence:
        """The evidence whose periods end at row ``row`` or later."""
        return self._only(self.last >= row)

    def _only(self, keep: NDArray[np.bool_]) -> Evidence:
        names = ["cell", "first", "last", "lift", "noise", "weight", "row"]
        names += ["demand"] if self.demand is not None else []
        return replace(self, **{name: getattr(self, name)[keep] for name in names})


def effective(spend: Array, carryover: Array) -> Array:
    """Effective spend of every day, shape of ``spend`` (T, C): ``a_t = (1-g) x_t + g a_(t-1)``,
    begun at the mean of the first week. ``carryover`` has the shape (C,)."""
    from scipy.signal import lfilter

    found = np.empty_like(spend)
    if len(spend) == 0:
        return found
    start = spend[:7].mean(axis=0)
    for share in np.unique(carryover):
        cells = carryover == share
        memory = share * start[cells][None, :]
        found[:, cells] = lfilter([1 - share], [1, -share], spend[:, cells], axis=0, zi=memory)[0]
    return found


def cell_sizes(spend: Array, segment_of: Index, n_segments: int, n_channels: int) -> Array:
    """What an average cell of each cell's segment spends a day, shape (C,), > 0.

    A segment that spent nearly nothing counts as a hundredth of the average one.
    """
    mean = spend.mean(axis=0) if len(spend) else np.zeros(len(segment_of))
    of_segment = np.bincount(segment_of, weights=mean, minlength=n_segments) / max(n_channels, 1)
    usual = float(of_segment.mean()) if n_segments else 0.0
    return np.maximum(of_segment, 0.01 * usual if usual > 0 else 1.0)[segment_of]


def gather(
    *,
    lifts: pd.DataFrame,
    daily: pd.DataFrame,
    experiments: pd.DataFrame | None,
    fade_per_day: float,
    claims: pd.DataFrame | None = None,
    every_claim: bool = False,
) -> Evidence:
    """Arrange the evidence; ``claims`` as of ``weekly_claims``. Claims of channels without lifts
    are only taken with ``every_claim``: nothing but a prior says what they are worth.

    Rows without a usable number, or outside the days of ``daily``, are left out; cells are those of
    ``daily`` and of ``lifts``."""
    days = pd.DatetimeIndex(daily.index)
    pairs = {(str(s), str(c)) for s, c in cast(pd.MultiIndex, daily.columns)}
    seen = lifts[CELL].drop_duplicates()
    pairs |= {(str(s), str(c)) for s, c in zip(seen["segment"], seen["channel"], strict=True)}
    cells = tuple(sorted(Cell(*pair) for pair in pairs))
    segments = tuple(sorted({cell.segment for cell in cells}))
    channels = tuple(sorted({cell.channel for cell in cells}))
    segment_of = np.asarray(
        pd.Index(segments).get_indexer(cast(pd.Index, [c.segment for c in cells])), dtype=np.intp
    )
    channel_of = np.asarray(
        pd.Index(channels).get_indexer(cast(pd.Index, [c.channel for c in cells])), dtype=np.intp
    )
    wanted = pd.MultiIndex.from_tuples([(c.segment, c.channel) for c in cells], names=CELL)
    spend = daily.reindex(columns=wanted, fill_value=0.0).to_numpy(dtype=np.float64)
    size = cell_sizes(spend, segment_of, len(segments), len(channels))
    cell = cell_places(lifts["segment"], lifts["channel"], wanted)
    first, last = _rows(lifts["period_start"], days), _rows(lifts["period_end"], days)
    lift = lifts["lift"].to_numpy(dtype=np.float64)
    noise = lifts["standard_error"].to_numpy(dtype=np.float64)
    fine = np.isfinite(lift) & np.isfinite(noise) & (noise > 0) & (last >= 0)
    fine &= (first < len(days)) & (first <= last)
    first, last = np.maximum(first, 0), np.minimum(last, len(days) - 1)
    kept = np.flatnonzero(fine & (first <= last))
    kept = kept[np.lexsort((last[kept], cell[kept]))]  # sums over cells are quickest in this order
    age = (len(days) - 1) - last[kept]
    tests, ignored = _tests(
        experiments=experiments,
        cells=cells,
        days=days,
        spend=spend,
        size=size,
        fade_per_day=fade_per_day,
    )
    return Evidence(
        cells=cells,
        segments=segments,
        channels=channels,
        segment_of=segment_of,
        channel_of=channel_of,
        size=size,
        spend=spend / size,
        cell=cell[kept],
        first=first[kept],
        last=last[kept],
        lift=lift[kept] / size[cell[kept]],
        noise=noise[kept] / size[cell[kept]],
        weight=np.exp(-fade_per_day * age),
        row=kept,
        tests=tests,
        ignored_tests=ignored,
        claims=_claims(
            claims,
            _Cells(
                wanted,
                channel_of,
                size,
                measured=np.isin(channel_of, np.unique(channel_of[cell[kept]])) | every_claim,
            ),
            days=days,
            spend=spend,
            fade_per_day=fade_per_day,
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """C cells: their names, channels and sizes (money a day), and whether their claims count
    (``measured``); each (C,)."""

    names: pd.MultiIndex
    channel_of: Index
    size: Array
    measured: NDArray[np.bool_]


def _claims(
    frame: pd.DataFrame | None,
    cells: _Cells,
    *,
    days: pd.DatetimeIndex,
    spend: Array,
    fade_per_day: float,
) -> Claims | None:
    """Claims of the cells that are measured; of a channel that claims nothing there are none."""
    channel_of = cells.channel_of
    if frame is None or frame.empty or len(days) == 0:
        return None
    cell = cell_places(frame["segment"], frame["channel"], cells.names)
    first, last = _rows(frame["period_start"], days), _rows(frame["period_end"], days)
    fine = (cell >= 0) & (first < len(days)) & (last >= 0) & (first <= last)
    fine &= cells.measured[np.maximum(cell, 0)]
    claiming = np.bincount(
        channel_of[np.maximum(cell, 0)], weights=fine * np.abs(frame["claimed"]), minlength=1
    )
    fine &= claiming[channel_of[np.maximum(cell, 0)]] > 0
    kept = np.flatnonzero(fine)
    kept = kept[np.lexsort((last[kept], cell[kept]))]
    if len(kept) == 0:
        return None
    first, last = np.maximum(first[kept], 0), np.minimum(last[kept], len(days) - 1)
    cell = cell[kept]
    channel, n = channel_of[cell], int(channel_of.max()) + 1
    claimed, sold = (frame[name].to_numpy(dtype=np.float64)[kept] for name in ("claimed", "sold"))
    running = np.concatenate([np.zeros((1, spend.shape[1])), np.cumsum(spend, axis=0)])
    spent = period_mean(running, cell, first, last)

    def per(above: Array, below: Array) -> Array:
        """A ratio of sums for each channel, > 0."""
        sums = [np.bincount(channel, weights=np.abs(v), minlength=n) for v in (above, below)]
        return np.asarray(np.where(sums[0] > 0, sums[0], 1.0) / np.where(sums[1] > 0, sums[1], 1.0))

    unit, level = per(claimed, spent), per(claimed, sold)
    size = cells.size[cell] * unit[channel]
    return Claims(
        cell=cell,
        first=first,
        last=last,
        claimed=claimed / size,
        sold=sold * level[channel] / size,
        weight=np.exp(-fade_per_day * ((len(days) - 1) - last)),
        unit=unit,
    )


def _rows(dates: pd.Series[Any], days: pd.DatetimeIndex) -> Index:
    """Row of each date in the gapless ``days``; below 0 or above the last outside of them."""
    if len(days) == 0:
        return np.full(len(dates), -1, dtype=np.intp)
    return np.asarray((days_of(dates) - days[0].to_datetime64().astype("M8[D]")).astype(np.intp))


def _tests(
    *,
    experiments: pd.DataFrame | None,
    cells: tuple[Cell, ...],
    days: pd.DatetimeIndex,
    spend: Array,
    size: Array,
    fade_per_day: float,
) -> tuple[tuple[Test, ...], int]:
    """Lift tests as differences of steady spend.

    Where the days of the test are known, the spend on them is what was spent *in* the test, and
    without it ``spend_delta`` less would have been spent; for a test on other days the delta goes
    on top of what the cells usually spend. The delta is shared out like the spend (money a day).
    Rows that user-level tests became (``models.lift.user_test_lifts``) say it themselves.
    """
    if experiments is None or experiments.empty or len(days) == 0:
        return (), 0
    found, ignored = [], 0
    usual = spend.mean(axis=0)
    entries: Iterable[Any] = experiments.itertuples(index=False)
    for entry in entries:
        names = {name.strip() for name in str(entry.segments).split(";")}
        where = np.array(
            [i for i, c in enumerate(cells) if c.channel == entry.channel and c.segment in names],
            dtype=np.intp,
        )
        start, end = pd.Timestamp(entry.start), pd.Timestamp(entry.end)
        length = (end - start).days + 1
        usable = len(where) == len(names) and length > 0 and float(entry.standard_error) > 0
        if not usable or not np.isfinite([entry.spend_delta, entry.incremental_revenue]).all():
            ignored += 1
            continue
        inside = (days >= start) & (days <= end)
        known = bool(inside.sum() == length)
        base = spend[inside][:, where].mean(axis=0) if known else usual[where]
        share = base / base.sum() if base.sum() > 0 else size[where] / size[where].sum()
        delta = float(entry.spend_delta) / length * share
        actual = base if known else np.maximum(base + delta, 0.0)
        otherwise = np.maximum(base - delta, 0.0) if known else base
        portion, change = 1.0, float(entry.spend_delta)
        if np.isfinite(spent := float(getattr(entry, "actual_spend", np.nan))):
            # of a user-level test: what its cell spends a day with and without it is worked out
            actual, otherwise = np.array([spent]), np.array([float(entry.otherwise_spend)])
            portion, change = float(entry.portion), 0.0
        found.append(
            Test(
                name=str(entry.experiment),
                where=where,
                actual=actual / size[where],
                otherwise=otherwise / size[where],
                days=float(length),
                gain=float(entry.incremental_revenue),
                standard_error=float(entry.standard_error),
                weight=float(np.exp(-fade_per_day * max((days[-1] - end).days, 0))),
                last=(end - days[0]).days,
                portion=portion,
                spend_change=change,
            )
        )
    return tuple(found), ignored


def period_mean(running: Array, cell: Index, first: Index, last: Index) -> Array:
    """Means over rows ``first`` to ``last`` from running sums (T + 1, C)."""
    return np.asarray((running[last + 1, cell] - running[first, cell]) / (last - first + 1.0))
