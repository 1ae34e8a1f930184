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
    sold = _sold(sales, holdout, as_of)
    dates = pd.to_datetime(performance["date"]).dt.normalize()
    rows = performance.assign(date=dates)[(dates < pd.Timestamp(as_of)).to_numpy()]
    if rows.empty or sold.empty:
        return _empty()
    daily = rows.groupby(["date", *CELL], observed=True)[["spend", "revenue"]].sum().reset_index()
    daily = daily.merge(sold, on=["date", "segment"], how="left")
    known = daily["sold"].notna()
    daily = daily[known & np.isfinite(daily["revenue"].astype(float))]
    age = (pd.Timestamp(as_of) - daily["date"]).dt.days
    daily = daily.assign(period=(age - 1) // period_days)
    grouped = daily.groupby([*CELL, "period"], observed=True)
    found = grouped[["spend", "revenue", "sold"]].mean().astype(float).reset_index()
    enough = grouped.size().to_numpy() >= min(FEWEST_DAYS, period_days)
    found = found[enough & (found["spend"] > 0).to_numpy()]
    start = pd.Timestamp(as_of) - pd.to_timedelta((found["period"] + 1) * period_days, unit="D")
    return pd.DataFrame(
        {
            "segment": found["segment"].astype(str),
            "channel": found["channel"].astype(str),
            "period_start": start,
            "period_end": start + pd.Timedelta(days=period_days - 1),
            "claimed": found["revenue"],
            "sold": found["sold"],
        }
    ).reset_index(drop=True)


def _empty() -> pd.DataFrame:
    texts = {name: pd.Series(dtype="str") for name in CELL}
    days = {name: pd.Series(dtype="datetime64[us]") for name in ("period_start", "period_end")}
    return pd.DataFrame(texts | days | {n: pd.Series(dtype=float) for n in ("claimed", "sold")})


def _sold(sales: pd.DataFrame | None, holdout: pd.DataFrame | None, as_of: date) -> pd.DataFrame:
    """date, segment, sold: revenue of a segment's day from every source."""
    if sales is not None and not sales.empty:
        dates = pd.to_datetime(sales["date"]).dt.normalize()
        rows = sales.assign(date=dates)[(dates < pd.Timestamp(as_of)).to_numpy()]
        summed = rows.groupby(["date", "segment"], observed=True)["revenue"].sum().astype(float)
        return summed.rename("sold").reset_index()
    if holdout is None or holdout.empty:
        return pd.DataFrame(columns=["date", "segment", "sold"])
    dates = pd.to_datetime(holdout["date"]).dt.normalize()
    rows = holdout.assign(date=dates)[(dates < pd.Timestamp(as_of)).to_numpy()]
    keys = ["date", "segment", "channel"]
    both = rows.groupby(keys, observed=True)[["users", "revenue"]].sum().astype(float)
    return (
        both.groupby(["date", "segment"], observed=True)["revenue"]
        .mean()
        .rename("sold")
        .reset_index()
    )  # every channel's two arms together are the segment
