"""A metric that Evidently lacks: the slope of measured on predicted incremental revenue.

Its values are kept in the snapshots, so that the workspace shows them over time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from evidently.core.datasets import Dataset
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context
from evidently.legacy.renderers.html_widgets import CounterData, WidgetSize, counter

from monitoring.forecast_charts import (
    DAY,
    ERROR,
    MEASURED,
    PREDICTED,
    by_week,
    calibration_chart,
)
from monitoring.response.slopes import slope


class CalibrationSlope(SingleValueMetric):
    """Measured over predicted where ``column`` is ``name``; over all rows where column is ""."""

    column: str = ""
    name: str = "all"


class CalibrationSlopeCalculation(SingleValueCalculation[CalibrationSlope]):
    """Weighted least squares through the origin."""

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> tuple[SingleValue, SingleValue | None]:
        rows = current_data.as_dataframe()
        now, error = self._of(rows)
        found = self.result(now)
        label = f"{self.display_name()}: {now:.2f} ± {error:.2f}"
        before = None
        if reference_data is not None:
            was, was_error = self._of(reference_data.as_dataframe())
            before = self.result(was)
            label += f" (before: {was:.2f} ± {was_error:.2f})"
        found.widget = [counter(counters=[CounterData.float(label, now, 2)], size=WidgetSize.HALF)]
        if not self.metric.column:
            begin = rows[DAY].min()
            if reference_data is not None:
                rows = pd.concat([reference_data.as_dataframe(), rows])
            found.widget.append(calibration_chart(rows, begin))
            found.widget += by_week(self.display_name(), lambda r: self._of(r)[0], rows, begin)
        return found, before

    def _of(self, rows: pd.DataFrame) -> tuple[float, float]:
        mine = rows[rows[self.metric.column] == self.metric.name] if self.metric.column else rows
        columns = (MEASURED, PREDICTED, ERROR)
        lift, said, noise = (mine[c].to_numpy(dtype=np.float64) for c in columns)
        found = slope(lift, noise, said)
        return found.value, found.standard_error

    def display_name(self) -> str:
        of = f" of {self.metric.column} {self.metric.name}" if self.metric.column else ""
        return f"Measured over predicted{of}"
