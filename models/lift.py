"""Holdout lifts per cell and period, with the noise that covariates explain taken out.

The raw lift of a cell-day is (mean revenue per treated user - mean per control user) x treated
users. Chance makes the arms differ before the test already; where the feed has covariates (``x_``
columns, measured before), LightGBM predicts what difference in outcome that chance difference
makes, and a share theta of the prediction is taken out (CUPED; Deng, Xu, Kohavi and Walker 2013,
equation 4, with a machine-learned covariate as in Guo et al. 2021). Predictions are made for blocks
of days by fits that did not see them. A channel whose lifts do not become less noisy out of block
is left as it is, so the adjustment cannot hurt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.boosting import BoosterParameters
from models.control import Adjustment, adjust
from models.evidence import CELL, daily_spend

Array = NDArray[np.float64]
STRATUM = ["date", *CELL, "stratum"]
BOOSTER = BoosterParameters(rounds=40, learning_rate=0.1, leaves=7, min_leaf=100, l2=10.0)


@dataclass(frozen=True, slots=True)
class LiftConfig:
    """How lifts are measured.

    Periods of ``period_days`` are counted backwards from as_of. ``smoothing`` periods to each side
    share one estimate of the variance per user: a period's own would be low where its mean is low
    by chance, and weighting by it would bias lifts. A cell-day counts when strata that hold at
    least ``min_coverage`` of its treated users have both arms.
    """

    period_days: int = 7
    smoothing: int = 2
    min_coverage: float = 0.5
    blocks: int = 2
    adjust: bool = True
    booster: BoosterParameters = BOOSTER
    max_rows: int = 60_000


def weekly_lifts(
    *,
    holdout: pd.DataFrame,
    performance: pd.DataFrame,
    sales: pd.DataFrame | None = None,
    as_of: date,
    config: LiftConfig | None = None,
) -> pd.DataFrame:
    """Incremental revenue per day of every cell and period that has a holdout.

    Parameters
    ----------
    holdout, performance, sales
        The feeds. Rows on or after ``as_of`` are not looked at.
    as_of
        The first unknown day; periods are aligned backwards from it.
    config
        Default: :class:`LiftConfig`.

    Returns
    -------
    One row a cell and period, oldest first: segment, channel, period_start, period_end (inclusive),
    days (with both arms), users (both arms, mean per day), spend (mean per day of the period), lift
    (incremental revenue per day, adjusted) with standard_error, raw_lift with raw_standard_error.
    Money in account currency. A cell without both arms has no rows: it borrows from the others.
    """
    config = config or LiftConfig()
    rows = contrasts(holdout, as_of=as_of, config=config)
    if rows.empty:
        return _empty()
    adjustment = (
        adjust(rows, sales=sales, as_of=as_of, blocks=config.blocks, booster=config.booster,
               max_rows=config.max_rows)
        if config.adjust
        else Adjustment.none(len(rows))
    )  # fmt: skip
    days = _cell_days(rows, adjustment, config)
    lifts = _periods(days, config)
    if lifts.empty:
        return _empty()
    start = pd.Timestamp(as_of) - pd.to_timedelta(
        (lifts.pop("period") + 1) * config.period_days, unit="D"
    )
    lifts.insert(2, "period_start", start)
    lifts.insert(3, "period_end", start + pd.Timedelta(days=config.period_days - 1))
    lifts.insert(6, "spend", _period_spend(lifts, performance, as_of))
    return lifts.sort_values(["period_start", *CELL], ignore_index=True)


def variance_reduction(lifts: pd.DataFrame) -> float:
    """Share of the lifts' variance that the covariates took out: 1 - sum se^2 / sum raw se^2."""
    raw = float((lifts["raw_standard_error"] ** 2).sum())
    return 1.0 - float((lifts["standard_error"] ** 2).sum()) / raw if raw > 0 else 0.0


def _empty() -> pd.DataFrame:
    columns = {name: pd.Series(dtype="str") for name in CELL}
    columns |= {name: pd.Series(dtype="datetime64[us]") for name in ("period_start", "period_end")}
    numbers = ("days", "users", "spend", "lift", "standard_error", "raw_lift", "raw_standard_error")
    return pd.DataFrame(columns | {name: pd.Series(dtype="float64") for name in numbers})


