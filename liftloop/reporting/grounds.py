"""What a cell's recommendation rests on, in words and small tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from liftloop.core.policy import Cell
from liftloop.reporting.ensemble_weights import NAMES

MOST_FEATURES = 6
FEATURES: Mapping[str, str] = {
    "segment": "the segment",
    "channel": "the channel",
    "weekday": "the day of the week",
    "trend": "the time",
    "sold": "what the segment sold that day",
}

CHANCE = "LightGBM, which predicts how much of the arms' difference is chance, is moved by"
NOISE = f"{CHANCE} (mean absolute SHAP values in this cell)"
GAIN = f"{CHANCE} (gain of its splits in all cells)"
UPLIFT = "LightGBM, which predicts who responds, is moved by (mean absolute SHAP values)"


@dataclass(frozen=True, slots=True, eq=False)
class ModelGrounds:
    """What a training left; a table that it did not leave is empty.

    Attributes
    ----------
    model
        Its name and version.
    sources
        What the estimates of each channel rest on, in words.
    evidence
        segment, channel, period_start, period_end, z (what the curve leaves of a lift, in standard
        errors): a row a measured lift.
    ensemble
        member, weight.
    shap
        segment, channel, feature, mean_abs_shap, of LightGBM's model of chance differences between
        the arms; or channel, feature, mean_abs_shap in ``importance``, of its uplift models; or
        feature, gain there, of a training before SHAP values were kept.
    """

    model: str
    sources: Mapping[str, str]
    evidence: pd.DataFrame
    ensemble: pd.DataFrame
    shap: pd.DataFrame
    importance: pd.DataFrame


def evidence_sentence(found: ModelGrounds, cell: Cell) -> str:
    """The sources of a cell's estimate, how many lifts of its own, and how well its curve fits."""
    words = found.sources.get(cell.channel, "nothing yet")
    rows = _of(found.evidence, cell)
    if rows.empty or "z" not in rows:
        return f"{words}; no measured lift of this cell: it leans on those like it."
    misfit = float(np.sqrt((rows["z"].astype(float) ** 2).mean()))
    count = "1 measured lift" if len(rows) == 1 else f"{len(rows):,} measured lifts"
    return (
        f"{words}; {count} of this cell from {rows['period_start'].min()} to "
        f"{rows['period_end'].max()}, which its curve misses by {misfit:.2f} standard errors "
        "(about 1 where it fits)."
    )


def members(found: ModelGrounds) -> list[tuple[str, float]]:
    """(what it is, weight) of the ensemble's members, the greatest first; none of a model that is
    no ensemble."""
    if found.ensemble.empty:
        return []
    rows = found.ensemble.sort_values("weight", ascending=False, kind="stable")
    pairs = zip(rows["member"].astype(str), rows["weight"].astype(float), strict=True)
    return [(NAMES.get(name, name), weight) for name, weight in pairs]


def drivers(found: ModelGrounds, cell: Cell) -> tuple[list[tuple[str, float]], str]:
    """What moves LightGBM's predictions in a cell as shares that sum to 1, the greatest first, and
    what they are shares of; ([], "") where LightGBM has no part."""
    rows, column, of = _of(found.shap, cell), "mean_abs_shap", NOISE
    if rows.empty and "mean_abs_shap" in found.importance:
        rows, of = found.importance, UPLIFT
        rows = rows[rows["channel"].astype(str) == cell.channel]
    elif rows.empty and "gain" in found.importance:
        rows, column, of = found.importance, "gain", GAIN
    if rows.empty:
        return [], ""
    sizes = rows.groupby("feature")[column].sum().sort_values(ascending=False, kind="stable")
    whole = float(sizes.sum())
    if whole <= 0:
        return [], ""
    told = sizes.head(MOST_FEATURES) / whole
    return [(_feature(str(name)), float(share)) for name, share in told.items()], of


def _feature(name: str) -> str:
    if name.startswith("gap_"):
        return f"how the arms differed before ({name})"
    return FEATURES.get(name, name)


def _of(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    if not {"segment", "channel"} <= set(frame.columns):
        return pd.DataFrame()
    mine = (frame["segment"].astype(str) == cell.segment) & (
        frame["channel"].astype(str) == cell.channel
    )
    return frame[mine]
