"""Evidently's reports of a look: the data, the features, the forecast against what was measured.

Each is one snapshot. Methods and thresholds are named column by column
(``monitoring.drift.evidently_drift``), none depends on the number of rows; larger windows are
sampled, and the snapshot's name says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from liftloop.core.failed_reports import or_skip
from monitoring.drift.evidently_drift import DriftConfig, drift, unrounded
from monitoring.drift.windows import Windows
from monitoring.forecast_charts import ERROR, MEASURED, PREDICTED
from monitoring.panel import MEASURES, Watched

CELL = ["segment", "channel"]
MOST_SLOPES = 30
FEWEST_ROWS = 20
Build = Callable[[Watched, Windows, DriftConfig], Any]


def snapshots(
    seen: Watched, compared: Windows, config: DriftConfig, skipped: list[str] | None = None
) -> dict[str, Any]:
    """Evidently's snapshots by name (``data``, ``features``, ``forecast``); those that cannot be
    made, because a side has too few rows or Evidently cannot draw a column, are left out: a report
    stops no loop. One that fails in another way is named in ``skipped``, too."""
    made = {}
    failed = [] if skipped is None else skipped
    for name, build in (("data", _data), ("features", _features), ("forecast", _forecast)):

        def drawn(build: Build = build) -> Any | None:
            try:
                return build(seen, compared, config)
            except ValueError:  # Evidently cannot draw it (bins of a nearly constant column)
                return None

        snapshot = or_skip(failed, f"Evidently's report on the {name}", drawn)
        if snapshot is not None:
            made[name] = snapshot
    for name, snapshot in made.items():
        snapshot.set_name(f"{seen.as_of} {name}{_sampling(seen, config)}")
    return made


def _sampling(seen: Watched, config: DriftConfig) -> str:
    rows = seen.days * len(seen.segments) * len(seen.channels)
    return f" (sampled to {config.max_rows:,} rows)" if rows > config.max_rows else ""


def _run(
    metrics: list[Any],
    frames: tuple[pd.DataFrame, ...],
    config: DriftConfig,
    **shape: Any,
) -> Any:
    from evidently import DataDefinition, Dataset, Report

    definition = DataDefinition(**shape)
    numbers = list(shape["numerical_columns"])
    frames = tuple(f.assign(**{n: unrounded(f[n]) for n in numbers}) for f in frames)
    sides = [
        frame if len(frame) <= config.max_rows else frame.sample(config.max_rows, random_state=0)
        for frame in frames
    ]
    with warnings.catch_warnings():  # correlations of a constant column, for a chart
        warnings.simplefilter("ignore")
        return Report(metrics).run(
            *(Dataset.from_pandas(side, data_definition=definition) for side in sides)
        )


def _features(seen: Watched, compared: Windows, config: DriftConfig) -> Any | None:
    """How far each feature moved."""
    return drift(compared.current, compared.reference, config=config).snapshot


def _data(seen: Watched, compared: Windows, config: DriftConfig) -> Any | None:
    """What is there: counts, gaps, ranges of what platforms and the shop report, by cell-day."""
    from evidently.presets import DataSummaryPreset

    table = cell_days(seen)
    numbers = [c for c in table.columns if c not in ("day", *CELL) and table[c].notna().any()]
    sides = _sides(table[["day", *CELL, *numbers]], seen)
    numbers = [n for n in numbers if all(side[n].notna().any() for side in sides)]
    if min(len(side) for side in sides) < FEWEST_ROWS or not numbers:
        return None
    frames = tuple(
        side[["day", *CELL, *numbers]].assign(day=_days(side["day"], seen)) for side in sides
    )
    return _run(
        [DataSummaryPreset(columns=[*CELL, *numbers])],
        frames,
        config,
        timestamp="day",
        numerical_columns=numbers,
        categorical_columns=CELL,
    )


def _forecast(seen: Watched, compared: Windows, config: DriftConfig) -> Any | None:
    """Prediction and target drift, errors of the forecast and its calibration, a cell-week a row:
    a cell-day's lift is nearly all noise."""
    from evidently import Regression
    from evidently.metrics import MAE, RMSE, MeanError, R2Score, ValueDrift

    from monitoring.evidently_forecast import GroupDrift, IntervalCoverage, WeightedError
    from monitoring.evidently_slope import CalibrationSlope

    sides = _sides(cell_weeks(seen), seen)
    if min(len(side) for side in sides) < FEWEST_ROWS:
        return None
    groups = [{"column": "channel", "name": n} for n in seen.channels[:MOST_SLOPES]]
    groups += [{"column": "segment", "name": n} for n in seen.segments[:MOST_SLOPES]]
    of_all = [
        kind(**group)
        for kind in (CalibrationSlope, WeightedError, IntervalCoverage)
        for group in ({}, *groups)
    ]
    drifts = [
        ValueDrift(
            column=c, method="wasserstein", threshold=config.threshold_of(c, number=True, columns=2)
        )
        for c in (PREDICTED, MEASURED)
    ]
    drifts += [GroupDrift(column=group, values=[PREDICTED, MEASURED]) for group in CELL]
    # no MAPE: it is without bound where what was measured is near 0
    errors = [MeanError(error_distr=True), MAE(), RMSE(), R2Score()]
    frames = tuple(side.assign(day=_days(side["day"], seen)) for side in sides)
    return _run(
        [*of_all, *drifts, *errors],
        frames,
        config,
        regression=[Regression(target=MEASURED, prediction=PREDICTED)],
        timestamp="day",
        numerical_columns=[MEASURED, PREDICTED, ERROR],
        categorical_columns=CELL,
    )


