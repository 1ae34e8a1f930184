"""Evidently's reports: small, complete, without the internet, and kept once."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.registry.evidently_store import PROJECT, evidently_folder, keep_snapshots
from liftloop.settings.workspace import Workspace
from monitoring.causes.cause import Cause, Finding, Triage
from monitoring.drift.evidently_drift import DriftConfig, as_html, drift
from monitoring.drift.evidently_reports import cell_weeks, snapshots, with_shared_script
from monitoring.drift.windows import Windows, windows
from monitoring.evidently_forecast import coverage, weighted_error
from monitoring.forecast_charts import ERROR, MEASURED, PREDICTED
from monitoring.monitor_page import triage_page
from monitoring.panel import Watched, watch
from monitoring.response.slopes import calibration

AS_OF, DAYS = date(2026, 3, 30), 84


@pytest.fixture(scope="module")
def seen() -> tuple[Watched, Windows]:
    """6 cells over 12 weeks; in the last four weeks half of what was predicted is measured."""
    rng = np.random.default_rng(0)
    days = [AS_OF - timedelta(days=d) for d in range(DAYS, 0, -1)]
    cells = pd.MultiIndex.from_product([days, ["a", "b", "c"], ["search", "social"]])
    feed = cells.to_frame(index=False, name=["date", "segment", "channel"])
    spend = rng.uniform(80, 120, len(feed))
    luck = np.exp(rng.normal(0, 0.05, (4, len(feed))))
    feed = feed.assign(
        spend=spend,
        impressions=spend * 100 * luck[0],
        clicks=spend * 2 * luck[1],
        conversions=spend / 20 * luck[2],
        revenue=spend * 2 * luck[3],
    )
    late = feed["date"] >= AS_OF - timedelta(days=28)
    measured = feed[["date", "segment", "channel"]].assign(
        predicted=2 * spend,
        standard_error=10.0,
        lift=2 * spend * np.where(late, 0.5, 1.0) + rng.normal(0, 10, len(feed)),
    )
    sales = feed.groupby(["date", "segment"], as_index=False)["revenue"].sum().assign(orders=9.0)
    frames = {"performance": feed, "holdout": pd.DataFrame(), "sales": sales}
    return watch(frames, as_of=AS_OF, measured=measured), windows(feed, as_of=AS_OF)


def test_a_slope_of_one_half_is_shown_for_every_channel_and_segment(
    seen: tuple[Watched, Windows],
) -> None:
    table = calibration(seen[0]).set_index(["of", "name"])
    assert set(table.index) == {
        ("all", "all"),
        ("channel", "search"),
        ("channel", "social"),
        ("segment", "a"),
        ("segment", "b"),
        ("segment", "c"),
    }
    # the slope of 56 cell-days (spend about 100) has a standard error of 10 / (200 sqrt(56)) = .007
    assert np.allclose(table["before"], 1.0, atol=0.03)
    assert np.allclose(table["now"], 0.5, atol=0.03)
    assert (table["z"] < -20).all()


def test_a_cell_week_is_the_mean_of_its_days_with_the_error_of_that_mean(
    seen: tuple[Watched, Windows],
) -> None:
    table = cell_weeks(seen[0])
    assert len(table) == 12 * 6
    assert np.allclose(table["standard_error"], 10 / 7**0.5)


def test_reports_share_their_script_fetch_nothing_and_are_kept_once(
    seen: tuple[Watched, Windows], tmp_path: Path
) -> None:
    made = snapshots(*seen, DriftConfig())
    assert set(made) == {"data", "features", "forecast"}
    values = {m["metric_name"]: m["value"] for m in made["forecast"].dict()["metrics"]}
    (slope,) = [v for n, v in values.items() if n.startswith("CalibrationSlope") and "social" in n]
    assert slope == pytest.approx(0.5, abs=0.03)

    page, library, script = with_shared_script(as_html(made["forecast"]))
    assert len(page) < 1_000_000 < len(script)
    assert f'<script src="{library}"></script>' in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)

    place = Workspace(tmp_path)
    place.locks.mkdir()
    for _ in range(2):
        keep_snapshots(place, verdict="m-1", snapshots=made, as_of=AS_OF)
    kept = list((evidently_folder(place) / str(PROJECT)).rglob("snapshots/*.json"))
    assert len(kept) == 3
    assert sum(file.stat().st_size for file in kept) < 5_000_000


def test_the_forecast_is_judged_by_channel_and_segment_and_its_charts_run_over_dates(
    seen: tuple[Watched, Windows],
) -> None:
    made = snapshots(*seen, DriftConfig())
    values = {m["metric_name"]: m["value"] for m in made["forecast"].dict()["metrics"]}
    # half of what was predicted is measured: the error is as large as the measurement
    assert values["WeightedError(column=,name=all)"] == pytest.approx(1.0, abs=0.05)
    assert values["WeightedError(column=segment,name=a)"] == pytest.approx(1.0, abs=0.05)
    assert values["IntervalCoverage(column=channel,name=social)"] == 0.0
    assert not [name for name in values if "MAPE" in name]
    page = as_html(made["forecast"])
    assert "2026-03-23" in page  # the first day of the last week
    assert "Calibration: each segment and channel since 02 Mar 2026" in page


def test_a_weighted_error_stays_finite_where_single_measurements_are_near_0() -> None:
    rows = pd.DataFrame({MEASURED: [1e-18, 3.0], PREDICTED: [1.0, 2.0], ERROR: [1.0, 0.5]})
    assert weighted_error(rows) == pytest.approx(2 / 3)
    assert coverage(rows) == 0.5  # 1 is inside 1.64 x 1.0, and outside 1.64 x 0.5


def test_columns_that_moved_are_counted_alike_in_the_report_and_in_the_verdict(
    seen: tuple[Watched, Windows],
) -> None:
    moved = seen[1].current.assign(ctr=seen[1].current["ctr"] + 1)
    verdict = drift(moved, seen[1].reference)
    values = {m["metric_name"]: m["value"] for m in verdict.snapshot.dict()["metrics"]}
    (told,) = [v for n, v in values.items() if n.startswith("DriftedColumnsCount")]
    counted = [c for c in verdict.columns if c.triggers]
    assert told["count"] == sum(c.drifted for c in counted) == 1
    assert told["share"] == pytest.approx(1 / len(counted)) == verdict.share


def test_the_page_says_the_verdict_and_takes_names_for_names(
    seen: tuple[Watched, Windows],
) -> None:
    odd = Finding(Cause.RESPONSE, "down", "<script>x</script> is down.", ("<b>",))
    page = triage_page(
        Triage(AS_OF, odd, (odd,), ("A note.",)),
        drift=drift(seen[1].current, seen[1].reference, report=False),
        calibration=calibration(seen[0]),
        windows=seen[1].sentence,
        links=[("The data", "data.html")],
    )
    assert "<script" not in page
    assert "&lt;script&gt;x&lt;/script&gt; is down." in page
    assert 'href="data.html"' in page
    assert "0.50 ±" in page


def test_keeping_a_report_reads_none_of_those_kept_before(
    seen: tuple[Watched, Windows], tmp_path: Path
) -> None:
    """A year keeps 150 of them, and each look would take longer than the one before. So one that
    cannot be read is not even noticed."""
    made = snapshots(*seen, DriftConfig())
    place = Workspace(tmp_path)
    place.locks.mkdir()
    keep_snapshots(place, verdict="m-1", snapshots=made, as_of=AS_OF)
    folder = evidently_folder(place) / str(PROJECT) / "snapshots"
    before = sorted(folder.iterdir())
    for path in before:
        path.write_text("{")
    keep_snapshots(place, verdict="m-2", snapshots=made, as_of=AS_OF)
    assert len(list(folder.iterdir())) == 2 * len(made)
    assert all(path.read_text() == "{" for path in before)
