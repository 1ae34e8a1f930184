"""A test inside a cell as it was planned: which creatives, bids or audiences share the cell's
money, what is measured, and when it is worth acting on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from liftloop.core.arrays import Array, Days, days_of
from liftloop.core.policy import Cell
from liftloop.core.variant_tests.observations import VariantDays

if TYPE_CHECKING:  # a ledger's records are read without it
    import pandas as pd


class Metric(StrEnum):
    """What a variant is to bring more of."""

    CONVERSIONS = "conversions per unit"
    REVENUE = "revenue per unit"
    PROFIT = "profit per unit of spend"


class AssignedBy(StrEnum):
    """What is assigned to one variant or another at random."""

    USER = "user"
    GEO = "geo"
    TIME = "time"


class Acting(StrEnum):
    """What becomes of the cell's money while the test runs."""

    EVEN = "even"  # the shares stay as they began; a winner takes over in steps
    SPLIT = "split"  # the shares follow what is learned, from day to day


class TestEnd(StrEnum):
    """How a test ends by itself."""

    __test__ = False  # what pytest asks of a class of this name

    WON = "won"
    NOTHING_THERE = "nothing there"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class VariantTest:
    """One test as it was planned.

    Attributes
    ----------
    segments, channel
        The cells inside which it runs.
    variants
        The first is the one compared with.
    ads
        What each variant is called on the platform (ad ids), for the file it needs; may be empty.
    smallest_effect
        The smallest relative difference worth acting on: 0.05 is 5 %.
    delay_days
        Days after its assignment on which a unit's outcomes are complete.
    gone
        Variants that left the test.
    groups
        Of a test by geography: the variant of each segment; empty elsewhere.
    seed
        Drew which geography or turn has which variant; of no effect on users.
    start, last
        First day, and the last one on which it may still run.
    """

    name: str
    hypothesis: str
    segments: tuple[str, ...]
    channel: str
    variants: tuple[str, ...]
    metric: Metric
    smallest_effect: float
    start: date
    last: date
    assigned_by: AssignedBy = AssignedBy.USER
    acting: Acting = Acting.SPLIT
    delay_days: int = 0
    ads: tuple[str, ...] = ()
    seed: int = 0
    gone: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells inside which it runs."""
        return tuple(Cell(segment, self.channel) for segment in self.segments)

    @property
    def first_shares(self) -> VariantShares:
        """Shares on the first day; equal ones where they follow what is learned, or groups are
        assigned whole."""
        even = dict.fromkeys(self.variants, 1.0 / len(self.variants))
        if self.groups:
            own = dict(zip(self.segments, self.groups, strict=True))
            apart = {name: {v: float(v == own[name]) for v in self.variants} for name in own}
            return VariantShares(even, apart)
        if self.acting is Acting.SPLIT or self.assigned_by is not AssignedBy.USER:
            return VariantShares(even)
        return VariantShares(comparing_shares(self.variants))

    def joined_by(self, variant: str, ad: str) -> VariantTest:
        """The same with a variant more; one that was there and went comes back."""
        gone = tuple(name for name in self.gone if name != variant)
        if variant in self.variants:
            return replace(self, gone=gone)
        ads = (*self.ads, ad) if self.ads or ad else ()
        if len(ads) == 1:
            ads = ("",) * len(self.variants) + ads
        return replace(self, variants=(*self.variants, variant), ads=ads, gone=gone)

    def without(self, variant: str) -> VariantTest:
        """The same with a variant gone: it is not compared any more and gets no share."""
        return replace(self, gone=(*self.gone, variant))

    @property
    def compared(self) -> tuple[str, ...]:
        """The variants that are not gone."""
        return tuple(name for name in self.variants if name not in self.gone)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; :meth:`from_dict` reads them."""
        return {**asdict(self), "start": self.start.isoformat(), "last": self.last.isoformat()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VariantTest:
        """What :meth:`as_dict` wrote."""
        read = {
            "start": date.fromisoformat(values["start"]),
            "last": date.fromisoformat(values["last"]),
            "metric": Metric(values["metric"]),
            "assigned_by": AssignedBy(values["assigned_by"]),
            "acting": Acting(values["acting"]),
            **{
                name: tuple(values[name])
                for name in ("segments", "variants", "ads", "gone", "groups")
            },
        }
        return cls(**{**values, **read})


@dataclass(frozen=True, slots=True)
class VariantShares:
    """How a test's cells are shared among its variants.

    Attributes
    ----------
    common
        By variant; they sum to 1. Of several segments that differ, their mean.
    apart
        By segment, where segments are shown to differ; empty elsewhere.
    """

    common: Mapping[str, float]
    apart: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, segment: str) -> Mapping[str, float]:
        """The shares of a segment, by variant."""
        return self.apart.get(segment, self.common)

    def each(self, changed: Callable[[Mapping[str, float]], dict[str, float]]) -> VariantShares:
        """The shares with all of them changed alike."""
        apart = {name: changed(shares) for name, shares in self.apart.items()}
        return VariantShares(changed(self.common), apart)

    def rounded(self) -> VariantShares:
        """As a file has them: four places."""
        return self.each(lambda shares: {name: round(s, 4) for name, s in shares.items()})

    def as_dict(self) -> dict[str, Any]:
        """Plain values; :meth:`from_dict` reads them."""
        apart = {name: dict(shares) for name, shares in self.apart.items()}
        return {"common": dict(self.common), "apart": apart}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VariantShares:
        """What :meth:`as_dict` wrote."""
        return cls(values["common"], values["apart"])


