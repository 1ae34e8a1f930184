"""Drift: do the last weeks look like the weeks before? Measured by Evidently, judged by us.

Evidently's default method depends on the number of rows, and with it the direction of its figure;
so every column gets a named method and a threshold. Distances, not p-values: more rows of the same
market don't make more drift. Numbers are compared by the Wasserstein distance in units of the
reference's standard deviation, categories by the Jensen-Shannon distance.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from monitoring.verdicts import ColumnDrift, DriftVerdict

NUMBER_METHOD, CATEGORY_METHOD = "wasserstein", "jensenshannon"
USUAL_COLUMNS = 6  # the number of judged columns that the default thresholds were set with


@dataclass(frozen=True, slots=True)
class DriftConfig:
    """When drift is called.

    Many columns are looked at, so one that only just passes its threshold is not yet an alarm: it
    takes ``share`` of the triggering columns, or one that passes ``alone`` times its threshold.
    The defaults come from tests/monitoring/test_false_alarms.py, where a stationary market alarms
    in fewer than 5 % of the months. They hold for six columns; with k > 6 they are multiplied
    by sqrt(log(1 + k) / log(7)), as the largest of k like deviations grows, so that a wider feed
    does not alarm more often. No threshold depends on the number of rows.

    Attributes
    ----------
    threshold : Wasserstein distance of a number, in standard deviations of the reference
    category_threshold : Jensen-Shannon distance of a category, in [0, 1]
    per_column : other thresholds, by the column's name
    window_days, reference_weeks : length of the current window (whole weeks of it are used), and
        the number of weeks before it that it is compared with
    max_rows : each side is sampled down to so many rows, with a fixed seed, and it is said
    min_rows : fewer rows on a side cannot be judged
    reported : columns that are shown and never alarm, such as what the loop itself decides
    groups : columns that are no features; a report shows how far these moved in each of them
    """

    threshold: float = 0.2
    category_threshold: float = 0.1
    share: float = 0.5
    alone: float = 1.5
    window_days: int = 28
    reference_weeks: int = 8
    max_rows: int = 100_000
    min_rows: int = 50
    reported: tuple[str, ...] = ("spend_share", "channel")
    groups: tuple[str, ...] = ("segment",)
    per_column: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def threshold_of(self, column: str, *, number: bool, columns: int) -> float:
        """A column's threshold where ``columns`` are judged."""
        plain = self.threshold if number else self.category_threshold
        wider = math.sqrt(math.log1p(max(columns, USUAL_COLUMNS)) / math.log1p(USUAL_COLUMNS))
        return self.per_column.get(column, plain) * wider


def unjudged(current: pd.DataFrame, reference: pd.DataFrame, reason: str) -> DriftVerdict:
    """The verdict on two windows that cannot be compared, with the reason (a sentence)."""
    return DriftVerdict(
        drifted=False,
        columns=(),
        share=0.0,
        rows_current=len(current),
        rows_reference=len(reference),
        sampled=False,
        summary=f"Drift cannot be judged: {reason}",
        measurable=False,
        reason=reason,
    )


def _sample(frame: pd.DataFrame, config: DriftConfig) -> pd.DataFrame:
    if len(frame) <= config.max_rows:
        return frame
    return frame.sample(config.max_rows, random_state=config.seed)


def _is_number(current: pd.Series, reference: pd.Series) -> bool:
    kinds = (pd.api.types.is_numeric_dtype(s) for s in (current, reference))
    return all(kinds) and not pd.api.types.is_bool_dtype(reference)


def unrounded(values: pd.Series) -> pd.Series:
    """The same without the last bits: a constant that varies by rounding alone breaks Evidently's
    histograms."""
    size = float(values.abs().max())
    return (values / size).round(9) * size if np.isfinite(size) and size > 0 else values


def _clean(frame: pd.DataFrame, numbers: list[str]) -> pd.DataFrame:
    """A copy with floats for numbers (no infinities) and text for categories."""
    made = {}
    for name in frame.columns:
        if name in numbers:
            made[name] = unrounded(frame[name].astype(float).replace([np.inf, -np.inf], np.nan))
        else:
            made[name] = frame[name].astype("string").astype(object)
    return pd.DataFrame(made, index=frame.index)