def _days(index: pd.Series, seen: Watched) -> pd.Series:
    """Days by their place among those that are looked at, as dates."""
    first = pd.Timestamp(seen.day(0))
    return first + pd.to_timedelta(index.astype(int), unit="D")


def _sides(table: pd.DataFrame, seen: Watched) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The current rows, then those of the reference."""
    early = table["day"] < seen.reference
    return table[~early].reset_index(drop=True), table[early].reset_index(drop=True)


def cell_days(seen: Watched) -> pd.DataFrame:
    """One row a cell and day that was reported: day (its index), segment, channel, what platforms
    report, the segment's sales and the holdout's users."""
    shape = (seen.days, len(seen.segments), len(seen.channels))
    columns = {name: seen.performance[name] for name in MEASURES}
    columns |= {"sales": np.broadcast_to(seen.sold[:, :, None], shape), "users": seen.users}
    return _long(seen, columns, "spend")


def cell_weeks(seen: Watched) -> pd.DataFrame:
    """One row a cell and week that was measured and predicted: day (the week's first), segment,
    channel, measured, predicted (mean per day), standard_error of what was measured."""
    weeks = seen.days // 7
    skip = seen.days - 7 * weeks
    known = np.isfinite(seen.lift) & np.isfinite(seen.predicted) & (seen.noise > 0)

    def by_week(values: np.ndarray) -> np.ndarray:
        kept = np.where(known, values, 0.0)[skip:]
        return np.asarray(kept.reshape(weeks, 7, *kept.shape[1:]).sum(axis=1))

    count = by_week(np.ones_like(seen.lift))
    safe = np.maximum(count, 1)
    some = {
        MEASURED: np.where(count > 0, by_week(seen.lift) / safe, np.nan),
        PREDICTED: np.where(count > 0, by_week(seen.predicted) / safe, np.nan),
        ERROR: np.where(count > 0, np.sqrt(by_week(seen.noise**2)) / safe, np.nan),
    }
    table = _long(seen, some, MEASURED)
    return table.assign(day=skip + 7 * table["day"])


def _long(seen: Watched, columns: dict[str, np.ndarray], needed: str) -> pd.DataFrame:
    """Arrays over (day, segment, channel) as rows, where ``needed`` is known."""
    days, segments, channels = np.nonzero(np.isfinite(columns[needed]))
    names = (np.array(seen.segments, dtype=object), np.array(seen.channels, dtype=object))
    made = {"day": days, "segment": names[0][segments], "channel": names[1][channels]}
    return pd.DataFrame(made | {n: v[days, segments, channels] for n, v in columns.items()})


def with_shared_script(page: str) -> tuple[str, str, str]:
    """A page of Evidently's with its library taken out: the page (small), the library's name and
    its text. Both lie in one folder; nothing is fetched from elsewhere."""
    from hashlib import sha256

    begin = max(
        (place for place in _all(page, "<script>")),
        key=lambda place: page.find("</script>", place) - place,
    )
    end = page.find("</script>", begin)
    script = page[begin + len("<script>") : end]
    name = f"evidently-{sha256(script.encode()).hexdigest()[:12]}.js"
    small = f'{page[:begin]}<script src="{name}">{page[end:]}'
    return small, name, script


def _all(text: str, wanted: str) -> list[int]:
    places, place = [], text.find(wanted)
    while place >= 0:
        places.append(place)
        place = text.find(wanted, place + 1)
    return places
