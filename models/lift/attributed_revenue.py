"""What platforms claim, per cell and period, beside what the segment sold.

An attributed conversion is no incremental one: platforms claim organic sales, and claim their own
more than once. But within a channel the claims follow what they exaggerate. The response fit takes
them as a *proxy of unknown scale and unknown organic share*, both learned from the randomized
lifts of the same channel (a surrogate calibrated by experiments; Prentice 1989; Athey, Chetty,
Imbens and Kang 2019): without lifts they say nothing, and where they disagree with the lifts from
cell to cell they lose their weight.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arrays import coded, days_of, joined, present, summed, whole_sums

CELL = ["segment", "channel"]
FEWEST_DAYS = 4  # of a week


def weekly_claims(
    *,
    performance: pd.DataFrame,
    sales: pd.DataFrame | None,
    holdout: pd.DataFrame | None,
    as_of: date,
    period_days: int = 7,
) -> pd.DataFrame:
    """Attributed revenue of every cell and period, with the revenue its segment had in all.

    Parameters
    ----------
    performance, sales, holdout
        The feeds; rows on or after ``as_of`` are not looked at. What a segment sold is taken from
        ``sales``; where that is empty, from the control arms of ``holdout``.
    as_of
        The first unknown day; periods are counted backwards from it, as those of ``weekly_lifts``.
    period_days
        Days a period.

    Returns
    -------
    One row a cell and period with spend: segment, channel, period_start, period_end (inclusive),
    claimed and sold (account currency a day). Empty where nothing is known of what was sold.
    """
    today = np.datetime64(as_of, "D")
    sold = _sold(sales, holdout, today)
    dates = days_of(performance["date"])
    known = dates < today
    if not known.any() or sold.empty:
        return _empty()
    rows, age = performance[known], (today - dates[known]).astype(np.intp)
    (segment, segments), (channel, channels) = coded(rows["segment"]), coded(rows["channel"])
    place = segments.get_indexer(sold.index.get_level_values("segment"))
    when = (today - days_of(sold.index.get_level_values("date").to_series())).astype(np.intp)
    span = max(int(age.max()), int(when.max())) + 1
    there = place >= 0
    of_segment = np.full((len(segments), span), np.nan)
    of_segment[place[there], when[there]] = sold.to_numpy()[there]
    cell = joined((segment, len(segments)), (channel, len(channels)))
    day = joined((cell, 1), (span - 1 - age, span))
    days = present(day)
    spent = whole_sums(
        day,
        spend=rows["spend"].to_numpy(dtype=np.float64),
        revenue=rows["revenue"].to_numpy(dtype=np.float64),
    )
    cell, age = days // span, span - 1 - days % span
    values = {**spent, "sold": of_segment[cell // len(channels), age]}
    # a day whose claims are not all known (imputed spend, a campaign whose revenue could not be
    # read) is no day with smaller claims
    fine = np.isfinite(values["sold"]) & np.isfinite(values["revenue"])
    periods = span // period_days + 1
    period = joined((cell, 1), ((age - 1) // period_days, periods))[fine]
    groups, count = np.unique(period, return_counts=True)
    found = {
        n: v / count for n, v in summed(period, **{n: v[fine] for n, v in values.items()}).items()
    }
    kept = (count >= min(FEWEST_DAYS, period_days)) & (found["spend"] > 0)
    cell, period = np.divmod(groups[kept], periods)
    start = np.datetime64(as_of, "us") - (period + 1) * np.timedelta64(period_days, "D")
    return pd.DataFrame(
        {
            "segment": segments.take(cell // len(channels)).astype(str),
            "channel": channels.take(cell % len(channels)).astype(str),
            "period_start": start,
            "period_end": start + np.timedelta64(period_days - 1, "D"),
            "claimed": found["revenue"][kept],
            "sold": found["sold"][kept],
        }
    )


def _empty() -> pd.DataFrame:
    texts = {name: pd.Series(dtype="str") for name in CELL}
    days = {name: pd.Series(dtype="datetime64[us]") for name in ("period_start", "period_end")}
    return pd.DataFrame(texts | days | {n: pd.Series(dtype=float) for n in ("claimed", "sold")})


def _sold(
    sales: pd.DataFrame | None, holdout: pd.DataFrame | None, today: np.datetime64
) -> pd.Series[float]:
    """Revenue of a segment's day from every source, by ``date`` and ``segment``."""
    keys = ["date", "segment"]
    if sales is not None and not sales.empty:
        days = days_of(sales["date"])
        rows = sales.assign(date=days.astype("datetime64[us]"))[days < today]
        return rows.groupby(keys, observed=True)["revenue"].sum().astype(float)
    if holdout is None or holdout.empty:
        return pd.Series(dtype=float)
    days = days_of(holdout["date"])
    rows = holdout.assign(date=days.astype("datetime64[us]"))[days < today]
    both = rows.groupby([*keys, "channel"], observed=True)[["users", "revenue"]].sum().astype(float)
    # every channel's two arms together are the segment
    return both.groupby(keys, observed=True)["revenue"].mean()