def _silent(current: pd.DataFrame, reference: pd.DataFrame, config: DriftConfig) -> dict[str, str]:
    """Columns that cannot be compared, with the reason; Evidently would raise on them."""
    why: dict[str, str] = {}
    for name in dict.fromkeys((*reference.columns, *current.columns)):
        if name not in current.columns or name not in reference.columns:
            side = "current" if name not in current.columns else "reference"
            why[name] = f"missing in the {side} window"
            continue
        known = (int(current[name].notna().sum()), int(reference[name].notna().sum()))
        if min(known) < config.min_rows:
            why[name] = (
                f"{known[0]} current and {known[1]} reference values, {config.min_rows} needed"
            )
    return why


def _measure(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    thresholds: Mapping[str, float],
    numbers: list[str],
    config: DriftConfig,
) -> tuple[Any, dict[str, float]]:
    """Evidently's snapshot and the distance of each column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    from monitoring.evidently_forecast import GroupDrift

    names = list(thresholds)
    shape = DataDefinition(
        numerical_columns=numbers,
        categorical_columns=[n for n in current.columns if n not in numbers],
    )
    judged = [n for n in names if n not in config.reported]
    methods = {n: NUMBER_METHOD if n in numbers else CATEGORY_METHOD for n in names}
    reported = [
        ValueDrift(column=n, method=methods[n], threshold=thresholds[n])
        for n in names
        if n not in judged
    ]
    numeric = [n for n in judged if n in numbers]
    by_group = [
        GroupDrift(column=c, values=numeric)
        for c in dict.fromkeys(("channel", *config.groups))
        if c in current.columns and numeric
    ]
    preset = DataDriftPreset(  # its headline counts the columns that the verdict counts, no others
        columns=judged,
        num_method=NUMBER_METHOD,
        cat_method=CATEGORY_METHOD,
        per_column_threshold={n: thresholds[n] for n in judged},
        drift_share=config.share,
    )
    with warnings.catch_warnings():  # correlations of a constant column, for a chart
        warnings.simplefilter("ignore", RuntimeWarning)
        snapshot = Report([*([preset] if judged else []), *reported, *by_group]).run(
            Dataset.from_pandas(current, data_definition=shape),
            Dataset.from_pandas(reference, data_definition=shape),
        )
    found = {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"].get("column") is not None
        and not metric["config"]["type"].endswith(":GroupDrift")  # it groups by its column
    }
    return snapshot, found


def _distances(
    current: pd.DataFrame, reference: pd.DataFrame, numbers: list[str]
) -> dict[str, float]:
    """The same distances from Evidently's own tests, without a report's charts (a tenth of the
    time)."""
    from evidently.legacy.calculations.stattests import jensenshannon_stat_test as category
    from evidently.legacy.core import ColumnType

    found = {}
    for name in current.columns:
        now, then = current[name].dropna(), reference[name].dropna()
        if name in numbers:
            found[name] = distance(now, then)
        else:
            found[name] = float(category(then, now, ColumnType.Categorical, None).drift_score)
    return found


def distance(current: pd.Series, reference: pd.Series) -> float:
    """Evidently's Wasserstein distance of two samples of numbers, both without gaps, in standard
    deviations of the reference."""
    from evidently.legacy.calculations.stattests import wasserstein_stat_test as number
    from evidently.legacy.core import ColumnType

    return float(number(reference, current, ColumnType.Numerical, None).drift_score)


def drift(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    *,
    config: DriftConfig | None = None,
    report: bool = True,
) -> DriftVerdict:
    """Compare two windows column by column.

    Parameters
    ----------
    current, reference : the same columns, any number of rows each; neither is changed
    report : also make Evidently's snapshot, which takes ten times as long as the distances

    Returns
    -------
    DriftVerdict
        ``measurable`` is False, with the reason, when nothing can be compared; it never raises for
        empty, silent or missing columns.
    """
    rule = config or DriftConfig()
    for name, frame in (("current", current), ("reference", reference)):
        if len(frame) < rule.min_rows:
            return unjudged(
                current,
                reference,
                f"the {name} window has {len(frame)} rows, {rule.min_rows} are needed.",
            )
    now_groups, then_groups = (
        frame[[c for c in rule.groups if c in frame.columns]] for frame in (current, reference)
    )
    current, reference = (
        frame.drop(columns=list(rule.groups), errors="ignore") for frame in (current, reference)
    )
    shared = [c for c in reference.columns if c in current.columns]
    numbers = [c for c in shared if _is_number(current[c], reference[c])]
    now, then = _clean(current, numbers), _clean(reference, numbers)
    silent = _silent(now, then, rule)
    names = [c for c in shared if c not in silent]
    if not names:
        return unjudged(current, reference, "no column has enough values in both windows.")
    sampled = max(len(now), len(then)) > rule.max_rows
    known = [c for c in numbers if c in names]
    judged = sum(name not in rule.reported for name in names)
    thresholds = {
        name: rule.threshold_of(name, number=name in numbers, columns=judged)
        for name in (*names, *silent)
    }
    sides = (_sample(now[names], rule), _sample(then[names], rule))
    if report:
        asked = {name: thresholds[name] for name in names}
        grouped = (sides[0].join(now_groups), sides[1].join(then_groups))
        snapshot, distances = _measure(*grouped, asked, known, rule)
    else:
        snapshot, distances = None, _distances(*sides, known)
    columns = []
    for name in (*names, *silent):
        is_number = name in numbers
        distance = distances.get(name)
        threshold = thresholds[name]
        columns.append(
            ColumnDrift(
                column=name,
                method=NUMBER_METHOD if is_number else CATEGORY_METHOD,
                distance=distance,
                threshold=threshold,
                drifted=distance is not None and distance >= threshold,
                triggers=name not in rule.reported,
                note=silent.get(name, ""),
                level=_level(now, then, name) if name in known else 0.0,
            )
        )
    return _judge(
        tuple(columns),
        rows=(len(current), len(reference)),
        sampled=sampled,
        snapshot=snapshot,
        rule=rule,
    )


SURE = 5.0  # standard errors; days of a cell, and cells of a day, are somewhat alike


def _level(now: pd.DataFrame, then: pd.DataFrame, name: str) -> float:
    """How far the mean of a number moved, as a logarithm, in the channel where it moved most among
    those where chance cannot have done it."""
    sides = [
        frame.groupby(frame.get("channel", lambda _: ""))[name].agg(["mean", "var", "count"])
        for frame in (now, then)
    ]
    both = sides[0].join(sides[1], lsuffix="_now", rsuffix="_then", how="inner")
    both = both[(both["mean_now"] > 0) & (both["mean_then"] > 0)]
    error = np.sqrt(
        both["var_now"] / both["count_now"] / both["mean_now"] ** 2
        + both["var_then"] / both["count_then"] / both["mean_then"] ** 2
    )
    moved = cast(pd.Series, np.log(both["mean_now"] / both["mean_then"]))
    sure = moved[(moved.abs() >= SURE * error).to_numpy()]
    return float(sure.loc[sure.abs().idxmax()]) if len(sure) else 0.0


def _judge(
    columns: tuple[ColumnDrift, ...],
    *,
    rows: tuple[int, int],
    sampled: bool,
    snapshot: Any,
    rule: DriftConfig,
) -> DriftVerdict:
    judged = [c for c in columns if c.triggers and c.distance is not None]
    moved = [c for c in judged if c.drifted]
    share = len(moved) / len(judged) if judged else 0.0
    far = [c for c in moved if (c.distance or 0.0) >= rule.alone * c.threshold]
    drifted = bool(judged) and bool(far or share >= rule.share)
    return DriftVerdict(
        drifted=drifted,
        columns=columns,
        share=share,
        rows_current=rows[0],
        rows_reference=rows[1],
        sampled=sampled,
        summary=_summary(columns, drifted=drifted, sampled=sampled, rule=rule),
        measurable=bool(judged),
        reason="" if judged else "no column that may alarm could be measured.",
        snapshot=snapshot,
    )


def _summary(
    columns: tuple[ColumnDrift, ...], *, drifted: bool, sampled: bool, rule: DriftConfig
) -> str:
    judged = [c for c in columns if c.triggers and c.distance is not None]
    moved = [c for c in judged if c.drifted]
    parts = []
    if not judged:
        parts.append("Drift cannot be judged: no column that may alarm could be measured.")
    else:
        names = ", ".join(f"{c.column} ({c.distance:.2f})" for c in moved) or "none"
        parts.append(
            f"{'Drift' if drifted else 'No drift'}: {len(moved)} of {len(judged)} columns moved "
            f"beyond their threshold: {names}."
        )
    own = [c.column for c in columns if c.drifted and not c.triggers]
    if own:
        parts.append(f"Also moved, and not counted: {', '.join(own)}.")
    lost = [c.column for c in columns if c.note]
    if lost:
        parts.append(f"Not measurable: {', '.join(lost)}.")
    if sampled:
        parts.append(f"Measured on a sample of {rule.max_rows:,} rows a window.")
    return " ".join(parts)


def as_html(snapshot: Any) -> str:
    """Evidently's report as one self-contained page (about 4 MB, no outside requests)."""
    return str(snapshot.get_html_str(as_iframe=False))


def as_json(snapshot: Any) -> str:
    """Evidently's report as JSON, small enough to keep."""
    return str(snapshot.json())
