"""Results of GrowthBook's experiments become rows of the variants feed, to the unit."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.core.errors import RefusedFile

OPTIONS = ImportOptions(channel="social", segment="north")


def metric(name: str, *figures: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "metricId": name,
        "variations": [
            {
                "variationId": str(at),
                "users": 1000 + at,
                "analyses": [
                    {
                        "engine": "frequentist",
                        "numerator": numerator,
                        "denominator": 1000 + at,
                        "mean": mean,
                        "stddev": spread,
                    }
                ],
            }
            for at, (numerator, mean, spread) in enumerate(figures)
        ],
    }


def orders() -> dict[str, Any]:
    rates = (50 / 1000, 60 / 1001)
    return metric(
        "met_orders",
        *((n, p, sqrt(p * (1 - p))) for n, p in zip((50, 60), rates, strict=True)),
    )


def delivered(tmp_path: Path, *metrics: dict[str, Any], by: str = "2026-03-02") -> Path:
    answer = {
        "result": {
            "id": "snp_1",
            "experimentId": "exp_hero",
            "dimension": {"type": "date"},
            "results": [{"dimension": by, "totalUsers": 2001, "metrics": list(metrics)}],
        }
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(answer), encoding="utf-8")
    return path


def test_counts_and_amounts_become_sums_with_squares(tmp_path: Path) -> None:
    amounts = metric("met_revenue", (2000.5, 2.0005, 9.0), (2302.3, 2.3, 10.0))
    found = read_delivery(delivered(tmp_path, orders(), amounts), OPTIONS)
    assert (found.feed, found.rows_read) == ("variants", 2)
    old, new = found.frame.to_dict("records")
    assert (old["test"], old["variant"], old["units"]) == ("exp_hero", "0", 1000)
    assert (old["segment"], old["channel"]) == ("north", "social")
    assert (old["conversions"], new["conversions"]) == (50, 60)
    assert (old["revenue"], new["revenue"]) == (2000.5, 2302.3)
    assert old["revenue_sq"] == pytest.approx(999 * 81 + 1000 * 2.0005**2)


def test_two_metrics_of_a_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="second metric of its kind"):
        read_delivery(delivered(tmp_path, orders(), {**orders(), "metricId": "more"}), OPTIONS)


def test_results_that_are_not_by_day_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="not by day"):
        read_delivery(delivered(tmp_path, orders(), by="All"), OPTIONS)


def test_a_table_of_arms_by_day_gets_the_named_cell(tmp_path: Path) -> None:
    path = tmp_path / "arms.csv"
    path.write_text(
        "test,date,variant,units,conversions,revenue\nhero,2026-03-02,old,1000,50,2000.5\n",
        encoding="utf-8",
    )
    (row,) = read_delivery(path, ImportOptions(feed="variants", channel="tv")).frame.to_dict(
        "records"
    )
    assert (row["segment"], row["channel"], row["units"]) == ("all", "tv", 1000)


def test_a_table_that_names_no_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="needs channel"):
        read_delivery(delivered(tmp_path, orders()), ImportOptions())