def contrasts(holdout: pd.DataFrame, *, as_of: date, config: LiftConfig) -> pd.DataFrame:
    """One row a cell-day and stratum with both arms: users, means and variances per user of each
    arm (suffix ``_t``, ``_c``), ``period`` counted backwards, ``treated_all`` (treated users of the
    cell-day in every stratum), covariates as ``x_..._t`` and ``x_..._c``."""
    rows = holdout.copy(deep=False)
    if "stratum" not in rows.columns:
        rows = rows.assign(stratum="all")
    dates = pd.to_datetime(rows["date"]).dt.normalize()
    known = (dates < pd.Timestamp(as_of)) & (rows["users"] > 0)
    known &= np.isfinite(rows[["revenue", "revenue_sq"]].to_numpy(dtype=float)).all(axis=1)
    covariates = [name for name in rows.columns if str(name).startswith("x_")]
    kept = [*CELL, "stratum", "arm", "users", "revenue", "revenue_sq", *covariates]
    rows = rows.loc[known, kept].assign(date=dates[known])
    rows = rows.assign(mean=rows["revenue"] / rows["users"])
    # a sum of squares below its least possible value is rounding
    squares = np.maximum(rows["revenue_sq"] - rows["users"] * rows["mean"] ** 2, 0.0)
    rows = rows.assign(squares=squares.astype(float))
    values = [*STRATUM, "users", "mean", "squares", *covariates]
    treated = rows.loc[rows["arm"] == "treated", values]
    control = rows.loc[rows["arm"] == "control", values]
    everyone = treated.groupby(["date", *CELL], observed=True)["users"].sum().rename("treated_all")
    both = treated.merge(control, on=STRATUM, suffixes=("_t", "_c"))
    both = both.merge(everyone.reset_index(), on=["date", *CELL])
    age = (pd.Timestamp(as_of) - both["date"]).dt.days.to_numpy()
    both = both.assign(period=(age - 1) // config.period_days)
    return _with_variances(both, config.smoothing)


def _with_variances(both: pd.DataFrame, smoothing: int) -> pd.DataFrame:
    """Add the variance per user: of the day's own arms (``var_t``, ``var_c``) and ``var``, that of
    both arms of the cell and stratum over the periods around."""
    users_t, users_c = both["users_t"].to_numpy(float), both["users_c"].to_numpy(float)
    squares = both["squares_t"].to_numpy(float) + both["squares_c"].to_numpy(float)
    group = both.groupby([*CELL, "stratum"], observed=True, sort=False).ngroup().to_numpy()
    period = both["period"].to_numpy()
    if len(both) == 0:
        return both.assign(var_t=0.0, var_c=0.0, var=0.0)
    shape = (int(group.max()) + 1, int(period.max()) + 1 + 2 * smoothing)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (group, period + smoothing), squares)
    np.add.at(counts, (group, period + smoothing), users_t + users_c - 2)
    width = 2 * smoothing + 1
    pooled = [_window(values, width)[group, period] for values in (sums, counts)]
    overall = squares.sum() / max(float((users_t + users_c).sum()), 1.0)
    smooth = np.where(pooled[0] > 0, pooled[0] / np.maximum(pooled[1], 1.0), overall)
    own = {
        f"var_{arm}": both[f"squares_{arm}"].to_numpy(float)
        / np.maximum(both[f"users_{arm}"].to_numpy(float), 1.0)
        for arm in ("t", "c")
    }
    return both.assign(**own, var=smooth)


def _window(values: Array, width: int) -> Array:
    """Sums over ``width`` neighbours along the last axis: (n, m) to (n, m - width + 1)."""
    running = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    return np.asarray(running[:, width:] - running[:, :-width])


