"""GrowthBook's results of an experiment (``GET /experiments/{id}/results``, or its JSON download)
as rows of the ``variants`` feed.

A result has, by dimension value, metric and variation, users and the sum of the metric over them
(``numerator``), with its mean and standard deviation. Asked for by date (dimension ``pre:date``),
each value is a day. A metric whose variance is that of a proportion counts conversions; another one
is an amount, whose sum of squares follows from its deviation.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from math import isclose
from typing import Any

from liftloop.core.errors import RefusedFile

_BY_DATE = 'have the results by date (dimension "pre:date") and deliver them again.'


def growthbook_rows(file: str, document: Any) -> list[dict[str, Any]] | None:
    """One record a day and variation; None where the document is no result of GrowthBook's.

    Raises
    ------
    RefusedFile
        When it is not by day, or has several metrics of one kind.
    """
    result = document.get("result", document) if isinstance(document, dict) else None
    if not isinstance(result, dict) or "experimentId" not in result:
        return None
    groups = result.get("results")
    if not isinstance(groups, list) or not all(
        isinstance(group, dict) and isinstance(group.get("metrics"), list) for group in groups
    ):
        return None
    test = str(result["experimentId"])
    rows: list[dict[str, Any]] = []
    for group in groups:
        day = _day(file, group.get("dimension"))
        found: dict[str, dict[str, Any]] = {}
        for metric, variation, users, sums in _figures(group):
            row = found.setdefault(
                variation, {"test": test, "date": day, "variant": variation, "units": users}
            )
            if sums.keys() & row.keys():
                raise RefusedFile(
                    file,
                    f"{metric} is a second metric of its kind.",
                    fix="have the results with one metric that counts and one that is an amount.",
                )
            row.update(sums)
        rows += [{"conversions": "0", "revenue": "0", **row} for row in found.values()]
    return rows


def _day(file: str, dimension: Any) -> str:
    try:
        return date.fromisoformat(str(dimension)[:10]).isoformat()
    except ValueError:
        raise RefusedFile(file, "its results are not by day.", fix=_BY_DATE) from None


def _figures(group: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Metric, variation, users and sums of each figure of a day."""
    for metric in group["metrics"]:
        for one in metric.get("variations") or ():
            analyses = one.get("analyses") or [one]
            figures = analyses[0]
            users = int(float(one.get("users") or figures.get("denominator") or 0))
            if users < 1:
                continue
            total = str(figures.get("numerator", 0))
            mean = float(figures.get("mean") or float(total) / users)
            spread = float(figures.get("stddev") or 0.0)
            yield (
                str(metric.get("metricId")),
                str(one.get("variationId")),
                str(users),
                _sums(total, users, mean, spread),
            )


def _sums(total: str, users: int, mean: float, spread: float) -> dict[str, str]:
    if 0 <= mean <= 1 and isclose(spread**2, mean * (1 - mean), rel_tol=0.02, abs_tol=1e-12):
        return {"conversions": total}
    return {"revenue": total, "revenue_sq": repr((users - 1) * spread**2 + users * mean**2)}
