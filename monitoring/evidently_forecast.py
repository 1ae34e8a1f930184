"""Metrics that Evidently lacks: the weighted error of the forecast, how often intervals held, and
how far a column moved in each channel and segment; with charts over the days they are about.

Their values are kept in the snapshots, so that the workspace shows them from run to run.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import pandas as pd
from evidently.core.datasets import Dataset
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context
from evidently.legacy.model.widget import BaseWidgetInfo
from evidently.legacy.renderers.html_widgets import CounterData, counter, table_data

from monitoring.drift.evidently_drift import distance
from monitoring.forecast_charts import DAY, ERROR, GROUPS, MEASURED, PREDICTED, Z90, by_week

MOST_GROUPS, FEWEST = 30, 10


def weighted_error(rows: pd.DataFrame) -> float:
    """wMAPE: the summed absolute error over the summed absolute measurement. Unlike the mean of
    relative errors it is finite where single measurements are near 0; nan where all are 0."""
    size = float(rows[MEASURED].abs().sum())
    return float((rows[MEASURED] - rows[PREDICTED]).abs().sum()) / size if size else float("nan")


def coverage(rows: pd.DataFrame) -> float:
    """Share of the rows whose measurement's 90 % interval holds the prediction; nan without rows.
    It is 90 % where the forecast is right and its own error is small beside the noise."""
    missed = (rows[MEASURED] - rows[PREDICTED]).abs()
    return float((missed <= Z90 * rows[ERROR]).mean()) if len(rows) else float("nan")


class GroupMetric(SingleValueMetric):  # type: ignore[misc]  # Evidently has no types
    """A value of the rows where ``column`` is ``name``; of all rows where column is ""."""

    column: str = ""
    name: str = "all"


class WeightedError(GroupMetric):
    """wMAPE of the forecast (:func:`weighted_error`)."""


class IntervalCoverage(GroupMetric):
    """How often 90 % intervals held (:func:`coverage`)."""


class GroupDrift(SingleValueMetric):  # type: ignore[misc]  # Evidently has no types
    """The largest distance by which one of ``values`` moved in a group of ``column``: Wasserstein
    distances in standard deviations of the reference, with a table of all."""

    column: str
    values: list[str]


M = TypeVar("M", bound=GroupMetric)


class _GroupCalculation(SingleValueCalculation[M], Generic[M]):  # type: ignore[misc]  # untyped
    """Calculates a value of each side; where it is of all rows, draws what it was by week."""

    title = ""

    @abstractmethod
    def of(self, rows: pd.DataFrame) -> float:
        """The value of these rows."""

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> tuple[SingleValue, SingleValue | None]:
        sides = [self._mine(side) for side in (reference_data, current_data) if side is not None]
        now = self.result(self.of(sides[-1]))
        before = self.result(self.of(sides[0])) if reference_data is not None else None
        label = self.display_name() + (f" (before: {before.value:.2f})" if before else "")
        now.widget = []
        if not self.metric.column:
            label = self.display_name() + (f" (before: {before.value:.2f})" if before else "")
            now.widget = [counter(counters=[CounterData.float(label, float(now.value), 2)])]
            begin = sides[-1][DAY].min()
            now.widget += by_week(self.title, self.of, pd.concat(sides), begin)
            now.widget += [by_group(self.title, self.of, sides, group) for group in GROUPS]
        return now, before

    def _mine(self, side: Dataset) -> pd.DataFrame:
        rows: pd.DataFrame = side.as_dataframe()
        return rows[rows[self.metric.column] == self.metric.name] if self.metric.column else rows

    def display_name(self) -> str:
        of = f" of {self.metric.column} {self.metric.name}" if self.metric.column else ""
        return f"{self.title}{of}"


class WeightedErrorCalculation(_GroupCalculation[WeightedError]):
    """wMAPE, by week as well."""

    title = "Weighted error (wMAPE)"

    def of(self, rows: pd.DataFrame) -> float:
        return weighted_error(rows)


class IntervalCoverageCalculation(_GroupCalculation[IntervalCoverage]):
    """Coverage, by week as well."""

    title = "Share of 90 % intervals that hold the prediction"

    def of(self, rows: pd.DataFrame) -> float:
        return coverage(rows)


class GroupDriftCalculation(SingleValueCalculation[GroupDrift]):  # type: ignore[misc]  # untyped
    """The distances of columns in groups; what a side has too little of is left out."""

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> tuple[SingleValue, SingleValue | None]:
        now = current_data.as_dataframe()
        before = now.iloc[:0] if reference_data is None else reference_data.as_dataframe()
        column = self.metric.column
        names = self.metric.values
        moved = {
            str(name): [_moved(mine[v], before.loc[before[column] == name, v]) for v in names]
            for name, mine in list(now.groupby(column))[:MOST_GROUPS]
        }
        known = [value for row in moved.values() for value in row if not math.isnan(value)]
        found = self.result(max(known, default=float("nan")))
        shown = [
            (name, *("–" if math.isnan(v) else f"{v:.2f}" for v in row))
            for name, row in moved.items()
        ]
        title = f"Distance from the weeks before, by {column}"
        found.widget = [table_data(column_names=[column, *names], data=shown, title=title)]
        return found, None

    def display_name(self) -> str:
        return f"Largest drift of a {self.metric.column}"


def _moved(now: pd.Series, before: pd.Series) -> float:
    """The distance between two samples of numbers; nan where a side has fewer than 10, or the
    reference does not vary."""
    now, before = now.dropna().astype(float), before.dropna().astype(float)
    if min(len(now), len(before)) < FEWEST or not before.std() > 0:
        return float("nan")
    return distance(now, before)


def by_group(
    title: str, value: Callable[[pd.DataFrame], float], sides: Sequence[pd.DataFrame], group: str
) -> BaseWidgetInfo:
    """A table of the value in each channel or segment: before, where that is known, and now."""
    names = sorted(sides[-1][group].unique())[:MOST_GROUPS]
    rows = [
        (name, *(f"{value(side[side[group] == name]):.2f}" for side in sides)) for name in names
    ]
    titles = ["before", "now"][-len(sides) :]
    return table_data(column_names=[group, *titles], data=rows, title=f"{title}, by {group}")
