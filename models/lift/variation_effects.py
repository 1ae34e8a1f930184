"""What channels earn, by the coins alone that varied their budgets.

In a varied week a coin gave one cell of a pair ``amount`` a day more than its plan and the other as
much less. Whatever else made the two segments differ that week, the coin did not know it. So the
difference of what they sold beyond their usual, signed by the coin, is on average the amount times
what both cells return: a randomized matched-pair experiment, with the variance of its sign flips
(Imai, King and Nall 2009, "The essential role of pair matching in cluster-randomized experiments",
section 4). Nothing is assumed of curves, season or of how segments follow each other; the model,
which assumes all that, has to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arrays import Z90, Array, days_of

LEAST_PAIRS = 8  # pairs and weeks: with fewer a variance says nothing


@dataclass(frozen=True, slots=True)
class VariedPair:
    """Of the days from ``start``, ``days`` of them: ``raised`` and ``lowered`` are segments,
    ``amount`` a day in account currency."""

    start: date
    days: int
    channel: str
    raised: str
    lowered: str
    amount: float


@dataclass(frozen=True, slots=True)
class VariationEffect:
    """What a channel's next unit of budget returned, by the coins.

    Attributes
    ----------
    effect, standard_error
        Revenue per unit of budget, as far as it came within the same weeks.
    moved
        Money that one of a pair had more than the other would have had, over all days, account
        currency.
    pairs, segments
        Pairs and weeks that count, and the segments in them.
    first, last
        First and last day.
    """

    channel: str
    effect: float
    standard_error: float
    moved: float
    pairs: int
    segments: tuple[str, ...]
    first: date
    last: date

    @property
    def interval(self) -> tuple[float, float]:
        """90 %."""
        half = Z90 * self.standard_error
        return self.effect - half, self.effect + half


def variation_effects(
    pairs: Sequence[VariedPair], sales: pd.DataFrame
) -> tuple[VariationEffect, ...]:
    """By channel, in order; a channel with too few whole weeks is left out.

    Parameters
    ----------
    sales
        date, segment, revenue; a span with a day missing in either segment does not count.
    """
    table = _by_day(sales)
    if table is None:
        return ()
    days, names, revenue = table
    usual = np.nanmean(revenue, axis=0)
    found: dict[str, list[tuple[VariedPair, float, float]]] = {}
    for pair in pairs:
        if pair.raised not in names or pair.lowered not in names:
            continue
        first = (pd.Timestamp(pair.start) - days[0]).days
        rows = slice(first, first + pair.days)
        if first < 0 or first + pair.days > len(days):
            continue
        up, down = names.index(pair.raised), names.index(pair.lowered)
        common = _common(revenue, usual, rows, up, down)
        beyond = [float((revenue[rows, i] - usual[i] * common).mean()) for i in (up, down)]
        gap, size = beyond[0] - beyond[1], float(usual[up] ** 2 + usual[down] ** 2)
        if np.isfinite(gap) and size > 0:
            found.setdefault(pair.channel, []).append((pair, gap, size))
    effects = []
    for channel in sorted(found):
        kept = found[channel]
        if len(kept) < LEAST_PAIRS:
            continue
        amount = np.array([pair.amount for pair, _, _ in kept])
        gaps = np.array([each for _, each, _ in kept])
        weight = amount / np.array([size for _, _, size in kept])
        moved = float((weight * 2.0 * amount).sum())
        effect = float((weight * gaps).sum()) / moved
        rest = gaps - 2.0 * amount * effect
        variance = float((weight**2 * rest**2).sum()) * len(kept) / (len(kept) - 1)
        effects.append(
            VariationEffect(
                channel,
                effect,
                float(np.sqrt(variance)) / moved,
                2.0 * float(sum(pair.amount * pair.days for pair, _, _ in kept)),
                len(kept),
                tuple(sorted({name for p, _, _ in kept for name in (p.raised, p.lowered)})),
                min(pair.start for pair, _, _ in kept),
                max(pair.start + pd.Timedelta(days=pair.days - 1) for pair, _, _ in kept),
            )
        )
    return tuple(effects)


def _by_day(sales: pd.DataFrame) -> tuple[pd.DatetimeIndex, list[str], Array] | None:
    """Days without a gap, segments, and revenue (n_days, n_segments), NaN where unknown."""
    if sales.empty:
        return None
    wide = sales.assign(date=pd.DatetimeIndex(days_of(sales["date"]))).pivot_table(
        index="date", columns="segment", values="revenue", aggfunc="sum", observed=True
    )
    days = pd.date_range(wide.index.min(), wide.index.max())
    wide = wide.reindex(days)
    return days, [str(name) for name in wide.columns], wide.to_numpy(dtype=np.float64)


def _common(revenue: Array, usual: Array, rows: slice, up: int, down: int) -> Array:
    """What the days brought to all other segments, as a multiple of their usual, (n_days,); with
    none it is what they brought to the two."""
    others = [i for i in range(len(usual)) if i not in (up, down)] or [up, down]
    return np.asarray(np.nansum(revenue[rows][:, others], axis=1) / usual[others].sum())