def stray_rows(test: VariantTest, rows: pd.DataFrame) -> dict[str, int]:
    """Rows delivered under the test's name that count for nothing: of a variant that it does not
    have, or of another cell; how many by variant and cell in words."""
    own = rows[rows["test"] == test.name]
    cells = {str(cell) for cell in test.cells}
    named = own["segment"].astype(str) + " x " + own["channel"].astype(str)
    odd = ~(own["variant"].isin(test.variants) & named.isin(cells))
    words = own.loc[odd, "variant"].astype(str) + " in " + named[odd]
    return {str(name): int(count) for name, count in words.value_counts(sort=True).items()}


def comparing_shares(variants: Sequence[str]) -> dict[str, float]:
    """Shares with which k variants are best compared with the first: it has sqrt(k) times as much
    as each of them (Dunnett 1955)."""
    total = sqrt(len(variants) - 1) + len(variants) - 1
    first, other = sqrt(len(variants) - 1) / total, 1.0 / total
    return {name: other if place else first for place, name in enumerate(variants)}


def observed(test: VariantTest, rows: pd.DataFrame, *, as_of: date, margin: float) -> VariantDays:
    """What a test observed of the days from its start to the one before ``as_of``, all its cells
    together; variants without a row on a day have no units on it.

    Parameters
    ----------
    rows
        The ``variants`` feed as known on ``as_of``.
    margin
        Profit per unit of revenue; it counts where profit is what is measured.
    """
    first, after = np.datetime64(test.start), np.datetime64(test.last + timedelta(days=1))
    days: Days = np.arange(first, min(np.datetime64(as_of), after), dtype="datetime64[D]")
    rows = rows[
        (rows["test"] == test.name)
        & rows["segment"].isin(test.segments)
        & (rows["channel"] == test.channel)
        & rows["variant"].isin(test.variants)
    ]
    rows = rows[np.isin(days_of(rows["date"]), days)]

    def summed(column: str) -> Array:
        return daily_sums(rows, column, names=("variant", test.variants), days=days)

    counted = test.metric is Metric.CONVERSIONS
    worth = margin if test.metric is Metric.PROFIT else 1.0
    known = not counted and len(rows) > 0 and bool(rows["revenue_sq"].notna().all())
    return VariantDays(
        variants=test.variants,
        days=days,
        units=summed("units"),
        spend=summed("spend"),
        value=summed("conversions") if counted else worth * summed("revenue"),
        value_squares=worth**2 * summed("revenue_sq") if known else None,
        matured=_matured(days, as_of, test.delay_days),
    )


def daily_sums(
    rows: pd.DataFrame, column: str, *, names: tuple[str, Sequence[str]], days: Days
) -> Array:
    """Sums of a column of ``rows`` by name and day, shape (names, days); what is missing counts for
    nothing.

    Parameters
    ----------
    names
        The column that names a row's variant or creative, and all its names.
    days
        Without gaps; every row is of one of them.
    """
    by, known = names
    sums = np.zeros((len(known), len(days)))
    if len(rows):
        row = rows[by].map({name: at for at, name in enumerate(known)}).to_numpy(dtype=np.intp)
        place = (days_of(rows["date"]) - days[0]).astype(np.intp)
        np.add.at(sums, (row, place), np.nan_to_num(rows[column].to_numpy(dtype=float)))
    return sums


def _matured(days: Days, as_of: date, delay: int) -> Array:
    """How much of each day's outcomes is expected to be there: they come evenly over the delay."""
    age = (np.datetime64(as_of, "D") - days).astype(float)
    return np.clip(age / (delay + 1.0), 1.0 / (delay + 1.0), 1.0)
