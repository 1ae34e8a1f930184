"""The comparisons that user-level tests make: the treated users of a channel and their controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arms.balance import ratio_of
from liftloop.core.arrays import Array, Index, Mask

ALPHA = 0.001  # a check of a sound test names it with this chance at most
LEAST_ARM = 10  # users an arm needs to be compared at all
TWICE = 0.01  # share of users in both arms from which a test is broken; fewer are left out
# A unit that came in both arms: written by those who read the facts (the newest row is all they
# keep), read here.
BOTH_ARMS = "in_both_arms"


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The rows of one channel's test: its treated users and their controls.

    Attributes
    ----------
    rows : places in the feed's frame, (n,), of the segments that have both arms
    treated : (n,)
    share : the part of the treated of those segments that the channel has, where several channels
        share controls and the stated propensity is that of any of them; else 1
    pool : places of the rows that a stated propensity is about
    problem : why nothing can be compared; "" where it can
    """

    experiment: str
    channel: str
    rows: Index
    treated: Mask
    share: float
    pool: Index
    problem: str = ""

    def only(self, keep: Mask) -> Comparison:
        """The comparison of a part of its rows, (n,)."""
        return replace(self, rows=self.rows[keep], treated=self.treated[keep])

    @property
    def smaller(self) -> int:
        """Users in the smaller arm."""
        return min(int(self.treated.sum()), int((~self.treated).sum()))


@dataclass(frozen=True, slots=True, eq=False)
class UnitColumns:
    """Columns of the ``units`` feed as arrays (n,); ``twice``: users in both arms of a test."""

    frame: pd.DataFrame
    experiment: NDArray[np.object_]
    channel: NDArray[np.object_]
    segment: NDArray[np.object_]
    treated: Mask
    propensity: Array
    twice: Mask

    @classmethod
    def of(cls, units: pd.DataFrame) -> UnitColumns:
        channel = units["channel"].astype("object").where(units["channel"].notna(), "")
        stated = np.full(len(units), np.nan)
        if "propensity" in units.columns:
            stated = units["propensity"].to_numpy(dtype=np.float64, na_value=np.nan)
        treated = (units["arm"].astype(str) == "treated").to_numpy()
        experiment = units["experiment"].astype(str).to_numpy().astype(object)
        return cls(
            units,
            experiment,
            channel.map(lambda text: str(text).strip()).to_numpy().astype(object),
            units["segment"].astype(str).to_numpy().astype(object),
            treated,
            _of_all(stated, experiment, treated),
            _in_both_arms(units, treated),
        )


def _of_all(stated: Array, experiment: NDArray[np.object_], treated: Mask) -> Array:
    """Stated propensities, those of experiments that state one number for one arm alone filled in
    for the other; (n,)."""
    known = np.isfinite(stated)
    if known.all() or not known.any():
        return stated
    found = stated.copy()
    for name in set(experiment[known]):
        mine = experiment == name
        values = np.unique(stated[mine & known])
        if len(values) == 1 and len(set(treated[mine & known])) == 1:
            found[mine] = values[0]
    return found


def _in_both_arms(units: pd.DataFrame, treated: Mask) -> Mask:
    marked = np.zeros(len(units), dtype=bool)
    if BOTH_ARMS in units.columns:
        marked = units[BOTH_ARMS].fillna(False).to_numpy(dtype=bool)
    key = ["experiment", "unit_id"]
    again = units.duplicated(key, keep=False).to_numpy() if "unit_id" in units else marked
    if not again.any():
        return marked
    codes = units.loc[again, key].groupby(key, sort=False).ngroup().to_numpy()
    share = np.bincount(codes, weights=treated[again]) / np.bincount(codes)
    marked = marked.copy()
    marked[again] |= ((share > 0) & (share < 1))[codes]
    return marked


def compared(feed: UnitColumns) -> Iterator[Comparison]:
    """One an experiment and channel of the feed, sorted by both, broken or not.

    A control row without a channel is the control of every channel of its experiment and segment.
    Segments without both arms are left out. A stated propensity of several channels that share
    controls is that of any ad, by contract; where only the other reading fits (within the channel
    and its controls), that is taken.
    """
    none = np.zeros(0, dtype=np.intp)
    for name in sorted(set(feed.experiment)):
        within = feed.experiment == name
        channels = sorted(set(feed.channel[within & feed.treated]))
        if not channels:
            words = "it has control users only"
            yield Comparison(name, "*", none, none.astype(bool), 1.0, none, words)
        for one in channels:
            mine = within & ((feed.channel == one) | (~feed.treated & (feed.channel == "")))
            both = set(feed.segment[mine & feed.treated]) & set(feed.segment[mine & ~feed.treated])
            if not both:
                words = "no segment of it has both treated and control users"
                yield Comparison(name, one, none, none.astype(bool), 1.0, none, words)
                continue
            inside = np.isin(feed.segment, list(both))
            rows = np.flatnonzero(mine & inside)
            arm = feed.treated[rows]
            share, pool = 1.0, rows
            if (~arm & (feed.channel[rows] == "")).any():
                every = np.flatnonzero(within & inside & (feed.treated | (feed.channel == "")))
                share, pool = _share(feed, rows, every)
            yield Comparison(name, one, rows, arm, share, pool)


def _share(feed: UnitColumns, rows: Index, every: Index) -> tuple[float, Index]:
    """The channel's part of the treated of its segments, and the rows that the stated propensity is
    about: those of all channels, or of this one where it can only be meant within the channel."""
    share = float(feed.treated[rows].sum() / feed.treated[every].sum())
    any_ad = ratio_of(feed.treated[every], feed.propensity[every])
    within = ratio_of(feed.treated[rows], feed.propensity[rows])
    if any_ad is None or within is None or not any_ad.broken(ALPHA) or within.broken(ALPHA):
        return share, every
    return 1.0, rows