def _cell_days(rows: pd.DataFrame, adjustment: Adjustment, config: LiftConfig) -> pd.DataFrame:
    """Strata summed to cell-days: lifts (per day) and their variances."""
    users_t, users_c = rows["users_t"].to_numpy(float), rows["users_c"].to_numpy(float)
    gap = rows["mean_t"].to_numpy(float) - rows["mean_c"].to_numpy(float)
    var = rows["var"].to_numpy(float) * (1 / users_t + 1 / users_c)
    exact = rows["var_t"].to_numpy(float) / users_t + rows["var_c"].to_numpy(float) / users_c
    table = pd.DataFrame(
        {
            "date": rows["date"].to_numpy(),
            "segment": rows["segment"].to_numpy(),
            "channel": rows["channel"].to_numpy(),
            "period": rows["period"].to_numpy(),
            "treated_all": rows["treated_all"].to_numpy(float),
            "treated": users_t,
            "users": users_t + users_c,
            "raw": users_t * gap,
            "raw_var": users_t**2 * np.where(exact > 0, exact, var),
            "lift": users_t * (gap - adjustment.taken_out),
            "lift_var": users_t**2 * var * adjustment.variance_kept,
        }
    )
    keys = ["date", *CELL, "period", "treated_all"]
    days = table.groupby(keys, observed=True, sort=False).sum().reset_index()
    covered = days["treated"] / days["treated_all"]
    days = days[(covered >= config.min_coverage).to_numpy()]
    # treated users of a stratum without control count like the others
    scale = (days["treated_all"] / days["treated"]).to_numpy()
    return days.assign(
        raw=days["raw"] * scale,
        raw_var=days["raw_var"] * scale**2,
        lift=days["lift"] * scale,
        lift_var=days["lift_var"] * scale**2,
    )


def _periods(days: pd.DataFrame, config: LiftConfig) -> pd.DataFrame:
    """Cell-days averaged to periods."""
    usable = days[(np.isfinite(days["lift_var"]) & (days["lift_var"] > 0)).to_numpy()]
    keys = [*CELL, "period"]
    grouped = usable.groupby(keys, observed=True, sort=True)
    sums = grouped[["users", "raw", "raw_var", "lift", "lift_var"]].sum()
    count = grouped.size().to_numpy(float)
    spread = np.sqrt(day_inflation(usable, config.period_days))
    lifts = pd.DataFrame(
        {
            "days": count,
            "users": sums["users"].to_numpy() / count,
            "lift": sums["lift"].to_numpy() / count,
            "standard_error": spread * np.sqrt(sums["lift_var"].to_numpy()) / count,
            "raw_lift": sums["raw"].to_numpy() / count,
            "raw_standard_error": spread * np.sqrt(sums["raw_var"].to_numpy()) / count,
        },
        index=sums.index,
    )
    return lifts.reset_index()


def day_inflation(days: pd.DataFrame, period_days: int) -> float:
    """By how much the variance of a period's mean exceeds that of independent days, at least 1.

    The same users stay in an arm, so its days share their luck. Days that share a part r of their
    variance spread around their period's mean by 1 - r of it only; r is that shortfall, pooled over
    all periods, less what chance or a roughly reported ``revenue_sq`` (a tenth) may explain.
    """
    keys = [*CELL, "period"]
    standard = days["lift"] / np.sqrt(days["lift_var"])
    groups = standard.groupby([days[key] for key in keys], observed=True, sort=False)
    count = groups.transform("size")
    inside = (count >= 2).to_numpy()
    freedom = float(inside.sum() - (1.0 / count[inside]).sum())
    if period_days < 2 or freedom < 30:
        return 1.0
    within = float(((standard - groups.transform("mean"))[inside] ** 2).sum()) / freedom
    doubt = max(float(np.sqrt(2.0 / freedom)), 0.1)
    shared = float(np.clip(1.0 - within - doubt, 0.0, 0.95))
    return 1.0 + (float(count[inside].mean()) - 1.0) * shared


def _period_spend(lifts: pd.DataFrame, performance: pd.DataFrame, as_of: date) -> Array:
    """Mean spend per day of each row's period, over the days that performance covers."""
    daily = daily_spend(performance, as_of=as_of)
    if daily.empty:
        return np.zeros(len(lifts))
    place = pd.MultiIndex.from_frame(lifts[CELL])
    column = daily.columns.get_indexer(place)
    running = np.concatenate([np.zeros((1, daily.shape[1])), np.cumsum(daily.to_numpy(), axis=0)])
    origin, day = daily.index[0], pd.Timedelta(days=1)
    first = ((lifts["period_start"] - origin) // day).clip(0, len(daily)).to_numpy(int)
    last = ((lifts["period_end"] - origin) // day + 1).clip(0, len(daily)).to_numpy(int)
    spent = np.where(column >= 0, running[last, column] - running[first, column], 0.0)
    result: Any = spent / np.maximum(last - first, 1)
    return np.asarray(result, dtype=np.float64)
